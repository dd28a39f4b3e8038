/** Rows that must be new go by COPY, in the middle of a flight: where it may, what it carries, and what a refusal leaves. */
import { boolean, integer, jsonb, numeric, pgTable, text, timestamp } from 'drizzle-orm/pg-core'
import { expect, test } from 'vitest'
import { openSession, stagedOf } from '../support/indexers-session.ts'
import { createWorld, type World } from '../support/indexers.ts'

const t = pgTable('t', { id: integer().primaryKey(), body: text() })
const withJson = pgTable('t', { id: integer().primaryKey(), body: jsonb() })
const rows = (count: number, body = 'x') => Array.from({ length: count }, (_, at) => ({ id: at + 1, body }))

/** What the writer's backend executes while it waits for the table. */
async function executed(world: World, table: typeof t | typeof withJson, how: 'insert' | 'set') {
  await using opened = await openSession(world.plainStore(), { t: table })
  const lock = world.lock('t')
  await lock.taken
  const writing = opened.session.write(stagedOf(opened.models, [{ t: rows(3) }], how), () => undefined)
  await world.blocked(1)
  const [activity] = await world.query(
    'SELECT query FROM pg_stat_activity WHERE pid = (SELECT backend_pid FROM tailrace.pipelines)',
  )
  await lock.release()
  expect(await writing).toEqual({ end: 'landed' })
  return String(activity!['query']).split(' ')[0]
}

test('rows that must be new go by COPY; those that may exist, or have a column that travels as text, by INSERT', async () => {
  await using world = await createWorld()
  expect(await executed(world, t, 'insert')).toBe('COPY')
  await world.query('TRUNCATE t')
  expect(await executed(world, t, 'set')).toBe('INSERT')
  await using other = await createWorld()
  expect(await executed(other, withJson, 'insert')).toBe('INSERT')
})

test('H64: many frames, rows larger than a frame, nulls, every kind of value: what was staged is what is there', async () => {
  await using world = await createWorld()
  const wide = pgTable('t', {
    id: integer().primaryKey(),
    body: text(),
    amount: numeric({ precision: 78, mode: 'bigint' }),
    at: timestamp({ mode: 'string', precision: 3 }),
    flag: boolean().notNull(),
  })
  await using opened = await openSession(world.plainStore(), { t: wide })
  const given = Array.from({ length: 5_000 }, (_, id) => ({
    id,
    body: id % 7 === 0 ? null : id % 1_000 === 1 ? 'ü\\\t\n"'.repeat(40_000) : `body ${id}`,
    amount: id % 5 === 0 ? null : (-7n) ** BigInt(id % 80),
    at:
      id % 3 === 0
        ? null
        : `2024-02-29 12:00:${String(id % 60).padStart(2, '0')}.${String(id % 1_000).padStart(3, '0')}`,
    flag: id % 2 === 0,
  }))
  const group = stagedOf(opened.models, [{ t: given }], 'insert')
  expect(await opened.session.write(group, () => undefined)).toEqual({ end: 'landed' })
  const found = await world.query('SELECT id, body, amount::text, at::text, flag FROM t ORDER BY id')
  const staged = group.slices[0]!.tables[0]!.inserts
  expect(found).toHaveLength(5_000)
  for (const [index, row] of staged.entries()) {
    const { amount, at, ...rest } = row as (typeof given)[number]
    const shown = found[index]!
    expect({ id: shown['id'], body: shown['body'], flag: shown['flag'] }).toEqual(rest)
    expect(shown['amount']).toBe(amount === null ? null : String(amount))
    expect(shown['at'] === null ? null : Date.parse(`${String(shown['at'])}Z`)).toBe(
      at === null ? null : Date.parse(`${at}Z`),
    )
  }
})

test('H63: a duplicate at the end of megabytes: nothing is left, it is named, and the connection serves on', async () => {
  await using world = await createWorld()
  await using opened = await openSession(world.plainStore(), { t })
  const { session, models } = opened
  await world.query('INSERT INTO t VALUES (2000)')
  const group = stagedOf(models, [{ t: rows(2_000, 'z'.repeat(5_000)) }], 'insert')
  const refused = await session.write(group, () => undefined)
  expect(refused).toMatchObject({
    end: 'refused',
    error: { code: 'DUPLICATE_KEY', key: 2_000, table: 't', block: { source: 'm', number: 1 }, item: 0 },
  })
  expect(await world.query('SELECT id FROM t')).toEqual([{ id: 2_000 }])
  expect(await session.resolve()).toEqual({ end: 'notLanded' })
  await world.query('DELETE FROM t')
  expect(await session.write(group, () => undefined)).toEqual({ end: 'landed' })
  expect(await world.query('SELECT count(*)::int AS n FROM t')).toEqual([{ n: 2_000 }])
})

test('I9: a flight that is fenced before its COPY: the rows behind it are left out, not taken for anything else', async () => {
  await using world = await createWorld()
  await using opened = await openSession(world.plainStore(), { t })
  await world.query(
    `UPDATE tailrace.pipelines SET epoch = epoch + 1, token = gen_random_uuid(), host = 'h', pid = 9`,
  )
  const group = stagedOf(opened.models, [{ t: rows(2_000, 'z'.repeat(5_000)) }], 'insert')
  expect(await opened.session.write(group, () => undefined)).toMatchObject({
    end: 'refused',
    error: { code: 'SUPERSEDED' },
  })
  expect(await world.query('SELECT id FROM t')).toEqual([])
  expect(await opened.session.resolve()).toMatchObject({ end: 'superseded' })
})
