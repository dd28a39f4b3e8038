/** One run's session with Postgres: flights that land, are refused or lost, and what a resolution says of them. */
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { expect, test } from 'vitest'
import { readPool } from '../../src/commit/connection.ts'
import { silentLog } from '../../src/log.ts'
import { classifyEnd, openSession, stagedOf } from '../support/indexers-session.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { createWorld, type World } from '../support/indexers.ts'

const t = pgTable('t', { id: integer().primaryKey(), body: text() })
const rows = (count: number, body = 'x') => Array.from({ length: count }, (_, at) => ({ id: at + 1, body }))

async function count(world: World): Promise<unknown> {
  return (await world.query('SELECT count(*)::int AS n FROM t'))[0]!['n']
}

test('a flight lands whole: rows, cursor, frontier, one transaction', async () => {
  await using world = await createWorld()
  await using opened = await openSession(world.plainStore(), { t })
  let flushed = 0
  const { session } = opened
  expect(await session.write(stagedOf(opened.models, [{ t: rows(3) }]), () => flushed++)).toEqual({
    end: 'landed',
  })
  expect(flushed).toBe(1)
  const versions = await world.query(`SELECT DISTINCT xmin::text AS x FROM t
    UNION SELECT xmin::text FROM tailrace.cursors UNION SELECT xmin::text FROM tailrace.pipelines`)
  expect(versions).toHaveLength(1)
  expect(await world.pipeline('p')).toMatchObject({ epoch: 1, commitNumber: 1, committed: 1 })
})

test('a group larger than every socket buffer', async () => {
  await using world = await createWorld()
  await using opened = await openSession(world.plainStore(), { t })
  const group = stagedOf(opened.models, [{ t: rows(300, 'y'.repeat(100_000)) }])
  expect(await opened.session.write(group, () => undefined)).toEqual({ end: 'landed' })
  expect(await count(world)).toBe(300)
})

test('H63: a refused flight leaves nothing, the connection serves on, and is asked whose the row is', async () => {
  await using world = await createWorld()
  await using opened = await openSession(world.plainStore(), { t })
  const { session, models } = opened
  await world.query('INSERT INTO t VALUES (2)')
  const group = stagedOf(models, [{ t: rows(3) }], 'insert')
  const refused = await session.write(group, () => undefined)
  expect(refused).toMatchObject({ end: 'refused', error: { code: 'DUPLICATE_KEY', key: 2 } })
  expect(await count(world)).toBe(1)
  expect(await session.resolve()).toEqual({ end: 'notLanded' })
  await world.query('DELETE FROM t')
  expect(await session.write(group, () => undefined)).toEqual({ end: 'landed' })
  // the resolution came under a new epoch, and so did the flight after it
  expect(await world.pipeline('p')).toMatchObject({ epoch: 2, commitNumber: 1 })
})

test('H37, H62: the backend is killed while it executes: lost, resolved as not landed, sent again', async () => {
  // by INSERT, and by COPY
  for (const how of ['set', 'insert'] as const) {
    await using world = await createWorld()
    await using opened = await openSession(world.plainStore(), { t })
    const { session, models } = opened
    const group = stagedOf(models, [{ t: rows(3) }], how)
    const lock = world.lock('t')
    await lock.taken
    const writing = session.write(group, () => undefined)
    await world.blocked(1)
    await world.query('SELECT pg_terminate_backend(backend_pid) FROM tailrace.pipelines')
    expect((await writing).end).toBe('lost')
    await lock.release()
    expect(await session.resolve()).toEqual({ end: 'notLanded' })
    expect(await session.write(group, () => undefined)).toEqual({ end: 'landed' })
    expect(await world.pipeline('p')).toMatchObject({ epoch: 2, commitNumber: 1 })
  }
})

test('H62, I10: the socket is destroyed while the backend goes on: its end is waited for, not guessed', async () => {
  await using world = await createWorld()
  const ends: string[] = []
  for (let trial = 0; trial < 6; trial++) {
    await using opened = await openSession(world.plainStore(), { t }, `p${trial}`)
    const { session, models } = opened
    const group = stagedOf(models, [
      { t: rows(20, 'z'.repeat(20_000)).map((row) => ({ ...row, id: row.id + 1_000 * trial })) },
    ])
    const writing = session.write(group, () => undefined)
    // frames are on their way; the answer is not awaited
    if (trial % 2 === 0) session.destroyWriter()
    else setImmediate(() => session.destroyWriter())
    const ended = await writing
    const resolved = ended.end === 'lost' ? await session.resolve() : ended
    ends.push(resolved.end)
    if (resolved.end === 'notLanded')
      expect(await session.write(group, () => undefined)).toEqual({ end: 'landed' })
    expect((await world.pipeline(`p${trial}`)).commitNumber).toBe(1)
  }
  expect(ends.every((end) => end === 'landed' || end === 'notLanded')).toBe(true)
  expect(await count(world)).toBe(120)
})

test('H37, I10: landed, and the answer is lost: resolved as landed, under the next commit number', async () => {
  await using world = await createWorld()
  const { hostname, port } = new URL(world.connectionString)
  await using proxy = await startTcpProxy({ target: { host: hostname, port: Number(port) } })
  const store = world.plainStore({ connectionString: proxy.through(world.connectionString) })
  await using opened = await openSession(store, { t })
  const { session, models } = opened
  await proxy.pause('down')
  const writing = session.write(stagedOf(models, [{ t: rows(2) }]), () => undefined)
  while ((await world.pipeline('p')).commitNumber === 0);
  await proxy.kill()
  await proxy.resume('down')
  expect((await writing).end).toBe('lost')
  expect(await session.resolve()).toEqual({ end: 'landed' })
  expect(await session.write(stagedOf(models, [{ t: rows(4) }]), () => undefined)).toEqual({ end: 'landed' })
  expect(await world.pipeline('p')).toMatchObject({ epoch: 2, commitNumber: 2 })
  expect(await count(world)).toBe(4)
})

test('a database that cannot be reached: lost, as often as it is asked', async () => {
  await using world = await createWorld()
  const { hostname, port } = new URL(world.connectionString)
  await using proxy = await startTcpProxy({ target: { host: hostname, port: Number(port) } })
  await using opened = await openSession(
    world.plainStore({ connectionString: proxy.through(world.connectionString), connectionTimeoutMs: 500 }),
    { t },
  )
  await proxy.close()
  const group = stagedOf(opened.models, [{ t: rows(1) }])
  expect((await opened.session.write(group, () => undefined)).end).toBe('lost')
  expect((await opened.session.resolve()).end).toBe('lost')
  expect((await opened.session.write(group, () => undefined)).end).toBe('lost')
  expect((await opened.session.resolve()).end).toBe('lost')
  // and closing does not hang on it
  await opened.session.close()
})

test('I9: a session that another has succeeded', async () => {
  await using world = await createWorld()
  await using opened = await openSession(world.plainStore(), { t })
  await world.query(
    `UPDATE tailrace.pipelines SET epoch = epoch + 1, token = gen_random_uuid(), host = 'h', pid = 9`,
  )
  const group = stagedOf(opened.models, [{ t: rows(1) }])
  expect(await opened.session.write(group, () => undefined)).toMatchObject({
    end: 'refused',
    error: { code: 'SUPERSEDED' },
  })
  expect(await opened.session.resolve()).toEqual({
    end: 'superseded',
    owner: { host: 'h', pid: 9, epoch: 2 },
  })
  await opened.session.close()
  // what is not ours is not released
  expect((await world.pipeline('p')).token).not.toBeNull()
})

/** Long enough for the first statement of a session, which sets it aside; what is held behind a lock outlasts it. */
const hostileTimeoutMs = 500

const hostile = {
  statement_timeout: String(hostileTimeoutMs),
  lock_timeout: String(hostileTimeoutMs),
  idle_in_transaction_session_timeout: String(hostileTimeoutMs),
  default_transaction_isolation: 'serializable',
  default_transaction_read_only: 'on',
  default_transaction_deferrable: 'on',
  search_path: 'nowhere',
  client_encoding: 'SQL_ASCII',
  TimeZone: 'Asia/Tokyo',
  DateStyle: 'German',
  IntervalStyle: 'sql_standard',
  bytea_output: 'escape',
  extra_float_digits: '-5',
}

test('the session pins what it depends on, whatever the database’s defaults are', async () => {
  await using world = await createWorld()
  // tables are made before: this is about the session that writes
  await (await openSession(world.plainStore(), { t })).session.close()
  const name = new URL(world.connectionString).pathname.slice(1)
  for (const [setting, value] of Object.entries(hostile)) {
    await world.query(`ALTER DATABASE "${name}" SET ${setting} = '${value}'`)
  }
  await using opened = await openSession(world.plainStore({ createTables: false }), { t })
  const lock = world.lock('t', 'ACCESS EXCLUSIVE')
  await lock.taken
  const group = stagedOf(opened.models, [{ t: rows(500, 'ß'.repeat(200)) }])
  const writing = opened.session.write(group, () => undefined)
  const reading = opened.session.reader.byKeys(opened.models[0]!, [{ id: 7 }])
  await world.blocked(2, 2 * hostileTimeoutMs)
  await lock.release()
  expect(await writing).toEqual({ end: 'landed' })
  // before the commit or after it: what counts is that it was not cut off
  expect([0, 1]).toContain((await reading).length)
  const read = await opened.session.reader.byKeys(opened.models[0]!, [{ id: 7 }])
  expect(read).toEqual([{ id: 7, body: 'ß'.repeat(200) }])
})

test('a read connection that dies while it is verified fails its read, and nothing else', async () => {
  await using world = await createWorld()
  const { hostname, port } = new URL(world.connectionString)
  await using proxy = await startTcpProxy({ target: { host: hostname, port: Number(port) } })
  const pool = readPool(
    {
      connectionString: proxy.through(world.connectionString),
      connectionTimeoutMs: 10_000,
      readConnections: 1,
    },
    'verified',
    silentLog,
  )
  // its answers are slow enough to stand between any two of them
  await proxy.delay({ down: 50 })
  const reading = pool.query('SELECT 1', [])
  const failed = expect(reading).rejects.toThrow()
  const verified = `SELECT FROM pg_stat_activity WHERE application_name = 'verified' AND query LIKE '%pg_is_in_recovery%'`
  while ((await world.query(verified)).length === 0);
  await proxy.kill()
  await failed
  await proxy.delay({ down: 0 })
  // the pool serves on, and its end waits for nobody who is gone
  expect(await pool.query('SELECT 2', [])).toEqual([['2']])
  await pool.end()
})

test('close() gives the row up, ends every connection, and may be called twice, or beside a write', async () => {
  await using world = await createWorld()
  const opened = await openSession(world.plainStore(), { t })
  const { session, models } = opened
  await session.reader.byKeys(models[0]!, [{ id: 1 }])
  const lock = world.lock('t')
  await lock.taken
  const writing = session.write(stagedOf(models, [{ t: rows(1) }]), () => undefined)
  await world.blocked(1)
  session.destroyWriter()
  await Promise.all([session.close(), session.close()])
  expect((await writing).end).toBe('lost')
  expect((await session.write(stagedOf(models, [{ t: rows(1) }]), () => undefined)).end).toBe('lost')
  expect((await session.resolve()).end).toBe('lost')
  await lock.release()
  expect(await world.pipeline('p')).toMatchObject({ token: null, commitNumber: 0 })
  expect(await count(world)).toBe(0)
})

test('a refusal is sorted by what a retry may cure', () => {
  expect(classifyEnd('40001')).toBe('deferred')
  expect(classifyEnd('40P01')).toBe('deferred')
  expect(classifyEnd('53100')).toBe('deferred')
  expect(classifyEnd('25006')).toBe('deferred')
  expect(classifyEnd('23505')).toBe('refused')
  expect(classifyEnd('42P01')).toBe('refused')
  expect(classifyEnd('57P01')).toBe('lost')
  expect(classifyEnd('57P02')).toBe('lost')
  expect(classifyEnd('08006')).toBe('lost')
  expect(classifyEnd('XX000', 'FATAL')).toBe('lost')
  expect(classifyEnd('XX000')).toBe('refused')
})
