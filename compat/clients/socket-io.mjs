// Socket.IO between two servers, over each of its Redis adapters.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter'
import { createAdapter as createStreamsAdapter } from '@socket.io/redis-streams-adapter'
import { createClient } from 'redis'
import { Server } from 'socket.io'
import { io } from 'socket.io-client'
import { check, host, port, protocol, runAll, same, until } from './checks.mjs'

async function redis() {
  const client = createClient({ socket: { host, port }, RESP: protocol })
  client.on('error', () => {})
  return client.connect()
}

const adapters = {
  'classic adapter': async () => createAdapter(await redis(), await redis()),
  'sharded adapter': async () => createShardedAdapter(await redis(), await redis()),
  'streams adapter': async () => createStreamsAdapter(await redis(), { blockTimeInMs: 200 })
}

async function node(adapter) {
  const http = createServer()
  const server = new Server(http, { adapter, connectionStateRecovery: {} })
  await new Promise((resolve) => http.listen(0, host, resolve))
  server.on('connection', (socket) => socket.on('join', (room, done) => (socket.join(room), done())))
  const client = io(`http://${host}:${http.address().port}`, { transports: ['websocket'] })
  await new Promise((resolve, reject) => client.once('connect', resolve).once('connect_error', reject))
  return { server, client }
}

for (const [name, make] of Object.entries(adapters)) {
  check(`${name}: rooms, broadcasts and requests between two servers`, async () => {
    const a = await node(await make())
    const b = await node(await make())
    try {
      await until(async () => (await a.server.fetchSockets()).length === 2, 'both servers to know of each other')
      const heard = []
      a.client.on('news', (...args) => heard.push(['a', ...args]))
      b.client.on('news', (...args) => heard.push(['b', ...args]))
      await b.client.emitWithAck('join', 'sports').catch(() => {})
      await until(async () => (await a.server.in('sports').fetchSockets()).length === 1, 'the room on the other server')
      a.server.to('sports').emit('news', 'goal', Buffer.from([0, 255, 13, 10]))
      await until(() => heard.length === 1, 'a message to a room of the other server')
      same(heard[0].slice(0, 2), ['b', 'goal'])
      assert.deepEqual([...heard[0][2]], [0, 255, 13, 10])
      for (let n = 0; n < 50; n++) a.server.emit('news', n)
      await until(() => heard.length === 101, 'fifty broadcasts to both')
      for (const who of ['a', 'b']) same(heard.filter((one) => one[0] === who && one[1] !== 'goal').map((one) => one[1]), Array.from({ length: 50 }, (_, n) => n))
      const answered = new Promise((resolve) => b.server.on('hello', (text, done) => (done('answer to ' + text), resolve())))
      same(await a.server.serverSideEmitWithAck('hello', 'question'), ['answer to question'])
      await answered
    } finally {
      a.client.close()
      b.client.close()
      await Promise.all([a.server.close(), b.server.close()])
    }
  })
}

await runAll()
