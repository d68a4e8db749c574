// Moleculer: services on two nodes that talk over the Redis transporter, and durable channels over streams and groups.

import channels from '@moleculer/channels'
import moleculer from 'moleculer'
import { check, host, port, protocol, runAll, same, until } from './checks.mjs'

const { Middleware: ChannelsMiddleware } = channels

async function broker(nodeID, services) {
  const made = new moleculer.ServiceBroker({
    nodeID,
    logger: false,
    transporter: { type: 'Redis', options: { host, port, protocol } },
    middlewares: [
      ChannelsMiddleware({
        adapter: {
          type: 'Redis',
          options: { redis: { host, port, protocol } }
        }
      })
    ]
  })
  for (const service of services) made.createService(service)
  await made.start()
  return made
}

check('calls and events between nodes over pub/sub', async () => {
  const heard = []
  const one = await broker('one', [])
  const two = await broker('two', [
    {
      name: 'math',
      actions: { add: (context) => context.params.a + context.params.b },
      events: { 'order.*': (context) => heard.push(context.params) }
    }
  ])
  try {
    await one.waitForServices('math', 5000)
    same(await one.call('math.add', { a: 2, b: 40 }), 42)
    one.emit('order.created', { id: 7 })
    await until(() => heard.length === 1, 'the event')
    same(heard, [{ id: 7 }])
  } finally {
    await Promise.all([one.stop(), two.stop()])
  }
})

check('channels over streams: each message once, failed ones again, then to the dead letters', async () => {
  const done = []
  const dead = []
  let failures = 0
  const consumer = {
    name: 'packers',
    channels: {
      'orders.packed': {
        group: 'packers',
        maxRetries: 3,
        redis: { readTimeoutInterval: 100, claimInterval: 50, processingAttemptsInterval: 50, minIdleTime: 50 },
        deadLettering: { enabled: true, queueName: 'orders.dead' },
        handler: (payload) => {
          if (payload.n === 3 && failures++ < 1) throw new Error('once')
          if (payload.n === 5) throw new Error('always')
          done.push(payload.n)
        }
      }
    }
  }
  const undertaker = { name: 'undertaker', channels: { 'orders.dead': { group: 'undertaker', handler: (payload) => dead.push(payload.n) } } }
  const one = await broker('one', [consumer, undertaker])
  try {
    for (let n = 0; n < 20; n++) await one.sendToChannel('orders.packed', { n })
    await until(() => done.length === 19 && dead.length === 1, 'all messages')
    same(done.toSorted((a, b) => a - b), Array.from({ length: 20 }, (_, n) => n).filter((n) => n !== 5))
    same(dead, [5])
  } finally {
    await one.stop()
  }
})

await runAll()
