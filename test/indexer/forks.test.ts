/** Forks above the committed frontier: what is staged is cut, nothing doomed is ever sent, and no transaction is needed. */
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { createIndexer, memorySource } from '../../src/index.ts'
import type { Source } from '../../src/index.ts'
import { simulatedChain } from '../../src/testing/index.ts'
import { branch, drains, expectSurvivors, forking, perBlock, rollbacks } from '../support/forks.ts'
import {
  createWorld,
  deferred,
  expected,
  handlers,
  row,
  tables,
  watch,
  type Item,
} from '../support/indexers.ts'

test('I5, I8, H29, H31: staged batches above the fork are dropped unsent, with one on the wire', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world)
  world.gates.written.hold()
  const running = indexer.run()
  await world.gates.written.arrived()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 8n)
  const dropped = indexer.durable(6n)
  dropped.catch(() => undefined)
  chain.fork({ above: 4, blocks: branch(3, 5, 'b', 2) })
  await drains(events)
  // the commit on the wire is waited for
  expect(events.of('rollback.started')).toEqual([])
  world.gates.written.release()
  await events.until('rollback.committed')
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(events.of('fork')).toEqual([{ source: 'chain', validTo: 4, depth: 4, target: 4n }])
  expect(events.of('rollback.committed')).toMatchObject([{ target: 4n, droppedBatches: 4 }])
  await expect(dropped).rejects.toMatchObject({ code: 'CHECKPOINT_DROPPED' })
  // I12: the ids of what was dropped are not given again
  const processed = events.of('batch.processed').map(({ checkpoint }) => Number(checkpoint))
  expect(processed).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
  const committed = events.of('batch.committed').map(({ checkpoint }) => Number(checkpoint))
  expect(committed.some((checkpoint) => checkpoint > 4 && checkpoint <= 8)).toBe(false)
  expect(await world.rows()).toEqual(await expected(chain.blocks))
})

test('I10, H31, H73: a group that is being resolved when the fork comes is thawed and cut, not resent as it was', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world, { count: 6, limits: { groupLatencyMs: 1_000_000 } })
  world.gates.write.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 6n)
  world.gates.write.releaseOne()
  await events.until('batch.committed')
  await world.gates.write.arrived()
  world.gates.resolve.hold()
  world.gates.write.fail(new Error('cut'))
  await world.gates.resolve.arrived()
  // the group holds blocks 2 and 3; the fork cuts between them
  chain.fork({ above: 2, blocks: branch(4, 3, 'b', 4) })
  await drains(events)
  world.gates.resolve.release()
  world.gates.write.release()
  await events.until('rollback.committed')
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(await world.rows()).toEqual(await expected(chain.blocks))
})

test('I5: a batch above the fork is aborted while its handler runs', async () => {
  await using world = await createWorld()
  const chain = simulatedChain<Item>({ id: 'chain', historyDepth: 20 })
  chain.append(branch(3, 1, 'a', 5))
  const inside = deferred()
  let aborted = 0
  const indexer = createIndexer({
    name: 'fork',
    source: chain.source,
    tables,
    handlers,
    async handleBlock({ number }, { signal }) {
      if (number !== 3 || aborted > 0) return
      inside.resolve()
      await once(signal, 'abort')
      aborted++
      signal.throwIfAborted()
    },
    preload: false,
    store: world.store,
    limits: { batchItems: perBlock },
  })
  world.gates.write.hold()
  const running = indexer.run()
  await inside.promise
  chain.fork({ above: 1, blocks: branch(4, 2, 'b', 6) })
  chain.end()
  const events = watch(indexer)
  await events.until('state', ({ lanes }) => lanes?.compute === 'parked')
  world.gates.write.release()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(aborted).toBe(1)
  expect(await world.rows()).toEqual(await expected(chain.blocks))
})

test('H24: forks one after the other, each while the one before is dealt with', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world, { count: 10, historyDepth: 50 })
  world.gates.write.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 10n)
  let isFirst = true
  indexer.on('rollback.started', () => {
    // deeper, in the very moment of the rollback
    if (isFirst) chain.fork({ above: 4, blocks: branch(5, 5, 'c', 9) })
    isFirst = false
  })
  chain.fork({ above: 7, blocks: branch(2, 8, 'b', 8) })
  await events.until('fork', ({ target }) => target === 7n)
  world.gates.write.releaseOne()
  await events.until('rollback.committed', ({ target }) => target === 7n)
  // the next group, of blocks that survived the first fork, is on the wire when the second is seen
  await events.until('fork', ({ target }) => target === 4n)
  await world.gates.write.arrived()
  world.gates.write.releaseOne()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 15n)
  chain.fork({ above: 8, blocks: branch(2, 9, 'd', 10) })
  await events.until('fork', ({ target }) => target === 14n)
  world.gates.write.release()
  await events.until('rollback.committed', ({ target }) => target === 14n)
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(events.of('rollback.committed').map(({ target }) => target)).toEqual([7n, 4n, 14n])
  expect(await world.rows()).toEqual(await expected(chain.blocks))
})

test('H71: a fork after the other source has ended: it is read again from its own position, nothing twice', async () => {
  await using world = await createWorld()
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 20 })
  const ledger = memorySource({
    id: 'ledger',
    blocks: Array.from({ length: 9 }, (_, at) => ({ number: at, items: [1_000 + at] })),
  })
  chain.append([{ number: 1, items: [1] }])
  const handled: number[] = []
  const indexer = createIndexer({
    name: 'two',
    source: [chain.source, ledger] as readonly Source<number>[],
    tables: { row },
    // insert: a block that is read twice would be a duplicate
    handle(item, { db, preloading }) {
      if (!preloading) handled.push(item)
      db.row.insert({ id: item, value: item })
    },
    store: world.store,
    limits: { batchItems: 1, groupLatencyMs: 0 },
  })
  const events = watch(indexer)
  world.gates.write.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 10n)
  // a few commits land, so that the ledger's position lies in the middle
  for (let n = 1; n <= 3; n++) {
    await world.gates.write.arrived()
    world.gates.write.releaseOne()
    await events.until('batch.committed', ({ checkpoint }) => checkpoint === BigInt(n))
  }
  chain.append([
    { number: 2, items: [2] },
    { number: 3, items: [3] },
  ])
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 12n)
  chain.fork({ above: 1, blocks: [{ number: 2, items: [22] }] })
  await drains(events)
  world.gates.write.release()
  await events.until('rollback.committed')
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  const rows = await world.query('SELECT id FROM "row" ORDER BY id')
  expect(rows.map(({ id }) => id)).toEqual([1, 22, ...Array.from({ length: 9 }, (_, at) => 1_000 + at)])
})

test('H25, H71: the other source’s staged blocks above the fork are dropped, and read again', async () => {
  await using world = await createWorld()
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 20 })
  const late = deferred()
  const ledger = memorySource<number>({
    id: 'ledger',
    async *blocks(from) {
      for (let number = (from?.number ?? -1) + 1; number < 9; number++) {
        if (number === 4) await late.promise
        yield { number, items: [1_000 + number] }
      }
    },
  })
  const indexer = createIndexer({
    name: 'two',
    source: [chain.source, ledger],
    tables: { row },
    handle: (item, { db }) => db.row.insert({ id: item, value: item }),
    store: world.store,
    limits: { batchItems: 1, groupLatencyMs: 0 },
  })
  const events = watch(indexer)
  world.gates.write.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 4n)
  chain.append([{ number: 1, items: [1] }])
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 5n)
  late.resolve()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 10n)
  chain.fork({ above: 0, blocks: [{ number: 1, items: [11] }] })
  await drains(events)
  world.gates.write.release()
  expect(await events.until('rollback.committed')).toMatchObject({ target: 4n, droppedBatches: 6 })
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  const rows = await world.query('SELECT id FROM "row" ORDER BY id')
  expect(rows.map(({ id }) => id)).toEqual([11, ...Array.from({ length: 9 }, (_, at) => 1_000 + at)])
})

test('positions below the safe height are pruned, the newest of them is kept', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world, {
    count: 10,
    historyDepth: 3,
    limits: { groupLatencyMs: 0 },
  })
  const running = indexer.run()
  for (let number = 11; number <= 14; number++) {
    await events.until('batch.committed', ({ checkpoint }) => checkpoint === BigInt(number - 1))
    chain.append(branch(1, number, 'a', number))
  }
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 14n })
  const stored = await world.query('SELECT number::int AS number FROM tailrace.checkpoints ORDER BY number')
  expect(stored.map(({ number }) => number)).toEqual([11, 12, 13, 14])
})

test('I2, H69: a fork at exactly the committed frontier needs no transaction', async () => {
  await using world = await createWorld()
  const inside = deferred()
  const { chain, indexer, events } = forking(world, {
    preload: false,
    async handleBlock({ number, hash }, { signal }) {
      if (number !== 5 || hash !== 'chain-0-5') return
      inside.resolve()
      await once(signal, 'abort')
    },
  })
  const running = indexer.run()
  await inside.promise
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 4n)
  const before = await world.pipeline('fork')
  chain.fork({ above: 4, blocks: branch(2, 5, 'b', 2) })
  world.gates.write.hold()
  await events.until('rollback.committed')
  await world.gates.write.arrived()
  expect(await world.pipeline('fork')).toEqual(before)
  expect(world.gates.restore.passed).toBe(0)
  world.gates.write.release()
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 7n })
  expect(events.of('fork')).toEqual([{ source: 'chain', validTo: 4, depth: 1, target: 4n }])
  expect(rollbacks(events)).toEqual([{ target: 4n, depth: 1, droppedBatches: 0, restoredRows: 0 }])
  await expectSurvivors(world, { chain }, events)
})

test('I5, H73: a fork above the frontier keeps what is staged below it; the group on the wire is recalled', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world, { limits: { groupLatencyMs: 0 } })
  world.gates.write.hold()
  const running = indexer.run()
  for (const checkpoint of [1n, 2n]) {
    await world.gates.write.arrived()
    world.gates.write.releaseOne()
    await events.until('batch.committed', (committed) => committed.checkpoint === checkpoint)
  }
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 8n)
  await world.gates.write.arrived()
  const before = await world.pipeline('fork')
  chain.fork({ above: 5, blocks: branch(2, 6, 'b', 2) })
  await drains(events)
  world.gates.write.fail(new Error('cut'))
  await events.until('rollback.committed')
  expect(await world.pipeline('fork')).toMatchObject({ commitNumber: before.commitNumber, committed: 2 })
  expect(world.gates.restore.passed).toBe(0)
  world.gates.write.release()
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 10n })
  expect(rollbacks(events)).toEqual([{ target: 5n, depth: 3, droppedBatches: 3, restoredRows: 0 }])
  expect(events.of('batch.committed').map(({ checkpoint }) => checkpoint)).toEqual([
    1n,
    2n,
    3n,
    4n,
    5n,
    9n,
    10n,
  ])
  await expectSurvivors(world, { chain }, events)
})

test('nothing survives, and nothing was committed: every batch is dropped, and the chain is read from its beginning', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world)
  world.gates.write.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 8n)
  chain.fork({ above: 0, blocks: branch(3, 1, 'b', 2) })
  await drains(events)
  world.gates.write.fail(new Error('cut'))
  await events.until('rollback.committed')
  expect(await world.pipeline('fork')).toMatchObject({ commitNumber: 0, committed: 0, counter: 0 })
  world.gates.write.release()
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 11n })
  expect(events.of('fork')).toEqual([{ source: 'chain', validTo: null, depth: 8, target: 0n }])
  expect(rollbacks(events)).toEqual([{ target: 0n, depth: 8, droppedBatches: 8, restoredRows: 0 }])
  await expectSurvivors(world, { chain }, events)
})

test.each([
  ['recalled', 'cut' as const],
  ['landed', undefined],
])('I11, H24: a fork while compute waits for the budget, its commit %s', async (_how, fails) => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world, { limits: { stagedBytes: 1 } })
  world.gates.write.hold()
  const running = indexer.run()
  await events.until('state', ({ lanes }) => lanes?.compute === 'waiting' && lanes.commit === 'committing')
  chain.fork({ above: 1, blocks: branch(4, 2, 'b', 2) })
  await drains(events)
  if (fails !== undefined) world.gates.write.fail(new Error(fails))
  world.gates.write.release()
  await events.until('rollback.committed')
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 5n })
  // what had not been pulled was nobody's checkpoint
  expect(rollbacks(events)).toEqual([{ target: 1n, depth: 0, droppedBatches: 0, restoredRows: 0 }])
  await expectSurvivors(world, { chain }, events)
})

test('H21: a batch of several blocks that straddles the fork keeps its part below', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world, { limits: { batchItems: 3 * perBlock } })
  world.gates.write.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 8n)
  chain.fork({ above: 5, blocks: branch(4, 6, 'b', 2) })
  await drains(events)
  world.gates.write.release()
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 12n })
  // 4–6 was trimmed, 7–8 dropped
  expect(rollbacks(events)).toEqual([{ target: 5n, depth: 3, droppedBatches: 2, restoredRows: 0 }])
  expect(events.of('batch.committed').map(({ checkpoint }) => checkpoint)).toContain(5n)
  await expectSurvivors(world, { chain }, events)
})

test('I11: a fork while the read-ahead is full, too, is heard once there is room', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world, { limits: { stagedBytes: 1, readAheadBytes: 1 } })
  world.gates.write.hold()
  const running = indexer.run()
  await events.until('state', ({ lanes }) => lanes?.source === 'full' && lanes.compute === 'waiting')
  chain.fork({ above: 2, blocks: branch(4, 3, 'b', 2) })
  chain.end()
  world.gates.write.release()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(rollbacks(events)).toMatchObject([{ target: 2n }])
  await expectSurvivors(world, { chain }, events)
})
