// graphql-redis-subscriptions: a GraphQL schema with a subscription, its events carried by pub/sub between two processes' worth of connections.

import { buildSchema, parse, subscribe } from 'graphql'
import { RedisPubSub } from 'graphql-redis-subscriptions'
import { Redis } from 'ioredis'
import { check, host, port, protocol, runAll, same, until } from '../support/checks.mjs'

const connection = () => new Redis({ host, port, protocol })
const make = () => new RedisPubSub({ publisher: connection(), subscriber: connection() })
const r = connection()
const listening = async (channel) => (await r.pubsub('NUMSUB', channel))[1]

check('a subscription of a schema is fed by another server', async () => {
  const [here, there] = [make(), make()]
  const schema = buildSchema('type Query { now: Int } type Order { id: ID, total: Int } type Subscription { orderCreated: Order }')
  const rootValue = { orderCreated: () => here.asyncIterableIterator('ORDER_CREATED') }
  const results = await subscribe({ schema, document: parse('subscription { orderCreated { id total } }'), rootValue })
  const got = []
  const reader = (async () => {
    for await (const { data } of results) if (got.push(data.orderCreated) && data.orderCreated.id === 'o3') break
  })()
  // The library listens a moment after Redis has the subscription.
  await until(async () => {
    await there.publish('ORDER_CREATED', { orderCreated: { id: 'first', total: 0 } })
    return got.length > 0
  }, 'an event')
  for (let n = 1; n <= 3; n++) await there.publish('ORDER_CREATED', { orderCreated: { id: `o${n}`, total: n * 100 } })
  await reader
  same(got.filter(({ id }) => id !== 'first'), [{ id: 'o1', total: 100 }, { id: 'o2', total: 200 }, { id: 'o3', total: 300 }])
  await until(async () => (await listening('ORDER_CREATED')) === 0, 'the end of the subscription')
  await Promise.all([here.close(), there.close()])
})

check('channels and patterns, one Redis subscription however many listen', async () => {
  const pubsub = make()
  const heard = []
  const plain = [
    await pubsub.subscribe('created', (payload) => heard.push(['one', payload])),
    await pubsub.subscribe('created', (payload) => heard.push(['two', payload]))
  ]
  const pattern = await pubsub.subscribe('crea*', (payload) => heard.push(['pattern', payload]), { pattern: true })
  same([await listening('created'), await r.pubsub('NUMPAT')], [1, 1])
  await pubsub.publish('created', { id: 1 })
  await until(() => heard.length === 3, 'all three')
  same(heard.toSorted(), [['one', { id: 1 }], ['pattern', { id: 1 }], ['two', { id: 1 }]])
  for (const id of [...plain, pattern]) pubsub.unsubscribe(id)
  await until(async () => (await listening('created')) === 0 && (await r.pubsub('NUMPAT')) === 0, 'the end of the subscriptions')
  await pubsub.close()
})

await runAll()
