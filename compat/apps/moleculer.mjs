// Moleculer: services on three nodes that find each other, call each other and send events over the Redis transporter.

import moleculer from 'moleculer'
import { check, host, port, protocol, runAll, same, until } from '../support/checks.mjs'

const heard = []

async function broker(nodeID, services) {
  const made = new moleculer.ServiceBroker({
    nodeID,
    logger: false,
    transporter: { type: 'Redis', options: { host, port, protocol } }
  })
  for (const service of services) made.createService(service)
  await made.start()
  return made
}

const worker = (nodeID) => ({
  name: 'math',
  actions: {
    add: (context) => context.params.a + context.params.b,
    where: () => nodeID,
    fail: () => {
      throw new moleculer.Errors.MoleculerError('not today', 418)
    }
  },
  events: { 'order.*': (context) => heard.push([nodeID, context.params]) }
})

const caller = await broker('caller', [])
const workers = [await broker('one', [worker('one')]), await broker('two', [worker('two')])]
await caller.waitForServices('math', 5000)
await until(() => caller.registry.getNodeList({ onlyAvailable: true }).length === 3, 'three nodes')

check('calls are shared out among the nodes', async () => {
  same(await caller.call('math.add', { a: 2, b: 40 }), 42)
  const where = await Promise.all(Array.from({ length: 10 }, () => caller.call('math.where')))
  same([...new Set(where)].toSorted(), ['one', 'two'])
})

check('an error of the other node comes back', async () => {
  const error = await caller.call('math.fail').catch((error) => error)
  same([error.message, error.code], ['not today', 418])
})

check('an emitted event goes to one of a group, a broadcast to all', async () => {
  caller.emit('order.created', { id: 7 })
  await until(() => heard.length === 1, 'the event')
  caller.broadcast('order.paid', { id: 8 })
  await until(() => heard.length === 3, 'the broadcast')
  same(heard.slice(1).toSorted(), [['one', { id: 8 }], ['two', { id: 8 }]])
})

check('a node that leaves is not called any more', async () => {
  await workers[1].stop()
  await until(() => caller.registry.getNodeList({ onlyAvailable: true }).length === 2, 'two nodes to be left')
  same(await Promise.all(Array.from({ length: 4 }, () => caller.call('math.where'))), ['one', 'one', 'one', 'one'])
  await Promise.all([caller.stop(), workers[0].stop()])
})

await runAll()
