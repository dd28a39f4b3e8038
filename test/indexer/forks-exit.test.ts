/** Forks and the end of a run: stop, abort, deadlines and the loss of the pipeline while a rollback is under way. */
import { expect, test } from 'vitest'
import type { Outcome } from '../../src/index.ts'
import { exitCode } from '../../src/index.ts'
import {
  branch,
  committedOf,
  drains,
  expectBookkeeping,
  expectSurvivors,
  forking,
  rollbacks,
} from '../support/forks.ts'
import { createWorld, deferred, expected, type World } from '../support/indexers.ts'

const failedOf = (outcome: Outcome) => {
  if (outcome.status !== 'failed') throw new Error(`expected a failed run, got ${outcome.status}`)
  return outcome
}

/** Everything committed, blocks 5–8 orphaned, and the rollback held. */
async function heldRollback(
  world: World,
  gate: 'restore' | 'restored',
  options: Parameters<typeof forking>[1] = {},
  start: Parameters<ReturnType<typeof forking>['indexer']['run']>[0] = {},
) {
  const run = forking(world, options)
  const running = run.indexer.run(start)
  await run.events.until('batch.committed', ({ checkpoint }) => checkpoint === 8n)
  world.gates[gate].hold()
  run.chain.fork({ above: 4, blocks: branch(3, 5, 'b', 2) })
  await world.gates[gate].arrived()
  return { ...run, running }
}

// ── stop ────────────────────────────────────────────────────────────────────────────────────────────────────

test.each(['restore', 'restored'] as const)(
  'I6, H43: stop() while a rollback is held at %s: it is carried out, nothing is read again, `stopped`',
  async (gate) => {
    await using world = await createWorld()
    const controller = new AbortController()
    const { chain, indexer, events, running } = await heldRollback(world, gate, {}, controller)
    // what a host does on SIGTERM
    controller.abort()
    world.gates[gate].release()
    const outcome = await running
    expect(outcome).toEqual({ status: 'stopped', committed: 4n, processed: 4n, regions: {} })
    expect(exitCode(outcome)).toBe(0)
    expect(rollbacks(events)).toMatchObject([{ target: 4n, depth: 4 }])
    const below = { source: chain.source, blocks: chain.blocks.slice(0, 4) }
    await expectSurvivors(world, { chain: { ...chain, blocks: below.blocks } }, events)
    expect(await world.pipeline('fork')).toMatchObject({ token: null, committed: 4, counter: 8 })
    chain.end()
    expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 11n })
    await expectSurvivors(world, { chain }, events)
  },
)

test('H43: stop() while the lanes drain for a rollback: the commit lands, is taken back, and what survives is kept', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world, { limits: { groupLatencyMs: 0 } })
  world.gates.written.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 8n)
  await world.gates.written.arrived()
  chain.fork({ above: 4, blocks: branch(3, 5, 'b', 2) })
  await drains(events)
  void indexer.stop()
  world.gates.written.release()
  // 2–4 were staged, and survive the fork: a drain commits them
  expect(await running).toMatchObject({ status: 'stopped', committed: 4n, processed: 4n })
  expect(rollbacks(events)).toEqual([{ target: 4n, depth: 4, droppedBatches: 4, restoredRows: 0 }])
  chain.end()
  expect(await indexer.run()).toMatchObject({ status: 'finished' })
  // 5–8 never reached the database: the next run may give them again
  await expectSurvivors(world, { chain })
})

test('a fork in the turn in which stop() is called is seen now, or by the next run', async () => {
  for (const isFirst of [true, false]) {
    await using world = await createWorld()
    const { chain, indexer, events } = forking(world)
    const { running } = await committedOf({ chain, indexer, events })
    const fork = () => chain.fork({ above: 4, blocks: branch(3, 5, 'b', 2) })
    if (isFirst) fork()
    void indexer.stop()
    if (!isFirst) fork()
    expect(await running).toMatchObject({ status: 'stopped' })
    chain.end()
    expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 11n })
    expect(rollbacks(events)).toMatchObject([{ target: 4n, depth: 4 }])
    await expectSurvivors(world, { chain }, events)
  }
})

// ── abort ───────────────────────────────────────────────────────────────────────────────────────────────────

test.each(['restore', 'restored'] as const)(
  'I7: abort() while a rollback is held at %s: its answer is waited for, nothing is in doubt',
  async (gate) => {
    await using world = await createWorld()
    const limits = { failDeadlineMs: 20_000 }
    const { chain, indexer, events, running } = await heldRollback(world, gate, { limits })
    void indexer.abort()
    world.gates[gate].release()
    const outcome = failedOf(await running)
    expect(outcome).toMatchObject({
      committed: 4n,
      processed: 4n,
      error: { code: 'ABORTED' },
      suppressed: [],
    })
    expect(outcome).not.toHaveProperty('inDoubt')
    const surviving = chain.blocks.slice(0, 4)
    expect(await world.rows()).toEqual(await expected(surviving))
    await expectBookkeeping(world, [{ source: chain.source, blocks: surviving }])
    chain.end()
    expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 11n })
    await expectSurvivors(world, { chain }, events)
  },
)

test.each([
  { gate: 'restore', rollbacksTold: [{ target: 4n, depth: 4 }] },
  { gate: 'restored', rollbacksTold: [] },
] as const)(
  'I7, I8: abort() cuts a rollback held at $gate: it is in doubt, and the next run ends right',
  async ({ gate, rollbacksTold }) => {
    await using world = await createWorld()
    const { chain, indexer, events, running } = await heldRollback(world, gate, {
      limits: { failDeadlineMs: 0 },
    })
    void indexer.abort()
    const outcome = failedOf(await running)
    expect(outcome).toMatchObject({
      committed: 8n,
      inDoubt: { from: 4n, upTo: 8n },
      error: { code: 'ABORTED' },
    })
    world.gates[gate].release()
    // what came too late is not told
    expect(rollbacks(events)).toEqual([])
    expect(await world.pipeline('fork')).toMatchObject({
      committed: gate === 'restored' ? 4 : 8,
      token: null,
    })
    chain.end()
    expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 11n })
    expect(rollbacks(events)).toMatchObject(rollbacksTold)
    await expectSurvivors(world, { chain }, events)
  },
)

test('I7: abort() while a rollback is held, and then its connection is lost: resolved, and not sent again', async () => {
  await using world = await createWorld()
  const limits = { failDeadlineMs: 20_000 }
  const { chain, indexer, events, running } = await heldRollback(world, 'restore', { limits })
  const { commitNumber } = await world.pipeline('fork')
  void indexer.abort()
  world.gates.restore.fail(new Error('cut'))
  world.gates.restore.release()
  const outcome = failedOf(await running)
  expect(outcome).toMatchObject({ committed: 8n, error: { code: 'ABORTED' } })
  expect(outcome).not.toHaveProperty('inDoubt')
  expect(world.gates.restore.passed).toBe(1)
  expect(await world.pipeline('fork')).toMatchObject({ commitNumber, committed: 8 })
  chain.end()
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 11n })
  await expectSurvivors(world, { chain }, events)
})

test('I7: abort() while the lanes drain for a rollback: nothing is restored, the next run does it', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world, { limits: { failDeadlineMs: 20_000, groupLatencyMs: 0 } })
  world.gates.written.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 8n)
  await world.gates.written.arrived()
  chain.fork({ above: 0, blocks: branch(3, 1, 'b', 2) })
  await drains(events)
  void indexer.abort()
  world.gates.written.release()
  expect(failedOf(await running)).toMatchObject({ committed: 1n, error: { code: 'ABORTED' } })
  expect(events.of('rollback.started')).toEqual([])
  chain.end()
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 4n })
  expect(rollbacks(events)).toMatchObject([{ target: 0n, depth: 1 }])
  await expectSurvivors(world, { chain })
})

// ── deadlines ───────────────────────────────────────────────────────────────────────────────────────────────

test('H42: a deaf handler above the fork meets drainDeadlineMs; the next run rolls back', async () => {
  await using world = await createWorld()
  const inside = deferred()
  const { chain, indexer, events } = forking(world, {
    preload: false,
    limits: { drainDeadlineMs: 30, failDeadlineMs: 30 },
    async handleBlock({ hash }) {
      if (hash !== 'chain-0-8') return
      inside.resolve()
      await new Promise(() => undefined)
    },
  })
  const running = indexer.run()
  await inside.promise
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 7n)
  chain.fork({ above: 4, blocks: branch(3, 5, 'b', 2) })
  const outcome = failedOf(await running)
  expect(outcome).toMatchObject({ committed: 7n, error: { code: 'DRAIN_DEADLINE' }, suppressed: [] })
  expect(outcome.error.message).toContain('rollback')
  expect(events.of('rollback.started')).toEqual([])
  chain.end()
  const next = forking(world, { chain })
  expect(await next.indexer.run()).toMatchObject({ status: 'finished', committed: 10n })
  expect(rollbacks(next.events)).toMatchObject([{ target: 4n, depth: 3 }])
  await expectSurvivors(world, { chain }, next.events)
})

test('H34: a rollback that cannot be resolved within commitDeadlineMs fails with its first cause, in doubt', async () => {
  await using world = await createWorld()
  const { chain, indexer, running } = await heldRollback(world, 'restore', {
    limits: { commitDeadlineMs: 30 },
  })
  // fails whenever it is asked
  world.gates.resolve.hold()
  const refuse = async () => {
    for (;;) {
      await world.gates.resolve.arrived()
      world.gates.resolve.fail(new Error('still no network'))
    }
  }
  void refuse()
  world.gates.restore.fail(new Error('cable cut'))
  const outcome = failedOf(await running)
  expect(outcome).toMatchObject({ committed: 8n, inDoubt: { from: 4n, upTo: 8n } })
  expect(outcome.error.message).toContain('cable cut')
  world.gates.resolve.release()
  world.gates.restore.release()
  chain.end()
  const next = forking(world, { chain, store: world.plainStore() })
  expect(indexer.status().state).toBe('failed')
  expect(await next.indexer.run()).toMatchObject({ status: 'finished', committed: 11n })
  await expectSurvivors(world, { chain }, next.events)
})

// ── another owner ───────────────────────────────────────────────────────────────────────────────────────────

const takeAway = `UPDATE tailrace.pipelines SET epoch = epoch + 1, token = gen_random_uuid(), host = 'elsewhere',
  pid = 42, backend_pid = NULL, backend_start = NULL WHERE name = 'fork'`

test('I9: superseded before its rollback is sent: nothing of it lands, theirs stays', async () => {
  await using world = await createWorld()
  const { indexer, chain, events, running } = await heldRollback(world, 'restore')
  const before = await world.rows()
  await world.query(takeAway)
  const theirs = await world.pipeline('fork')
  world.gates.restore.release()
  const outcome = await running
  expect(outcome).toMatchObject({
    status: 'superseded',
    committed: 8n,
    owner: { host: 'elsewhere', pid: 42 },
  })
  expect(outcome).not.toHaveProperty('inDoubt')
  expect(exitCode(outcome)).toBe(75)
  expect(await world.rows()).toEqual(before)
  expect(await world.pipeline('fork')).toEqual(theirs)
  expect(rollbacks(events)).toEqual([])
  expect(indexer.status().state).toBe('superseded')
  // the new owner's is the next run here
  await world.query(`UPDATE tailrace.pipelines SET token = NULL`)
  chain.end()
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 11n })
  await expectSurvivors(world, { chain }, events)
})

test('I9, H38: a rollback that was sent before the take-over, and executes after it, lands nothing', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world)
  const { running } = await committedOf({ chain, indexer, events })
  const before = await world.rows()
  const lock = world.lock('transfer')
  await lock.taken
  chain.fork({ above: 4, blocks: branch(3, 5, 'b', 2) })
  await world.blocked(1)
  await world.query(takeAway)
  const theirs = await world.pipeline('fork')
  await lock.release()
  expect(await running).toMatchObject({ status: 'superseded', committed: 8n })
  expect(await world.rows()).toEqual(before)
  expect(await world.pipeline('fork')).toEqual(theirs)
  expect(rollbacks(events)).toEqual([])
})

test('I9, H72: superseded while the rollback’s answer is lost: not taken back from the new owner', async () => {
  await using world = await createWorld()
  const { running } = await heldRollback(world, 'restore')
  world.gates.resolve.hold()
  world.gates.restore.fail(new Error('cut'))
  await world.gates.resolve.arrived()
  await world.query(takeAway)
  const theirs = await world.pipeline('fork')
  world.gates.resolve.release()
  expect(await running).toMatchObject({ status: 'superseded', committed: 8n, owner: { host: 'elsewhere' } })
  expect(await world.pipeline('fork')).toEqual(theirs)
  expect(world.gates.restore.passed).toBe(1)
})
