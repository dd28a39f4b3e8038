/** Forks above the committed frontier: what is staged is cut, nothing doomed is ever sent. */
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { createIndexer, memorySource } from '../../src/index.ts'
import type { Source } from '../../src/index.ts'
import { simulatedChain } from '../../src/testing/index.ts'
import {
  blocksOf,
  createWorld,
  deferred,
  expected,
  handlers,
  row,
  tables,
  watch,
  type Item,
} from '../support/indexers.ts'

const perBlock = 8
const branch = (count: number, from: number, tag: string, seed: number) =>
  blocksOf(count, perBlock, { from, tag, seed, accounts: 12 })

test('I5, I8, H29, H31: staged batches above the fork are dropped unsent, with one on the wire', async () => {
  await using world = await createWorld()
  const chain = simulatedChain<Item>({ id: 'chain', historyDepth: 20 })
  chain.append(branch(8, 1, 'a', 1))
  const indexer = createIndexer({
    name: 'fork',
    source: chain.source,
    tables,
    handlers,
    store: world.store,
    limits: { batchItems: perBlock },
  })
  const events = watch(indexer)
  world.gates.written.hold()
  const running = indexer.run()
  await world.gates.written.arrived()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 8n)
  const dropped = indexer.durable(6n)
  dropped.catch(() => undefined)
  chain.fork({ above: 4, blocks: branch(3, 5, 'b', 2) })
  await events.until('state', ({ lanes }) => lanes?.control === 'draining.rollback')
  // the commit on the wire is waited for
  expect(events.of('rollback.started')).toEqual([])
  world.gates.written.release()
  await events.until('rollback.committed')
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(events.of('fork')).toEqual([{ source: 'chain', target: 4n }])
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
  const chain = simulatedChain<Item>({ id: 'chain', historyDepth: 20 })
  chain.append(branch(6, 1, 'a', 3))
  const indexer = createIndexer({
    name: 'fork',
    source: chain.source,
    tables,
    handlers,
    store: world.store,
    limits: { batchItems: perBlock, groupLatencyMs: 1_000_000 },
  })
  const events = watch(indexer)
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
  await events.until('state', ({ lanes }) => lanes?.control === 'draining.rollback')
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
  const chain = simulatedChain<Item>({ id: 'chain', historyDepth: 50 })
  chain.append(branch(10, 1, 'a', 7))
  const indexer = createIndexer({
    name: 'fork',
    source: chain.source,
    tables,
    handlers,
    store: world.store,
    limits: { batchItems: perBlock },
  })
  const events = watch(indexer)
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
  await events.until('state', ({ lanes }) => lanes?.control === 'draining.rollback')
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
  await events.until('state', ({ lanes }) => lanes?.control === 'draining.rollback')
  world.gates.write.release()
  expect(await events.until('rollback.committed')).toMatchObject({ target: 4n, droppedBatches: 6 })
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  const rows = await world.query('SELECT id FROM "row" ORDER BY id')
  expect(rows.map(({ id }) => id)).toEqual([11, ...Array.from({ length: 9 }, (_, at) => 1_000 + at)])
})

test('H33: a fork below what is committed is a clear, final error that changes nothing', async () => {
  await using world = await createWorld()
  const chain = simulatedChain<Item>({ id: 'chain', historyDepth: 20 })
  chain.append(branch(5, 1, 'a', 11))
  const indexer = createIndexer({ name: 'deep', source: chain.source, tables, handlers, store: world.store })
  const events = watch(indexer)
  const running = indexer.run()
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 5n)
  const before = [await world.rows(), await world.query('SELECT * FROM tailrace.cursors')]
  chain.fork({ above: 2, blocks: branch(2, 3, 'b', 12) })
  const outcome = await running
  expect(outcome).toMatchObject({
    status: 'failed',
    committed: 5n,
    error: { code: 'FORK_BEYOND_HISTORY', phase: 'rollback' },
  })
  expect(outcome).not.toHaveProperty('inDoubt')
  if (outcome.status === 'failed') {
    expect(outcome.error.message).toMatch(
      /orphaned checkpoints 3–5 of pipeline 'deep'.*Nothing was changed. To recover/,
    )
  }
  expect([await world.rows(), await world.query('SELECT * FROM tailrace.cursors')]).toEqual(before)
  // and it is seen again, by the stored positions, when nobody ran in between
  expect(await indexer.run()).toMatchObject({ status: 'failed', error: { code: 'FORK_BEYOND_HISTORY' } })
  expect([await world.rows(), await world.query('SELECT * FROM tailrace.cursors')]).toEqual(before)
})

test('positions below the safe height are pruned, the newest of them is kept', async () => {
  await using world = await createWorld()
  const chain = simulatedChain<Item>({ id: 'chain', historyDepth: 3 })
  chain.append(branch(10, 1, 'a', 13))
  const indexer = createIndexer({
    name: 'prune',
    source: chain.source,
    tables,
    handlers,
    store: world.store,
    limits: { batchItems: perBlock, groupLatencyMs: 0 },
  })
  const events = watch(indexer)
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
