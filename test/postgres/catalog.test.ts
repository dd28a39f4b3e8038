import {
  boolean,
  integer,
  numeric,
  pgEnum,
  pgSchema,
  pgTable,
  primaryKey,
  text,
  varchar,
} from 'drizzle-orm/pg-core'
import type { PgTable } from 'drizzle-orm/pg-core'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { checkTables } from '../../src/commit/catalog.ts'
import { ConfigurationError } from '../../src/errors.ts'
import { keyed } from '../../src/staging/keyed.ts'
import type { KeyedTable } from '../../src/staging/keyed.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { asAdmin, createDatabase } from '../support/postgres.ts'
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

/** The table that most tests check: a nullable and a mandatory column beside the key. */
const thing = pgTable('thing', { id: integer().primaryKey(), name: text(), size: integer().notNull() })
const fits = `CREATE TABLE thing (id integer PRIMARY KEY, name text, size integer NOT NULL)`

async function differences(tables: Record<string, PgTable | KeyedTable> = { thing }): Promise<string[]> {
  const models = Object.entries(tables).map(([name, table]) => tableModelOf(name, table))
  try {
    await checkTables(client, models)
    return []
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError)
    expect(error).toMatchObject({ code: 'TABLES_DIFFER', phase: 'opening' })
    const [head, ...lines] = (error as Error).message.split('\n')
    expect(head).toBe('the database does not fit the schema; nothing was written')
    return lines
  }
}

/** The SQL that the message prints, run as it stands. */
async function mend(lines: readonly string[]): Promise<void> {
  await client.query(lines.filter((line) => line.startsWith('    ')).join('\n'))
}

/** `ddl` on a fitting database gives exactly these lines, and what they print mends it. */
async function expectMended(
  ddl: string,
  expected: readonly string[],
  tables?: Record<string, PgTable | KeyedTable>,
): Promise<void> {
  await client.query(ddl)
  const found = await differences(tables)
  expect(found).toEqual(expected)
  await mend(found)
  expect(await differences(tables)).toEqual([])
}

test('a table that fits passes, with columns of its own that do not disturb', async () => {
  await client.query(
    `CREATE TABLE thing (id integer PRIMARY KEY, name varchar, size integer NOT NULL,
       extra text, stamped timestamptz NOT NULL DEFAULT now(), serial integer GENERATED ALWAYS AS IDENTITY,
       twice integer GENERATED ALWAYS AS (size * 2) STORED,
       UNIQUE (id, name), UNIQUE (name) DEFERRABLE, CHECK (size > 0));
     ALTER TABLE thing ALTER COLUMN name TYPE text;
     CREATE UNIQUE INDEX ON thing (size, id);
     CREATE INDEX ON thing (lower(name))`,
  )
  expect(await differences()).toEqual([])
})

test('no tables: nothing to ask', async () => {
  expect(await differences({})).toEqual([])
})

test('every difference of every table is told at once', async () => {
  const other = pgTable('other', { id: integer().primaryKey() })
  await client.query(`CREATE UNLOGGED TABLE thing (id integer PRIMARY KEY, name varchar(5), size integer)`)
  const found = await differences({ thing, other })
  expect(found.filter((line) => line.startsWith('- '))).toEqual([
    '- thing: is unlogged: after a crash of the server its rows are gone, the checkpoint is not',
    '- thing: the column name is character varying(5), the schema says text',
    '- other: does not exist; pass createTables: true, or run',
  ])
  await mend(found)
  expect(await differences({ thing, other })).toEqual([])
})

test('the error names its table when there is only one', async () => {
  await expect(checkTables(client, [tableModelOf('thing', thing)])).rejects.toMatchObject({ table: 'thing' })
})

describe('the table itself', () => {
  test('is missing: the message holds everything that creates it', async () => {
    const kind = pgEnum('kind', ['a', 'b'])
    const parent = pgTable('parent', { id: integer().primaryKey() })
    const child = pgTable('child', {
      id: integer().primaryKey(),
      kind: kind(),
      parent: integer().references(() => parent.id),
    })
    await client.query(`CREATE TABLE parent (id integer PRIMARY KEY)`)
    const found = await differences({ parent, child })
    expect(found).toEqual([
      '- child: does not exist; pass createTables: true, or run',
      `    CREATE TYPE "public"."kind" AS ENUM ('a', 'b');`,
      '    CREATE TABLE "public"."child" (',
      '      "id" integer NOT NULL,',
      '      "kind" "public"."kind",',
      '      "parent" integer,',
      '      PRIMARY KEY ("id")',
      '    ) WITH (fillfactor = 85);',
      '    ALTER TABLE "public"."child" ADD CONSTRAINT "child_parent_parent_id_fk" FOREIGN KEY ("parent") ' +
        'REFERENCES "public"."parent" ("id") DEFERRABLE INITIALLY IMMEDIATE;',
    ])
    await mend(found)
    expect(await differences({ parent, child })).toEqual([])
  })

  test('is looked for in its schema only', async () => {
    await client.query(`CREATE SCHEMA theirs; ${fits}`)
    const theirs = pgSchema('theirs').table('thing', { id: integer().primaryKey() })
    expect((await differences({ thing: theirs }))[0]).toBe(
      '- thing: does not exist; pass createTables: true, or run',
    )
  })

  test.each([
    ['a view', `CREATE VIEW thing AS SELECT 1 AS id, ''::text AS name, 2 AS size`],
    ['a materialized view', `CREATE MATERIALIZED VIEW thing AS SELECT 1 AS id, ''::text AS name, 2 AS size`],
    ['a partitioned table', `${fits} PARTITION BY HASH (id)`],
    [
      'a foreign table',
      `CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
       CREATE FOREIGN TABLE thing (id integer, name text, size integer NOT NULL) SERVER nowhere`,
    ],
  ])('is %s', async (kind, ddl) => {
    await client.query(ddl)
    expect(await differences()).toEqual([
      `- thing: is ${kind}; only an ordinary table can be written and rolled back`,
    ])
  })

  test('is unlogged', async () => {
    await expectMended(fits.replace('TABLE', 'UNLOGGED TABLE'), [
      '- thing: is unlogged: after a crash of the server its rows are gone, the checkpoint is not',
      '    ALTER TABLE "public"."thing" SET LOGGED;',
    ])
  })

  test('has an inheritance child', async () => {
    await expectMended(`${fits}; CREATE TABLE special () INHERITS (thing)`, [
      '- thing: has the inheritance child special, whose rows would appear in it',
      '    ALTER TABLE special NO INHERIT "public"."thing";',
    ])
  })

  test('is an inheritance child or a partition', async () => {
    await client.query(
      `CREATE TABLE things (id integer PRIMARY KEY, name text, size integer NOT NULL) PARTITION BY RANGE (id);
       CREATE TABLE thing PARTITION OF things DEFAULT`,
    )
    expect(await differences()).toEqual([
      '- thing: is an inheritance child or a partition of things; only a table that stands alone will do',
    ])
  })

  test('has a trigger: ours and disabled ones do not count', async () => {
    await expectMended(
      `${fits};
       CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
       CREATE TRIGGER tailrace_history AFTER INSERT ON thing EXECUTE FUNCTION nothing();
       CREATE TRIGGER "tailraceX" AFTER INSERT ON thing EXECUTE FUNCTION nothing();
       CREATE TRIGGER off AFTER INSERT ON thing EXECUTE FUNCTION nothing();
       ALTER TABLE thing DISABLE TRIGGER off`,
      [
        '- thing: has the trigger tailraceX: what it does would be missing from rows that handlers read before their commit; do it in the handler',
        '    ALTER TABLE "public"."thing" DISABLE TRIGGER "tailraceX";',
      ],
    )
  })

  test('has a rule', async () => {
    await expectMended(`${fits}; CREATE RULE ignore AS ON DELETE TO thing DO INSTEAD NOTHING`, [
      '- thing: has the rule ignore, which rewrites what a commit says',
      '    DROP RULE "ignore" ON "public"."thing";',
    ])
  })
})

describe('columns', () => {
  test('one is missing', async () => {
    await expectMended(`CREATE TABLE thing (id integer PRIMARY KEY)`, [
      '- thing: the column name is missing',
      '    ALTER TABLE "public"."thing" ADD COLUMN "name" text;',
      '- thing: the column size is missing (where the table has rows, give it a default too)',
      '    ALTER TABLE "public"."thing" ADD COLUMN "size" integer NOT NULL;',
    ])
  })

  test.each([
    ['integer', 'integer', 'bigint', integer()],
    ['scale', 'numeric(10,2)', 'numeric(10,3)', numeric({ precision: 10, scale: 2 })],
    ['length', 'character varying(10)', 'character varying(20)', varchar({ length: 10 })],
    ['array', 'integer[]', 'integer', integer().array()],
    ['boolean', 'boolean', 'text', boolean()],
  ] as const)('H66 another type: %s', async (_, wanted, found, column) => {
    const table = pgTable('typed', {
      id: integer().primaryKey(),
      value: column as ReturnType<typeof integer>,
    })
    await client.query(`CREATE TABLE typed (id integer PRIMARY KEY, value ${found})`)
    expect(await differences({ table })).toEqual([
      `- table: the column value is ${found}, the schema says ${wanted}`,
      `    ALTER TABLE "public"."typed" ALTER COLUMN "value" TYPE ${wanted} USING "value"::text::${wanted};`,
    ])
  })

  test('a domain is not its base type', async () => {
    await expectMended(
      `CREATE DOMAIN short AS text CHECK (length(VALUE) < 9); ${fits.replace('text', 'short')}`,
      [
        '- thing: the column name is short, the schema says text',
        '    ALTER TABLE "public"."thing" ALTER COLUMN "name" TYPE text USING "name"::text::text;',
      ],
    )
  })

  test('NOT NULL where the schema allows null; the other way round nothing breaks', async () => {
    await expectMended(`CREATE TABLE thing (id integer PRIMARY KEY, name text NOT NULL, size integer)`, [
      '- thing: the column name is NOT NULL, the schema allows null; add .notNull() there, or',
      '    ALTER TABLE "public"."thing" ALTER COLUMN "name" DROP NOT NULL;',
    ])
  })

  test('one that no row could do without is not in the schema', async () => {
    await expectMended(fits.replace(')', ', owner text NOT NULL)'), [
      '- thing: the column owner is NOT NULL without a default and not in the schema: no row could be inserted; declare it, or',
      '    ALTER TABLE "public"."thing" ALTER COLUMN "owner" DROP NOT NULL;',
    ])
  })

  test('generated', async () => {
    await expectMended(fits.replace('name text', `name text GENERATED ALWAYS AS ('x') STORED`), [
      '- thing: the column name is generated: its value is known only after the commit; compute it in the handler',
      '    ALTER TABLE "public"."thing" ALTER COLUMN "name" DROP EXPRESSION;',
    ])
  })

  test('GENERATED ALWAYS AS IDENTITY', async () => {
    await expectMended(
      fits.replace('size integer NOT NULL', 'size integer NOT NULL GENERATED ALWAYS AS IDENTITY'),
      [
        '- thing: the column size is GENERATED ALWAYS AS IDENTITY and takes no value from a handler',
        '    ALTER TABLE "public"."thing" ALTER COLUMN "size" SET GENERATED BY DEFAULT;',
      ],
    )
  })

  test('a default of the database and GENERATED BY DEFAULT do not disturb: handlers supply the value', async () => {
    await client.query(
      `CREATE TABLE thing (id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, name text DEFAULT clock_timestamp(),
         size serial NOT NULL)`,
    )
    expect(await differences()).toEqual([])
  })

  test('a nondeterministic collation', async () => {
    await expectMended(
      `CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
       ${fits.replace('name text', 'name text COLLATE folded')}`,
      [
        '- thing: the column name has the nondeterministic collation public.folded: texts that differ count as equal',
        '    ALTER TABLE "public"."thing" ALTER COLUMN "name" TYPE text COLLATE "C";',
      ],
    )
  })

  test('any deterministic collation will do', async () => {
    await client.query(fits.replace('name text', 'name text COLLATE "en-x-icu"'))
    expect(await differences()).toEqual([])
  })
})

describe('enums', () => {
  const mood = pgEnum('mood', ['sad', 'ok', 'glad'])
  const person = pgTable('person', { id: integer().primaryKey(), mood: mood(), moods: mood().array() })
  const table = `CREATE TABLE person (id integer PRIMARY KEY, mood mood, moods mood[])`

  test('the same labels in the same order pass', async () => {
    await client.query(`CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad'); ${table}`)
    expect(await differences({ person })).toEqual([])
  })

  test('labels were added at the end of the declaration', async () => {
    await client.query(`CREATE TYPE mood AS ENUM ('sad', 'ok'); ${table}`)
    const found = await differences({ person })
    expect(found.slice(0, 2)).toEqual([
      '- person: the column mood is of the enum mood (sad, ok), the schema declares (sad, ok, glad), and their order is the order of the rows',
      `    ALTER TYPE "public"."mood" ADD VALUE 'glad';`,
    ])
    await client.query(`ALTER TYPE "public"."mood" ADD VALUE 'glad'`)
    expect(await differences({ person })).toEqual([])
  })

  test('another order, or labels that the schema does not know', async () => {
    await client.query(`CREATE TYPE mood AS ENUM ('glad', 'ok', 'sad', 'angry'); ${table}`)
    expect((await differences({ person }))[0]).toBe(
      '- person: the column mood is of the enum mood (glad, ok, sad, angry), the schema declares (sad, ok, glad), ' +
        'and their order is the order of the rows; declare it as the database has it',
    )
  })

  test('text instead of the enum, and an enum of that name in another schema', async () => {
    await client.query(
      `CREATE SCHEMA theirs; CREATE TYPE theirs.mood AS ENUM ('sad', 'ok', 'glad');
       CREATE TABLE person (id integer PRIMARY KEY, mood text, moods theirs.mood[])`,
    )
    expect((await differences({ person })).filter((line) => line.startsWith('- '))).toEqual([
      '- person: the column mood is text, the schema says "public"."mood"',
      '- person: the column moods is theirs.mood[], the schema says "public"."mood"[]',
    ])
  })
})

describe('keys', () => {
  test('no primary key', async () => {
    await expectMended(`CREATE TABLE thing (id integer, name text, size integer NOT NULL)`, [
      '- thing: has no primary key, the schema says (id)',
      '    ALTER TABLE "public"."thing" ADD PRIMARY KEY ("id");',
    ])
  })

  test('another primary key', async () => {
    await expectMended(`CREATE TABLE thing (id integer, name text, size integer, PRIMARY KEY (size, id))`, [
      '- thing: its primary key is (size, id), the schema says (id)',
      '    ALTER TABLE "public"."thing" DROP CONSTRAINT "thing_pkey", ADD PRIMARY KEY ("id");',
    ])
  })

  test('the order of a composite key does not matter', async () => {
    const pair = pgTable('pair', { a: integer().notNull(), b: integer().notNull() }, (table) => [
      primaryKey({ columns: [table.a, table.b] }),
    ])
    await client.query(`CREATE TABLE pair (a integer, b integer, PRIMARY KEY (b, a))`)
    expect(await differences({ pair: keyed(pair, 'a', 'b') })).toEqual([])
  })

  test('a deferrable primary key', async () => {
    await expectMended(fits.replace('KEY', 'KEY DEFERRABLE'), [
      '- thing: its primary key is deferrable, and ON CONFLICT cannot go by such',
      '    ALTER TABLE "public"."thing" DROP CONSTRAINT "thing_pkey", ADD PRIMARY KEY ("id");',
    ])
  })
})

describe('H67 within a commit, rows come in no particular order', () => {
  const unique =
    'is not deferrable: a row could not take over a value that another one gives up in the same commit'

  test('a unique constraint', async () => {
    await expectMended(
      `${fits}; ALTER TABLE thing ADD CONSTRAINT names UNIQUE NULLS NOT DISTINCT (name, size)`,
      [
        `- thing: the unique constraint names ${unique}`,
        '    ALTER TABLE "public"."thing" DROP CONSTRAINT "names", ADD CONSTRAINT "names" UNIQUE NULLS NOT DISTINCT (name, size) DEFERRABLE;',
      ],
    )
  })

  test('a unique constraint that foreign keys refer to', async () => {
    await client.query(
      `${fits}; ALTER TABLE thing ADD CONSTRAINT sizes UNIQUE (size);
       CREATE TABLE elsewhere (size integer CONSTRAINT "to Sizes" REFERENCES thing (size))`,
    )
    expect((await differences())[0]).toBe(
      `- thing: the unique constraint sizes ${unique}. Postgres lets no foreign key refer to a deferrable one, ` +
        `so first let these refer to the primary key: "to Sizes" of elsewhere`,
    )
  })

  test('a unique index', async () => {
    await expectMended(`${fits}; CREATE UNIQUE INDEX sizes ON thing (size) INCLUDE (name)`, [
      '- thing: the unique index sizes cannot be deferred, a constraint can',
      '    DROP INDEX "public"."sizes";',
      '    ALTER TABLE "public"."thing" ADD CONSTRAINT "sizes" UNIQUE ("size") DEFERRABLE;',
    ])
    await client.query(`ALTER TABLE thing DROP CONSTRAINT sizes`)
    await expectMended(`CREATE UNIQUE INDEX sizes ON thing (name) NULLS NOT DISTINCT`, [
      '- thing: the unique index sizes cannot be deferred, a constraint can',
      '    DROP INDEX "public"."sizes";',
      '    ALTER TABLE "public"."thing" ADD CONSTRAINT "sizes" UNIQUE NULLS NOT DISTINCT ("name") DEFERRABLE;',
    ])
  })

  test.each([
    ['partial', '(size) WHERE name IS NOT NULL'],
    ['of an expression', '(lower(name))'],
    ['of a column and an expression', '(size, lower(name))'],
  ])('a unique index that is %s', async (_, definition) => {
    await expectMended(`${fits}; CREATE UNIQUE INDEX special ON thing ${definition}`, [
      '- thing: the unique index special cannot be deferred, and what is partial or of an expression cannot be a constraint; keep it unique in the handler',
      '    DROP INDEX "public"."special";',
    ])
  })

  test('an exclusion constraint', async () => {
    await expectMended(`${fits}; ALTER TABLE thing ADD CONSTRAINT apart EXCLUDE USING btree (size WITH =)`, [
      '- thing: the exclusion constraint apart is not deferrable: a row could not take over what another one gives up in the same commit',
      '    ALTER TABLE "public"."thing" DROP CONSTRAINT "apart", ADD CONSTRAINT "apart" EXCLUDE USING btree (size WITH =) DEFERRABLE;',
    ])
  })

  test('a foreign key', async () => {
    await expectMended(
      `${fits}; ALTER TABLE thing ADD CONSTRAINT parent FOREIGN KEY (size) REFERENCES thing (id)`,
      [
        '- thing: the foreign key parent is not deferrable: the rows of a commit come in no particular order',
        '    ALTER TABLE "public"."thing" ALTER CONSTRAINT "parent" DEFERRABLE;',
      ],
    )
  })

  test.each([
    ['ON DELETE CASCADE', 'which changes rows that no handler wrote; do it in the handler'],
    ['ON DELETE SET NULL (name)', 'which changes rows that no handler wrote; do it in the handler'],
    ['ON UPDATE SET DEFAULT', 'which changes rows that no handler wrote; do it in the handler'],
    ['ON DELETE RESTRICT', 'which is checked at once, also within a commit'],
    [
      'ON UPDATE CASCADE ON DELETE RESTRICT',
      'which changes rows that no handler wrote; do it in the handler',
    ],
  ])('a foreign key that says %s', async (action, why) => {
    const ddl = `CREATE TABLE parent (name text PRIMARY KEY); ${fits};
      ALTER TABLE thing ADD CONSTRAINT named FOREIGN KEY (name) REFERENCES parent (name) ${action} DEFERRABLE INITIALLY DEFERRED NOT VALID`
    const said = [...action.matchAll(/ON (DELETE|UPDATE) (CASCADE|RESTRICT|SET NULL|SET DEFAULT)/g)].map(
      ([clause]) => clause,
    )
    await expectMended(ddl, [
      `- thing: the foreign key named says ${said.sort().join(' ')}, ${why}`,
      '    ALTER TABLE "public"."thing" DROP CONSTRAINT "named", ADD CONSTRAINT "named" FOREIGN KEY (name) REFERENCES parent(name) DEFERRABLE NOT VALID;',
    ])
  })
})

describe('the role', () => {
  const role = `tailrace_role_${process.pid}`

  beforeEach(async () => {
    await asAdmin(`CREATE ROLE ${role}`)
    await client.query(fits)
    await client.query(`GRANT USAGE ON SCHEMA public TO ${role}; GRANT ALL ON thing TO ${role}`)
  })

  afterEach(async () => {
    await client.query(`RESET ROLE; DROP OWNED BY ${role}`)
    await asAdmin(`DROP ROLE ${role}`)
  })

  async function asRole(): Promise<string[]> {
    await client.query(`SET ROLE ${role}`)
    const found = await differences()
    await client.query(`RESET ROLE`)
    return found
  }

  test('may do everything it must', async () => {
    expect(await asRole()).toEqual([])
  })

  test('lacks privileges', async () => {
    await client.query(`REVOKE UPDATE, DELETE ON thing FROM ${role}`)
    const found = await asRole()
    expect(found).toEqual([
      `- thing: the role ${role} lacks UPDATE, DELETE`,
      `    GRANT UPDATE, DELETE ON "public"."thing" TO "${role}";`,
    ])
    await mend(found)
    expect(await asRole()).toEqual([])
  })

  test('may not use the schema', async () => {
    await client.query(`REVOKE ALL ON SCHEMA public FROM ${role}, PUBLIC`)
    const found = await asRole()
    expect(found).toEqual([
      `- thing: the role ${role} may not use the schema public`,
      `    GRANT USAGE ON SCHEMA "public" TO "${role}";`,
    ])
    await mend(found)
    expect(await asRole()).toEqual([])
  })

  test('is subject to row level security; its owner is not', async () => {
    await client.query(`ALTER TABLE thing ENABLE ROW LEVEL SECURITY`)
    expect(await differences()).toEqual([])
    const found = await asRole()
    expect(found).toEqual([
      `- thing: row level security hides or refuses rows for the role ${role}; let it bypass that, or disable it for the table`,
      `    ALTER ROLE "${role}" BYPASSRLS;`,
    ])
    await mend(found)
    expect(await asRole()).toEqual([])
  })
})

test('H45 a database of another encoding', async () => {
  const name = `${database.name}_ascii`
  await asAdmin(`CREATE DATABASE ${name} ENCODING 'SQL_ASCII' TEMPLATE template0`)
  const url = new URL(database.connectionString)
  url.pathname = `/${name}`
  const ascii = new pg.Client({ connectionString: url.href })
  await ascii.connect()
  try {
    await ascii.query(fits)
    await expect(checkTables(ascii, [tableModelOf('thing', thing)])).rejects.toThrow(
      `- the database's encoding is SQL_ASCII, text needs UTF8`,
    )
  } finally {
    await ascii.end()
    await asAdmin(`DROP DATABASE ${name} WITH (FORCE)`)
  }
})
