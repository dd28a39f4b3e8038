/**
 * Deliveries of regions beside commits, step by step and in memory: what waits for what, what is told, what is marked,
 * what is left. Random ones: regions.test.ts.
 */
import { getEventListeners } from 'node:events'
import { afterEach, expect, test, vi } from 'vitest'
import { FatalError, RetryableError } from '../../src/errors.ts'
import { createIndexer, memorySource, type Store } from '../../src/index.ts'
import { memoryRegions, type MemoryRegions } from '../../src/publish/memory.ts'
import type { Outgoing, RegionPublisher } from '../../src/publish/port.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { Gate, gatedRegions, gatedStore, memoryStore, simulatedChain } from '../../src/testing/index.ts'
import { numbered, row, watch } from '../support/indexers.ts'

afterEach(() => void vi.useRealTimers())

const atOnce = { backoffMs: 0, maxBackoffMs: 0 }

/** Block n shows { number: n } in each region that is asked for. */
function indexerOf(
  blocks: number,
  store: Store,
  regions: RegionPublisher,
  names: (number: number) => readonly string[],
) {
  return createIndexer({
    name: 'p',
    source: memorySource({ id: 'm', blocks: numbered(blocks) }),
    tables: { row },
    handleBlock({ number }, { db, region }) {
      db.row.set({ id: number, value: number })
      for (const name of names(number)) region(name).publish({ number, text: 'x'.repeat(1_000) })
    },
    store,
    regions,
    limits: { batchItems: 1, groupLatencyMs: 0 },
  })
}

/** What it says before the snapshot is taken may hold it up, or throw. */
function before(inner: MemoryRegions, persisting: (outgoing: Outgoing) => Promise<void> | void) {
  const { regions } = gatedRegions(inner)
  return Object.assign(regions, {
    async persist(outgoing: Outgoing, signal: AbortSignal) {
      await persisting(outgoing)
      return inner.persist(outgoing, signal)
    },
  })
}

async function shown(regions: RegionPublisher, ...names: readonly string[]): Promise<unknown[]> {
  const found = await regions.read(names)
  return names.map((name) => (found.get(name)?.body as { readonly number: number } | undefined)?.number)
}

async function rowsOf(store: Store) {
  const session = await store.open({
    pipeline: 'p',
    models: [tableModelOf('row', row)],
    sources: [{ id: 'm', historyDepth: 0 }],
    staleMs: 15_000,
    ownershipTimeoutMs: 0,
    signal: new AbortController().signal,
    log: { debug() {}, info() {}, warn() {}, error() {} },
  })
  return session.regions()
}

test(
  'I13, H55: a region that hangs delays neither commits nor other regions',
  { timeout: 5_000 },
  async () => {
    const inner = memoryRegions()
    const north = new Gate('north')
    north.hold()
    const regions = before(inner, ({ region }) => (region === 'north' ? north.enter() : undefined))
    const indexer = indexerOf(6, memoryStore(), regions, () => ['north', 'south'])
    const events = watch(indexer)
    const running = indexer.run()
    await events.until('batch.committed', ({ checkpoint }) => checkpoint === 6n)
    await events.until('region.settled', ({ region, checkpoint }) => region === 'south' && checkpoint === 6n)
    expect(await shown(inner, 'north', 'south')).toEqual([undefined, 6])
    north.release()
    expect(await running).toMatchObject({ status: 'finished' })
    expect(await shown(inner, 'north', 'south')).toEqual([6, 6])
  },
)

test('I14, H50: an attempt that failed is made again, under the same id', { timeout: 5_000 }, async () => {
  const inner = memoryRegions(atOnce)
  const ids: string[] = []
  const regions = before(inner, ({ id }) => {
    if (ids.push(id) < 3) throw new RetryableError('DOWN', 'down')
  })
  const indexer = indexerOf(1, memoryStore(), regions, () => ['north'])
  const { status, regions: told } = await indexer.run()
  expect(status).toBe('finished')
  expect(ids).toEqual([ids[0], ids[0], ids[0]])
  expect(told['north']).toMatchObject({ health: 'ok', delivered: 1n, undelivered: 0 })
  expect(await shown(inner, 'north')).toEqual([1])
})

test(
  'I13, I14: a region that is given up is told, with all that waits, and fails nothing',
  { timeout: 5_000 },
  async () => {
    const inner = memoryRegions({ ...atOnce, attempts: 1 })
    const south = new Gate('south')
    south.hold()
    const regions = before(inner, ({ region }) => (region === 'south' ? south.enter() : undefined))
    const indexer = indexerOf(2, memoryStore(), regions, () => ['north', 'south'])
    const events = watch(indexer)
    const running = indexer.run()
    await south.arrived()
    // the snapshot of block 2 waits behind the one on its way
    await events.until('batch.committed', ({ checkpoint }) => checkpoint === 2n)
    south.fail(new RetryableError('DOWN', 'down'))
    const { status, regions: told } = await running
    expect(status).toBe('finished')
    expect(told['south']).toMatchObject({ health: 'quarantined', undelivered: 1, error: { code: 'DOWN' } })
    expect(told['north']).toMatchObject({ health: 'ok', delivered: 2n })
  },
)

test('I14, H59: a later owner’s snapshot that stands there is told', { timeout: 5_000 }, async () => {
  const regions = memoryRegions(atOnce)
  const stamp = { incarnation: 2, epoch: 9, commit: 9, ordinal: 0 }
  const theirs = { region: 'north', id: 'theirs', stamp, body: '{"number":9}', hash: 'theirs', writer: 'p' }
  await regions.persist(theirs, new AbortController().signal)
  const { regions: told } = await indexerOf(1, memoryStore(), regions, () => ['north']).run()
  expect(told['north']).toMatchObject({ health: 'quarantined', error: { code: 'REGION_STALE' } })
  expect(await shown(regions, 'north')).toEqual([9])
})

test(
  'I14, H77: what was delivered, marked and lost since is found by the next look',
  { timeout: 5_000 },
  async () => {
    const store = memoryStore()
    const regions = memoryRegions(atOnce)
    await indexerOf(1, store, regions, () => ['north', 'south']).run()
    expect((await rowsOf(store)).map(({ isDelivered }) => isDelivered)).toEqual([true, true])
    regions.empty()
    expect(await shown(regions, 'north', 'south')).toEqual([undefined, undefined])
    await indexerOf(1, store, regions, () => ['north', 'south']).run()
    expect(await shown(regions, 'north', 'south')).toEqual([1, 1])
  },
)

test(
  'I14: what is delivered while a commit is on the wire is marked by the next',
  { timeout: 5_000 },
  async () => {
    const memory = memoryStore()
    const { store, gates } = gatedStore(memory)
    const north = new Gate('north')
    north.hold()
    const regions = before(memoryRegions(), () => north.enter())
    const indexer = indexerOf(2, store, regions, (number) => (number === 1 ? ['north'] : []))
    const events = watch(indexer)
    gates.write.hold()
    const running = indexer.run()
    await gates.write.arrived()
    gates.write.releaseOne()
    await north.arrived()
    // the second commit was frozen before the mark was there
    await gates.write.arrived()
    north.release()
    await events.until('region.settled')
    gates.write.release()
    expect(await running).toMatchObject({ status: 'finished', committed: 2n })
    expect(await rowsOf(memory)).toMatchObject([{ region: 'north', isDelivered: true }])
  },
)

test(
  'I13, I6, H75: what a rollback brings back is shown before the run is finished',
  { timeout: 5_000 },
  async () => {
    const blocks = (...hashes: readonly string[]) =>
      hashes.map((hash) => ({ number: Number(hash.slice(1)), hash, items: [] }))
    const chain = simulatedChain({ id: 'chain', historyDepth: 9 })
    chain.append(blocks('a1', 'a2'))
    const regions = memoryRegions(atOnce)
    const indexer = createIndexer({
      name: 'p',
      source: chain.source,
      tables: { row },
      handleBlock({ number, hash }, { region }) {
        // the other branch has nothing to say
        if (hash?.startsWith('a') === true) region('north').publish({ number })
        if (hash === 'a2') region('south').publish({ number })
      },
      store: memoryStore(),
      regions,
      limits: { batchItems: 1, groupLatencyMs: 0 },
    })
    const events = watch(indexer)
    const running = indexer.run()
    await events.until('region.settled', ({ region, checkpoint }) => region === 'north' && checkpoint === 2n)
    chain.fork({ above: 1, blocks: blocks('b2') })
    chain.end()
    const { status, regions: told } = await running
    expect(status).toBe('finished')
    expect(await shown(regions, 'north', 'south')).toEqual([1, undefined])
    for (const name of ['north', 'south']) expect(told[name]).toMatchObject({ undelivered: 0 })
  },
)

test('I11: what is published weighs as long as it is not committed', { timeout: 5_000 }, async () => {
  const { store, gates } = gatedStore(memoryStore())
  const indexer = indexerOf(3, store, memoryRegions(), () => ['north', 'south'])
  const events = watch(indexer)
  gates.write.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 3n)
  const weights = events.of('batch.processed').map(({ stagedBytes }) => stagedBytes)
  for (const [at, bytes] of weights.entries()) expect(bytes).toBeGreaterThan(2_000 * (at + 1))
  gates.write.release()
  await running
  expect(indexer.status().stagedBytes).toBe(0)
})

test(
  'I16: no timer is left, and no listener on the signal or on a publisher that others use',
  { timeout: 5_000 },
  async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
    const listening = new Set<() => void>()
    const inner = memoryRegions(atOnce)
    const regions = Object.assign(
      before(inner, () => undefined),
      {
        onReconnect(listener: () => void) {
          const off = inner.onReconnect(listener)
          listening.add(listener)
          return () => {
            listening.delete(listener)
            off()
          }
        },
      },
    )
    const { signal } = new AbortController()
    const ends = [
      () => undefined,
      () => {
        throw new FatalError('BROKEN', 'broken')
      },
    ]
    for (const end of ends) {
      const indexer = createIndexer({
        name: 'p',
        source: memorySource({ id: 'm', blocks: numbered(3) }),
        tables: { row },
        handleBlock({ number }, { region }) {
          region('north').publish({ number })
          if (number === 2) end()
        },
        store: memoryStore(),
        regions,
      })
      await indexer.run({ signal })
      expect(vi.getTimerCount()).toBe(0)
      expect(listening).toEqual(new Set())
      expect(getEventListeners(signal, 'abort')).toEqual([])
    }
  },
)
