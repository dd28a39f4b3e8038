/** Behind pgbouncer with transaction pooling: no session is ours, no backend either; everything else holds. */
import { integer, pgTable } from 'drizzle-orm/pg-core'
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest'
import { createIndexer, memorySource } from '../../src/index.ts'
import { Processes } from '../crash/rig/round.ts'
import { endedWell, freezeRound, Scene } from '../crash/rig/standby.ts'
import { blocksOf, createWorld, expected, handlers, tables } from '../support/indexers.ts'
import { openSession, stagedOf } from '../support/indexers-session.ts'
import { handlesBefore } from '../support/leaks.ts'
import { findPgbouncer, startPgbouncer, type Pgbouncer } from '../support/pgbouncer.ts'
import { createDatabase, serverUrl } from '../support/postgres.ts'

let pooler: Pgbouncer | undefined
let reason = ''
const processes = new Processes()

beforeAll(async () => {
  const binary = await findPgbouncer()
  if (typeof binary === 'string') reason = binary
  else pooler = await startPgbouncer(binary, serverUrl())
}, 120_000)

afterAll(async () => {
  await processes[Symbol.asyncDispose]()
  await pooler?.[Symbol.asyncDispose]()
})

function needed({ skip }: TestContext): Pgbouncer {
  if (pooler === undefined) skip(reason)
  return pooler!
}

test('a run, stopped and resumed: the tables of one sequential run; the row names no backend', async (context) => {
  const { through } = needed(context)
  await using world = await createWorld()
  const blocks = blocksOf(80, 5)
  await world.query('SELECT 1')
  const handles = handlesBefore()
  const indexer = createIndexer({
    name: 'pooled',
    source: memorySource({ id: 'm', blocks }),
    tables,
    handlers,
    store: world.plainStore({ connectionString: through(world.connectionString) }),
    limits: { batchItems: 10, groupLatencyMs: 5, stagedBytes: 5_000 },
  })
  let stops = 1
  indexer.on('batch.committed', () => {
    if (stops-- > 0) void indexer.stop()
  })
  const first = await indexer.run()
  expect(first.status).toBe('stopped')
  expect(first.committed).toBeLessThan(80n)
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 80n })
  expect(await world.rows()).toEqual(await expected(blocks))
  expect(await world.pipeline('pooled')).toMatchObject({ backendPid: null, token: null })
  await world.query('SELECT 1')
  expect(await handles.left()).toEqual({})
})

test('rows that must be new go by INSERT: not every pooler follows a COPY in the middle of a flight', async (context) => {
  const { through } = needed(context)
  await using world = await createWorld()
  const t = pgTable('t', { id: integer().primaryKey() })
  await using opened = await openSession(
    world.plainStore({ connectionString: through(world.connectionString) }),
    { t },
  )
  const lock = world.lock('t')
  await lock.taken
  const writing = opened.session.write(
    stagedOf(opened.models, [{ t: [{ id: 1 }] }], 'insert'),
    () => undefined,
  )
  await world.blocked(1)
  const waiting = await world.query(
    `SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  )
  await lock.release()
  expect(await writing).toEqual({ end: 'landed' })
  expect(waiting.map(({ query }) => String(query).split(' ')[0])).toEqual(['INSERT'])
})

test('I9, H39: the owner is frozen, and succeeded once it is stale', async (context) => {
  const { through } = needed(context)
  const createPooled = async () => {
    const { connectionString, drop } = await createDatabase()
    return { connectionString: through(connectionString), drop }
  }
  await freezeRound(undefined, { createDatabase: createPooled }, processes)
  // in its flight, with the locks that it has by then, on a backend that nobody told us of
  await freezeRound(
    { kind: 'commit', point: 'between fence and Sync' },
    { createDatabase: createPooled },
    processes,
  )
})

test('a holder that was killed is succeeded at once: its process is no more', async (context) => {
  const { through } = needed(context)
  await using database = await createDatabase()
  await using scene = new Scene(through(database.connectionString), processes)
  const owner = await scene.owner({ staleMs: 600_000 })
  await owner.process.kill()
  const next = scene.begin({ staleMs: 600_000 })
  await next.process.until('taken')
  next.process.stop()
  endedWell(await next.ended, 'stopped')
})

test('settings that the role does not have by itself: POOLER_SETTINGS says what to run', async (context) => {
  const { through } = needed(context)
  await using world = await createWorld()
  const name = new URL(world.connectionString).pathname.slice(1)
  await world.query(`ALTER DATABASE "${name}" SET statement_timeout = '5s'`)
  await world.query(`ALTER DATABASE "${name}" SET default_transaction_isolation = 'serializable'`)
  const indexer = createIndexer({
    name: 'pooled',
    source: memorySource({ id: 'm', blocks: blocksOf(2, 2) }),
    tables,
    handlers,
    store: world.plainStore({ connectionString: through(world.connectionString) }),
  })
  const outcome = await indexer.run()
  expect(outcome).toMatchObject({ status: 'failed', error: { code: 'POOLER_SETTINGS', phase: 'opening' } })
  if (outcome.status === 'failed') {
    expect(outcome.error.message).toContain('ALTER ROLE "postgres" SET statement_timeout = \'0\';')
    expect(outcome.error.message).toContain("SET default_transaction_isolation = 'read committed';")
  }
})
