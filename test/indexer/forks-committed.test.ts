/** Forks below the committed frontier: one fenced transaction takes tables, cursors and frontier back, from history. */
import { expect, test } from 'vitest'
import { simulatedChain } from '../../src/testing/index.ts'
import {
  branch,
  committedOf,
  drains,
  expectBookkeeping,
  expectGrowingIds,
  expectSurvivors,
  forking,
  numbers,
  perBlock,
  rollbacks,
  summing,
  sums,
  sumsOf,
} from '../support/forks.ts'
import { createWorld, deferred, expected } from '../support/indexers.ts'

test('I2, H21, H30, H32, H69: rows, cursor, positions and frontier go back in one transaction; ids go on', async () => {
  await using world = await createWorld()
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 20 })
  chain.append(numbers(8))
  const { indexer, events } = summing(world, [chain.source])
  const { running } = await committedOf({ chain, indexer, events })
  const before = await world.pipeline('fork')
  world.gates.write.hold()
  chain.fork({ above: 4, blocks: numbers(2, 5, 100) })
  await world.gates.write.arrived()
  expect(await sums(world)).toEqual(sumsOf(numbers(4)))
  expect(await world.pipeline('fork')).toEqual({
    ...before,
    commitNumber: before.commitNumber + 1,
    committed: 4,
    counter: 8,
  })
  const writers = await world.query(`SELECT xmin::text FROM tailrace.pipelines
    UNION SELECT xmin::text FROM tailrace.cursors UNION SELECT xmin::text FROM "row" WHERE id = 0`)
  expect(writers).toHaveLength(1)
  await expectBookkeeping(world, [{ source: chain.source, blocks: chain.blocks.slice(0, 4) }])
  expect(events.of('fork')).toEqual([{ source: 'chain', validTo: 4, depth: 4, target: 4n }])
  expect(events.of('rollback.started')).toEqual([{ target: 4n, depth: 4 }])
  // blocks 5–8 are gone, and their sum
  expect(rollbacks(events)).toEqual([{ target: 4n, depth: 4, droppedBatches: 0, restoredRows: 5 }])
  world.gates.write.release()
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 10n, processed: 10n })
  expect(await sums(world)).toEqual(sumsOf(chain.blocks))
  await expectBookkeeping(world, [chain])
  expectGrowingIds(events)
  const { commitNumber } = await world.pipeline('fork')
  expect(commitNumber).toBe(events.of('batch.committed').length + 1)
})

test.each([
  { above: 2, target: 2n, validTo: 2, depth: 6 },
  { above: 1, target: 1n, validTo: 1, depth: 7 },
  { above: 0, target: 0n, validTo: null, depth: 8 },
])(
  'I5, H24, H31: two batches on the wire, five staged, a fork above $above: the group lands, and is taken back',
  async ({ above, ...told }) => {
    await using world = await createWorld()
    const { chain, indexer, events } = forking(world, { limits: { groupLatencyMs: 1_000_000 } })
    world.gates.written.hold()
    const running = indexer.run()
    await events.until('batch.processed', ({ checkpoint }) => checkpoint === 8n)
    await world.gates.written.arrived()
    world.gates.written.releaseOne()
    await events.until('batch.committed')
    await world.gates.written.arrived()
    // 2 and 3 are in the database, and the run has not heard of it
    expect((await world.pipeline('fork')).committed).toBe(3)
    chain.fork({ above, blocks: branch(5, above + 1, 'b', 2) })
    await drains(events)
    expect(events.of('rollback.started')).toEqual([])
    world.gates.written.release()
    await events.until('rollback.committed')
    chain.end()
    expect(await running).toMatchObject({ status: 'finished', committed: 13n })
    const { target, depth } = told
    expect(events.of('fork')).toEqual([{ source: 'chain', ...told }])
    expect(events.of('rollback.started')).toEqual([{ target, depth }])
    expect(rollbacks(events)).toMatchObject([{ target, depth, droppedBatches: 5 }])
    expect(events.of('rollback.committed')[0]!.restoredRows).toBeGreaterThan(0)
    expect(events.of('batch.committed').map(({ checkpoint }) => checkpoint)).toContain(3n)
    await expectSurvivors(world, { chain }, events)
  },
)

test.each([1, 2, 3, 4, 5, 6, 7])(
  'I15, H21: batches of three blocks, committed together; a fork above block %i goes back to that very block',
  async (above) => {
    await using world = await createWorld()
    const { chain, indexer, events } = forking(world, {
      limits: { batchItems: 3 * perBlock, groupLatencyMs: 1_000_000 },
    })
    const { running } = await committedOf({ chain, indexer, events })
    world.gates.write.hold()
    const surviving = chain.blocks.slice(0, above)
    chain.fork({ above, blocks: branch(3, above + 1, 'b', 2) })
    await world.gates.write.arrived()
    expect(await world.rows()).toEqual(await expected(surviving))
    await expectBookkeeping(world, [{ source: chain.source, blocks: surviving }])
    world.gates.write.release()
    chain.end()
    expect(await running).toMatchObject({ status: 'finished', committed: 11n })
    expect(rollbacks(events)).toMatchObject([{ target: BigInt(above), depth: 8 - above, droppedBatches: 0 }])
    await expectSurvivors(world, { chain }, events)
  },
)

test('nothing survives: no row, no cursor, no position; and the other branch from its first block', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world)
  const { running } = await committedOf({ chain, indexer, events })
  world.gates.write.hold()
  chain.fork({ above: 0, blocks: branch(4, 1, 'b', 2) })
  await world.gates.write.arrived()
  expect([...(await world.rows()).values()].flat()).toEqual([])
  await expectBookkeeping(world, [{ source: chain.source, blocks: [] }])
  expect(await world.pipeline('fork')).toMatchObject({ committed: 0, counter: 8 })
  world.gates.write.release()
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 12n })
  expect(events.of('fork')).toEqual([{ source: 'chain', validTo: null, depth: 8, target: 0n }])
  await expectSurvivors(world, { chain }, events)
})

test('a chain that loses every block and gets no other ends empty', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world)
  const { running } = await committedOf({ chain, indexer, events })
  chain.fork({ above: 0, blocks: [] })
  await events.until('rollback.committed')
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 0n, processed: 0n })
  await expectSurvivors(world, { chain }, events)
  expect(await world.pipeline('fork')).toMatchObject({ committed: 0, counter: 8 })
})

test('H24: three forks one after the other, each with everything committed: deeper, into the new branch, and back', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world)
  const { running } = await committedOf({ chain, indexer, events })
  chain.fork({ above: 6, blocks: branch(3, 7, 'b', 2) })
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 11n)
  chain.fork({ above: 3, blocks: branch(4, 4, 'c', 3) })
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 15n)
  chain.fork({ above: 6, blocks: branch(2, 7, 'd', 4) })
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 17n)
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 17n })
  expect(events.of('fork')).toEqual([
    { source: 'chain', validTo: 6, depth: 2, target: 6n },
    { source: 'chain', validTo: 3, depth: 6, target: 3n },
    { source: 'chain', validTo: 6, depth: 1, target: 14n },
  ])
  expect(rollbacks(events)).toMatchObject([
    { target: 6n, depth: 2, droppedBatches: 0 },
    { target: 3n, depth: 6, droppedBatches: 0 },
    { target: 14n, depth: 1, droppedBatches: 0 },
  ])
  await expectSurvivors(world, { chain }, events)
})

const forksMeanwhile = [
  // what the first fork put in place was not read yet: nothing of it has to be taken back
  { how: 'shallower', above: 5, tag: 'c', told: [] },
  { how: 'at the same block', above: 4, tag: 'c', told: [] },
  { how: 'deeper', above: 2, tag: 'c', told: [{ validTo: 2, target: 2n, depth: 2 }] },
  { how: 'to nothing', above: 0, tag: 'c', told: [{ validTo: null, target: 0n, depth: 4 }] },
]

test.each(
  (['restore', 'restored'] as const).flatMap((gate) => forksMeanwhile.map((fork) => ({ gate, ...fork }))),
)('H24: a fork $how, while the rollback of another is held at $gate', async ({ gate, above, told }) => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world)
  const { running } = await committedOf({ chain, indexer, events })
  world.gates[gate].hold()
  chain.fork({ above: 4, blocks: branch(4, 5, 'b', 2) })
  await world.gates[gate].arrived()
  chain.fork({ above, blocks: branch(3, above + 1, 'c', 3) })
  world.gates[gate].release()
  await events.until('batch.committed', ({ checkpoint }) => checkpoint > 8n)
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(events.of('fork')).toEqual([
    { source: 'chain', validTo: 4, depth: 4, target: 4n },
    ...told.map((fork) => ({ source: 'chain', ...fork })),
  ])
  expect(rollbacks(events).map(({ target }) => target)).toEqual([4n, ...told.map(({ target }) => target)])
  await expectSurvivors(world, { chain }, events)
})

test.each(['one run', 'a run for each block'])(
  'H22: pruning never takes an image that a rollback needs: forks of the full depth, again and again, in %s',
  async (how) => {
    await using world = await createWorld()
    const { chain, indexer, events } = forking(world, {
      count: 4,
      historyDepth: 3,
      limits: { groupLatencyMs: 0 },
    })
    let { running } = await committedOf({ chain, indexer, events })
    let checkpoint = 4n
    let head = 4
    const committed = () => events.until('batch.committed', (event) => event.checkpoint === checkpoint)
    for (let round = 1; round <= 8; round++) {
      // one at a time: each commit prunes
      for (let more = 0; more < 3; more++) {
        if (how === 'a run for each block') {
          // another run does not know how much history there is, and empties what it can at once
          await indexer.stop()
          running = indexer.run()
        }
        chain.append(branch(1, ++head, `${round}${more}`, 10 * round + more))
        checkpoint++
        await committed()
      }
      const surviving = chain.blocks.slice(0, -3)
      world.gates.write.hold()
      chain.fork({ above: head - 3, blocks: branch(3, head - 2, `f${round}`, 100 + round) })
      await world.gates.write.arrived()
      expect(await world.rows()).toEqual(await expected(surviving))
      await expectBookkeeping(world, [{ source: { id: 'chain' }, blocks: surviving }])
      world.gates.write.release()
      checkpoint += 3n
      await committed()
    }
    chain.end()
    expect(await running).toMatchObject({ status: 'finished' })
    expect(rollbacks(events).map(({ depth, droppedBatches }) => [depth, droppedBatches])).toEqual(
      Array.from({ length: 8 }, () => [3, 0]),
    )
    await expectSurvivors(world, { chain }, events)
    // no more is kept than that
    const [{ n }] = (await world.query('SELECT count(*)::int AS n FROM tailrace.checkpoints')) as [
      { n: number },
    ]
    expect(n).toBeLessThanOrEqual(4)
  },
)

test('H33: a fork deeper than history is a clear, final error that changes nothing, and is seen again', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world, { historyDepth: 3 })
  const { running } = await committedOf({ chain, indexer, events })
  const state = async () => [
    await world.rows(),
    await world.query('SELECT * FROM tailrace.cursors'),
    await world.query('SELECT * FROM tailrace.checkpoints ORDER BY checkpoint'),
    await world.query('SELECT commit_number, committed, counter, restorable_from FROM tailrace.pipelines'),
  ]
  const before = await state()
  chain.fork({ above: 3, blocks: branch(2, 4, 'b', 2) })
  const outcome = await running
  expect(outcome).toMatchObject({
    status: 'failed',
    committed: 8n,
    error: { code: 'FORK_BEYOND_HISTORY', phase: 'rollback' },
  })
  expect(outcome).not.toHaveProperty('inDoubt')
  if (outcome.status !== 'failed') return
  expect(outcome.error.message).toMatch(
    /checkpoints 5–8 of pipeline 'fork'.*: 4 blocks or more, and history reaches back by 3, to checkpoint 5\./,
  )
  expect(outcome.error.message).toMatch(
    /Nothing was changed\. To recover, .*; to avoid it, raise .*historyDepth/,
  )
  expect(events.of('rollback.started')).toEqual([])
  expect(world.gates.restore.passed).toBe(0)
  expect(await state()).toEqual(before)
  // by the stored positions, without a block in between; and again
  for (let run = 0; run < 2; run++) {
    expect(await indexer.run()).toMatchObject({ status: 'failed', error: { code: 'FORK_BEYOND_HISTORY' } })
    expect(await state()).toEqual(before)
  }
})

test.each([
  // deeper than the source said: as far as the database can go back, it does
  { above: 4, ends: { status: 'finished' } },
  { above: 3, ends: { status: 'failed', committed: 7n, error: { code: 'FORK_BEYOND_HISTORY' } } },
])('H33, I15: blocks ran ahead of their commits, then a fork above $above: $ends.status', async (fork) => {
  await using world = await createWorld()
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 3 })
  const { indexer, events } = summing(world, [chain.source], { limits: { groupLatencyMs: 1_000_000 } })
  world.gates.write.hold()
  const running = indexer.run()
  // one at a time: when a block is given out, it is the head
  for (const block of numbers(10)) {
    chain.append([block])
    await events.until('batch.processed', ({ checkpoint }) => checkpoint === BigInt(block.number))
  }
  for (const checkpoint of [1n, 3n, 7n]) {
    await world.gates.write.arrived()
    world.gates.write.releaseOne()
    await events.until('batch.committed', (committed) => committed.checkpoint === checkpoint)
  }
  await world.gates.write.arrived()
  const surviving = chain.blocks.slice(0, 7)
  chain.fork({ above: fork.above, blocks: numbers(3, fork.above + 1, 100) })
  await drains(events)
  world.gates.write.fail(new Error('cut'))
  world.gates.write.release()
  chain.end()
  expect(await running).toMatchObject(fork.ends)
  if (fork.ends.status === 'finished') {
    expect(rollbacks(events)).toMatchObject([{ target: 4n, depth: 6, droppedBatches: 3 }])
    expect(await sums(world)).toEqual(sumsOf(chain.blocks))
    await expectBookkeeping(world, [chain])
  } else {
    expect(await sums(world)).toEqual(sumsOf(surviving))
    await expectBookkeeping(world, [{ source: chain.source, blocks: surviving }])
  }
})

test('I8, I10: a fork while the exit drains, and nobody listens any more: the next run sees it first', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world)
  chain.end()
  world.gates.written.hold()
  const running = indexer.run()
  await events.until('state', ({ lanes }) => lanes?.control === 'draining.exit')
  chain.fork({ above: 5, blocks: branch(2, 6, 'b', 2) })
  world.gates.written.release()
  expect(await running).toMatchObject({ status: 'finished', committed: 8n })
  expect(events.of('fork')).toEqual([])
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 10n })
  expect(rollbacks(events)).toMatchObject([{ target: 5n, depth: 3, droppedBatches: 0 }])
  await expectSurvivors(world, { chain }, events)
})

test.each([4, 0])(
  'I8, I15: stored positions were orphaned above %i while nobody ran: taken back before anything is pruned',
  async (above) => {
    await using world = await createWorld()
    const { chain, indexer, events } = forking(world, { historyDepth: 8 })
    await committedOf({ chain, indexer, events })
    expect(await indexer.stop()).toMatchObject({ status: 'stopped', committed: 8n })
    chain.fork({ above, blocks: branch(6, above + 1, 'b', 2) })
    chain.end()
    world.gates.restore.hold()
    const running = indexer.run()
    await world.gates.restore.arrived()
    // nothing was written, so nothing was pruned
    expect(await world.pipeline('fork')).toMatchObject({ commitNumber: events.of('batch.committed').length })
    world.gates.restore.release()
    expect(await running).toMatchObject({ status: 'finished', committed: 14n })
    const depth = 8 - above
    const target = BigInt(above)
    expect(events.of('fork')).toEqual([
      { source: 'chain', validTo: above === 0 ? null : above, depth, target },
    ])
    expect(rollbacks(events)).toMatchObject([{ target, depth, droppedBatches: 0 }])
    await expectSurvivors(world, { chain }, events)
  },
)

test('I7, I8: aborted with a commit in doubt, then orphaned: the next run finds both out', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world, { limits: { failDeadlineMs: 0, groupLatencyMs: 0 } })
  world.gates.written.hold()
  const running = indexer.run()
  for (const checkpoint of [1n, 2n, 3n, 4n]) {
    await world.gates.written.arrived()
    world.gates.written.releaseOne()
    await events.until('batch.committed', (committed) => committed.checkpoint === checkpoint)
  }
  await world.gates.written.arrived()
  const outcome = await indexer.abort()
  expect(outcome).toMatchObject({ status: 'failed', committed: 4n, inDoubt: { from: 4n, upTo: 5n } })
  expect(await running).toEqual(outcome)
  world.gates.written.release()
  chain.fork({ above: 3, blocks: branch(3, 4, 'b', 2) })
  chain.end()
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 8n })
  expect(rollbacks(events)).toMatchObject([{ target: 3n, depth: 2, droppedBatches: 0 }])
  expect(await world.pipeline('fork')).toMatchObject({ committed: 8, counter: 8 })
  await expectSurvivors(world, { chain })
})

test('H28: empty blocks have checkpoints to go back to', async () => {
  await using world = await createWorld()
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 20 })
  const empty = (from: number, count: number) =>
    Array.from({ length: count }, (_, at) => ({ number: from + at, items: [] }))
  chain.append([...numbers(2), ...empty(3, 6)])
  const { indexer, events } = summing(world, [chain.source])
  const { running } = await committedOf({ chain, indexer, events })
  chain.fork({ above: 5, blocks: [...empty(6, 1), ...numbers(2, 7, 100)] })
  await events.until('rollback.committed')
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(rollbacks(events)).toMatchObject([{ target: 5n, restoredRows: 0 }])
  expect(await sums(world)).toEqual(sumsOf(chain.blocks))
  await expectBookkeeping(world, [chain])
})

test('a handler of a batch that the fork does not reach runs to its end, and is committed', async () => {
  await using world = await createWorld()
  const inside = deferred()
  const goOn = deferred()
  const { chain, indexer, events } = forking(world, {
    preload: false,
    limits: { groupLatencyMs: 0, batchItems: perBlock },
    async handleBlock({ number }, { signal }) {
      if (number !== 6) return
      inside.resolve()
      await goOn.promise
      signal.throwIfAborted()
    },
  })
  const running = indexer.run()
  await inside.promise
  chain.fork({ above: 6, blocks: branch(1, 7, 'b', 2) })
  await drains(events)
  goOn.resolve()
  await events.until('rollback.committed')
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 7n })
  await expectSurvivors(world, { chain }, events)
})
