// Libraries for Node that keep what they need in Redis: GraphQL subscriptions and resumable streams.

import { RedisPubSub } from 'graphql-redis-subscriptions'
import { Redis } from 'ioredis'
import { createResumableStreamContext } from 'resumable-stream/ioredis'
import { check, host, port, protocol, runAll, same, until } from './checks.mjs'

const connection = () => new Redis({ host, port, protocol })

check('graphql-redis-subscriptions: channels, patterns, async iteration', async () => {
  const pubsub = new RedisPubSub({ publisher: connection(), subscriber: connection() })
  const heard = []
  const plain = await pubsub.subscribe('created', (payload) => heard.push(['plain', payload]))
  const pattern = await pubsub.subscribe('crea*', (payload) => heard.push(['pattern', payload]), { pattern: true })
  await pubsub.publish('created', { id: 1 })
  await until(() => heard.length === 2, 'both subscriptions')
  same(heard.toSorted(), [['pattern', { id: 1 }], ['plain', { id: 1 }]])
  const iterator = pubsub.asyncIterator('ticks')
  const first = iterator.next()
  await until(async () => (await counter.pubsub('NUMSUB', 'ticks'))[1] === 1, 'the subscription of the iterator')
  await pubsub.publish('ticks', { tick: 1 })
  same((await first).value, { tick: 1 })
  await iterator.return()
  pubsub.unsubscribe(plain)
  pubsub.unsubscribe(pattern)
  await pubsub.close()
})

check('resumable-stream: a second reader gets the whole', async () => {
  const context = createResumableStreamContext({ waitUntil: null, publisher: connection(), subscriber: connection() })
  let controller
  const source = new ReadableStream({ start: (made) => (controller = made) })
  const first = await context.resumableStream('answer', () => source)
  controller.enqueue('once upon ')
  const second = await context.resumeExistingStream('answer')
  controller.enqueue('a time')
  controller.close()
  const text = async (stream) => {
    let all = ''
    for await (const chunk of stream) all += chunk
    return all
  }
  same(await Promise.all([text(first), text(second)]), ['once upon a time', 'once upon a time'])
})

const counter = connection()
await runAll()
