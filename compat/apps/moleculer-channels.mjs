// Moleculer's channels: messages over streams and groups, with retries, dead letters and a group that two nodes share.

import channels from '@moleculer/channels'
import { Redis } from 'ioredis'
import moleculer from 'moleculer'
import { check, host, port, protocol, runAll, same, until } from '../support/checks.mjs'

const numbers = (length) => Array.from({ length }, (_, n) => n)
const r = new Redis({ host, port, protocol })

async function broker(nodeID, services) {
  const adapter = { type: 'Redis', options: { redis: { host, port, protocol } } }
  const made = new moleculer.ServiceBroker({ nodeID, logger: false, middlewares: [channels.Middleware({ adapter })] })
  for (const service of services) made.createService(service)
  await made.start()
  return made
}

// Short times, so that what waits for them is over soon. On a busy machine a message may then be claimed while it is still being handled, and come twice.
const redis = { readTimeoutInterval: 100, claimInterval: 50, processingAttemptsInterval: 50, minIdleTime: 50 }

check('each message once, failed ones again, then to the dead letters', async () => {
  const done = new Set()
  const dead = []
  let failures = 0
  const packers = {
    group: 'packers',
    maxRetries: 3,
    redis,
    deadLettering: { enabled: true, queueName: 'orders.dead' },
    handler: (payload) => {
      if (payload.n === 3 && failures++ < 1) throw new Error('once')
      if (payload.n === 5) throw new Error('always')
      done.add(payload.n)
    }
  }
  const one = await broker('one', [
    { name: 'packers', channels: { 'orders.packed': packers } },
    { name: 'undertaker', channels: { 'orders.dead': { group: 'undertaker', handler: (payload) => dead.push(payload.n) } } }
  ])
  try {
    for (const n of numbers(20)) await one.sendToChannel('orders.packed', { n })
    await until(() => done.size === 19 && dead.length === 1, 'all messages')
    same([...done].toSorted((a, b) => a - b), numbers(20).filter((n) => n !== 5))
    same(dead, [5])
    await until(async () => (await r.xpending('orders.packed', 'packers'))[0] === 0, 'everything acknowledged')
  } finally {
    await one.stop()
  }
})

check('two nodes share a group; two groups have everything', async () => {
  const seen = { one: [], two: [], audit: [] }
  const shared = (who) => ({ name: 'shippers', channels: { shipped: { group: 'shippers', handler: (payload) => seen[who].push(payload.n) } } })
  const audit = { name: 'audit', channels: { shipped: { group: 'audit', handler: (payload) => seen.audit.push(payload.n) } } }
  const nodes = [await broker('one', [shared('one')]), await broker('two', [shared('two'), audit])]
  try {
    for (const n of numbers(100)) await nodes[0].sendToChannel('shipped', { n })
    await until(() => seen.one.length + seen.two.length >= 100 && seen.audit.length >= 100, 'all messages')
    same([...seen.one, ...seen.two].toSorted((a, b) => a - b), numbers(100))
    same(seen.audit.toSorted((a, b) => a - b), numbers(100))
  } finally {
    await Promise.all(nodes.map((node) => node.stop()))
  }
})

await runAll()
