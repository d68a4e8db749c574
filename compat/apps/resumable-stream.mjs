// resumable-stream: the answer of a language model that a second browser tab, or the first after a reload, reads from the start.

import { Redis } from 'ioredis'
import { createResumableStreamContext } from 'resumable-stream/ioredis'
import { check, host, port, protocol, runAll, same } from '../support/checks.mjs'

const connection = () => new Redis({ host, port, protocol })
const server = () => createResumableStreamContext({ waitUntil: null, publisher: connection(), subscriber: connection() })

async function text(stream) {
  let all = ''
  for await (const chunk of stream) all += chunk
  return all
}

check('a reader at another server gets what was said before it came and all that follows', async () => {
  const [here, there] = [server(), server()]
  let controller
  const source = new ReadableStream({ start: (made) => (controller = made) })
  const first = await here.resumableStream('answer', () => source)
  controller.enqueue('once upon ')
  const second = await there.resumeExistingStream('answer')
  controller.enqueue('a time, ')
  const third = await there.resumeExistingStream('answer', 5)
  controller.enqueue('there was')
  controller.close()
  const whole = 'once upon a time, there was'
  same(await Promise.all([text(first), text(second), text(third)]), [whole, whole, whole.slice(5)])
})

check('a stream that is over is known to be over, one that never was is not', async () => {
  const context = server()
  const source = () => new ReadableStream({ start: (made) => (made.enqueue('short'), made.close()) })
  same(await text(await context.createNewResumableStream('brief', source)), 'short')
  same(await context.resumeExistingStream('brief'), null)
  same(await context.resumeExistingStream('nobody'), undefined)
})

await runAll()
