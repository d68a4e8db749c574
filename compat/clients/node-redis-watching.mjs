// node-redis as a watcher of keys: keyspace notifications, and a cache in the client that the server invalidates.

import assert from 'node:assert/strict'
import { BasicClientSideCache, createClient } from 'redis'
import { check, host, port, protocol, runAll, same, skip, until } from '../support/checks.mjs'

async function connect(options = {}) {
  const client = createClient({ socket: { host, port }, RESP: protocol, ...options })
  // A connection that is cut reports it here; the checks look at what happens afterwards.
  client.on('error', () => {})
  return client.connect()
}

const r = await connect()

/** Skips the check when the server does not send notifications. */
const notify = (events) => r.configSet('notify-keyspace-events', events).catch((error) => skip(error.message))

check('keyspace notifications: streams, strings, the end of a key', async () => {
  await notify('KEA')
  const listener = await connect()
  const events = []
  await listener.pSubscribe('__keyevent@0__:*', (key, channel) => events.push([channel.split(':')[1], key]))
  await r.xAdd('orders', '*', { n: '1' })
  await r.xGroupCreate('orders', 'g', '0')
  await r.xDel('orders', (await r.xRange('orders', '-', '+'))[0].id)
  await r.set('brief', 'x', { expiration: { type: 'PX', value: 20 } })
  await until(async () => (await r.exists('brief')) === 0 && events.some(([event]) => event === 'expired'), 'the end of the key')
  await r.del('orders')
  await until(() => events.some(([event]) => event === 'del'), 'the last event')
  same(events, [['xadd', 'orders'], ['xgroup-create', 'orders'], ['xdel', 'orders'], ['set', 'brief'], ['expire', 'brief'], ['expired', 'brief'], ['del', 'orders']])
  listener.destroy()
})

check('keyspace notifications: by key, only those that are asked for', async () => {
  await notify('K$')
  const listener = await connect()
  const events = []
  await listener.subscribe(['__keyspace@0__:watched', '__keyspace@0__:end'], (event, channel) => events.push([channel.split(':')[1], event]))
  await r.set('watched', '1')
  await r.incr('watched')
  await r.expire('watched', 100)
  await r.set('other', '1')
  await r.set('end', '1')
  await until(() => events.length >= 3, 'the events')
  same(events, [['watched', 'set'], ['watched', 'incrby'], ['end', 'set']])
  await notify('')
  listener.destroy()
})

if (protocol === 3) {
  check('a cache in the client: what others change is asked for again', async () => {
    if (await r.sendCommand(['CLIENT', 'TRACKING', 'OFF']).catch(() => true) === true) skip('CLIENT TRACKING is not known')
    const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 0, evictPolicy: 'LRU' })
    const c = await connect({ clientSideCache: cache })
    await r.set('price', '10')
    for (let n = 0; n < 10; n++) same(await c.get('price'), '10')
    const { hitCount, missCount } = cache.stats()
    same([hitCount, missCount], [9, 1])
    await r.set('price', '11')
    await until(async () => (await c.get('price')) === '11', 'the new price')
    await r.set('short', 'x', { expiration: { type: 'PX', value: 30 } })
    same(await c.get('short'), 'x')
    await until(async () => (await c.get('short')) === null, 'the end of a key that is cached')
    same(await c.get('price'), '11')
    await r.flushAll()
    await until(async () => (await c.get('price')) === null, 'the flush')
    c.destroy()
  })
}

await runAll()
