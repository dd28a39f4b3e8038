/** Regions' snapshots: staged with a batch, stored by its commit, delivered behind it, taken back with it. */
import { expect, test } from 'vitest'
import { createIndexer, memorySource } from '../../src/index.ts'
import type { Context, Indexer, IndexerOptions, Source } from '../../src/index.ts'
import { RetryableError } from '../../src/errors.ts'
import { memoryRegions, type MemoryRegions } from '../../src/publish/memory.ts'
import type { RegionPublisher } from '../../src/publish/port.ts'
import { Gate, gatedRegions, memoryStore, simulatedChain } from '../../src/testing/index.ts'
import { watchedSession } from '../interleaving/ports.ts'
import { createWorld, numbered, row, setRow, watch, type World } from '../support/indexers.ts'

type Tables = { row: typeof row }
type Options = IndexerOptions<Source<number>, Tables>

const quick = { attempts: 2, attemptMs: 2_000, backoffMs: 1, maxBackoffMs: 5 }

/** Each block sets row n, and shows n in two regions. */
function pipeline(world: World, regions: RegionPublisher, more: Partial<Options> = {}): Indexer {
  return createIndexer({
    name: 'p',
    source: memorySource({ id: 'm', blocks: numbered(6) }),
    tables: { row },
    handle: setRow,
    handleBlock: ({ number }, { region }) => {
      region('north').publish({ at: number })
      if (number % 2 === 0) region('south').publish({ even: number })
    },
    store: world.store,
    regions,
    ...more,
    limits: { batchItems: 2, groupLatencyMs: 0, ...more.limits },
  })
}

const shown = async (regions: RegionPublisher) =>
  Object.fromEntries([...(await regions.read(['north', 'south']))].map(([id, { body }]) => [id, body]))

const undelivered = async (world: World) =>
  (await world.query('SELECT FROM tailrace.regions WHERE delivered_at IS NULL')).length

test('I6, I13: what was published is delivered behind its commit; the last marks are saved at the exit', async () => {
  await using world = await createWorld()
  const regions = memoryRegions()
  const indexer = pipeline(world, regions)
  const events = watch(indexer)
  world.gates.written.hold()
  const running = indexer.run()
  await world.gates.written.arrived()
  // on the wire, and its answer is not heard yet
  expect(await shown(regions)).toEqual({})
  world.gates.written.release()
  const outcome = await running
  expect(outcome).toMatchObject({
    status: 'finished',
    regions: {
      north: { health: 'ok', delivered: 6n, committed: 6n, undelivered: 0 },
      south: { health: 'ok', delivered: 6n, committed: 6n, undelivered: 0 },
    },
  })
  expect(await shown(regions)).toEqual({ north: { at: 6 }, south: { even: 6 } })
  expect(await undelivered(world)).toBe(0)
  // a region's deliveries are in order, and none is twice
  const ofNorth = events.of('region.settled').filter(({ region }) => region === 'north')
  const checkpoints = ofNorth.map(({ checkpoint }) => checkpoint!)
  expect(checkpoints).toEqual([...new Set(checkpoints)].toSorted((a, b) => Number(a - b)))
  expect(ofNorth.every(({ status, attempts }) => status === 'persisted' && attempts === 1)).toBe(true)
  expect(indexer.status().regions).toMatchObject({ north: { health: 'ok' } })
  // a commit of marks alone changes nothing else
  expect(await world.pipeline('p')).toMatchObject({ committed: 6, counter: 6 })
})

test('I16: aborted when the store is open and its regions are still looked up: it is closed all the same', async () => {
  const looking = new Gate('regions')
  looking.hold()
  const store = memoryStore()
  let isClosed = false
  const indexer = createIndexer({
    name: 'p',
    source: memorySource({ id: 'm', blocks: numbered(1) }),
    tables: { row },
    handle: setRow,
    regions: memoryRegions(),
    limits: { failDeadlineMs: 0 },
    store: {
      casing: store.casing,
      async open(request) {
        const session = await store.open(request)
        return watchedSession(session, {
          regions: async () => {
            await looking.enter()
            return session.regions()
          },
          close: () => {
            isClosed = true
            return session.close()
          },
        })
      },
    },
  })
  const running = indexer.run()
  await looking.arrived()
  void indexer.abort('enough')
  expect(await running).toMatchObject({ status: 'failed', error: { code: 'ABORTED' } })
  expect(isClosed).toBe(true)
  looking.release()
})

test('H59: committed and not delivered when the run was aborted: the next run delivers, once', async () => {
  await using world = await createWorld()
  const inner = memoryRegions()
  const { regions, gates } = gatedRegions(inner)
  gates.persist.hold()
  const indexer = pipeline(world, regions)
  const running = indexer.run()
  await watch(indexer).until('batch.committed', ({ checkpoint }) => checkpoint === 6n)
  await indexer.abort('enough')
  // I7: nothing is delivered after the first error
  expect(await running).toMatchObject({ status: 'failed', error: { code: 'ABORTED' } })
  gates.persist.release()
  expect(await shown(inner)).toEqual({})
  expect(await undelivered(world)).toBe(2)

  const again = await pipeline(world, inner).run()
  expect(again).toMatchObject({ status: 'finished', regions: { north: { health: 'ok' } } })
  expect(await shown(inner)).toEqual({ north: { at: 6 }, south: { even: 6 } })
  expect((await inner.history('north', 10)).map(({ body }) => body)).toEqual([{ at: 6 }])
  expect(await undelivered(world)).toBe(0)
})

test('H58: its answer was lost: the attempt after it finds it there, and nobody is told twice', async () => {
  await using world = await createWorld()
  const inner = memoryRegions(quick)
  const { regions, gates } = gatedRegions(inner)
  for (let lost = 0; lost < 2; lost++) gates.persisted.fail(new RetryableError('LOST', 'lost'))
  const indexer = pipeline(world, regions, { limits: { batchItems: 6 } })
  const events = watch(indexer)
  expect(await indexer.run()).toMatchObject({ status: 'finished' })
  expect(events.of('region.settled')).toMatchObject([
    { status: 'replayed', attempts: 2 },
    { status: 'replayed', attempts: 2 },
  ])
  expect(await inner.history('south', 10)).toHaveLength(1)
})

test('I13, H55: a region that fails costs the others nothing, and the run neither; the next run delivers it', async () => {
  await using world = await createWorld()
  const inner = memoryRegions(quick)
  const poisoned: RegionPublisher = {
    ...gatedRegions(inner).regions,
    persist: (snapshot, signal) =>
      snapshot.region === 'south'
        ? Promise.reject(new RetryableError('DOWN', 'down'))
        : inner.persist(snapshot, signal),
  }
  const indexer = pipeline(world, poisoned)
  const events = watch(indexer)
  const outcome = await indexer.run()
  expect(outcome).toMatchObject({
    status: 'finished',
    regions: {
      north: { health: 'ok', undelivered: 0 },
      south: { health: 'quarantined', delivered: undefined, undelivered: 1, error: { code: 'DOWN' } },
    },
  })
  expect(events.of('region.health')).toContainEqual({ region: 'south', health: 'quarantined', was: 'empty' })
  expect(await shown(inner)).toEqual({ north: { at: 6 } })
  expect(await undelivered(world)).toBe(1)
  expect(await pipeline(world, inner).run()).toMatchObject({ regions: { south: { health: 'ok' } } })
  expect(await shown(inner)).toEqual({ north: { at: 6 }, south: { even: 6 } })
})

test('with requireRegions a quarantined region fails the run', async () => {
  await using world = await createWorld()
  const { regions, gates } = gatedRegions(memoryRegions({ ...quick, attempts: 1 }))
  gates.persist.fail(new RetryableError('DOWN', 'down'))
  const outcome = await pipeline(world, regions, { requireRegions: true }).run()
  expect(outcome).toMatchObject({ status: 'failed', error: { code: 'DOWN' } })
})

/** A chain whose blocks n show n; odd ones above the fork show in a region of their own. */
function forking(world: World, regions: RegionPublisher, more: Partial<Options> = {}) {
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 20 })
  const indexer = pipeline(world, regions, {
    source: chain.source,
    handleBlock: (
      { number, items: [item] }: { number: number; items: readonly number[] },
      context: Context,
    ) => {
      context.region('north').publish({ at: number, item })
      if (number > 3) context.region('south').publish({ item })
    },
    ...more,
    limits: { batchItems: 1, ...more.limits },
  })
  const block = (number: number, item = number) => ({ number, hash: `${number}-${item}`, items: [item] })
  return { chain, indexer, events: watch(indexer), block }
}

async function delivered(regions: MemoryRegions, region: string, body: unknown): Promise<void> {
  const { signal } = new AbortController()
  const matches = async () => {
    const found = (await regions.read([region])).get(region)?.body
    return JSON.stringify(found) === JSON.stringify(body)
  }
  const changes = regions.watch([region], { signal })[Symbol.asyncIterator]()
  while (!(await matches())) await changes.next()
  await changes.return?.()
}

test('H75: a rollback brings back what was shown at its target, under its own stamp; or a tombstone', async () => {
  await using world = await createWorld()
  const regions = memoryRegions()
  const { chain, indexer, events, block } = forking(world, regions)
  chain.append([1, 2, 3, 4, 5].map((number) => block(number)))
  const running = indexer.run()
  await delivered(regions, 'south', { item: 5 })
  await delivered(regions, 'north', { at: 5, item: 5 })
  const before = (await regions.read(['north'])).get('north')!
  chain.fork({ above: 3, blocks: [] })
  await events.until('rollback.committed')
  await delivered(regions, 'north', { at: 3, item: 3 })
  await delivered(regions, 'south', undefined)
  const after = (await regions.read(['north'])).get('north')!
  expect(after.stamp.commit).toBeGreaterThan(before.stamp.commit)
  chain.append([block(4, 40)])
  await delivered(regions, 'south', { item: 40 })
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', regions: { south: { health: 'ok' } } })
  expect(await shown(regions)).toEqual({ north: { at: 4, item: 40 }, south: { item: 40 } })
  expect(await undelivered(world)).toBe(0)
})

test('H75: what was orphaned while it waited for delivery is never shown, or is shown no more', async () => {
  await using world = await createWorld()
  const inner = memoryRegions()
  const { regions, gates } = gatedRegions(inner)
  const { chain, indexer, events, block } = forking(world, regions)
  gates.persist.hold()
  chain.append([1, 2, 3, 4, 5].map((number) => block(number)))
  const running = indexer.run()
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 5n)
  await gates.persist.arrived(2)
  chain.fork({ above: 2, blocks: [block(3, 30)] })
  await events.until('rollback.committed')
  // what is on its way arrives late
  gates.persist.release()
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(await shown(inner)).toEqual({ north: { at: 3, item: 30 } })
})

test('I5, H31: staged snapshots above a fork are cut with their batch', async () => {
  await using world = await createWorld()
  const regions = memoryRegions()
  const { chain, indexer, events, block } = forking(world, regions)
  world.gates.write.hold()
  chain.append([1, 2, 3, 4, 5].map((number) => block(number)))
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 5n)
  chain.fork({ above: 3, blocks: [] })
  await events.until('fork')
  world.gates.write.release()
  await events.until('rollback.committed')
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(await shown(regions)).toEqual({ north: { at: 3, item: 3 } })
  expect(await world.query("SELECT FROM tailrace.regions WHERE region = 'south'")).toEqual([])
})

test('H77: a server that was emptied is filled again, by the run that sees it come back and by the next one', async () => {
  await using world = await createWorld()
  const regions = memoryRegions()
  const { chain, indexer, block } = forking(world, regions)
  chain.append([block(1)])
  const running = indexer.run()
  await delivered(regions, 'north', { at: 1, item: 1 })
  regions.empty()
  await delivered(regions, 'north', { at: 1, item: 1 })
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })

  regions.empty()
  const again = forking(world, regions)
  again.chain.append([again.block(1)])
  again.chain.end()
  expect(await again.indexer.run()).toMatchObject({ status: 'finished' })
  expect(await shown(regions)).toEqual({ north: { at: 1, item: 1 } })
})

test('H59, I9: what a superseded owner still sends does not move a region back', async () => {
  await using world = await createWorld()
  const inner = memoryRegions()
  const { regions, gates } = gatedRegions(inner)
  gates.persist.hold()
  const first = pipeline(world, regions, { source: memorySource({ id: 'm', blocks: numbered(2) }) })
  const firstRun = first.run()
  await Promise.all([gates.persist.arrived(2), watch(first).until('batch.committed')])
  // its row is taken by hand: a standby in this process would not believe that its owner is dead
  await world.query("UPDATE tailrace.pipelines SET token = NULL, epoch = epoch + 1 WHERE name = 'p'")
  const second = await pipeline(world, inner, { store: world.plainStore() }).run()
  expect(second).toMatchObject({ status: 'finished' })
  gates.persist.release()
  expect(await firstRun).toMatchObject({ status: 'superseded' })
  expect(await shown(inner)).toEqual({ north: { at: 6 }, south: { even: 6 } })
})

test('where every snapshot counts, all of them arrive, in order, also those of an aborted run', async () => {
  await using world = await createWorld()
  const inner = memoryRegions({ deliver: 'every' })
  const { regions, gates } = gatedRegions(inner)
  const twice: Partial<Options> = {
    handleBlock: ({ number }, { region }) => {
      region('north').publish({ at: number, part: 1 })
      region('north').publish({ at: number, part: 2 })
    },
  }
  gates.persist.hold()
  const indexer = pipeline(world, regions, twice)
  const running = indexer.run()
  await watch(indexer).until('batch.committed', ({ checkpoint }) => checkpoint === 4n)
  await gates.persist.arrived()
  gates.persist.releaseOne()
  await gates.persist.arrived()
  await indexer.abort()
  await running
  expect(await pipeline(world, inner, twice).run()).toMatchObject({ status: 'finished' })
  const parts = numbered(6).flatMap(({ number }) => [1, 2].map((part) => ({ at: number, part })))
  expect((await inner.history('north', 100)).map(({ body }) => body).toReversed()).toEqual(parts)
  expect(await undelivered(world)).toBe(0)
})

test('the speculative pass publishes nothing; of one block the last one counts; bytes count in the budget', async () => {
  await using world = await createWorld()
  const regions = memoryRegions()
  let passes = 0
  const indexer = pipeline(world, regions, {
    source: memorySource({ id: 'm', blocks: numbered(1) }),
    handle: async (item, { db, region, preloading }) => {
      passes++
      region('north').publish({ preloading })
      await db.row.get(item)
      region('north').publish({ item, preloading, body: 'x'.repeat(10_000) })
    },
    handleBlock: undefined,
  })
  const events = watch(indexer)
  await indexer.run()
  expect(passes).toBe(2)
  expect(events.of('region.settled')).toHaveLength(1)
  expect(await shown(regions)).toMatchObject({ north: { item: 1, preloading: false } })
  expect(events.of('batch.processed')[0]?.stagedBytes).toBeGreaterThan(10_000)
})

test.each([
  ['no publisher', undefined, (context: Context) => context.region('r').publish(1), 'NO_REGIONS'],
  ['a bad name', 'memory', (context: Context) => context.region('{r}').publish(1), 'INVALID_REGION'],
  ['no JSON', 'memory', (context: Context) => context.region('r').publish(() => 1), 'BODY_NOT_SERIALISABLE'],
  [
    'too many',
    'memory',
    (context: Context) => {
      for (let at = 0; at <= 100; at++) context.region(`r${at}`).publish(1)
    },
    'TOO_MANY_REGIONS',
  ],
] as const)('%s: the run fails and says what to do', async (_what, regions, publish, code) => {
  await using world = await createWorld()
  const outcome = await pipeline(world, (regions && memoryRegions()) as never, {
    handleBlock: (_block, context) => publish(context as never),
  }).run()
  expect(outcome.status).toBe('failed')
  const { error } = outcome as Extract<typeof outcome, { status: 'failed' }>
  expect(error.walk((each) => (each as { code?: string }).code === code)).toBeDefined()
  expect(error.message).toMatch(/regions:|Give|Publish|JSON/)
})

test('H77: a quarantined region is delivered as soon as a look finds the server again', async () => {
  await using world = await createWorld()
  const inner = memoryRegions({ ...quick, attempts: 1, probeMs: 1_000_000 })
  const { regions, gates } = gatedRegions(inner)
  gates.persist.fail(new RetryableError('DOWN', 'down'))
  const { chain, indexer, events, block } = forking(world, regions)
  chain.append([block(1)])
  const running = indexer.run()
  await events.until('region.health', ({ health }) => health === 'quarantined')
  // as after every reconnection
  inner.empty()
  await events.until('region.health', ({ health }) => health === 'ok')
  expect(await shown(inner)).toEqual({ north: { at: 1, item: 1 } })
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', regions: { north: { health: 'ok' } } })
})

test('a stamp from elsewhere that nobody can reach: the rightful owner is told, and the run goes on', async () => {
  await using world = await createWorld()
  const regions = memoryRegions({ deliver: 'newest' })
  const stamp = { incarnation: 2 ** 50, epoch: 1, commit: 1, ordinal: 0 }
  const { signal } = new AbortController()
  await regions.persist({ region: 'north', id: 'far', stamp, body: '"far"', hash: 'h', writer: 'p' }, signal)
  const indexer = pipeline(world, regions, { limits: { batchItems: 6 } })
  const events = watch(indexer)
  expect(await indexer.run()).toMatchObject({
    status: 'finished',
    regions: { north: { health: 'quarantined', error: { code: 'REGION_STALE' } }, south: { health: 'ok' } },
  })
  const ofNorth = events.of('region.settled').filter(({ region }) => region === 'north')
  // once for the snapshot, and perhaps once more for what the look at the beginning has found
  expect(new Set(ofNorth.map(({ status }) => status))).toEqual(new Set(['stale']))
})
