/**
 * `memoryRegions` and Redis under the same random programs: the same answers, the same `latest`, history and
 * notifications. What a test finds true of the one is true of the other.
 *
 * SEED=… replays a run that failed (the failure names it), RUNS=… shakes it harder.
 */
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { TailraceError } from '../../src/errors.ts'
import { memoryRegions } from '../../src/publish/memory.ts'
import type { Outgoing, RegionChange, RegionPublisher } from '../../src/publish/port.ts'
import { regionHistory } from '../../src/publish/reading.ts'
import { redisRegions } from '../../src/publish/redis.ts'
import { sharedRedis } from '../support/redis-shared.ts'
import { noSignal, snapshot } from './snapshots.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const numRuns = Number(process.env['RUNS'] ?? 60)
const timeout = 20_000 + numRuns * 200

const redis = await sharedRedis()
if (typeof redis === 'string') console.log(`skipped: ${redis}`)

const regions = ['mena', 'latam']

const step = fc
  .record({
    region: fc.constantFrom(...regions),
    id: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
    stamp: fc.record({
      incarnation: fc.constantFrom(9, 10),
      epoch: fc.constantFrom(1, 2),
      commit: fc.constantFrom(1, 2, 9, 10, 100),
      ordinal: fc.constantFrom(0, 1),
    }),
    body: fc.constantFrom(null, 'A', 'B', { much: 'C'.repeat(2_000) }),
    writer: fc.constantFrom('p', 'p', 'p', 'p', 'p', 'p', 'p', 'p', 'q'),
  })
  .map(({ region, body, ...more }) => snapshot(region, 0, body, more))

const program = fc.record({
  count: fc.constantFrom(0, 1, 2, 24),
  compress: fc.constantFrom(undefined, 'gzip' as const, 'brotli' as const),
  steps: fc.array(step, { minLength: 1, maxLength: 25 }),
})

/** All that can be seen of a publisher after a program. */
async function played(publisher: RegionPublisher, steps: readonly Outgoing[]): Promise<unknown> {
  const answers: unknown[] = []
  for (const one of steps) {
    answers.push(
      await publisher.persist(one, noSignal).catch((error: unknown) => (error as TailraceError).code),
    )
  }
  const histories = await Promise.all(
    regions.map(async (region) =>
      (await regionHistory(publisher, region)).map(({ persistedAt: _p, confirmedAt: _c, ...rest }) => rest),
    ),
  )
  const persisted = answers.filter((answer) => (answer as { status?: string }).status === 'persisted').length
  const told = (await changes(publisher, persisted)).map(({ region, id, stamp, isTombstone }) => ({
    region,
    id,
    stamp,
    isTombstone,
  }))
  return {
    answers,
    standing: Object.fromEntries(await publisher.standing(regions)),
    read: [...(await publisher.read(regions)).values()].map(({ id, body, schema }) => ({ id, body, schema })),
    histories,
    // in which order two regions' are told is nobody's promise
    told: regions.map((region) => told.filter((change) => change.region === region)),
  }
}

/** The first so many notifications, from the beginning on. */
async function changes(publisher: RegionPublisher, count: number): Promise<RegionChange[]> {
  const found: RegionChange[] = []
  const end = new AbortController()
  const after = Object.fromEntries(regions.map((region) => [region, '0-0']))
  if (count === 0) return found
  for await (const change of publisher.watch(regions, { signal: end.signal, after })) {
    found.push(change)
    if (found.length === count) break
  }
  return found
}

test.skipIf(typeof redis === 'string')(
  'in memory the same rules hold as in Redis',
  async () => {
    if (typeof redis === 'string') return
    await fc.assert(
      fc.asyncProperty(program, async ({ count, compress, steps }) => {
        const options = { history: { count }, compress }
        await using twin = memoryRegions(options)
        await using real = redisRegions({ ...options, url: redis.url, prefix: `test-${randomUUID()}` })
        expect(await played(twin, steps)).toEqual(await played(real, steps))
      }),
      { seed, numRuns },
    )
  },
  timeout,
)

test('H77: a publisher that was emptied says so, and takes what it had as new', async () => {
  const publisher = memoryRegions()
  let told = 0
  const forget = publisher.onReconnect(() => told++)
  const first = snapshot('mena', 1, 'A')
  expect(await publisher.persist(first, noSignal)).toMatchObject({ status: 'persisted', wasEmpty: true })
  publisher.empty()
  expect(told).toBe(1)
  expect(await publisher.persist(first, noSignal)).toMatchObject({ status: 'persisted', wasEmpty: true })
  forget()
  publisher.empty()
  expect(told).toBe(1)
})

test('a region that nobody confirms is gone after its TTL', async () => {
  let now = 1_000
  const publisher = memoryRegions({ ttlMs: 100, now: () => now })
  await publisher.persist(snapshot('mena', 5, 'A'), noSignal)
  now += 60
  await publisher.persist(snapshot('mena', 6, 'A'), noSignal)
  now += 60
  expect([...(await publisher.read(['mena'])).keys()]).toEqual(['mena'])
  now += 60
  expect((await publisher.read(['mena'])).size).toBe(0)
  expect(await publisher.persist(snapshot('mena', 1, 'A'), noSignal)).toMatchObject({ status: 'persisted' })
})
