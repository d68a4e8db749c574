// ioredis, of the major version named as the argument: what an application with it does.

import assert from 'node:assert/strict'
import { check, host, port, protocol, runAll, same, until } from '../support/checks.mjs'

const { Redis } = await import(process.argv[2] ?? 'ioredis')

function make(options = {}) {
  const client = new Redis({ host, port, protocol, retryStrategy: () => 5, lazyConnect: true, ...options })
  // A connection that is cut reports it here; the checks look at what happens afterwards.
  client.on('error', () => {})
  return client
}

async function using(options, run) {
  const client = make(options)
  await client.connect()
  try {
    return await run(client)
  } finally {
    client.disconnect()
  }
}

const r = make()
await r.connect()
const blockedClients = async () => Number(/blocked_clients:(\d+)/.exec(await r.info('clients'))[1])

check('connect with name and database, ready check', () =>
  using({ connectionName: 'clerk', db: 4, enableReadyCheck: true }, async (c) => {
    same(c.status, 'ready')
    same(await c.client('GETNAME'), 'clerk')
    assert.match(await c.client('INFO'), / db=4 /)
    await c.set('where', 'four')
    same(await r.get('where'), null)
  }))

check('connect by URL', async () => {
  const c = new Redis(`redis://${host}:${port}/6`, { protocol })
  assert.match(await c.client('INFO'), / db=6 /)
  same(await c.quit(), 'OK')
})

check('INFO, CONFIG GET, COMMAND', async () => {
  const info = await r.info()
  for (const field of ['redis_version:', 'loading:0', 'role:master', 'run_id:', 'tcp_port:']) assert.ok(info.includes(field), field)
  same(await r.config('GET', 'databases'), ['databases', '16'])
  same(await r.config('GET', 'no-such-setting'), [])
  const [xadd] = await r.command('INFO', 'xadd')
  same(xadd.slice(0, 2), ['xadd', -5])
})

check('XADD, XRANGE, XREVRANGE, XLEN, XDEL, XTRIM', async () => {
  same(await r.xadd('s', '1-1', 'name', 'ada'), '1-1')
  same(await r.xadd('s', '1-*', 'name', 'grace', 'city', 'new york'), '1-2')
  assert.match(await r.xadd('s', 'MAXLEN', '~', 1000, '*', 'name', 'barbara'), /^\d{13}-\d+$/)
  same(await r.xlen('s'), 3)
  same(await r.xrange('s', '-', '1-2'), [['1-1', ['name', 'ada']], ['1-2', ['name', 'grace', 'city', 'new york']]])
  same(await r.xrevrange('s', '(1-2', '-', 'COUNT', 5), [['1-1', ['name', 'ada']]])
  same(await r.xdel('s', '1-1', '77-0'), 1)
  same(await r.xtrim('s', 'MAXLEN', 1), 1)
  same(await r.xadd('missing', 'NOMKSTREAM', '*', 'a', 'b'), null)
  await assert.rejects(r.xadd('s', '1-1', 'a', 'b'), /equal or smaller/)
})

check('XREAD over two streams', async () => {
  await r.xadd('x1', '1-1', 'n', '1')
  await r.xadd('x2', '2-2', 'n', '2')
  same(await r.xread('COUNT', 10, 'STREAMS', 'x1', 'x2', '0', '0'), [
    ['x1', [['1-1', ['n', '1']]]],
    ['x2', [['2-2', ['n', '2']]]]
  ])
  same(await r.xread('STREAMS', 'x1', '$'), null)
})

check('XINFO', async () => {
  await r.xadd('i', '1-0', 'n', '1')
  await r.xadd('i', '2-0', 'n', '2')
  await r.xgroup('CREATE', 'i', 'g', '0')
  await r.xreadgroup('GROUP', 'g', 'alice', 'COUNT', 1, 'STREAMS', 'i', '>')
  const fields = (flat) => Object.fromEntries(Array.from({ length: flat.length / 2 }, (_, n) => [flat[2 * n], flat[2 * n + 1]]))
  const info = fields(await r.xinfo('STREAM', 'i'))
  same([info.length, info['last-generated-id'], info['first-entry']], [2, '2-0', ['1-0', ['n', '1']]])
  const [group] = (await r.xinfo('GROUPS', 'i')).map(fields)
  same([group.name, group.pending, group['entries-read'], group.lag], ['g', 1, 1, 1])
  const [consumer] = (await r.xinfo('CONSUMERS', 'i', 'g')).map(fields)
  same([consumer.name, consumer.pending], ['alice', 1])
})

check('a group from XGROUP CREATE to XGROUP DESTROY', async () => {
  same(await r.xgroup('CREATE', 'work', 'g', '$', 'MKSTREAM'), 'OK')
  await assert.rejects(r.xgroup('CREATE', 'work', 'g', '$'), /BUSYGROUP/)
  const added = []
  for (let n = 0; n < 3; n++) added.push(await r.xadd('work', '*', 'n', n))
  const reply = await r.xreadgroup('GROUP', 'g', 'c1', 'COUNT', 2, 'STREAMS', 'work', '>')
  same(reply, [['work', [[added[0], ['n', '0']], [added[1], ['n', '1']]]]])
  same(await r.xack('work', 'g', added[0]), 1)
  same(await r.xpending('work', 'g'), [1, added[1], added[1], [['c1', '1']]])
  const [[id, consumer, , deliveries]] = await r.xpending('work', 'g', '-', '+', 10)
  same([id, consumer, deliveries], [added[1], 'c1', 1])
  same(await r.xclaim('work', 'g', 'c2', 0, added[1]), [[added[1], ['n', '1']]])
  same(await r.xclaim('work', 'g', 'c2', 0, added[1], 'JUSTID'), [added[1]])
  same(await r.xgroup('DELCONSUMER', 'work', 'g', 'c2'), 1)
  same(await r.xgroup('SETID', 'work', 'g', '0'), 'OK')
  same(await r.xgroup('DESTROY', 'work', 'g'), 1)
  await assert.rejects(r.xreadgroup('GROUP', 'g', 'c1', 'STREAMS', 'work', '>'), /NOGROUP/)
})

check('XAUTOCLAIM', async () => {
  await r.xgroup('CREATE', 'auto', 'g', '0', 'MKSTREAM')
  for (let n = 1; n <= 4; n++) await r.xadd('auto', `${n}-0`, 'n', n)
  await r.xreadgroup('GROUP', 'g', 'dead', 'STREAMS', 'auto', '>')
  await r.xdel('auto', '2-0')
  const [cursor, entries, gone] = await r.xautoclaim('auto', 'g', 'alive', 0, '0-0', 'COUNT', 100)
  same([cursor, entries.map(([id]) => id), gone], ['0-0', ['1-0', '3-0', '4-0'], ['2-0']])
})

check('blocking reads time out', () =>
  using({}, async (c) => {
    const start = Date.now()
    same(await c.xread('BLOCK', 80, 'STREAMS', 'quiet', '$'), null)
    await c.xgroup('CREATE', 'quiet', 'g', '$', 'MKSTREAM')
    same(await c.xreadgroup('GROUP', 'g', 'c', 'BLOCK', 80, 'STREAMS', 'quiet', '>'), null)
    assert.ok(Date.now() - start >= 155, `${Date.now() - start} ms`)
  }))

check('a consumer that blocks gets what a producer adds', () =>
  using({}, async (c) => {
    await r.xgroup('CREATE', 'jobs', 'g', '$', 'MKSTREAM')
    const seen = []
    const consumer = (async () => {
      while (seen.length < 100) {
        const reply = await c.xreadgroup('GROUP', 'g', 'c', 'COUNT', 10, 'BLOCK', 5000, 'STREAMS', 'jobs', '>')
        assert.ok(reply, 'the read timed out')
        for (const [id, fields] of reply[0][1]) {
          seen.push(Number(fields[1]))
          await c.xack('jobs', 'g', id)
        }
      }
    })()
    await until(async () => (await blockedClients()) > 0, 'a blocked client')
    await Promise.all(Array.from({ length: 100 }, (_, n) => r.xadd('jobs', '*', 'n', n)))
    await consumer
    same(seen, Array.from({ length: 100 }, (_, n) => n))
  }))

check('SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE', () =>
  using({}, async (c) => {
    const heard = []
    c.on('message', (channel, message) => heard.push([channel, message]))
    c.on('pmessage', (pattern, channel, message) => heard.push([pattern, channel, message]))
    c.on('smessage', (channel, message) => heard.push(['s', channel, message]))
    same(await c.subscribe('news', 'sports'), 2)
    same(await c.psubscribe('ne*'), 3)
    same(await c.ssubscribe('shard'), 1)
    same(await r.publish('news', 'hello'), 2)
    same(await r.spublish('shard', 'hi'), 1)
    await until(() => heard.length === 3, 'three messages')
    same(heard, [['news', 'hello'], ['ne*', 'news', 'hello'], ['s', 'shard', 'hi']])
    same(await r.pubsub('NUMSUB', 'news', 'olds'), ['news', 1, 'olds', 0])
    same(await r.pubsub('SHARDNUMSUB', 'shard'), ['shard', 1])
    await c.sunsubscribe('shard')
    await c.punsubscribe('ne*')
    same(await c.unsubscribe('news', 'sports'), 0)
    same(await c.get('a key afterwards'), null)
  }))

check('binary values', async () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n))
  await r.set(bytes, bytes)
  assert.ok(bytes.equals(await r.getBuffer(bytes)))
})

check('MULTI and EXEC', async () => {
  same(await r.multi().set('m', 1).incr('m').xadd('m-stream', '1-1', 'a', 'b').exec(), [[null, 'OK'], [null, 2], [null, '1-1']])
  await r.set('word', 'abc')
  const replies = await r.multi().incr('word').set('after', 'still done').exec()
  assert.match(replies[0][0].message, /not an integer/)
  same(replies[1], [null, 'OK'])
  await assert.rejects(r.multi().xadd('too-few').exec(), /EXECABORT/)
})

check('WATCH: a conflict is noticed', () =>
  using({}, async (c) => {
    await c.set('balance', 10)
    await c.watch('balance')
    await r.set('balance', 50)
    same(await c.multi().set('balance', 11).exec(), null)
    await c.watch('balance')
    same(await c.multi().incr('balance').exec(), [[null, 51]])
  }))

check('strings and expiry', async () => {
  same(await r.set('k', 'v', 'EX', 100), 'OK')
  assert.ok((await r.ttl('k')) > 95)
  same(await r.set('k', 'w', 'KEEPTTL'), 'OK')
  assert.ok((await r.pttl('k')) > 90_000)
  same(await r.set('k', 'x', 'NX'), null)
  same(await r.set('k', 'x', 'XX', 'GET'), 'w')
  same(await r.getdel('k'), 'x')
  same(await r.incrby('n', 5), 5)
  same(await r.mset({ a: 1, b: 2 }), 'OK')
  same(await r.mget('a', 'missing', 'b'), ['1', null, '2'])
  same(await r.del('a', 'missing'), 1)
  await r.psetex('brief', 10, 'v')
  await until(async () => (await r.get('brief')) === null, 'the end of a key')
})

check('a pipeline of a thousand, replies in order', async () => {
  const pipeline = r.pipeline()
  for (let n = 0; n < 1000; n++) pipeline.incr('counter')
  same(await pipeline.exec(), Array.from({ length: 1000 }, (_, n) => [null, n + 1]))
})

check('automatic pipelining', () =>
  using({ enableAutoPipelining: true }, async (c) => {
    const replies = await Promise.all(Array.from({ length: 200 }, (_, n) => c.set(`auto:${n}`, n)))
    same(replies.every((reply) => reply === 'OK'), true)
  }))

check('SCAN', async () => {
  await Promise.all(Array.from({ length: 250 }, (_, n) => r.set(`scan:${n}`, 'v')))
  const found = new Set()
  for await (const keys of r.scanStream({ match: 'scan:*', count: 20 })) for (const key of keys) found.add(key)
  same(found.size, 250)
})

check('key prefixes reach the stream commands', () =>
  using({ keyPrefix: 'tenant:' }, async (c) => {
    await c.xadd('s', '1-1', 'a', 'b')
    same((await c.xread('STREAMS', 's', '0'))[0][0], 'tenant:s')
    same(await r.xlen('tenant:s'), 1)
  }))

check('a lock by SET NX PX', async () => {
  same(await r.set('lock', 'mine', 'PX', 30_000, 'NX'), 'OK')
  same(await r.set('lock', 'theirs', 'PX', 30_000, 'NX'), null)
})

check('reconnects after CLIENT KILL, subscriptions too', () =>
  using({ connectionName: 'victim' }, async (c) => {
    const heard = []
    c.on('message', (channel, message) => heard.push(message))
    await c.subscribe('after-kill')
    const list = await r.client('LIST', 'TYPE', 'pubsub')
    const victim = /id=(\d+) .*name=victim/.exec(list)[1]
    same(await r.client('KILL', 'ID', victim), 1)
    await until(async () => (await r.publish('after-kill', 'again')) > 0, 'a new subscription')
    await until(() => heard.length > 0, 'a message on it')
  }))

check('QUIT is answered', async () => {
  const c = make()
  await c.connect()
  same(await c.quit(), 'OK')
})

await runAll()
