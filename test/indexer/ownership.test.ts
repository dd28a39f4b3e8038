/** One pipeline, one owner: who waits, who takes over, and what becomes of the one that lost. */
import { hostname } from 'node:os'
import { expect, test } from 'vitest'
import { createIndexer, exitCode, memorySource } from '../../src/index.ts'
import type { Outcome, Source } from '../../src/index.ts'
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
  type World,
} from '../support/indexers.ts'
import { startChild } from '../support/indexers-child.ts'
import { actorsOf, handlesBefore } from '../support/leaks.ts'

const blocks = blocksOf(60, 5)
const task = { name: 'owned', blocks: 60, itemsPerBlock: 5, seed: 1, batchItems: 20 }

function rival(world: World, ownership: { standby?: boolean; timeoutMs?: number }) {
  return createIndexer({
    name: 'owned',
    source: memorySource({ id: 'm', blocks }),
    tables,
    handlers,
    store: world.plainStore(),
    ownership,
  })
}

function superseded(outcome: Outcome) {
  if (outcome.status !== 'superseded')
    throw new Error(
      `expected superseded, got ${JSON.stringify(outcome, (_k, v: unknown) => (typeof v === 'bigint' ? String(v) : v))}`,
    )
  return outcome
}

/** Gives these blocks, and stays open. */
const headOf = (given: ReturnType<typeof numbered>): Source<number> => ({
  id: 'm',
  async *open({ signal }) {
    yield { type: 'blocks', blocks: given }
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  },
})

/** Another owner takes the row behind the back of the run. */
const takeAway = `UPDATE tailrace.pipelines SET epoch = epoch + 1, token = gen_random_uuid(), host = 'elsewhere', pid = 42
  WHERE name = $1`

test('another process holds the pipeline: waited for, then named; it stops, and the standby takes over', async () => {
  await using world = await createWorld()
  await using child = startChild()
  await child.begin({ ...task, connectionString: world.connectionString, holds: true })
  await child.until('holding')

  const impatient = rival(world, { timeoutMs: 250 })
  const heard = watch(impatient)
  const outcome = await impatient.run()
  expect(outcome).toMatchObject({
    status: 'failed',
    committed: 0n,
    error: { code: 'PIPELINE_HELD', phase: 'opening' },
  })
  if (outcome.status === 'failed') {
    expect(outcome.error.message).toContain(
      `held by process ${child.pid} on ${hostname()} (epoch 1, since 20`,
    )
    expect(outcome.error.message).toContain('Stop that process, or raise ownership.timeoutMs')
  }
  expect(heard.of('ownership')).toEqual([{ state: 'waiting', epoch: 1n, host: hostname(), pid: child.pid }])

  // waiting can be stopped
  const bored = rival(world, { standby: true })
  const waiting = watch(bored).until('ownership')
  const stopped = bored.run()
  await waiting
  expect(await bored.stop()).toMatchObject({ status: 'stopped', committed: 0n })
  expect(await stopped).toMatchObject({ status: 'stopped' })

  const standby = rival(world, { standby: true })
  const events = watch(standby)
  const running = standby.run()
  await events.until('ownership', ({ state }) => state === 'waiting')
  child.stop()
  expect(await child.until('ended')).toMatchObject({ status: 'stopped' })
  expect(await running).toMatchObject({ status: 'finished', committed: 60n })
  expect(events.of('ownership').at(-1)).toEqual({
    state: 'taken',
    epoch: 2n,
    host: hostname(),
    pid: process.pid,
  })
  expect(await world.rows()).toEqual(await expected(blocks))
})

test('I9: a holder that was killed is succeeded at once; the epoch grows', async () => {
  await using world = await createWorld()
  await using child = startChild()
  await child.begin({ ...task, connectionString: world.connectionString, holds: true })
  await child.until('holding')
  expect((await world.pipeline('owned')).epoch).toBe(1)
  await child.kill()
  expect(await rival(world, { timeoutMs: 5_000 }).run()).toMatchObject({ status: 'finished', committed: 60n })
  expect((await world.pipeline('owned')).epoch).toBe(2)
  expect(await world.rows()).toEqual(await expected(blocks))
})

test('two runs of one name in one process: refused at once, however patient', async () => {
  await using world = await createWorld()
  world.gates.write.hold()
  const first = createIndexer({
    name: 'owned',
    source: memorySource({ id: 'm', blocks }),
    tables,
    handlers,
    store: world.store,
  })
  const running = first.run()
  await world.gates.write.arrived()
  expect(await rival(world, { standby: true }).run()).toMatchObject({
    status: 'failed',
    error: { code: 'PIPELINE_RUNS_HERE' },
  })
  world.gates.write.release()
  // the first one is not disturbed, and afterwards the name is free
  expect(await running).toMatchObject({ status: 'finished', committed: 60n })
  expect(await rival(world, {}).run()).toMatchObject({ status: 'finished', committed: 60n })
})

test('two runs that start at once on an empty database: one has it', async () => {
  await using world = await createWorld()
  const outcomes = await Promise.all([rival(world, {}).run(), rival(world, {}).run()])
  const [failed] = outcomes.filter(({ status }) => status === 'failed')
  expect(outcomes.some(({ status }) => status === 'finished')).toBe(true)
  // the other one came too late, or found everything done
  if (failed !== undefined) expect(failed).toMatchObject({ error: { code: 'PIPELINE_RUNS_HERE' } })
  expect(await world.rows()).toEqual(await expected(blocks))
})

test('different names share a database', async () => {
  await using world = await createWorld()
  const names = ['a', 'b', 'c', 'd']
  const outcomes = await Promise.all(
    names.map((name, at) =>
      createIndexer({
        name,
        source: memorySource({ id: 'm', blocks: numbered(20, 1 + 100 * at) }),
        tables: { row },
        handle: setRow,
        store: world.plainStore(),
      }).run(),
    ),
  )
  expect(outcomes.map(({ status }) => status)).toEqual(names.map(() => 'finished'))
  expect(await world.query('SELECT count(*)::int AS n FROM "row"')).toEqual([{ n: 80 }])
})

test('I9, H72: another owner took the row: superseded, 75, nothing of ours lands, theirs stays', async () => {
  await using world = await createWorld()
  world.gates.write.hold()
  const indexer = createIndexer({
    name: 'lost',
    source: memorySource({ id: 'm', blocks: numbered(5) }),
    tables: { row },
    handle: setRow,
    store: world.store,
    limits: { batchItems: 1 },
  })
  const events = watch(indexer)
  const running = indexer.run()
  await world.gates.write.arrived()
  world.gates.write.releaseOne()
  await events.until('batch.committed')
  await world.gates.write.arrived()
  await world.query(takeAway, ['lost'])
  const theirs = await world.pipeline('lost')
  world.gates.write.release()
  const outcome = superseded(await running)
  expect(outcome).toMatchObject({ committed: 1n, owner: { epoch: 2n, host: 'elsewhere', pid: 42 } })
  expect(exitCode(outcome)).toBe(75)
  expect(outcome).not.toHaveProperty('inDoubt')
  expect(await world.query('SELECT id FROM "row"')).toEqual([{ id: 1 }])
  // neither taken back nor released
  expect(await world.pipeline('lost')).toEqual(theirs)
  expect(events.of('batch.committed')).toHaveLength(1)
})

test('H72, I10: after a lost connection the row is not stolen back from a new owner', async () => {
  await using world = await createWorld()
  world.gates.resolve.hold()
  world.gates.write.fail(new Error('cut'))
  const indexer = createIndexer({
    name: 'lost',
    source: memorySource({ id: 'm', blocks: numbered(5) }),
    tables: { row },
    handle: setRow,
    store: world.store,
  })
  const running = indexer.run()
  await world.gates.resolve.arrived()
  await world.query(takeAway, ['lost'])
  const theirs = await world.pipeline('lost')
  world.gates.resolve.release()
  expect(superseded(await running)).toMatchObject({ committed: 0n, owner: { epoch: 2n, host: 'elsewhere' } })
  expect(await world.pipeline('lost')).toEqual(theirs)
  expect(await world.query('SELECT id FROM "row"')).toEqual([])
})

test('H74: a handler that failed over the rows of the new owner does not hide the loss', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'lost',
    source: memorySource({ id: 'm', blocks: numbered(3) }),
    tables: { row },
    async handle(item: number, { db, preloading }) {
      if (preloading) return
      // read while it is inserted by somebody else: a fault of this handler, by all that it can see
      await world.query('INSERT INTO "row" VALUES ($1, 100) ON CONFLICT DO NOTHING', [item])
      await world.query(takeAway, ['lost'])
      await db.row.get(item)
      db.row.insert({ id: item, value: item })
    },
    store: world.store,
    // no heartbeat tells it first
    ownership: { staleMs: 3_600_000 },
  })
  expect(superseded(await indexer.run()).owner).toMatchObject({ host: 'elsewhere', pid: 42 })
})

test('H74: a superseded owner hears of that, not of a duplicate key of the new one', async () => {
  await using world = await createWorld()
  world.gates.write.hold()
  const indexer = createIndexer({
    name: 'lost',
    source: memorySource({ id: 'm', blocks: numbered(3) }),
    tables: { row },
    handle: (item: number, { db }) => db.row.insert({ id: item, value: item }),
    store: world.store,
  })
  const running = indexer.run()
  await world.gates.write.arrived()
  await world.query(takeAway, ['lost'])
  await world.query('INSERT INTO "row" VALUES (1, 100)')
  world.gates.write.release()
  superseded(await running)
  expect(await world.query('SELECT * FROM "row"')).toEqual([{ id: 1, value: 100 }])
})

test('H38, I9: a flight that was sent before the take-over, and executes after it, lands nothing', async () => {
  await using world = await createWorld()
  world.gates.write.hold()
  const indexer = createIndexer({
    name: 'late',
    source: memorySource({ id: 'm', blocks: numbered(3) }),
    tables: { row },
    handle: setRow,
    store: world.store,
  })
  const running = indexer.run()
  await world.gates.write.arrived()
  const { token } = await world.pipeline('late')
  // the rows wait behind a lock, past begin_flight; meanwhile the pipeline changes hands
  const lock = world.lock('row')
  await lock.taken
  world.gates.write.release()
  await world.blocked(1)
  await world.query(takeAway, ['late'])
  await lock.release()
  superseded(await running)
  expect(await world.query('SELECT * FROM "row"')).toEqual([])
  const after = await world.pipeline('late')
  expect(after).toMatchObject({ epoch: 2, commitNumber: 0, committed: 0 })
  expect(after.token).not.toBe(token)
})

test.each([
  ['one behind', 'commit_number - 1'],
  ['far ahead', 'commit_number + 5'],
])('I10: the database went back, or elsewhere (%s): failed, nothing is sent again', async (_name, number) => {
  await using world = await createWorld()
  world.gates.write.hold()
  const indexer = createIndexer({
    name: 'restored',
    source: memorySource({ id: 'm', blocks: numbered(5) }),
    tables: { row },
    handle: setRow,
    store: world.store,
    limits: { batchItems: 1, groupLatencyMs: 0 },
  })
  const events = watch(indexer)
  const running = indexer.run()
  await world.gates.write.arrived()
  world.gates.write.releaseOne()
  await events.until('batch.committed')
  await world.gates.write.arrived()
  await world.query(`UPDATE tailrace.pipelines SET commit_number = ${number} WHERE name = 'restored'`)
  world.gates.write.release()
  const outcome = await running
  expect(outcome).toMatchObject({ status: 'failed', committed: 1n, error: { code: 'DATABASE_WENT_BACK' } })
  expect(await world.query('SELECT id FROM "row"')).toEqual([{ id: 1 }])
})

test('H72: the heartbeat finds another owner while nothing is to be committed: superseded, by name', async () => {
  await using world = await createWorld()
  await world.query('SELECT 1')
  const handles = handlesBefore()
  const actors = actorsOf()
  const indexer = createIndexer({
    name: 'lost',
    source: headOf(numbered(3)),
    tables: { row },
    handle: setRow,
    store: world.plainStore(),
    ownership: { staleMs: 500 },
    inspect: actors.inspect,
  })
  const events = watch(indexer)
  const running = indexer.run()
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 3n)
  await world.query(takeAway, ['lost'])
  await world.query(
    `UPDATE tailrace.heartbeats h SET token = p.token FROM tailrace.pipelines p WHERE p.name = h.pipeline`,
  )
  const theirs = await world.pipeline('lost')
  const outcome = superseded(await running)
  expect(outcome).toMatchObject({ committed: 3n, owner: { epoch: 2n, host: 'elsewhere', pid: 42 } })
  expect(exitCode(outcome)).toBe(75)
  expect(await world.pipeline('lost')).toEqual(theirs)
  await world.query('SELECT 1')
  expect(actors.alive()).toEqual([])
  expect(await handles.left()).toEqual({})
})

test('H72: a pid that came again, as in a container: host and pid are ours, the token is not: taken at once', async () => {
  await using world = await createWorld()
  expect(await rival(world, {}).run()).toMatchObject({ status: 'finished' })
  // as a run left it that was killed a moment ago, in a container where every process is number 1
  await world.query(
    `UPDATE tailrace.pipelines SET token = gen_random_uuid(), host = $1, pid = $2, taken_at = clock_timestamp(),
       backend_pid = 999999, backend_start = clock_timestamp()`,
    [hostname(), process.pid],
  )
  const next = rival(world, { timeoutMs: 0 })
  const events = watch(next)
  expect(await next.run()).toMatchObject({ status: 'finished' })
  expect(events.of('ownership').map(({ state }) => state)).toEqual(['taken'])
})

test('a heartbeat outlives its connection', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'beats',
    source: headOf(numbered(1)),
    tables: { row },
    handle: setRow,
    store: world.plainStore(),
    ownership: { staleMs: 500 },
  })
  const running = indexer.run()
  const beat = async () =>
    (await world.query('SELECT at::text FROM tailrace.heartbeats').catch(() => []))[0]?.['at']
  const nextBeat = async () => {
    const before = await beat()
    while ((await beat()) === before);
  }
  await watch(indexer).until('batch.committed')
  await nextBeat()
  await nextBeat()
  // its connection is ended again and again
  for (let times = 0; times < 3; times++) {
    await world.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name LIKE '%heartbeat'`)
    await nextBeat()
  }
  await indexer.stop()
  expect(await running).toMatchObject({ status: 'stopped' })
})
