// NestJS microservices over their Redis transport: requests with replies, errors, events, patterns of topics.

import 'reflect-metadata'
import { Controller, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { ClientProxyFactory, EventPattern, MessagePattern, RpcException, Transport } from '@nestjs/microservices'
import { from, firstValueFrom, lastValueFrom, timeout, toArray } from 'rxjs'
import { check, host, port, protocol, runAll, same, until } from '../support/checks.mjs'

const transport = (more) => ({ transport: Transport.REDIS, options: { host, port, protocol, ...more } })

/** Decorators by hand, since this file is not compiled. */
function decorate(controller, methods) {
  for (const [name, decorator] of Object.entries(methods)) {
    decorator(controller.prototype, name, Object.getOwnPropertyDescriptor(controller.prototype, name))
  }
  Controller()(controller)
}

async function service(controller, more) {
  class Application {}
  Module({ controllers: [controller] })(Application)
  const app = await NestFactory.createMicroservice(Application, { ...transport(more), logger: false })
  await app.listen()
  return app
}

const heard = []

class Shop {
  sum(numbers) {
    return numbers.reduce((a, b) => a + b, 0)
  }
  countdown(start) {
    return from(Array.from({ length: start }, (_, n) => start - n))
  }
  refuse() {
    throw new RpcException('sold out')
  }
  created(order) {
    heard.push(['order.created', order])
  }
}
decorate(Shop, {
  sum: MessagePattern({ cmd: 'sum' }),
  countdown: MessagePattern('countdown'),
  refuse: MessagePattern('refuse'),
  created: EventPattern('order.created')
})

class Audit {
  any(order) {
    heard.push(['order.*', order])
  }
}
decorate(Audit, { any: EventPattern('order.*') })

const shop = await service(Shop)
const audit = await service(Audit, { wildcards: true })
const client = ClientProxyFactory.create(transport())
await client.connect()

check('a request has its reply', async () => {
  same(await firstValueFrom(client.send({ cmd: 'sum' }, [1, 2, 39]).pipe(timeout(5000))), 42)
})

check('a hundred requests at once, each with its own reply', async () => {
  const replies = await Promise.all(Array.from({ length: 100 }, (_, n) => firstValueFrom(client.send({ cmd: 'sum' }, [n, 1000]).pipe(timeout(5000)))))
  same(replies, Array.from({ length: 100 }, (_, n) => n + 1000))
})

check('a reply of many parts', async () => {
  same(await lastValueFrom(client.send('countdown', 5).pipe(timeout(5000), toArray())), [5, 4, 3, 2, 1])
})

check('an error comes back as one', async () => {
  const error = await firstValueFrom(client.send('refuse', {}).pipe(timeout(5000))).then(() => null, (error) => error)
  same(error.message ?? error, 'sold out')
})

check('events reach every service whose topic or pattern they meet', async () => {
  client.emit('order.created', { id: 7 }).subscribe()
  await until(() => heard.length === 2, 'both services')
  same(heard.toSorted(), [['order.*', { id: 7 }], ['order.created', { id: 7 }]])
})

check('the services stop in good order', async () => {
  await client.close()
  await Promise.all([shop.close(), audit.close()])
})

await runAll()
