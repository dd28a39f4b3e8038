/** The rules of a delivery, each against a real Redis: what becomes `latest`, what is kept, who is told. */
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { regionKeys } from '../../src/publish/keys.ts'
import type { Outgoing, RegionPublisher } from '../../src/publish/port.ts'
import { readRegion, regionHistory } from '../../src/publish/reading.ts'
import { redisRegions, type RedisRegionsOptions } from '../../src/publish/redis.ts'
import { persistScript } from '../../src/publish/script.ts'
import { sharedRedis } from '../support/redis-shared.ts'
import { dumpOf, noSignal, notified, snapshot } from './snapshots.ts'

const region = 'mena'
const redis = await sharedRedis()
if (typeof redis === 'string') console.log(`skipped: ${redis}`)
const check = typeof redis === 'string' ? test.skip : test

let client: Redis
let prefix: string
const publishers: RegionPublisher[] = []

function regions(options: Omit<RedisRegionsOptions, 'url'> = {}): RegionPublisher {
  if (typeof redis === 'string') throw new Error(redis)
  const publisher = redisRegions({ url: redis.url, prefix, ...options })
  publishers.push(publisher)
  return publisher
}

const persist = async (publisher: RegionPublisher, outgoing: Outgoing) =>
  (await publisher.persist(outgoing, noSignal)).status

const standing = async (publisher: RegionPublisher) => (await publisher.standing([region])).get(region)

const held = async (publisher: RegionPublisher) =>
  (await regionHistory(publisher, region)).map(({ id, body }) => ({ id, body }))

/** The server's clock moves on by itself; asking is what takes the time. */
async function tick(milliseconds: number): Promise<void> {
  const now = async () => {
    const [seconds, micros] = await client.time()
    return Number(seconds) * 1_000 + Number(micros) / 1_000
  }
  const until = (await now()) + milliseconds
  while ((await now()) < until);
}

beforeAll(async () => {
  if (typeof redis === 'string') return
  client = new Redis(redis.port, redis.host)
  await client.ping()
})

beforeEach(async () => {
  await Promise.all(publishers.splice(0).map((publisher) => publisher.close()))
  prefix = `test-${randomUUID()}`
})

afterAll(async () => {
  await Promise.all(publishers.map((publisher) => publisher.close()))
  client?.disconnect()
})

check('H50 H58 I14: the same delivery said again has one effect', async () => {
  const publisher = regions()
  const first = snapshot(region, 1, { oil: 1 })
  expect(await publisher.persist(first, noSignal)).toEqual({ status: 'persisted', bytes: 9, wasEmpty: true })
  expect(await publisher.persist(first, noSignal)).toEqual({ status: 'replayed', bytes: 9, wasEmpty: false })
  expect(await notified(client, prefix, region)).toEqual([first.id])
  expect(await held(publisher)).toEqual([{ id: first.id, body: { oil: 1 } }])
  // also once it is no longer the latest, with the stamp it had
  expect(await persist(publisher, snapshot(region, 2, { oil: 2 }))).toBe('persisted')
  expect(await persist(publisher, first)).toBe('replayed')
  expect(await notified(client, prefix, region)).toHaveLength(2)
})

check('H54: A, B, A publishes three times', async () => {
  const publisher = regions()
  for (const [commit, body] of ['A', 'B', 'A'].entries()) {
    expect(await persist(publisher, snapshot(region, commit, body))).toBe('persisted')
  }
  expect((await readRegion(publisher, region))?.body).toBe('A')
  expect(await notified(client, prefix, region)).toEqual(['0-"A"', '1-"B"', '2-"A"'])
})

check('H51 H57 I13: only a higher stamp moves latest; 9 is below 10 and no clock is asked', async () => {
  const publisher = regions()
  const at = (incarnation: number, epoch: number, commit: number, ordinal: number) => ({
    ...snapshot(region, 0, { incarnation, epoch, commit, ordinal }),
    id: `${incarnation}.${epoch}.${commit}.${ordinal}`,
    stamp: { incarnation, epoch, commit, ordinal },
  })
  // a year 9999 is a number as any other: what comes after it still wins
  const far = 253_402_300_799_000
  const order = [
    at(9, 9, 9, 9),
    at(9, 9, 9, 10),
    at(9, 9, 10, 9),
    at(9, 10, 1, 0),
    at(10, 0, 0, 0),
    at(far, 1, 1, 0),
    at(far, 1, 2, 0),
    at(Number.MAX_SAFE_INTEGER, 0, 0, 0),
  ]
  for (const [place, next] of order.entries()) {
    expect(await persist(publisher, next)).toBe('persisted')
    const before = await dumpOf(client, prefix, region)
    for (const older of order.slice(0, place + 1)) {
      expect(await persist(publisher, { ...older, id: `late ${older.id}`, hash: 'late' })).toBe('stale')
    }
    expect(await dumpOf(client, prefix, region)).toEqual(before)
  }
})

check('H76: X, a delayed Y, X again: Y is stale and X stays', async () => {
  const publisher = regions()
  const y = snapshot(region, 2, 'Y')
  expect(await persist(publisher, snapshot(region, 1, 'X'))).toBe('persisted')
  expect(await persist(publisher, snapshot(region, 3, 'X'))).toBe('duplicate')
  expect(await persist(publisher, y)).toBe('stale')
  expect((await readRegion(publisher, region))?.body).toBe('X')
})

check('a duplicate advances the stamp and the lifetime; its id is not taken and nobody is told', async () => {
  const publisher = regions()
  const first = snapshot(region, 1, { a: 1, b: [1, 2] })
  await persist(publisher, first)
  const before = (await readRegion(publisher, region))!
  for (const key of Object.values(regionKeys(prefix, region)) as string[]) await client.pexpire(key, 60_000)
  await tick(1)
  const again = snapshot(region, 7, { b: [1, 2], a: 1 })
  expect(await persist(publisher, again)).toBe('duplicate')
  const now = (await readRegion(publisher, region))!
  expect(now).toMatchObject({ id: first.id, stamp: again.stamp, persistedAt: before.persistedAt })
  expect(now.confirmedAt.getTime()).toBeGreaterThan(before.confirmedAt.getTime())
  for (const key of Object.values(regionKeys(prefix, region)) as string[]) {
    if ((await client.exists(key)) === 1) expect(await client.pttl(key)).toBeGreaterThan(1_000_000)
  }
  expect(await notified(client, prefix, region)).toEqual([first.id])
  // with a lower stamp it is one as well, and nothing moves
  const unmoved = await dumpOf(client, prefix, region)
  expect(await persist(publisher, snapshot(region, 3, { a: 1, b: [1, 2] }, { id: 'other' }))).toBe(
    'duplicate',
  )
  expect(await dumpOf(client, prefix, region)).toEqual(unmoved)
})

check(
  'the current snapshot offered again under a higher stamp is replayed there; under a lower one nowhere',
  async () => {
    const publisher = regions()
    const first = snapshot(region, 5, 'X')
    await persist(publisher, first)
    const higher = { ...first, stamp: { ...first.stamp, epoch: 2 } }
    expect(await persist(publisher, higher)).toBe('replayed')
    expect((await standing(publisher))?.stamp).toEqual(higher.stamp)
    const before = await dumpOf(client, prefix, region)
    expect(await persist(publisher, first)).toBe('replayed')
    expect(await dumpOf(client, prefix, region)).toEqual(before)
    expect(await notified(client, prefix, region)).toEqual([first.id])
  },
)

check('H75: a snapshot that a rollback restores wins under its own stamp and is stored once', async () => {
  const publisher = regions()
  const restored = snapshot(region, 1, 'A')
  const dropped = snapshot(region, 2, 'B')
  for (const one of [restored, dropped]) await persist(publisher, one)
  const again = { ...restored, stamp: { ...restored.stamp, commit: 3 } }
  expect(await persist(publisher, again)).toBe('persisted')
  expect(await held(publisher)).toEqual([
    { id: restored.id, body: 'A' },
    { id: dropped.id, body: 'B' },
  ])
  const { index, bodies } = regionKeys(prefix, region)
  expect(await client.hkeys(bodies)).toEqual([dropped.id])
  expect(await client.zrange(index, 0, '-1')).toEqual([dropped.id, restored.id])
  expect(await notified(client, prefix, region)).toEqual([restored.id, dropped.id, restored.id])
})

check('H75: a tombstone takes the snapshot away, keeps its stamp, and two are the same content', async () => {
  const publisher = regions()
  const first = snapshot(region, 1, 'A')
  await persist(publisher, first)
  const tombstone = snapshot(region, 2, null)
  expect(await persist(publisher, tombstone)).toBe('persisted')
  expect(await readRegion(publisher, region)).toBeUndefined()
  expect((await standing(publisher))?.stamp).toEqual(tombstone.stamp)
  expect(await held(publisher)).toEqual([{ id: first.id, body: 'A' }])
  expect(await persist(publisher, snapshot(region, 3, null))).toBe('duplicate')
  expect(await persist(publisher, { ...first, id: 'late', stamp: tombstone.stamp })).toBe('stale')
  expect(await persist(publisher, snapshot(region, 4, 'B'))).toBe('persisted')
  expect(await held(publisher)).toEqual([
    { id: '4-"B"', body: 'B' },
    { id: first.id, body: 'A' },
  ])
  const entries = await client.xrange(regionKeys(prefix, region).events, '-', '+')
  expect(entries.map(([, fields]) => fields.slice(-2))).toEqual([
    ['tombstone', '0'],
    ['tombstone', '1'],
    ['tombstone', '0'],
  ])
})

check('a tombstone where nothing was holds its place against what is older', async () => {
  const publisher = regions()
  expect(await publisher.persist(snapshot(region, 2, null), noSignal)).toEqual({
    status: 'persisted',
    bytes: 0,
    wasEmpty: true,
  })
  expect(await persist(publisher, snapshot(region, 1, 'A'))).toBe('stale')
})

check('every key has the TTL; a body is stored once, the current one in latest only', async () => {
  const publisher = regions({ ttlMs: 5_000_000 })
  for (const commit of [1, 2, 3]) await persist(publisher, snapshot(region, commit, `body ${commit}`))
  const keys = regionKeys(prefix, region)
  for (const key of Object.values(keys) as string[]) {
    expect(await client.pttl(key)).toBeGreaterThan(4_000_000)
    expect(await client.pttl(key)).toBeLessThanOrEqual(5_000_000)
  }
  expect(await client.hget(keys.latest, 'body')).toBe('"body 3"')
  expect((await client.hkeys(keys.bodies)).sort()).toEqual(['1-"body 1"', '2-"body 2"'])
})

check('history is trimmed by count and by age, bodies with it, and never the current one', async () => {
  const few = regions({ history: { count: 2 } })
  for (const commit of [1, 2, 3, 4, 5]) await persist(few, snapshot(region, commit, commit))
  expect(await held(few)).toEqual([5, 4, 3].map((n) => ({ id: `${n}-${n}`, body: n })))
  const { index, bodies } = regionKeys(prefix, region)
  expect(await client.zcard(index)).toBe(3)
  expect(await client.hlen(bodies)).toBe(2)

  const young = regions({ history: { ageMs: 20 } })
  await tick(25)
  await persist(young, snapshot(region, 6, 6))
  await persist(young, snapshot(region, 7, 7))
  expect(await held(young)).toEqual([7, 6].map((n) => ({ id: `${n}-${n}`, body: n })))
  expect(await client.hkeys(bodies)).toEqual(['6-6'])

  const none = regions({ history: { count: 0 } })
  await persist(none, snapshot(region, 8, 8))
  expect(await held(none)).toEqual([{ id: '8-8', body: 8 }])
  expect(await client.exists(index, bodies)).toBe(0)
})

check('H57: history keeps its order when the clock of the server goes back', async () => {
  const publisher = regions()
  const { index } = regionKeys(prefix, region)
  await persist(publisher, snapshot(region, 1, 1))
  await client.zadd(index, (Date.now() + 3_600_000) * 1_000, '1-1')
  for (const commit of [2, 3]) await persist(publisher, snapshot(region, commit, commit))
  expect((await held(publisher)).map(({ id }) => id)).toEqual(['3-3', '2-2', '1-1'])
})

check('history asks for no more than it is told, and the stream is cut', async () => {
  const publisher = regions({ streamLength: 10 })
  for (let commit = 0; commit < 250; commit++) await persist(publisher, snapshot(region, commit, commit))
  expect(await regionHistory(publisher, region, { limit: 2 })).toHaveLength(2)
  expect(await regionHistory(publisher, region)).toHaveLength(25)
  // cut by whole nodes of the stream
  expect(await client.xlen(regionKeys(prefix, region).events)).toBeLessThan(200)
})

check('H52: a key of another kind is refused and nothing is written', async () => {
  const publisher = regions()
  for (const [name, key] of Object.entries(regionKeys(prefix, region)) as [string, string][]) {
    await client.set(key, 'not ours')
    const before = await dumpOf(client, prefix, region)
    await expect(publisher.persist(snapshot(region, 1, name), noSignal)).rejects.toMatchObject({
      name: 'FatalError',
      code: 'REGION_WRONG_TYPE',
      key,
      message: expect.stringMatching(`the key '${key}' holds a string`) as string,
    })
    expect(await dumpOf(client, prefix, region)).toEqual(before)
    await client.del(key)
  }
  await client.hset(regionKeys(prefix, region).latest, 'name', 'a hash of somebody')
  await expect(publisher.persist(snapshot(region, 1, 'A'), noSignal)).rejects.toMatchObject({
    code: 'REGION_WRONG_TYPE',
  })
})

check("nobody else's region is touched", async () => {
  const publisher = regions()
  await persist(publisher, snapshot(region, 1, 'A'))
  const before = await dumpOf(client, prefix, region)
  await expect(publisher.persist(snapshot(region, 2, 'B', { writer: '' }), noSignal)).rejects.toMatchObject({
    name: 'FatalError',
    code: 'REGION_FOREIGN',
    message: expect.stringMatching(
      /belongs to 'pipeline', not to publishRegions without an indexer/,
    ) as string,
  })
  expect(await dumpOf(client, prefix, region)).toEqual(before)
})

check('H52: arguments that make no sense are refused by the script itself', async () => {
  const keys = Object.values(regionKeys(prefix, region)) as string[]
  const sound = ['p', 'id', '1 2 3 4', 'hash', 'json', '1', '"A"', '0', 24, 1_000, 1_000, 10, '0']
  const wrong: readonly (readonly [number, string])[] = [
    [1, ''],
    [2, '1 2 3'],
    [2, '1 2 3 x'],
    [2, '1 2 3 -4'],
    [2, '1 2 3 99999999999999999'],
    [3, ''],
    [7, '2'],
    [8, 'many'],
    [10, '0'],
    [11, '0'],
  ]
  for (const [at, value] of wrong) {
    const args = sound.with(at, value)
    await expect(client.eval(persistScript.lua, 4, ...keys, ...args)).rejects.toThrow('TAILRACE_ARGUMENTS')
  }
  expect(await client.exists(...keys)).toBe(0)
  expect(await client.eval(persistScript.lua, 4, ...keys, ...sound)).toEqual(['persisted', 1, 3])
})

check('H52: a user who may run some of the commands and not all changes nothing', async (context) => {
  const { port } = new URL(typeof redis === 'string' ? '' : redis.url)
  const [, version = ''] = /redis_version:(\S+)/.exec(await client.info('server')) ?? []
  if (Number.parseInt(version) < 7) return context.skip(`Redis ${version} cannot be asked what a user may`)
  for (const command of ['xadd', 'hdel', 'zadd', 'zcard', 'zrevrange', 'zrangebyscore', 'pexpire']) {
    const user = `user-${randomUUID()}`
    await client.acl('SETUSER', user, 'on', '>secret', '~*', '+@all', `-${command}`)
    const publisher = redisRegions({ url: `redis://${user}:secret@127.0.0.1:${port}`, prefix })
    publishers.push(publisher)
    await expect(persist(publisher, snapshot(region, 1, { oil: 1 }))).rejects.toMatchObject({
      code: 'REDIS_NOT_PERMITTED',
    })
    expect(await client.keys(`${prefix}:*{*`)).toEqual([])
    await client.acl('DELUSER', user)
  }
})
