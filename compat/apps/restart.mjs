// Applications that go on through a restart of the server: a queue of jobs, subscriptions, Socket.IO with connection state recovery.
// compat/run starts the server again in its directory when a program has shut it down.

import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-streams-adapter'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'
import { io } from 'socket.io-client'
import { check, host, pause, port, protocol, runAll, same, until } from '../support/checks.mjs'

function connection() {
  const client = new Redis({ host, port, protocol, retryStrategy: () => 20, maxRetriesPerRequest: null })
  // A connection that is cut reports it here; the checks look at what happens afterwards.
  client.on('error', () => {})
  return client
}

const r = connection()
const runId = async () => /run_id:(\w+)/.exec(await r.info('server'))[1]

async function restart() {
  const before = await runId()
  // It does not come back: it would send the command again.
  const other = new Redis({ host, port, protocol, retryStrategy: () => null, autoResendUnfulfilledCommands: false })
  other.on('error', () => {})
  await other.shutdown().catch(() => {})
  await until(async () => (await runId()) !== before, 'the server to be back', 15_000)
}

const numbers = (length) => Array.from({ length }, (_, n) => n)

check('a queue: each job is done, and what a dead worker held is still pending', async () => {
  await r.xgroup('CREATE', 'jobs', 'g', '$', 'MKSTREAM')
  for (const n of numbers(10)) await r.xadd('jobs', '*', 'n', n)
  await r.xreadgroup('GROUP', 'g', 'dead', 'COUNT', 10, 'STREAMS', 'jobs', '>')
  const before = await r.xpending('jobs', 'g')
  const done = new Set()
  const worker = connection()
  const working = (async () => {
    // A reply that was lost on the way has left its jobs pending for this worker: it asks for them when there is nothing new.
    let from = '>'
    while (done.size < 100) {
      const reply = await worker.xreadgroup('GROUP', 'g', 'alive', 'COUNT', 5, 'BLOCK', 300, 'STREAMS', 'jobs', from).catch(() => null)
      const jobs = reply?.[0][1] ?? []
      from = jobs.length === 0 && from === '>' ? '0' : '>'
      for (const [id, [, n]] of jobs) {
        done.add(Number(n))
        await worker.xack('jobs', 'g', id)
      }
    }
  })()
  // ioredis sends again what had no reply, so a job may be there twice.
  const producing = (async () => {
    for (const n of numbers(100)) {
      await r.xadd('jobs', '*', 'n', 10 + n)
      await pause(2)
    }
  })()
  await until(() => done.size >= 20, 'twenty jobs to be done')
  await restart()
  await Promise.all([producing, working])
  same([...done].toSorted((a, b) => a - b), numbers(100).map((n) => n + 10))
  const held = (await r.xpending('jobs', 'g', '-', '+', 1000, 'dead')).map(([id, , , deliveries]) => [id, deliveries])
  same([held.length, held[0], held.at(-1)], [10, [before[1], 1], [before[2], 1]])
  const [, claimed] = await r.xautoclaim('jobs', 'g', 'alive', 0, '0-0', 'COUNT', 10, 'JUSTID')
  same(claimed, held.map(([id]) => id))
  worker.disconnect()
})

check('strings keep their value and their time to live', async () => {
  await r.set('kept', 'value', 'EX', 1000)
  await r.set('gone', 'value', 'PX', 1)
  await restart()
  same(await r.mget('kept', 'gone'), ['value', null])
  const left = await r.ttl('kept')
  same(left > 950 && left <= 1000, true, `a time to live of ${left} s`)
})

check('a subscriber subscribes again by itself', async () => {
  const subscriber = connection()
  const heard = []
  subscriber.on('message', (channel, message) => heard.push([channel, message]))
  await subscriber.subscribe('news')
  same(await r.publish('news', 'before'), 1)
  await restart()
  await until(async () => (await r.publish('news', 'after')) === 1, 'the subscription')
  await until(() => heard.length >= 2, 'both messages')
  same(heard.slice(0, 2), [['news', 'before'], ['news', 'after']])
  subscriber.disconnect()
})

check('Socket.IO: a client that was away while the server restarted misses nothing', async () => {
  const http = createServer()
  const adapter = createAdapter(connection(), { blockTimeInMs: 300 })
  const server = new Server(http, { adapter, connectionStateRecovery: {} })
  await new Promise((resolve) => http.listen(0, host, resolve))
  const client = io(`http://${host}:${http.address().port}`, { transports: ['websocket'], reconnection: false })
  const heard = []
  client.on('news', (n) => heard.push(n))
  const connected = () => new Promise((resolve, reject) => client.once('connect', resolve).once('connect_error', reject))
  await connected()
  server.emit('news', 0)
  await until(() => heard.length === 1, 'the first message')
  const session = `sio:session:${client._pid}`
  client.io.engine.close()
  await until(async () => (await r.exists(session)) === 1, 'the session in Redis')
  for (const n of numbers(20)) server.emit('news', n + 1)
  await until(async () => (await r.xlen('socket.io')) === 21, 'the messages in the stream')
  await restart()
  client.connect()
  await connected()
  same(client.recovered, true)
  await until(() => heard.length === 21, 'what was missed')
  same(heard, numbers(21))
  client.close()
  await server.close()
})

await runAll()
