// What the Node scripts share: named checks, one line of output per check.

import assert from 'node:assert/strict'

export const host = '127.0.0.1'
export const port = Number(process.env.PORT)
export const protocol = Number(process.env.PROTOCOL ?? '2')

const checks = []

/** Registers a check; they run in the order of the file. */
export function check(name, run) {
  checks.push([name, run])
}

/** Deep equality, whatever prototype a client gives to its maps. */
export function same(actual, expected, what) {
  assert.deepEqual(plain(actual), expected, what && `${what}: got ${JSON.stringify(actual)}`)
}

function plain(value) {
  if (Buffer.isBuffer(value) || value === null || typeof value !== 'object') return value
  if (Array.isArray(value)) return value.map(plain)
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits until `condition` holds; rejects after `ms`. */
export async function until(condition, what, ms = 5000) {
  const end = Date.now() + ms
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`never came: ${what}`)
    await pause(5)
  }
}

class Skip extends Error {}

/** Says that a check cannot be made against this server. */
export function skip(why) {
  throw new Skip(why)
}

export async function runAll() {
  for (const [name, run] of checks) {
    let timer
    try {
      const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error('no end after 20 s')), 20_000)
      })
      await Promise.race([run(), late])
      console.log(`ok ${name}`)
    } catch (error) {
      if (error instanceof Skip) {
        console.log(`skip ${name}: ${error.message}`)
        continue
      }
      console.log(`not ok ${name}: ${String(error.message ?? error).replace(/\s+/g, ' ').slice(0, 500)}`)
      console.error(error)
    } finally {
      clearTimeout(timer)
    }
  }
  console.log('done')
  process.exit(0)
}
