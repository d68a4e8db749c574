// mqemitter-redis: what the Aedes MQTT broker uses to pass messages between its instances.

import mqemitter from 'mqemitter-redis'
import { check, host, port, runAll, same, until } from '../support/checks.mjs'

const brokers = [mqemitter({ host, port }), mqemitter({ host, port })]
const [one, two] = brokers
const on = (broker, topic, listener) => new Promise((resolve) => broker.on(topic, listener, resolve))
const off = (broker, topic, listener) => new Promise((resolve) => broker.removeListener(topic, listener, resolve))
const emit = (broker, message) => new Promise((resolve, reject) => broker.emit(message, (error) => (error ? reject(error) : resolve())))

check('a message passes from one broker to the other, bytes and all', async () => {
  const heard = []
  const listener = (message, done) => (heard.push(message), done())
  await on(two, 'sensors/kitchen', listener)
  await emit(one, { topic: 'sensors/kitchen', payload: Buffer.from([0, 255, 13, 10]), qos: 1 })
  await until(() => heard.length === 1, 'the message')
  same([heard[0].topic, heard[0].qos, [...heard[0].payload]], ['sensors/kitchen', 1, [0, 255, 13, 10]])
  await off(two, 'sensors/kitchen', listener)
})

check('wildcards of one level and of many', async () => {
  const heard = []
  const level = (message, done) => (heard.push(['+', message.topic]), done())
  const all = (message, done) => (heard.push(['#', message.topic]), done())
  await on(two, 'home/+/light', level)
  await on(two, 'home/#', all)
  for (const topic of ['home/hall/light', 'home/hall/heat', 'garden/light']) await emit(one, { topic })
  await until(() => heard.length >= 3, 'three deliveries')
  same(heard.toSorted(), [['#', 'home/hall/heat'], ['#', 'home/hall/light'], ['+', 'home/hall/light']])
  await off(two, 'home/+/light', level)
  await off(two, 'home/#', all)
})

check('a thousand messages in order', async () => {
  const heard = []
  const listener = (message, done) => (heard.push(message.n), done())
  await on(two, 'counter', listener)
  for (let n = 0; n < 1000; n++) one.emit({ topic: 'counter', n })
  await until(() => heard.length === 1000, 'all of them')
  same(heard, Array.from({ length: 1000 }, (_, n) => n))
})

check('both close', () => Promise.all(brokers.map((broker) => new Promise((resolve) => broker.close(resolve)))))

await runAll()
