/** tailrace's own schema: made once, by whoever comes first; and the two functions every flight goes through. */
import pg from 'pg'
import { expect, test } from 'vitest'
import { installStatements, schemaVersion, sqlState } from '../../src/commit/bookkeeping.ts'
import { install } from '../../src/commit/install.ts'
import * as plans from '../../src/commit/plans.ts'
import { createWorld, type World } from '../support/indexers.ts'

async function connected(world: World): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({ connectionString: world.connectionString })
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
}

async function installed(world: World): Promise<pg.Client & AsyncDisposable> {
  const client = await connected(world)
  await install(client, [])
  await client.query(plans.addPipeline, ['p'])
  return client
}

const errorOf = async (work: Promise<unknown>): Promise<pg.DatabaseError> => {
  try {
    await work
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error
    throw error
  }
  throw new Error('it went through')
}

test('four processes start for the first time at once: each finds it made, once', async () => {
  await using world = await createWorld()
  const clients = await Promise.all([1, 2, 3, 4].map(() => connected(world)))
  const tables = ['CREATE TABLE IF NOT EXISTS made (id integer PRIMARY KEY)']
  try {
    await Promise.all(clients.map((client) => install(client, tables)))
  } finally {
    await Promise.all(clients.map((client) => client.end()))
  }
  expect(await world.query('SELECT version FROM tailrace.meta')).toEqual([{ version: schemaVersion }])
  expect(await world.query(`SELECT to_regclass('made')::text AS made`)).toEqual([{ made: 'made' }])
})

test('an installation that is there is left alone; one that failed leaves nothing', async () => {
  await using world = await createWorld()
  await using client = await connected(world)
  await expect(install(client, ['CREATE NONSENSE'])).rejects.toMatchObject({ code: 'INSTALL_FAILED' })
  expect(await world.query(`SELECT to_regclass('tailrace.meta') AS made`)).toEqual([{ made: null }])
  await install(client, [])
  const [before] = await world.query(`SELECT xmin::text FROM pg_class WHERE relname = 'pipelines'`)
  await install(client, [])
  expect(await world.query(`SELECT xmin::text FROM pg_class WHERE relname = 'pipelines'`)).toEqual([before])
})

test('H46: a schema that a newer tailrace made is refused', async () => {
  await using world = await createWorld()
  await using client = await installed(world)
  await client.query('UPDATE tailrace.meta SET version = $1', [schemaVersion + 1])
  await expect(install(client, [])).rejects.toMatchObject({
    code: 'SCHEMA_NEWER',
    message: expect.stringContaining('Use the newer tailrace') as string,
  })
})

test('every statement may run twice', async () => {
  await using world = await createWorld()
  await using client = await connected(world)
  for (const statement of [...installStatements, ...installStatements]) await client.query(statement)
})

test('I15: an installation from before there was history is brought up to date: nothing of it can be taken back', async () => {
  await using world = await createWorld()
  await using client = await installed(world)
  // as version 1 left it
  await client.query(
    `DROP FUNCTION tailrace.fence; ALTER TABLE tailrace.pipelines DROP COLUMN restorable_from`,
  )
  await client.query(`UPDATE tailrace.pipelines SET committed = 12; UPDATE tailrace.meta SET version = 1`)
  await client.query(`CREATE FUNCTION tailrace.fence(text, bigint, bigint, bigint, bigint) RETURNS void
    LANGUAGE sql AS 'SELECT NULL::void'`)
  await install(client, [])
  expect(await world.query('SELECT version FROM tailrace.meta')).toEqual([{ version: schemaVersion }])
  expect(await world.query('SELECT restorable_from FROM tailrace.pipelines')).toEqual([
    { restorable_from: '12' },
  ])
  const arguments_ = await world.query(`SELECT pronargs FROM pg_proc WHERE proname = 'fence'`)
  expect(arguments_).toEqual([{ pronargs: 6 }])
})

test('I9, TR001: a flight of another epoch fails at its beginning', async () => {
  await using world = await createWorld()
  await using client = await installed(world)
  await client.query(`UPDATE tailrace.pipelines SET epoch = 7`)
  expect(await errorOf(client.query(plans.beginFlight, ['p', 6]))).toMatchObject({ code: sqlState.epoch })
  expect(await errorOf(client.query(plans.beginFlight, ['nobody', 7]))).toMatchObject({
    code: sqlState.epoch,
  })
  await client.query(plans.beginFlight, ['p', 7])
})

test('I9, TR001: the check at the beginning takes no lock', async () => {
  await using world = await createWorld()
  await using client = await installed(world)
  await using other = await connected(world)
  await other.query('BEGIN')
  await other.query(`UPDATE tailrace.pipelines SET counter = 1`)
  await client.query(plans.beginFlight, ['p', 0])
  await other.query('ROLLBACK')
})

test.each([
  ['epoch', 6, 3],
  ['commit number', 7, 2],
  ['commit number, ahead', 7, 4],
])('I9, TR002: the fence compares %s, and undoes the whole flight', async (_name, epoch, number) => {
  await using world = await createWorld()
  await using client = await installed(world)
  await client.query('CREATE TABLE t (id integer)')
  await client.query(
    `UPDATE tailrace.pipelines SET epoch = 7, commit_number = 3, committed = 30, counter = 40`,
  )
  await client.query('BEGIN')
  await client.query('INSERT INTO t VALUES (1)')
  expect(await errorOf(client.query(plans.fence, ['p', epoch, number, 31, 31, 31]))).toMatchObject({
    code: sqlState.fence,
  })
  await client.query('COMMIT')
  expect(await world.query('SELECT * FROM t')).toEqual([])
  expect(await world.pipeline('p')).toMatchObject({ commitNumber: 3, committed: 30, counter: 40 })
})

test('I12: the fence counts on, and the counter never goes back', async () => {
  await using world = await createWorld()
  await using client = await installed(world)
  await client.query(
    `UPDATE tailrace.pipelines SET epoch = 7, commit_number = 3, committed = 30, counter = 40`,
  )
  await client.query(plans.fence, ['p', 7, 3, 31, 31, 31])
  expect(await world.pipeline('p')).toMatchObject({ epoch: 7, commitNumber: 4, committed: 31, counter: 40 })
  await client.query(plans.fence, ['p', 7, 4, 41, 41, 41])
  expect(await world.pipeline('p')).toMatchObject({ commitNumber: 5, committed: 41, counter: 41 })
})

test('H72: two that saw the same epoch: one take-over; a re-take needs the own token; a release, too', async () => {
  await using world = await createWorld()
  await using a = await installed(world)
  await using b = await connected(world)
  const [mine, yours] = ['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002']
  const took = await Promise.all([
    a.query(plans.takePipeline, ['p', 0, mine, 'here', 1, 0, null]),
    b.query(plans.takePipeline, ['p', 0, yours, 'there', 2, 0, null]),
  ])
  expect(took.reduce((taken, { rowCount }) => taken + (rowCount ?? 0), 0)).toBe(1)
  const [winner, loser] = took[0].rowCount === 1 ? [mine, yours] : [yours, mine]
  expect((await a.query(plans.retakePipeline, ['p', loser, 0])).rowCount).toBe(0)
  expect((await a.query(plans.releasePipeline, ['p', loser])).rowCount).toBe(0)
  expect((await world.pipeline('p')).token).toBe(winner)
  expect((await a.query(plans.retakePipeline, ['p', winner, 0])).rows).toMatchObject([{ epoch: '2' }])
  await a.query(plans.releasePipeline, ['p', winner])
  expect(await world.pipeline('p')).toMatchObject({ token: null, backendPid: null, epoch: 2 })
})

test('I10: taking the row again waits for the old transaction, and sees what it did', async () => {
  await using world = await createWorld()
  await using client = await installed(world)
  await using old = await connected(world)
  const token = '00000000-0000-0000-0000-000000000001'
  await old.query(plans.takePipeline, ['p', 0, token, 'here', 1, 0, null])
  await old.query('BEGIN')
  await old.query(plans.fence, ['p', 1, 0, 5, 5, 5])
  const retaking = client.query<Record<string, string>>(plans.retakePipeline, ['p', token, 0])
  await world.blocked(1)
  await old.query('COMMIT')
  expect((await retaking).rows).toMatchObject([{ epoch: '2', commit_number: '1', committed: '5' }])
})
