// node-redis: what an application with it does.

import assert from 'node:assert/strict'
import { createClient, createClientPool } from 'redis'
import { check, host, port, protocol, runAll, same, until } from '../support/checks.mjs'

function make(options = {}) {
  const client = createClient({ socket: { host, port, reconnectStrategy: 5 }, RESP: protocol, ...options })
  // A connection that is cut reports it here; the checks look at what happens afterwards.
  client.on('error', () => {})
  return client
}

async function using(options, run) {
  const client = await make(options).connect()
  try {
    return await run(client)
  } finally {
    client.destroy()
  }
}

const r = await make().connect()
const ids = (entries) => entries.map((entry) => entry.id)
const blockedClients = async () => Number(/blocked_clients:(\d+)/.exec(await r.info('clients'))[1])

check('connect with name and database', () =>
  using({ name: 'clerk', database: 4 }, async (c) => {
    same(await c.clientGetName(), 'clerk')
    same((await c.clientInfo()).db, 4)
    await c.set('where', 'four')
    same(await r.get('where'), null)
    same(await c.ping(), 'PONG')
    same(await c.echo('ÄÖÜ'), 'ÄÖÜ')
  }))

check('connect by URL', () =>
  using({ url: `redis://${host}:${port}/6`, socket: undefined }, async (c) => same((await c.clientInfo()).db, 6)))

check('INFO, CONFIG GET, COMMAND', async () => {
  assert.match(await r.info(), /redis_version:\d+\.\d+\.\d+\r\n/)
  same(await r.configGet('databases'), { databases: '16' })
  same(await r.configGet('no-such-setting'), {})
  const [xadd] = await r.commandInfo(['xadd'])
  same([xadd.name, xadd.arity], ['xadd', -5])
  assert.ok((await r.commandCount()) > 50)
  assert.ok(Math.abs(Number((await r.time())[0]) - Date.now() / 1000) < 60)
})

check('XADD, XRANGE, XREVRANGE, XLEN, XDEL, XTRIM', async () => {
  same(await r.xAdd('s', '1-1', { name: 'ada' }), '1-1')
  same(await r.xAdd('s', '1-*', { name: 'grace', city: 'new york' }), '1-2')
  assert.match(await r.xAdd('s', '*', { name: 'barbara' }), /^\d{13}-\d+$/)
  same(await r.xLen('s'), 3)
  same(await r.xRange('s', '-', '1-2'), [
    { id: '1-1', message: { name: 'ada' } },
    { id: '1-2', message: { name: 'grace', city: 'new york' } }
  ])
  same(ids(await r.xRevRange('s', '(1-2', '-')), ['1-1'])
  same(await r.xDel('s', ['1-1', '77-0']), 1)
  same(await r.xTrim('s', 'MAXLEN', 1), 1)
  same(await r.xAdd('no-such-stream', '*', { a: 'b' }, { TRIM: { strategy: 'MAXLEN', strategyModifier: '~', threshold: 10 } }).then((id) => typeof id), 'string')
  same(await r.xAddNoMkStream('missing', '*', { a: 'b' }), null)
  await assert.rejects(r.xAdd('s', '1-1', { a: 'b' }), /equal or smaller/)
})

check('XREAD over two streams', async () => {
  await r.xAdd('x1', '1-1', { n: '1' })
  await r.xAdd('x2', '2-2', { n: '2' })
  same(await r.xRead([{ key: 'x1', id: '0' }, { key: 'x2', id: '0' }], { COUNT: 10 }), [
    { name: 'x1', messages: [{ id: '1-1', message: { n: '1' } }] },
    { name: 'x2', messages: [{ id: '2-2', message: { n: '2' } }] }
  ])
  same(await r.xRead({ key: 'x1', id: '$' }), null)
})

check('XINFO', async () => {
  await r.xAdd('i', '1-0', { n: '1' })
  await r.xAdd('i', '2-0', { n: '2' })
  await r.xGroupCreate('i', 'g', '0')
  await r.xReadGroup('g', 'alice', { key: 'i', id: '>' }, { COUNT: 1 })
  const info = await r.xInfoStream('i')
  same([info.length, info['last-generated-id'], info['entries-added'], info.groups], [2, '2-0', 2, 1])
  same(info['first-entry'], { id: '1-0', message: { n: '1' } })
  const [group] = await r.xInfoGroups('i')
  same([group.name, group.consumers, group.pending, group['last-delivered-id'], group['entries-read'], group.lag], ['g', 1, 1, '1-0', 1, 1])
  const [consumer] = await r.xInfoConsumers('i', 'g')
  same([consumer.name, consumer.pending], ['alice', 1])
})

check('a group from XGROUP CREATE to XGROUP DESTROY', async () => {
  same(await r.xGroupCreate('work', 'g', '$', { MKSTREAM: true }), 'OK')
  await assert.rejects(r.xGroupCreate('work', 'g', '$'), /^.*BUSYGROUP/)
  const added = []
  for (let n = 0; n < 3; n++) added.push(await r.xAdd('work', '*', { n: String(n) }))
  const [{ name, messages }] = await r.xReadGroup('g', 'c1', { key: 'work', id: '>' }, { COUNT: 2 })
  same([name, ids(messages)], ['work', added.slice(0, 2)])
  same(await r.xAck('work', 'g', added[0]), 1)
  same(await r.xPending('work', 'g'), { pending: 1, firstId: added[1], lastId: added[1], consumers: [{ name: 'c1', deliveriesCounter: 1 }] })
  const [row] = await r.xPendingRange('work', 'g', '-', '+', 10)
  same([row.id, row.consumer, row.deliveriesCounter], [added[1], 'c1', 1])
  same(ids(await r.xClaim('work', 'g', 'c2', 0, added[1])), [added[1]])
  same(await r.xClaimJustId('work', 'g', 'c2', 0, added[1]), [added[1]])
  same(await r.xGroupCreateConsumer('work', 'g', 'c3'), 1)
  same(await r.xGroupDelConsumer('work', 'g', 'c2'), 1)
  same(await r.xGroupSetId('work', 'g', '0'), 'OK')
  same(await r.xGroupDestroy('work', 'g'), 1)
  await assert.rejects(r.xReadGroup('g', 'c1', { key: 'work', id: '>' }), /NOGROUP/)
})

check('XAUTOCLAIM', async () => {
  await r.xGroupCreate('auto', 'g', '0', { MKSTREAM: true })
  for (let n = 1; n <= 4; n++) await r.xAdd('auto', `${n}-0`, { n: String(n) })
  await r.xReadGroup('g', 'dead', { key: 'auto', id: '>' })
  await r.xDel('auto', '2-0')
  const claimed = await r.xAutoClaim('auto', 'g', 'alive', 0, '0-0', { COUNT: 100 })
  same([claimed.nextId, ids(claimed.messages), claimed.deletedMessages], ['0-0', ['1-0', '3-0', '4-0'], ['2-0']])
})

check('blocking reads time out', async () => {
  await using({}, async (c) => {
    const start = Date.now()
    same(await c.xRead({ key: 'quiet', id: '$' }, { BLOCK: 80 }), null)
    await c.xGroupCreate('quiet', 'g', '$', { MKSTREAM: true })
    same(await c.xReadGroup('g', 'c', { key: 'quiet', id: '>' }, { BLOCK: 80 }), null)
    assert.ok(Date.now() - start >= 155, `${Date.now() - start} ms`)
  })
})

check('a consumer that blocks gets what a producer adds', () =>
  using({}, async (c) => {
    await r.xGroupCreate('jobs', 'g', '$', { MKSTREAM: true })
    const seen = []
    const consumer = (async () => {
      while (seen.length < 100) {
        const reply = await c.xReadGroup('g', 'c', { key: 'jobs', id: '>' }, { BLOCK: 5000, COUNT: 10 })
        assert.ok(reply, 'the read timed out')
        for (const { id, message } of reply[0].messages) {
          seen.push(Number(message.n))
          await c.xAck('jobs', 'g', id)
        }
      }
    })()
    await until(async () => (await blockedClients()) > 0, 'a blocked client')
    await Promise.all(Array.from({ length: 100 }, (_, n) => r.xAdd('jobs', '*', { n: String(n) })))
    await consumer
    same(seen, Array.from({ length: 100 }, (_, n) => n))
    same((await r.xPending('jobs', 'g')).pending, 0)
  }))

check('SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE', () =>
  using({}, async (c) => {
    const heard = []
    await c.subscribe('news', (message, channel) => heard.push(['news', message, channel]))
    await c.pSubscribe('ne*', (message, channel) => heard.push(['ne*', message, channel]))
    await c.sSubscribe('shard', (message, channel) => heard.push(['shard', message, channel]))
    same(await r.publish('news', 'hello'), 2)
    same(await r.sPublish('shard', 'hi'), 1)
    await until(() => heard.length === 3, 'three messages')
    same(heard, [['news', 'hello', 'news'], ['ne*', 'hello', 'news'], ['shard', 'hi', 'shard']])
    same(await r.pubSubChannels('n*'), ['news'])
    same(await r.pubSubNumSub(['news', 'olds']), { news: 1, olds: 0 })
    same(await r.pubSubNumPat(), 1)
    same(await r.pubSubShardNumSub(['shard']), { shard: 1 })
    if (protocol === 3) same(await c.get('a key while subscribed'), null)
    await c.ping()
    await c.unsubscribe()
    await c.pUnsubscribe()
    await c.sUnsubscribe()
    same(await c.get('a key afterwards'), null)
    same(await r.publish('news', 'nobody'), 0)
  }))

check('binary messages', () =>
  using({}, async (c) => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n))
    let heard
    await c.subscribe('binary', (message) => (heard = message), true)
    await r.publish('binary', bytes)
    await until(() => heard, 'the message')
    assert.ok(bytes.equals(heard))
  }))

check('MULTI and EXEC', async () => {
  same(await r.multi().set('m', '1').incr('m').xAdd('m-stream', '1-1', { a: 'b' }).xLen('m-stream').exec(), ['OK', 2, '1-1', 1])
  await r.set('word', 'abc')
  await assert.rejects(r.multi().incr('word').set('after', 'still done').exec())
  same(await r.get('after'), 'still done')
})

check('WATCH: a conflict is noticed', () =>
  using({}, async (c) => {
    await c.set('balance', '10')
    await c.watch('balance')
    await r.set('balance', '50')
    await assert.rejects(c.multi().set('balance', '11').exec(), /watched keys/)
    await c.watch('balance')
    same(await c.multi().incr('balance').exec(), [51])
  }))

check('strings and expiry', async () => {
  same(await r.set('k', 'v', { expiration: { type: 'EX', value: 100 } }), 'OK')
  assert.ok((await r.ttl('k')) > 95)
  same(await r.set('k', 'w', { expiration: 'KEEPTTL', GET: true }), 'v')
  assert.ok((await r.pTTL('k')) > 90_000)
  same(await r.set('k', 'x', { condition: 'NX' }), null)
  same(await r.persist('k'), 1)
  same(await r.getDel('k'), 'w')
  same(await r.incrBy('n', 5), 5)
  same(await r.mSet({ a: '1', b: '2' }), 'OK')
  same(await r.mGet(['a', 'missing', 'b']), ['1', null, '2'])
  same(await r.del(['a', 'missing']), 1)
  await r.pSetEx('brief', 10, 'v')
  await until(async () => (await r.get('brief')) === null, 'the end of a key')
})

check('a pipeline of a thousand, replies in order', async () => {
  const replies = await Promise.all(Array.from({ length: 1000 }, () => r.incr('counter')))
  same(replies, Array.from({ length: 1000 }, (_, n) => n + 1))
})

check('SCAN', async () => {
  await Promise.all(Array.from({ length: 250 }, (_, n) => r.set(`scan:${n}`, 'v')))
  const found = new Set()
  for await (const keys of r.scanIterator({ MATCH: 'scan:*', COUNT: 20 })) for (const key of keys) found.add(key)
  same(found.size, 250)
})

check('a lock by SET NX PX', async () => {
  const lock = (token) => r.set('lock', token, { condition: 'NX', expiration: { type: 'PX', value: 30_000 } })
  same([await lock('mine'), await lock('theirs')], ['OK', null])
})

check('a pool of clients', async () => {
  const pool = createClientPool({ socket: { host, port }, RESP: protocol }, { minimum: 2, maximum: 8 })
  pool.on('error', () => {})
  await pool.connect()
  await Promise.all(Array.from({ length: 100 }, () => pool.incr('pooled')))
  same(await r.get('pooled'), '100')
  pool.destroy()
})

check('reconnects after CLIENT KILL, subscriptions too', () =>
  using({ name: 'victim' }, async (c) => {
    const heard = []
    if (protocol === 3) await c.subscribe('after-kill', (message) => heard.push(message))
    const victim = await c.clientId()
    same(await r.clientKill({ filter: 'ID', id: victim }), 1)
    await until(async () => c.isReady && (await c.clientId().catch(() => victim)) !== victim, 'a new connection')
    same(await c.clientGetName(), 'victim')
    if (protocol === 3) {
      await until(async () => (await r.publish('after-kill', 'again')) > 0, 'a new subscription')
      await until(() => heard.length > 0, 'a message on it')
    }
  }))

check('QUIT is answered', () => using({}, async (c) => same(await c.sendCommand(['QUIT']), 'OK')))

await runAll()
