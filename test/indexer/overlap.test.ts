/** Order and overlap, on a real Postgres: what runs beside what, and what never does. */
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { expect, test } from 'vitest'
import type { Group } from '../../src/staging/batch.ts'
import type { Store } from '../../src/commit/store.ts'
import { createIndexer, memorySource } from '../../src/index.ts'
import { blocksOf, createWorld, expected, handlers, tables, watch } from '../support/indexers.ts'

const row = pgTable('row', { id: integer().primaryKey(), value: integer().notNull(), seen: text().notNull() })

interface Flight {
  readonly from: number
  readonly upTo: number
  /** Flights in the air when this one started, itself included. */
  readonly together: number
}

/** Records every flight of a store: what it was built on, what it holds, and how many there were at once. */
function recorded(store: Store): { readonly store: Store; readonly flights: Flight[] } {
  const flights: Flight[] = []
  let inTheAir = 0
  const open: Store['open'] = async (request) => {
    const session = await store.open(request)
    return {
      resume: session.resume,
      reader: session.reader,
      get restorableFrom() {
        return session.restorableFrom
      },
      async write(group: Group, flushed: () => void) {
        const from = group.batches[0]!.blocks[0]!.checkpoint - 1
        flights.push({ from, upTo: group.upTo, together: ++inTheAir })
        try {
          return await session.write(group, flushed)
        } finally {
          inTheAir--
        }
      },
      restore: (target) => session.restore(target),
      regions: () => session.regions(),
      snapshots: (regions, deliver) => session.snapshots(regions, deliver),
      resolve: () => session.resolve(),
      destroyWriter: () => session.destroyWriter(),
      close: () => session.close(),
    }
  }
  return { store: { casing: store.casing, open }, flights }
}

test('I1, I2, A7: one flight at a time, in checkpoint order, without gap or overlap, and fenced', async () => {
  await using world = await createWorld()
  const blocks = blocksOf(120, 20)
  const { store, flights } = recorded(world.store)
  const indexer = createIndexer({
    name: 'order',
    source: memorySource({ id: 'm', blocks }),
    tables,
    handlers,
    store,
    limits: { batchItems: 60, groupLatencyMs: 20 },
  })
  const events = watch(indexer)
  const outcome = await indexer.run()
  expect(outcome).toMatchObject({ status: 'finished', committed: 120n, processed: 120n })
  expect(flights.length).toBeGreaterThan(3)
  expect(flights.every(({ together }) => together === 1)).toBe(true)
  let frontier = 0
  for (const flight of flights) {
    expect(flight.from).toBe(frontier)
    frontier = flight.upTo
  }
  expect(frontier).toBe(120)
  expect(events.of('batch.committed').map(({ checkpoint }) => Number(checkpoint))).toEqual(
    flights.map(({ upTo }) => upTo),
  )
  // the commit number counts the flights, the frontier is payload
  expect(await world.pipeline('order')).toMatchObject({
    commitNumber: flights.length,
    committed: 120,
    counter: 120,
  })
  expect(await world.rows()).toEqual(await expected(blocks))
})

test('I3, A1, A2, A4, A13: batch N+1 is handled, and announced, while the commit of N is held', async () => {
  await using world = await createWorld()
  const handled: number[] = []
  const indexer = createIndexer({
    name: 'overlap',
    source: memorySource({ id: 'm', blocks: [1, 2, 3].map((number) => ({ number, items: [number] })) }),
    tables: { row },
    handle: (item: number, { db }) => {
      handled.push(item)
      db.row.set({ id: item, value: item, seen: '' })
    },
    store: world.store,
    limits: { batchItems: 1 },
  })
  const events = watch(indexer)
  world.gates.write.hold()
  const running = indexer.run()
  await world.gates.write.arrived()
  // the first commit has not even been sent, and everything else is handled
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 3n)
  expect(events.of('batch.committed')).toEqual([])
  expect(indexer.status()).toMatchObject({ processed: 3n, committed: 0n, stagedBatches: 3 })
  world.gates.written.hold()
  world.gates.write.release()
  await world.gates.written.arrived()
  // in Postgres, but not heard: committed is what is known to be durable
  expect(await world.query('SELECT id FROM "row"')).toHaveLength(1)
  expect(indexer.status()).toMatchObject({ committed: 0n })
  world.gates.written.release()
  expect(await running).toMatchObject({ status: 'finished', committed: 3n })
  expect([...new Set(handled)]).toEqual([1, 2, 3])
  for (const { preloadMs, handleMs } of events.of('batch.processed')) {
    expect(preloadMs).toBeGreaterThanOrEqual(0)
    expect(handleMs).toBeGreaterThanOrEqual(0)
  }
  for (const { encodeMs, commitMs } of events.of('batch.committed')) {
    expect(encodeMs).toBeGreaterThanOrEqual(0)
    expect(commitMs).toBeGreaterThan(0)
  }
})

test('I4, A3, A5, A6, A8, H17: handlers read through what is held back, by key and by find, without waiting', async () => {
  await using world = await createWorld()
  const seen: unknown[] = []
  const indexer = createIndexer({
    name: 'through',
    source: memorySource({ id: 'm', blocks: [1, 2, 3, 4].map((number) => ({ number, items: [number] })) }),
    tables: { row },
    async handle(item: number, { db, preloading }) {
      const before = await db.row.get(1)
      const found = await db.row.find({ where: { value: { gte: 10 } }, orderBy: { value: 'desc' }, limit: 2 })
      if (!preloading) seen.push([before?.value, found.map(({ id }) => id)])
      db.row.set({ id: 1, value: item, seen: '' })
      db.row.insert({ id: 10 * item, value: 10 * item, seen: '' })
      if (item === 3) db.row.delete(20)
    },
    store: world.store,
    limits: { batchItems: 1 },
  })
  const events = watch(indexer)
  world.gates.write.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 4n)
  expect(await world.query('SELECT id FROM "row"')).toEqual([])
  expect(seen).toEqual([
    [undefined, []],
    [1, [10]],
    [2, [20, 10]],
    [3, [30, 10]],
  ])
  world.gates.write.release()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(await world.query('SELECT id, value FROM "row" ORDER BY id')).toEqual([
    { id: 1, value: 4 },
    { id: 10, value: 10 },
    { id: 30, value: 30 },
    { id: 40, value: 40 },
  ])
})

test('H64: the answer to a commit arrives while a synchronous handler loop is busy', async () => {
  await using world = await createWorld()
  const order: string[] = []
  const blocks = [
    { number: 1, items: [0] },
    // one batch of 400 busy handlers, ~1 ms each: it ends long after the commit beside it
    { number: 2, items: Array.from({ length: 400 }, (_, index) => index + 1) },
  ]
  const indexer = createIndexer({
    name: 'busy',
    source: memorySource({ id: 'm', blocks }),
    tables: { row },
    handle(item: number, { db }) {
      if (item === 1) order.push('begins')
      const until = performance.now() + 1
      while (performance.now() < until);
      db.row.set({ id: item, value: item, seen: '' })
      if (item === 400) order.push('ends')
    },
    preload: false,
    store: world.plainStore(),
    limits: { batchItems: 400 },
  })
  indexer.on('batch.committed', ({ checkpoint }) => order.push(`committed ${checkpoint}`))
  expect(await indexer.run()).toMatchObject({ status: 'finished' })
  expect(order).toEqual(['begins', 'committed 1', 'ends', 'committed 2'])
})

test('H6, H73: what is staged while a group is on the wire belongs to the next one', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'groups',
    source: memorySource({ id: 'm', blocks: [1, 2, 3, 4, 5].map((number) => ({ number, items: [number] })) }),
    tables: { row },
    handle: (item: number, { db }) => db.row.set({ id: 1, value: item, seen: `${item}` }),
    store: world.store,
    limits: { batchItems: 1 },
  })
  const events = watch(indexer)
  world.gates.write.hold()
  world.gates.written.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 5n)
  world.gates.write.releaseOne()
  await world.gates.written.arrived()
  // frozen at its start: later values of the same row are not in it
  expect(await world.query('SELECT value FROM "row"')).toEqual([{ value: 1 }])
  world.gates.written.releaseOne()
  await world.gates.write.arrived()
  // fails before it is sent, and goes again: still the same two batches, whatever came later
  world.gates.write.fail(new Error('cut'))
  await events.until('commit.retrying')
  await world.gates.write.arrived()
  world.gates.write.releaseOne()
  await world.gates.written.arrived()
  expect(await world.query('SELECT value FROM "row"')).toEqual([{ value: 3 }])
  world.gates.write.release()
  world.gates.written.release()
  expect(await running).toMatchObject({ status: 'finished', committed: 5n })
  expect(events.of('batch.committed').map(({ batches, checkpoint }) => [batches, checkpoint])).toEqual([
    [1, 1n],
    [2, 3n],
    [2, 5n],
  ])
})

test('H7: groups gather what is there; no timer closes them', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'gather',
    source: memorySource({
      id: 'm',
      blocks: Array.from({ length: 31 }, (_, n) => ({ number: n, items: [n] })),
    }),
    tables: { row },
    handle: (item: number, { db }) => db.row.set({ id: item, value: item, seen: '' }),
    store: world.store,
    limits: { batchItems: 1, groupLatencyMs: 1_000_000 },
  })
  const events = watch(indexer)
  world.gates.write.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 31n)
  world.gates.write.release()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(events.of('batch.committed').map(({ batches }) => batches)).toEqual([1, 2, 4, 8, 16])
})

test('groupLatencyMs 0 commits every batch by itself', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'single',
    source: memorySource({ id: 'm', blocks: blocksOf(12, 3) }),
    tables,
    handlers,
    store: world.plainStore(),
    limits: { batchItems: 3, groupLatencyMs: 0 },
  })
  const events = watch(indexer)
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 12n })
  expect(events.of('batch.committed').map(({ batches }) => batches)).toEqual(
    Array.from({ length: 12 }, () => 1),
  )
})
