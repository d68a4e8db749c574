// Socket.IO between two servers, over the adapter named as the argument: classic, sharded or streams.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter'
import { createAdapter as createStreamsAdapter } from '@socket.io/redis-streams-adapter'
import { createClient } from 'redis'
import { Server } from 'socket.io'
import { io } from 'socket.io-client'
import { check, host, port, protocol, runAll, same, until } from '../support/checks.mjs'

const wanted = process.argv[2]

async function redis() {
  const client = createClient({ socket: { host, port }, RESP: protocol })
  client.on('error', () => {})
  return client.connect()
}

const adapters = {
  classic: async () => createAdapter(await redis(), await redis()),
  sharded: async () => createShardedAdapter(await redis(), await redis(), { subscriptionMode: 'dynamic' }),
  streams: async () => createStreamsAdapter(await redis())
}

/** A server and one client that is connected to it. */
async function node(adapter) {
  const http = createServer()
  const server = new Server(http, { adapter, connectionStateRecovery: {} })
  await new Promise((resolve) => http.listen(0, host, resolve))
  server.on('connection', (socket) => socket.on('join', (room, done) => (socket.join(room), done())))
  const url = `http://${host}:${http.address().port}`
  const client = io(url, { transports: ['websocket'], reconnection: false, forceNew: true })
  await connected(client)
  return { server, client, url }
}

const connected = (client) => new Promise((resolve, reject) => client.once('connect', resolve).once('connect_error', reject))

async function withTwo(run) {
  const a = await node(await adapters[wanted]())
  const b = await node(await adapters[wanted]())
  try {
    await until(async () => (await a.server.fetchSockets()).length === 2, 'both servers to know of each other')
    await until(async () => (await b.server.fetchSockets()).length === 2, 'both servers to know of each other')
    if (wanted === 'streams') await both(a, b)
    await run(a, b)
  } finally {
    a.client.close()
    b.client.close()
    await Promise.all([a.server.close(), b.server.close()])
  }
}

/**
 * The streams adapter hears nothing before its first XREAD, and no event tells of that: sends until each client has heard from both
 * servers, and then until the last of that has arrived everywhere.
 */
async function both(a, b) {
  const last = { a: {}, b: {} }
  a.client.on('prime', (from, n) => (last.a[from] = n))
  b.client.on('prime', (from, n) => (last.b[from] = n))
  let sent = 0
  await until(() => {
    a.server.emit('prime', 'a', ++sent)
    b.server.emit('prime', 'b', sent)
    return Object.keys(last.a).length === 2 && Object.keys(last.b).length === 2
  }, 'a first message from the other server')
  await until(() => [last.a.a, last.a.b, last.b.a, last.b.b].every((n) => n === sent), 'the last message from each server')
  a.client.off('prime')
  b.client.off('prime')
}

check('rooms and broadcasts reach the clients of the other server, in order', () =>
  withTwo(async (a, b) => {
    const heard = []
    a.client.on('news', (...args) => heard.push(['a', ...args]))
    b.client.on('news', (...args) => heard.push(['b', ...args]))
    await b.client.emitWithAck('join', 'sports')
    await until(async () => (await a.server.in('sports').fetchSockets()).length === 1, 'the room on the other server')
    a.server.to('sports').emit('news', 'goal', Buffer.from([0, 255, 13, 10]))
    await until(() => heard.length === 1, 'a message to a room of the other server')
    same(heard[0].slice(0, 2), ['b', 'goal'])
    assert.deepEqual([...heard[0][2]], [0, 255, 13, 10])
    for (let n = 0; n < 50; n++) a.server.emit('news', n)
    await until(() => heard.length === 101, 'fifty broadcasts to both')
    const numbers = Array.from({ length: 50 }, (_, n) => n)
    for (const who of ['a', 'b']) same(heard.filter((one) => one[0] === who && one[1] !== 'goal').map((one) => one[1]), numbers)
  }))

check('one server asks the others, and a broadcast collects the answers of all clients', () =>
  withTwo(async (a, b) => {
    b.server.on('hello', (text, done) => done('answer to ' + text))
    same(await a.server.serverSideEmitWithAck('hello', 'question'), ['answer to question'])
    a.client.on('vote', (done) => done('yes'))
    b.client.on('vote', (done) => done('no'))
    same((await a.server.timeout(5000).emitWithAck('vote')).toSorted(), ['no', 'yes'])
  }))

check('sockets of the other server join, leave and are disconnected', () =>
  withTwo(async (a, b) => {
    const there = async (room) => (await a.server.in(room).fetchSockets()).length
    a.server.in(b.client.id).socketsJoin('moved')
    await until(async () => (await there('moved')) === 1, 'the socket to join')
    a.server.in('moved').socketsLeave('moved')
    await until(async () => (await there('moved')) === 0, 'the socket to leave')
    const gone = new Promise((resolve) => b.client.once('disconnect', resolve))
    a.server.in(b.client.id).disconnectSockets(true)
    await gone
    await until(async () => (await a.server.fetchSockets()).length === 1, 'one socket to be left')
  }))

if (wanted === 'streams') {
  // Where the adapter keeps the session of a client that is away.
  const session = (client) => `sio:session:${client._pid}`

  check('connection state recovery: a client that was away goes on at the other server and misses nothing', () =>
    withTwo(async (a, b) => {
      const heard = []
      const { client } = a
      client.on('news', (n) => heard.push(n))
      await client.emitWithAck('join', 'sports')
      a.server.to('sports').emit('news', 0)
      await until(() => heard.length === 1, 'the first message')
      const id = client.id
      client.io.engine.close()
      await until(async () => (await a.server.fetchSockets()).length === 1, 'the server to see it go')
      const store = await redis()
      await until(async () => (await store.exists(session(client))) === 1, 'the session in Redis')
      const before = await store.xLen('socket.io')
      for (let n = 1; n <= 20; n++) {
        b.server.to('sports').emit('news', n)
        b.server.to('politics').emit('news', -n)
      }
      await until(async () => (await store.xLen('socket.io')) === before + 40, 'the messages in the stream')
      client.io.uri = b.url
      client.connect()
      await connected(client)
      same([client.recovered, client.id], [true, id])
      await until(() => heard.length === 21, 'what was missed')
      a.server.to('sports').emit('news', 21)
      await until(() => heard.length === 22, 'the room at the new server')
      same(heard, Array.from({ length: 22 }, (_, n) => n))
      same(await store.exists(session(client)), 0)
      store.destroy()
    }))

  check('a session that has run out starts afresh', () =>
    withTwo(async (a, b) => {
      const { client } = a
      await client.emitWithAck('join', 'sports')
      const heard = []
      client.on('news', (n) => heard.push(n))
      a.server.to('sports').emit('news', 0)
      await until(() => heard.length === 1, 'the first message')
      client.io.engine.close()
      const store = await redis()
      await until(async () => (await store.exists(session(client))) === 1, 'the session in Redis')
      assert.ok((await store.pTTL(session(client))) > 100_000)
      await store.pExpire(session(client), 1)
      await until(async () => (await store.exists(session(client))) === 0, 'the end of the session')
      client.io.uri = b.url
      client.connect()
      await connected(client)
      same(client.recovered, false)
      store.destroy()
    }))
}

await runAll()
