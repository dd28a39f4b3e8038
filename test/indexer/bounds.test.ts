/** Bounds: staged bytes, read-ahead, and that neither can stop a run for good. */
import { expect, test } from 'vitest'
import { createIndexer, memorySource } from '../../src/index.ts'
import {
  blocksOf,
  createWorld,
  expected,
  handlers,
  numbered,
  row,
  setRow,
  tables,
  watch,
} from '../support/indexers.ts'

test('H48, H47: a budget smaller than one batch: every batch passes by itself, nothing waits for ever', async () => {
  await using world = await createWorld()
  const blocks = blocksOf(20, 10)
  const indexer = createIndexer({
    name: 'tiny',
    source: memorySource({ id: 'm', blocks }),
    tables,
    handlers,
    store: world.plainStore(),
    limits: { stagedBytes: 1, readAheadBytes: 1, batchItems: 10 },
  })
  const events = watch(indexer)
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 20n })
  expect(events.of('batch.committed').every(({ batches }) => batches === 1)).toBe(true)
  expect(await world.rows()).toEqual(await expected(blocks))
})

test('I11, I3: staged bytes stay within the budget plus one batch; compute waits only while it is full', async () => {
  await using world = await createWorld()
  // what one batch of one row costs, as the change log counts it
  const probe = createIndexer({
    name: 'probe',
    source: memorySource({ id: 'm', blocks: numbered(1) }),
    tables: { row },
    handle: setRow,
    store: world.plainStore(),
  })
  const probed = watch(probe)
  await probe.run()
  const oneBatch = probed.of('batch.processed')[0]!.stagedBytes
  const budget = 4 * oneBatch
  const indexer = createIndexer({
    name: 'bounded',
    source: memorySource({ id: 'm', blocks: numbered(40) }),
    tables: { row },
    handle: setRow,
    store: world.store,
    limits: { batchItems: 1, stagedBytes: budget },
  })
  const events = watch(indexer)
  world.gates.write.hold()
  const running = indexer.run()
  await events.until('state', ({ lanes }) => lanes?.compute === 'waiting')
  expect(indexer.status()).toMatchObject({ processed: 4n, committed: 0n, stagedBytes: budget })
  world.gates.write.releaseOne()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 5n)
  world.gates.write.release()
  expect(await running).toMatchObject({ status: 'finished', committed: 40n })
  for (const { stagedBytes } of [...events.of('batch.processed'), ...events.of('state')]) {
    expect(stagedBytes).toBeLessThanOrEqual(budget + oneBatch)
  }
})

test('H3, H4: progress is two numbers, and what is in Postgres at any moment is one consistent cut', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'cut',
    source: memorySource({ id: 'm', blocks: numbered(60) }),
    tables: { row },
    handle: setRow,
    store: world.store,
    limits: { batchItems: 1, groupLatencyMs: 0 },
  })
  const events = watch(indexer)
  world.gates.written.hold()
  const running = indexer.run()
  for (let commit = 1; commit <= 20; commit++) {
    await world.gates.written.arrived()
    // committed lags behind processed, and behind what is in the database, never ahead
    const { processed, committed } = indexer.status()
    const [found] = await world.query(`SELECT p.committed::int AS frontier, c.number::int AS cursor,
      c.checkpoint::int AS checkpoint, p.counter::int AS counter, (SELECT count(*) FROM "row")::int AS rows
      FROM tailrace.pipelines p JOIN tailrace.cursors c ON c.pipeline = p.name WHERE p.name = 'cut'`)
    expect(found).toEqual({
      frontier: commit,
      cursor: commit,
      checkpoint: commit,
      counter: commit,
      rows: commit,
    })
    expect(committed).toBe(BigInt(commit - 1))
    expect(processed).toBeGreaterThanOrEqual(BigInt(commit))
    world.gates.written.releaseOne()
  }
  world.gates.written.release()
  expect(await running).toMatchObject({ status: 'finished', committed: 60n })
  // each frontier is announced by its own event, and grows
  for (const name of ['batch.processed', 'batch.committed'] as const) {
    const checkpoints = events.of(name).map(({ checkpoint }) => Number(checkpoint))
    expect(checkpoints).toEqual(checkpoints.toSorted((a, b) => a - b))
    expect(checkpoints.at(-1)).toBe(60)
  }
})
