// Socket.IO's emitter: a process that is no Socket.IO server sends to the clients of two servers.

import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-adapter'
import { Emitter } from '@socket.io/redis-emitter'
import { createClient } from 'redis'
import { Server } from 'socket.io'
import { io } from 'socket.io-client'
import { check, host, port, protocol, runAll, same, until } from '../support/checks.mjs'

async function redis() {
  const client = createClient({ socket: { host, port }, RESP: protocol })
  client.on('error', () => {})
  return client.connect()
}

async function node() {
  const http = createServer()
  const server = new Server(http, { adapter: createAdapter(await redis(), await redis()) })
  await new Promise((resolve) => http.listen(0, host, resolve))
  const client = io(`http://${host}:${http.address().port}`, { transports: ['websocket'], forceNew: true })
  await new Promise((resolve, reject) => client.once('connect', resolve).once('connect_error', reject))
  return { server, client }
}

const [a, b] = [await node(), await node()]
await until(async () => (await a.server.fetchSockets()).length === 2, 'both servers to know of each other')
const emitter = new Emitter(await redis())
const heard = []
a.client.on('news', (...args) => heard.push(['a', ...args]))
b.client.on('news', (...args) => heard.push(['b', ...args]))

check('to everybody', async () => {
  emitter.emit('news', 'hello', { n: 1 })
  await until(() => heard.length === 2, 'a message to each client')
  same(heard.splice(0).toSorted(), [['a', 'hello', { n: 1 }], ['b', 'hello', { n: 1 }]])
})

check('to one room, which the emitter filled', async () => {
  emitter.in(b.client.id).socketsJoin('sports')
  await until(async () => (await a.server.in('sports').fetchSockets()).length === 1, 'the socket in the room')
  emitter.to('sports').emit('news', 'goal')
  emitter.except('sports').emit('news', 'no goal')
  await until(() => heard.length === 2, 'a message to each')
  same(heard.splice(0).toSorted(), [['a', 'no goal'], ['b', 'goal']])
})

check('to the servers themselves', async () => {
  const orders = []
  a.server.on('order', (what) => orders.push(['a', what]))
  b.server.on('order', (what) => orders.push(['b', what]))
  emitter.serverSideEmit('order', 'tidy up')
  await until(() => orders.length === 2, 'both servers')
  same(orders.toSorted(), [['a', 'tidy up'], ['b', 'tidy up']])
})

await runAll()
