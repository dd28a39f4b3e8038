/** H46: what a pipeline was indexed with, and what may have changed when it is resumed. */
import { integer, pgTable, primaryKey, text, type PgTable } from 'drizzle-orm/pg-core'
import { expect, test } from 'vitest'
import { shapeDifferences, shapeOf } from '../../src/commit/shape.ts'
import { createIndexer, keyed, memorySource, type Outcome } from '../../src/index.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { simulatedChain } from '../../src/testing/index.ts'
import { createWorld, type World } from '../support/indexers.ts'

const note = pgTable('note', { id: integer().primaryKey(), body: text() })
const other = pgTable('other', { id: integer().primaryKey() })

const run = (
  world: World,
  {
    tables = { note },
    historyDepth = 5,
    sources = ['chain'],
  }: { tables?: Record<string, PgTable>; historyDepth?: number; sources?: string[] } = {},
): Promise<Outcome> =>
  createIndexer({
    name: 'shaped',
    source: sources.map((id) => {
      const chain = simulatedChain<number>({ id, historyDepth })
      chain.append([{ number: 1, hash: `${id}-1`, items: [1] }])
      chain.end()
      return chain.source
    }),
    tables: tables as { note: typeof note },
    handle: (item, { db }) => db.note.set({ id: item, body: 'x' }),
    store: world.plainStore(),
  }).run()

test('H46: a changed configuration is refused with every difference, and nothing is changed', async () => {
  await using world = await createWorld()
  expect(await run(world, { tables: { note, other } })).toMatchObject({ status: 'finished' })
  const before = await world.query('SELECT commit_number, committed, shape FROM tailrace.pipelines')
  const outcome = await run(world, { historyDepth: 0, sources: ['other'] })
  expect(outcome).toMatchObject({ status: 'failed', error: { code: 'SHAPE_CHANGED', phase: 'opening' } })
  if (outcome.status === 'failed') {
    expect(outcome.error.message).toContain(
      `source 'chain' was indexed and is not there any more (there is 'other')`,
    )
    expect(outcome.error.message).toContain('table `other` ("public"."other") was written')
    expect(outcome.error.message).toContain('tailrace reset shaped')
  }
  expect(await world.query('SELECT commit_number, committed, shape FROM tailrace.pipelines')).toEqual(before)
  // the pipeline is free, and the right configuration goes on
  expect(await run(world, { tables: { note, other } })).toMatchObject({ status: 'finished' })
})

test('H46: additions are let through: a source, a table, a nullable column, another history depth', async () => {
  await using world = await createWorld()
  expect(await run(world)).toMatchObject({ status: 'finished' })
  await world.query('ALTER TABLE note ADD COLUMN more text')
  const wider = pgTable('note', { id: integer().primaryKey(), body: text(), more: text() })
  expect(
    await run(world, { tables: { note: wider, other }, historyDepth: 9, sources: ['chain', 'second'] }),
  ).toMatchObject({ status: 'finished', committed: 2n })
  // and are what is compared with from now on
  expect(await run(world, { tables: { note: wider } })).toMatchObject({ error: { code: 'SHAPE_CHANGED' } })
})

test('before its first commit a pipeline may be configured anew', async () => {
  await using world = await createWorld()
  const empty = (id: string) =>
    createIndexer({
      name: 'shaped',
      source: memorySource<number>({ id, blocks: [] }),
      tables: { note },
      handle: () => undefined,
      store: world.plainStore(),
    }).run()
  expect(await empty('one')).toMatchObject({ status: 'finished' })
  expect(await empty('two')).toMatchObject({ status: 'finished' })
})

test('every difference, one by one', () => {
  const was = pgTable('t', { id: integer().primaryKey(), body: text() })
  const composite = pgTable('t', { id: integer().notNull(), body: text().notNull() }, (t) => [
    primaryKey({ columns: [t.id, t.body] }),
  ])
  const chain = [{ id: 'chain', historyDepth: 5 }]
  const stored = shapeOf(chain, [tableModelOf('t', was, {})])
  const changed = (table: PgTable, sources = chain, given: object = table) =>
    shapeDifferences(stored, shapeOf(sources, [tableModelOf('t', given as PgTable, {})]))
  const integerBody = pgTable('t', { id: integer().primaryKey(), body: integer() })
  expect(changed(integerBody).refused).toEqual([
    'column `t.body` was text and is now integer: values from before and after would be mixed. Change it back',
  ])
  const elsewhere = pgTable('elsewhere', { id: integer().primaryKey(), body: text() })
  expect(changed(elsewhere).refused[0]).toMatch(/was "public"."t" and is now "public"."elsewhere"/)
  expect(changed(composite, chain, keyed(composite, 'id', 'body')).refused[0]).toMatch(
    /had the key \(id\) and now has \(id, body\)/,
  )
  const narrower = pgTable('t', { id: integer().primaryKey() })
  expect(changed(narrower).refused[0]).toMatch(/`t.body` was written and is not declared any more/)
  const required = pgTable('t', { id: integer().primaryKey(), body: text(), more: text().notNull() })
  expect(changed(required).refused[0]).toMatch(/`t.more` is new and NOT NULL.*Make it nullable/)
  const defaulted = pgTable('t', {
    id: integer().primaryKey(),
    body: text(),
    more: text().notNull().default(''),
  })
  expect(changed(defaulted)).toMatchObject({
    refused: [],
    noted: [expect.stringContaining('`t.more` is new')],
  })
  const never = changed(was, [{ id: 'chain', historyDepth: 0 }])
  expect(never.refused[0]).toMatch(/had historyDepth 5 and now says that it never forks/)
  expect(changed(was, [{ id: 'chain', historyDepth: 7 }])).toEqual({
    refused: [],
    noted: [`source 'chain': historyDepth 5 is now 7`],
  })
  expect(changed(was)).toEqual({ refused: [], noted: [] })
})
