import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  check,
  char,
  customType,
  date,
  doublePrecision,
  foreignKey,
  index,
  integer,
  jsonb,
  numeric,
  pgEnum,
  pgSchema,
  pgTable,
  primaryKey,
  real,
  serial,
  smallint,
  text,
  time,
  timestamp,
  unique,
  uniqueIndex,
  uuid,
  varchar,
} from 'drizzle-orm/pg-core'
import type { AnyPgColumn, PgTable } from 'drizzle-orm/pg-core'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { checkTables } from '../../src/commit/catalog.ts'
import { createIndexStatements, createTableStatements } from '../../src/commit/ddl.ts'
import { keyed } from '../../src/staging/keyed.ts'
import type { KeyedTable } from '../../src/staging/keyed.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import type { Casing } from '../../src/staging/table-model.ts'
import { createDatabase } from '../support/postgres.ts'
import type { TestDatabase } from '../support/postgres.ts'

let database: TestDatabase
let client: pg.Client

beforeEach(async () => {
  database = await createDatabase()
  client = new pg.Client({ connectionString: database.connectionString })
  await client.connect()
})

afterEach(async () => {
  await client.end()
  await database.drop()
})

const models = (tables: Record<string, PgTable | KeyedTable>, casing?: Casing) =>
  Object.entries(tables).map(([name, table]) => tableModelOf(name, table, { casing }))

async function create(tables: Record<string, PgTable | KeyedTable>, casing?: Casing): Promise<void> {
  for (const statement of createTableStatements(models(tables, casing))) await client.query(statement)
}

async function rows(text: string): Promise<unknown[]> {
  return (await client.query(text)).rows
}

/** `name → definition` of every constraint, as Postgres prints it. */
async function constraints(): Promise<Record<string, string>> {
  const { rows: found } = await client.query<{ name: string; definition: string }>(
    `SELECT conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint
     WHERE conrelid <> 0 AND contype <> 'n' AND connamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')`,
  )
  return Object.fromEntries(found.map(({ name, definition }) => [name, definition]))
}

describe('created tables pass the check', () => {
  test('every type of the closed list, and defaults', async () => {
    const mood = pgEnum('mood', ['sad', 'ok', "it's"])
    const bytes = customType<{ data: Buffer }>({ dataType: () => 'bytea' })
    const everything = pgTable('everything', {
      id: text().primaryKey(),
      varchar: varchar({ length: 20 }).default("it's \\ here"),
      char: char({ length: 3 }),
      uuid: uuid().default('0b0e7c1e-2f3a-4d5b-8c6d-7e8f9a0b1c2d'),
      boolean: boolean().notNull().default(false),
      smallint: smallint().default(-1),
      integer: integer().notNull().default(0),
      bigint: bigint({ mode: 'bigint' }).default(9_007_199_254_740_993n),
      numeric: numeric({ precision: 10, scale: 2 }).default('1.50'),
      big: numeric({ precision: 78, scale: 0, mode: 'bigint' }).notNull().default(0n),
      real: real(),
      double: doublePrecision().default(0.1),
      timestamp: timestamp({ precision: 3 }),
      timestamptz: timestamp({ withTimezone: true }).default(new Date(0)),
      date: date().default('2020-01-02'),
      time: time(),
      json: jsonb().default({ a: ["it's"] }),
      bytes: bytes().default(Buffer.from([1, 255])),
      mood: mood().default("it's"),
      moods: mood().array(),
      numbers: integer().array().default([1, 2]),
      made: text().$defaultFn(() => randomUUID()),
      upper: text().default(sql`upper('x')`),
    })
    await create({ everything })
    await checkTables(client, models({ everything }))

    await client.query(`INSERT INTO everything (id) VALUES ('a')`)
    expect(await rows(`SELECT * FROM everything`)).toMatchObject([
      {
        varchar: "it's \\ here",
        boolean: false,
        smallint: -1,
        integer: 0,
        bigint: '9007199254740993',
        numeric: '1.50',
        big: '0',
        double: 0.1,
        timestamptz: new Date(0),
        json: { a: ["it's"] },
        bytes: Buffer.from([1, 255]),
        mood: "it's",
        numbers: [1, 2],
        made: null,
        upper: 'X',
      },
    ])
  })

  test('keys of one and of several columns; text keys by code point; room for updates', async () => {
    const account = pgTable('account', { id: text().primaryKey(), note: text() })
    const allowance = pgTable(
      'allowance',
      { owner: varchar({ length: 42 }).notNull(), spender: text().notNull(), amount: integer() },
      (table) => [primaryKey({ columns: [table.owner, table.spender] })],
    )
    const tables = { account, allowance: keyed(allowance, 'owner', 'spender') }
    await create(tables)
    await checkTables(client, models(tables))
    expect(await constraints()).toEqual({
      account_pkey: 'PRIMARY KEY (id)',
      allowance_owner_spender_pk: 'PRIMARY KEY (owner, spender)',
    })
    expect(
      await rows(
        `SELECT attrelid::regclass::text || '.' || attname AS column, collname AS collation
         FROM pg_attribute JOIN pg_collation c ON c.oid = attcollation
         WHERE attrelid IN ('account'::regclass, 'allowance'::regclass) AND attnum > 0 ORDER BY 1`,
      ),
    ).toEqual([
      { column: 'account.id', collation: 'C' },
      { column: 'account.note', collation: 'default' },
      { column: 'allowance.owner', collation: 'C' },
      { column: 'allowance.spender', collation: 'C' },
    ])
    expect(await rows(`SELECT reloptions FROM pg_class WHERE relname = 'account'`)).toEqual([
      { reloptions: ['fillfactor=85'] },
    ])
  })

  test('H67 unique constraints and foreign keys are deferrable, also in a circle and to itself', async () => {
    const left = pgTable('left', {
      id: integer().primaryKey(),
      right: integer().references((): AnyPgColumn => right.id),
      parent: integer().references((): AnyPgColumn => left.id),
      email: text().unique(),
    })
    const right = pgTable(
      'right',
      { id: integer().primaryKey(), left: integer().references(() => left.id), a: text(), b: text() },
      (table) => [unique('pair').on(table.a, table.b).nullsNotDistinct(), unique().on(table.id, table.a)],
    )
    await create({ left, right })
    await checkTables(client, models({ left, right }))
    expect(await constraints()).toEqual({
      left_pkey: 'PRIMARY KEY (id)',
      left_email_unique: 'UNIQUE (email) DEFERRABLE',
      left_right_right_id_fk: 'FOREIGN KEY ("right") REFERENCES "right"(id) DEFERRABLE',
      left_parent_left_id_fk: 'FOREIGN KEY (parent) REFERENCES "left"(id) DEFERRABLE',
      right_pkey: 'PRIMARY KEY (id)',
      pair: 'UNIQUE NULLS NOT DISTINCT (a, b) DEFERRABLE',
      // Holds the key: it needs no deferral, and foreign keys may refer to it.
      right_id_a_unique: 'UNIQUE (id, a)',
      right_left_left_id_fk: 'FOREIGN KEY ("left") REFERENCES "left"(id) DEFERRABLE',
    })
  })

  test('a foreign key to a constraint that holds the key, and to a table that is not ours', async () => {
    await client.query(`CREATE TABLE lookup (code text PRIMARY KEY)`)
    const lookup = pgTable('lookup', { code: text().primaryKey() })
    const parent = pgTable('parent', { id: integer().primaryKey(), kind: text() }, (table) => [
      unique('parent_kind').on(table.id, table.kind),
    ])
    const child = pgTable(
      'child',
      {
        id: integer().primaryKey(),
        parent: integer(),
        kind: text(),
        code: text().references(() => lookup.code),
      },
      (table) => [
        foreignKey({
          name: 'child_parent',
          columns: [table.parent, table.kind],
          foreignColumns: [parent.id, parent.kind],
        }),
      ],
    )
    await create({ child, parent })
    await checkTables(client, models({ child, parent }))
    expect(await constraints()).toMatchObject({
      child_parent: 'FOREIGN KEY (parent, kind) REFERENCES parent(id, kind) DEFERRABLE',
      child_code_lookup_code_fk: 'FOREIGN KEY (code) REFERENCES lookup(code) DEFERRABLE',
    })
  })

  test('checks and secondary indexes, with literals, expressions, order and conditions', async () => {
    const score = pgTable(
      'score',
      { id: integer().primaryKey(), player: text().notNull(), points: integer(), data: jsonb() },
      (table) => [
        check('positive', sql`${table.points} > ${0}`),
        check('named', sql`${table.player} <> ${"it's"}`),
        index('by_points').on(table.points.desc().nullsLast(), table.player),
        index().on(table.player),
        index('by_lower').on(sql`lower(${table.player})`),
        index('high')
          .on(table.points)
          .where(sql`${table.points} > ${100}`),
        index('by_data').using('gin', table.data.op('jsonb_path_ops')).with({ fastupdate: false }),
        uniqueIndex('with_key').on(table.id, table.player),
      ],
    )
    await create({ score })
    await checkTables(client, models({ score }))
    expect(await constraints()).toEqual({
      score_pkey: 'PRIMARY KEY (id)',
      positive: 'CHECK ((points > 0))',
      named: `CHECK ((player <> 'it''s'::text))`,
    })
    expect(
      await rows(`SELECT indexdef FROM pg_indexes WHERE tablename = 'score' ORDER BY indexname`),
    ).toEqual(
      [
        `INDEX by_data ON public.score USING gin (data jsonb_path_ops) WITH (fastupdate='false')`,
        'INDEX by_lower ON public.score USING btree (lower(player))',
        'INDEX by_points ON public.score USING btree (points DESC NULLS LAST, player)',
        'INDEX high ON public.score USING btree (points) WHERE (points > 100)',
        'UNIQUE INDEX score_pkey ON public.score USING btree (id)',
        'INDEX score_player_index ON public.score USING btree (player)',
        'UNIQUE INDEX with_key ON public.score USING btree (id, player)',
      ].map((indexdef) => ({ indexdef: `CREATE ${indexdef}` })),
    )
    // Indexed text is ordered as reads ask for it.
    expect(
      await rows(
        `SELECT collation_name FROM information_schema.columns WHERE table_name = 'score' AND column_name = 'player'`,
      ),
    ).toEqual([{ collation_name: 'C' }])
  })

  test('H45 schemas, enums in schemas, reserved and 63-character names, quotes', async () => {
    const other = pgSchema('Other "schema"')
    const kind = other.enum('Kind', ['a', 'b'])
    const longest = 'x'.repeat(63)
    const user = other.table(
      'user',
      { select: integer().primaryKey(), kind: kind(), [longest]: text() },
      (table) => [index().on(table.kind)],
    )
    await create({ user })
    await checkTables(client, models({ user }))
    await client.query(
      `INSERT INTO "Other ""schema"""."user" ("select", kind, "${longest}") VALUES (1, 'b', '')`,
    )
  })

  test.each(['snake_case', 'camelCase'] as const)('casing %s reaches every constraint', async (casing) => {
    const owner = pgTable('owner', { ownerId: integer().primaryKey() })
    const item_list = pgTable(
      'item_list',
      {
        item_id: integer().notNull(),
        listId: integer().notNull(),
        ownerRef: integer().references(() => owner.ownerId),
        display_name: text(),
        explicit: text('ExplicitName').unique(),
      },
      (table) => [
        primaryKey({ columns: [table.item_id, table.listId] }),
        unique('names').on(table.display_name, table.listId),
        index('refs').on(table.ownerRef),
        check('low', sql`${table.listId} < 100`),
      ],
    )
    const tables = { items: keyed(item_list, 'item_id', 'listId'), owner }
    await create(tables, casing)
    await checkTables(client, models(tables, casing))
    const found = await constraints()
    expect(Object.values(found)).toContain(
      casing === 'snake_case' ? 'PRIMARY KEY (item_id, list_id)' : 'PRIMARY KEY ("itemId", "listId")',
    )
    expect(found['names']).toContain(
      casing === 'snake_case' ? '(display_name, list_id)' : '("displayName", "listId")',
    )
  })

  test('a foreign key to a table that is not ours follows the casing too', async () => {
    await client.query(`CREATE TABLE lookup (lookup_code text PRIMARY KEY)`)
    const lookup = pgTable('lookup', { lookupCode: text().primaryKey() })
    const child = pgTable('child', {
      childId: integer().primaryKey(),
      code: text().references(() => lookup.lookupCode),
    })
    await create({ child }, 'snake_case')
    expect(Object.values(await constraints())).toContain(
      'FOREIGN KEY (code) REFERENCES lookup(lookup_code) DEFERRABLE',
    )
  })

  test('serial columns become plain integers: handlers supply the value', async () => {
    const counter = pgTable('counter', {
      id: serial().primaryKey(),
      n: integer().generatedByDefaultAsIdentity(),
    })
    await create({ counter })
    await checkTables(client, models({ counter }))
    expect(
      await rows(`SELECT column_default FROM information_schema.columns WHERE table_name = 'counter'`),
    ).toEqual([{ column_default: null }, { column_default: null }])
  })
})

describe('again, and beside what is there', () => {
  const parent = pgTable('parent', { id: integer().primaryKey() })
  const child = pgTable(
    'child',
    {
      id: integer().primaryKey(),
      parent: integer().references(() => parent.id),
      kind: pgEnum('kind', ['a'])(),
    },
    (table) => [index('by_parent').on(table.parent)],
  )

  test('a second run changes nothing', async () => {
    await create({ parent, child })
    const before = await rows(
      `SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY oid`,
    )
    await create({ parent, child })
    expect(
      await rows(
        `SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY oid`,
      ),
    ).toEqual(before)
  })

  test('an existing table is left alone, new ones beside it are created', async () => {
    await client.query(`CREATE TABLE child (id integer PRIMARY KEY, parent integer)`)
    await create({ parent, child })
    expect(await constraints()).toEqual({ child_pkey: 'PRIMARY KEY (id)', parent_pkey: 'PRIMARY KEY (id)' })
    expect(await rows(`SELECT indexname FROM pg_indexes WHERE indexname = 'by_parent'`)).toEqual([])
    await expect(checkTables(client, models({ parent, child }))).rejects.toThrow('the column kind is missing')
  })

  test('a failure in the middle leaves nothing behind', async () => {
    const broken = pgTable('broken', { id: integer().primaryKey() }, () => [
      check('nonsense', sql`no_such_function()`),
    ])
    await expect(create({ parent, broken })).rejects.toThrow('no_such_function')
    expect(await rows(`SELECT to_regclass('parent') AS parent`)).toEqual([{ parent: null }])
  })

  test('indexes can be created on their own, later', async () => {
    await client.query(`CREATE TABLE child (id integer PRIMARY KEY, parent integer)`)
    for (const round of [1, 2]) {
      for (const statement of createIndexStatements(models({ parent, child }))) await client.query(statement)
      expect(
        await rows(
          `SELECT count(*)::int AS n, ${round} AS round FROM pg_indexes WHERE indexname = 'by_parent'`,
        ),
      ).toEqual([{ n: 1, round }])
    }
  })

  test('a role that may not create schemas can run it where they exist', async () => {
    await client.query(`DROP ROLE IF EXISTS ddl_role`)
    await client.query(`CREATE ROLE ddl_role; CREATE SCHEMA theirs; GRANT ALL ON SCHEMA theirs TO ddl_role`)
    try {
      await client.query(`SET ROLE ddl_role`)
      await create({ thing: pgSchema('theirs').table('thing', { id: integer().primaryKey() }) })
    } finally {
      await client.query(`RESET ROLE; DROP OWNED BY ddl_role; DROP ROLE ddl_role`)
    }
  })
})

describe('refusals', () => {
  test('H67 a unique index', () => {
    const table = pgTable('player', { id: integer().primaryKey(), name: text() }, (columns) => [
      uniqueIndex('player_name').on(columns.name),
    ])
    expect(() => createTableStatements(models({ table }))).toThrow(
      expect.objectContaining({
        name: 'ConfigurationError',
        code: 'UNIQUE_INDEX',
        message: expect.stringContaining(`unique('player_name').on(…)`) as string,
      }),
    )
  })

  test('a foreign key to a unique constraint', () => {
    const parent = pgTable('parent', { id: integer().primaryKey(), email: text().unique() })
    const child = pgTable('child', {
      id: integer().primaryKey(),
      email: text().references(() => parent.email),
    })
    expect(() => createTableStatements(models({ parent, child }))).toThrow(
      expect.objectContaining({
        code: 'FOREIGN_KEY',
        message: expect.stringContaining('refer to the primary key') as string,
      }),
    )
  })

  test('SQL with a value that cannot be written as a literal', () => {
    const table = pgTable('t', { id: integer().primaryKey(), n: integer() }, (columns) => [
      check('low', sql`${columns.n} < ${10n}`),
    ])
    expect(() => createTableStatements(models({ table }))).toThrow(
      expect.objectContaining({
        code: 'UNSUPPORTED_DDL',
        message: expect.stringContaining('check low of table table') as string,
      }),
    )
  })
})
