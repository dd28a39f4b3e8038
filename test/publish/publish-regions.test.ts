/** Publishing without an indexer: every region is settled, told, and none costs another anything. */
import { expect, test } from 'vitest'
import { ConfigurationError, RetryableError } from '../../src/errors.ts'
import { memoryRegions } from '../../src/publish/memory.ts'
import type { Outgoing, RegionPublisher } from '../../src/publish/port.ts'
import { publishRegions, type RegionPublication } from '../../src/publish/publish-regions.ts'
import { readRegion, readRegions } from '../../src/publish/reading.ts'
import { gatedRegions } from '../../src/testing/index.ts'

const quick = { attempts: 3, attemptMs: 1_000, backoffMs: 1, maxBackoffMs: 2 }

const snapshots = (bodies: Readonly<Record<string, unknown>>, tag = 'a'): RegionPublication[] =>
  Object.entries(bodies).map(([region, body]) => ({ region, id: `${region}-${tag}`, body }))

/** As the given publisher, but for what some regions meet. */
function failing(publisher: RegionPublisher, of: (snapshot: Outgoing) => Error | undefined): RegionPublisher {
  return {
    ...gatedRegions(publisher).regions,
    persist(snapshot, signal) {
      const error = of(snapshot)
      return error === undefined ? publisher.persist(snapshot, signal) : Promise.reject(error)
    },
  }
}

test('results by region, in the order given, and a summary', async () => {
  const publisher = memoryRegions()
  const first = await publishRegions(publisher, snapshots({ mena: { a: 1n }, latam: { b: new Date(0) } }))
  expect(Object.keys(first.results)).toEqual(['mena', 'latam'])
  expect(first.results['mena']).toMatchObject({ status: 'persisted', attempts: 1, bytes: 9 })
  expect(first.summary).toMatchObject({ regions: 2, persisted: 2, failed: 0, exitCode: 0 })
  expect(await readRegions(publisher, ['mena', 'latam', 'none'])).toMatchObject({
    mena: { body: { a: '1' } },
    latam: { body: { b: '1970-01-01T00:00:00.000Z' } },
  })
  const again = await publishRegions(publisher, snapshots({ mena: { a: 1n }, latam: { b: 2 } }, 'b'))
  expect(again.summary).toMatchObject({ persisted: 1, duplicate: 1, exitCode: 0 })
  const replayed = await publishRegions(publisher, snapshots({ latam: { b: 2 } }, 'b'))
  expect(replayed.results['latam']?.status).toBe('replayed')
})

test('B6, H54: A, B, A under ids of their own publishes three times', async () => {
  const publisher = memoryRegions()
  for (const [body, tag] of [
    ['A', '1'],
    ['B', '2'],
    ['A', '3'],
  ] as const) {
    const { results } = await publishRegions(publisher, snapshots({ mena: body }, tag))
    expect(results['mena']?.status).toBe('persisted')
  }
  expect((await readRegion(publisher, 'mena'))?.body).toBe('A')
})

test('B4, H53, H55: a region that fails is told as failed, and costs the others nothing', async () => {
  const inner = memoryRegions(quick)
  const publisher = failing(inner, ({ region }) => {
    if (region === 'down') return new RetryableError('DOWN', 'down')
    return region === 'refused' ? new ConfigurationError('NO', 'no') : undefined
  })
  const settled: string[] = []
  const { results, summary } = await publishRegions(
    publisher,
    snapshots({ down: 1, refused: 2, good: 3, circular: () => 1 }),
    { settled: (region) => settled.push(region) },
  )
  expect(results).toMatchObject({
    down: { status: 'failed', attempts: 3, error: { code: 'DOWN' } },
    refused: { status: 'failed', attempts: 1, error: { code: 'NO' } },
    good: { status: 'persisted' },
    circular: { status: 'failed', error: { code: 'BODY_NOT_SERIALISABLE' } },
  })
  expect(summary).toMatchObject({ persisted: 1, failed: 3, exitCode: 1 })
  expect(settled.toSorted()).toEqual(['circular', 'down', 'good', 'refused'])
  expect(settled.at(-1)).toBe('down')
})

test.each([
  ['all transient', new RetryableError('DOWN', 'down'), 75],
  ['all by configuration', new ConfigurationError('NOAUTH', 'no'), 2],
  ['all for another reason', new Error('?'), 1],
] as const)('H53: an outage is no quiet day: %s', async (_what, error, exitCode) => {
  const publisher = failing(memoryRegions(quick), () => error)
  const { summary } = await publishRegions(publisher, snapshots({ a: 1, b: 2 }))
  expect(summary).toMatchObject({ persisted: 0, failed: 2, exitCode })
})

test('a transient fault is retried under the same id and stamp, until it lands', async () => {
  const seen: Outgoing[] = []
  const publisher = failing(memoryRegions(quick), (snapshot) => {
    seen.push(snapshot)
    return seen.length < 3 ? new RetryableError('DOWN', 'down') : undefined
  })
  const { results } = await publishRegions(publisher, snapshots({ a: 1 }))
  expect(results['a']).toMatchObject({ status: 'persisted', attempts: 3 })
  const told = { id: 'a-a', stamp: seen[0]!.stamp }
  expect(seen.map(({ id, stamp }) => ({ id, stamp }))).toEqual([told, told, told])
})

test('H51, H76: a call keeps its stamp when its publisher reconnects before the next attempt', async () => {
  const inner = memoryRegions(quick)
  const stamps: Outgoing['stamp'][] = []
  let runs = 0
  const faulty = failing(inner, ({ stamp }) => {
    stamps.push(stamp)
    if (stamps.length > 1) return undefined
    // tells that it has reconnected: the next call counts its run anew
    inner.empty()
    return new RetryableError('DOWN', 'down')
  })
  // a server that counts on
  const publisher = { ...faulty, nextRun: () => Promise.resolve(++runs) }
  await publishRegions(publisher, snapshots({ a: 1 }))
  expect(stamps).toEqual([stamps[0], stamps[0]])
})

test('H55: an attempt that never ends meets its deadline', async () => {
  const { regions, gates } = gatedRegions(memoryRegions({ ...quick, attempts: 1, attemptMs: 50 }))
  gates.persist.hold()
  const { results, summary } = await publishRegions(regions, snapshots({ hung: 1 }))
  expect(results['hung']).toMatchObject({ status: 'failed', error: { code: 'REGION_DEADLINE' } })
  expect(summary.exitCode).toBe(75)
})

test('H51: a later run wins, whoever comes last; the earlier one is told, and it is no success', async () => {
  const inner = memoryRegions(quick)
  const early = { ...gatedRegions(inner).regions }
  const late = { ...gatedRegions(inner).regions }
  // each has its run from its first call on
  await publishRegions(early, snapshots({ a: 'early' }))
  await publishRegions(late, snapshots({ a: 'late' }, 'late'))
  const { results, summary } = await publishRegions(early, snapshots({ a: 'early again' }, 'again'))
  expect(results['a']).toMatchObject({ status: 'stale', error: { code: 'REGION_STALE' } })
  expect(summary).toMatchObject({ stale: 1, exitCode: 1 })
  expect((await readRegion(inner, 'a'))?.body).toBe('late')
  // what was overtaken stays behind; what comes after it does not
  const next = await publishRegions(early, snapshots({ a: 'next' }, 'next'))
  expect(next.results['a']?.status).toBe('persisted')
})

test('aborted: what is not settled has failed, nothing goes on', async () => {
  const { regions, gates } = gatedRegions(memoryRegions(quick))
  gates.persist.hold()
  const abort = new AbortController()
  const publishing = publishRegions(regions, snapshots({ a: 1 }), { signal: abort.signal })
  await gates.persist.arrived()
  abort.abort()
  const { results } = await publishing
  expect(results['a']).toMatchObject({ status: 'failed', error: { code: 'ABORTED' } })
  const at = await publishRegions(regions, snapshots({ a: 1 }), { signal: abort.signal })
  expect(at.summary.failed).toBe(1)
})

test('a dry run tells keys, lifetimes and bytes, and writes nothing', async () => {
  const publisher = memoryRegions({ maxBytes: 100 })
  const lines: string[] = []
  const { results, summary } = await publishRegions(
    publisher,
    snapshots({ mena: { a: 1 }, large: 'x'.repeat(200) }),
    { dryRun: (line) => lines.push(line) },
  )
  expect(results).toMatchObject({
    mena: { status: 'planned', keys: [{ key: 'tailrace:v1:{mena}:latest', bytes: 7 }, {}, {}, {}] },
    large: { status: 'failed', error: { code: 'REGION_TOO_LARGE' } },
  })
  expect(summary.exitCode).toBe(1)
  expect(lines.join('\n')).toMatch(/dry run[^]*mena {2}7 B[^]*expires after 30 d[^]*large {2}would fail/)
  expect(await readRegion(publisher, 'mena')).toBeUndefined()
})

test.each([
  ['no array', {} as never, 'INVALID_OPTIONS'],
  ['no id', [{ region: 'a', id: '', body: 1 }], 'INVALID_OPTIONS'],
  ['the same region twice', [...snapshots({ a: 1 }), ...snapshots({ a: 2 })], 'INVALID_OPTIONS'],
  ['a bad region', snapshots({ '{a}': 1 }), 'INVALID_REGION'],
  [
    'too many',
    snapshots(Object.fromEntries(Array.from({ length: 101 }, (_, at) => [`r${at}`, at]))),
    'TOO_MANY_REGIONS',
  ],
] as const)('%s: refused before anything is started', async (_what, given, code) => {
  const publisher = memoryRegions()
  await expect(publishRegions(publisher, given)).rejects.toMatchObject({ code })
  expect((await publisher.standing(['a'])).size).toBe(0)
})

test('H56: a run of some regions leaves what the others show, and its summary is of its own', async () => {
  const publisher = memoryRegions()
  await publishRegions(publisher, snapshots({ mena: 1, latam: 1, europe: 1 }))
  const { results, summary } = await publishRegions(publisher, snapshots({ latam: 2 }, 'b'))
  expect(Object.keys(results)).toEqual(['latam'])
  expect(summary).toMatchObject({ regions: 1, persisted: 1, exitCode: 0 })
  const shown = await readRegions(publisher, ['mena', 'latam', 'europe'])
  expect(Object.values(shown).map(({ body }) => body)).toEqual([1, 2, 1])
})

test('nothing to publish is nothing that fails', async () => {
  expect(await publishRegions(memoryRegions(), [])).toMatchObject({ results: {}, summary: { exitCode: 0 } })
})
