/** Bad input: every mistake is answered with what is wrong, where, and what to do. */
import { sql } from 'drizzle-orm'
import { integer, pgTable, serial, text, timestamp } from 'drizzle-orm/pg-core'
import { expect, test } from 'vitest'
import { postgres } from '../../src/commit/postgres.ts'
import { ConfigurationError, createIndexer, memorySource, type TailraceError } from '../../src/index.ts'
import type { IndexerOptions, Outcome, Source, SourceMessage } from '../../src/index.ts'
import { memoryStore } from '../../src/testing/index.ts'
import { allowance, createWorld, numbered, row, setRow } from '../support/indexers.ts'

type Options = IndexerOptions<Source<number>, { row: typeof row }>

/** Options that work, with something in them that does not. */
function options(wrong: Record<string, unknown> = {}): Options {
  return {
    name: 'bad',
    source: memorySource({ id: 'm', blocks: numbered(3) }),
    tables: { row },
    handle: setRow,
    store: memoryStore(),
    ...wrong,
  }
}

function refused(wrong: Record<string, unknown>): TailraceError {
  try {
    createIndexer(options(wrong))
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError)
    return error as TailraceError
  }
  throw new Error('it was accepted')
}

async function failed(wrong: Record<string, unknown>): Promise<TailraceError> {
  const outcome: Outcome = await createIndexer(options(wrong)).run()
  if (outcome.status !== 'failed') throw new Error(`the run ${outcome.status}`)
  return outcome.error
}

// ── options: refused before anything starts ─────────────────────────────────────────────────────────────────

const endless = (type: unknown): Source<number> =>
  ({ id: 'm', itemTypes: [type], open: () => memorySource({ id: 'm', blocks: numbered(1) }).open }) as never

test.each<[string, Record<string, unknown>, string, RegExp]>([
  ['an empty name', { name: ' ' }, 'INVALID_OPTIONS', /`name` is missing.*resumes by it/],
  ['no name', { name: undefined }, 'INVALID_OPTIONS', /`name` is missing/],
  ['a long name', { name: 'x'.repeat(41) }, 'INVALID_OPTIONS', /at most 40 characters/],
  ['no sources', { source: [] }, 'INVALID_OPTIONS', /`source` is an empty array: give at least one/],
  ['no source', { source: undefined }, 'INVALID_OPTIONS', /`source` must be a Source/],
  [
    'duplicate source ids',
    { source: [memorySource({ id: 'a', blocks: [] }), memorySource({ id: 'a', blocks: [] })] },
    'INVALID_OPTIONS',
    /two sources have the id 'a'; ids must differ/,
  ],
  [
    'a source with a bad historyDepth',
    { source: { ...memorySource({ id: 'a', blocks: [] }), historyDepth: -1 } },
    'INVALID_OPTIONS',
    /historyDepth must be a whole number ≥ 0, got -1/,
  ],
  ['no tables', { tables: {} }, 'INVALID_OPTIONS', /`tables` is missing: give at least one drizzle table/],
  ['a table that is none', { tables: { row: {} } }, 'INVALID_TABLE', /drizzle/],
  ['no store', { store: undefined }, 'INVALID_OPTIONS', /`store` is missing: use postgres/],
  [
    'both handlers and handle',
    { handlers: {} },
    'INVALID_OPTIONS',
    /`handlers` \(by item type\) or one `handle`, not both/,
  ],
  ['no handler at all', { handle: undefined }, 'INVALID_OPTIONS', /there is no handler: give/],
  ['a handler that is no function', { handle: 5 }, 'INVALID_OPTIONS', /handler 'handle' is not a function/],
  [
    'handlers that are null',
    { handle: undefined, handlers: null },
    'INVALID_OPTIONS',
    /`handlers` must be an object/,
  ],
  ['a preload that is none', { preload: true }, 'INVALID_OPTIONS', /`preload` must be false or a function/],
  [
    'a missing handler, where it is known',
    { source: endless('Burn'), handle: undefined, handlers: { Mint: () => undefined } },
    'MISSING_HANDLER',
    /Source 'm' emits 'Burn'.*Add it to `handlers`/,
  ],
  [
    'a budget of zero',
    { limits: { stagedBytes: 0 } },
    'INVALID_OPTIONS',
    /limits.stagedBytes must be a number > 0, got 0 \(default: 67108864\)/,
  ],
  [
    'a negative limit',
    { limits: { batchItems: -5 } },
    'INVALID_OPTIONS',
    /limits.batchItems must be a number > 0, got -5/,
  ],
  [
    'NaN',
    { limits: { drainDeadlineMs: Number.NaN } },
    'INVALID_OPTIONS',
    /limits.drainDeadlineMs must be a number > 0, got NaN/,
  ],
  [
    'a negative failDeadlineMs',
    { limits: { failDeadlineMs: -1 } },
    'INVALID_OPTIONS',
    /limits.failDeadlineMs must be a number ≥ 0, got -1/,
  ],
  [
    'a limit in words',
    { limits: { batchBytes: '8MB' } },
    'INVALID_OPTIONS',
    /limits.batchBytes must be a number > 0, got 8MB/,
  ],
  [
    'an unknown limit',
    { limits: { batchSize: 5 } },
    'INVALID_OPTIONS',
    /limits.batchSize does not exist; there are stagedBytes,/,
  ],
  ['limits that are none', { limits: null }, 'INVALID_OPTIONS', /`limits` must be an object/],
  [
    'a negative ownership timeout',
    { ownership: { timeoutMs: -1 } },
    'INVALID_OPTIONS',
    /ownership.timeoutMs must be a number ≥ 0, got -1/,
  ],
  [
    'ownership in words',
    { ownership: { timeoutMs: '5s' } },
    'INVALID_OPTIONS',
    /ownership.timeoutMs must be a number ≥ 0, got 5s/,
  ],
  ['a composite key without keyed', { tables: { allowance } }, 'INVALID_KEY', /keyed\(/],
])('%s', (_name, wrong, code, message) => {
  const error = refused(wrong)
  expect(error.message).toMatch(message)
  expect(error.code).toBe(code)
})

test('no options at all', () => {
  expect(() => createIndexer(undefined as never)).toThrow(/takes an object of options/)
})

test('postgres() without a connection string, or with nonsense', () => {
  expect(() => postgres({} as never)).toThrow(/connectionString }\) is missing. Is DATABASE_URL set\?/)
  expect(() => postgres({ connectionString: '' })).toThrow(/missing/)
  expect(() => postgres({ connectionString: 'localhost:5432' })).toThrow(/must begin with postgres:\/\//)
  expect(() => postgres({ connectionString: 'postgres://x', readConnections: 0 })).toThrow(/readConnections/)
})

test('memorySource() without id or blocks', () => {
  expect(() => memorySource({ id: '', blocks: [] })).toThrow(/\{ id \}\) is missing/)
  expect(() => memorySource({ id: 'm' } as never)).toThrow(/must be an iterable of blocks, or a function/)
})

test('a composite key without keyed() does not compile either', () => {
  const wrong = () =>
    createIndexer({
      name: 'x',
      source: memorySource({ id: 'm', blocks: numbered(1) }),
      // @ts-expect-error -- 'declare the key of this table with keyed(table, ...columns)'
      tables: { allowance },
      handle: () => undefined,
      store: memoryStore(),
    })
  expect(wrong).toThrow(/keyed/)
})

test.each<[string, object, RegExp]>([
  [
    'a generated column',
    { t: pgTable('t', { id: integer().primaryKey(), twice: integer().generatedAlwaysAs(sql`id * 2`) }) },
    /t\.twice: generated columns are not supported; compute the value in the handler/,
  ],
  [
    'an identity column',
    { t: pgTable('t', { id: integer().primaryKey().generatedAlwaysAsIdentity() }) },
    /t\.id: GENERATED ALWAYS AS IDENTITY.*generatedByDefaultAsIdentity/,
  ],
  [
    '$onUpdate',
    { t: pgTable('t', { id: integer().primaryKey(), at: timestamp().$onUpdate(() => new Date()) }) },
    /\$onUpdate is not supported/,
  ],
  [
    'a cascade',
    {
      t: pgTable('t', {
        id: integer()
          .primaryKey()
          .references(() => row.id, { onDelete: 'cascade' }),
      }),
    },
    /onDelete 'cascade'.*do it in the handler/,
  ],
])('a table feature that is refused: %s', (_name, tables, message) => {
  expect(refused({ tables }).message).toMatch(message)
})

// ── the database: refused in opening, as an outcome ─────────────────────────────────────────────────────────

test('no database: connection refused', async () => {
  const error = await failed({
    store: postgres({ connectionString: 'postgres://me:secret@127.0.0.1:1/app' }),
  })
  expect(error.code).toBe('DATABASE_UNREACHABLE')
  expect(error.message).toMatch(
    /Cannot connect to Postgres at me@127\.0\.0\.1:1\/app: .*Is the server running/,
  )
  expect(error.message).not.toContain('secret')
})

test('no such host', async () => {
  const error = await failed({
    store: postgres({ connectionString: 'postgres://me:x@no-such-host.invalid/app' }),
  })
  expect(error).toMatchObject({ code: 'DATABASE_UNREACHABLE', phase: 'opening' })
})

test('wrong password', async () => {
  await using world = await createWorld()
  await world.query(
    `DO $$ BEGIN CREATE ROLE tailrace_bad LOGIN PASSWORD 'right'; EXCEPTION WHEN duplicate_object THEN NULL; END $$`,
  )
  const url = new URL(world.connectionString)
  url.username = 'tailrace_bad'
  url.password = 'wrong'
  const error = await failed({ store: postgres({ connectionString: url.href }) })
  // a server that trusts everybody lets the role in, which then lacks its privileges
  expect(['DATABASE_AUTHENTICATION', 'INSTALL_FAILED']).toContain(error.code)
  expect(error.message).toMatch(/Check user and password in connectionString|The role needs CREATE/)
  expect(error.message).not.toContain('wrong')
})

test('a role that may not create', async () => {
  await using world = await createWorld()
  await world.query(
    `DO $$ BEGIN CREATE ROLE tailrace_bare LOGIN PASSWORD 'x'; EXCEPTION WHEN duplicate_object THEN NULL; END $$`,
  )
  const url = new URL(world.connectionString)
  url.username = 'tailrace_bare'
  url.password = 'x'
  const error = await failed({ store: postgres({ connectionString: url.href }) })
  expect(error.code).toBe('INSTALL_FAILED')
  expect(error.message).toMatch(/permission denied.*The role needs CREATE on the database/)
})

test('a database that is missing', async () => {
  await using world = await createWorld()
  const url = new URL(world.connectionString)
  url.pathname = '/nowhere_at_all'
  const error = await failed({ store: postgres({ connectionString: url.href }) })
  expect(error.code).toBe('DATABASE_MISSING')
  expect(error.message).toMatch(/"nowhere_at_all" does not exist.*Create the database, or correct its name/)
})

test('a missing table, a missing column, another type: said exactly, and nothing is left behind', async () => {
  await using world = await createWorld({ createTables: false })
  const missing = await failed({ store: world.plainStore() })
  expect(missing.code).toBe('TABLES_DIFFER')
  expect(missing.message).toMatch(
    /row: does not exist; pass createTables: true, or run.*CREATE TABLE "public"\."row"/s,
  )
  await world.query('CREATE TABLE "row" (id integer PRIMARY KEY)')
  const column = await failed({ store: world.plainStore() })
  expect(column.message).toMatch(/ADD COLUMN "value" integer/)
  await world.query('ALTER TABLE "row" ADD COLUMN value text NOT NULL')
  const type = await failed({ store: world.plainStore() })
  expect(type.message).toMatch(/value.*text.*integer/s)
  await world.query('ALTER TABLE "row" ALTER COLUMN value TYPE integer USING 0')
  expect(await createIndexer(options({ store: world.plainStore() })).run()).toMatchObject({
    status: 'finished',
  })
})

test('two indexers of one name in one process', async () => {
  await using world = await createWorld()
  world.gates.write.hold()
  const first = createIndexer(options({ store: world.store }))
  const running = first.run()
  await world.gates.write.arrived()
  const error = await failed({ store: world.plainStore(), ownership: { standby: true } })
  expect(error.code).toBe('PIPELINE_RUNS_HERE')
  expect(error.message).toMatch(/runs in this very process.*Give each indexer its own name/)
  world.gates.write.release()
  expect(await running).toMatchObject({ status: 'finished' })
})

test('a source that is gone from a pipeline', async () => {
  await using world = await createWorld()
  await createIndexer(options({ store: world.plainStore() })).run()
  const error = await failed({
    store: world.plainStore(),
    source: memorySource({ id: 'other', blocks: numbered(1) }),
  })
  expect(error.code).toBe('SHAPE_CHANGED')
  expect(error.message).toMatch(
    /source 'm' was indexed and is not there any more \(there is 'other'\).*Give it back/,
  )
})

// ── handlers ────────────────────────────────────────────────────────────────────────────────────────────────

test('a handler that throws: block, item and handler are named', async () => {
  for (const handle of [
    (item: number) => {
      if (item === 2) throw new Error('boom')
    },
    async (item: number) => {
      await Promise.resolve()
      if (item === 2) throw new Error('boom')
    },
  ]) {
    const error = await failed({ handle })
    expect(error).toMatchObject({ code: 'HANDLER_FAILED', block: { source: 'm', number: 2 }, item: 0 })
    expect(error.message).toBe("handle at item 0 of block 2 of source 'm' failed: boom")
  }
})

test('a handler that throws what is no error', async () => {
  const error = await failed({
    handle() {
      throw 'just text' // oxlint-disable-line no-throw-literal
    },
  })
  expect(error.message).toContain('failed: just text')
})

test('handleBlock that throws', async () => {
  const error = await failed({
    handleBlock({ number }: { number: number }) {
      if (number === 3) throw new Error('boom')
    },
  })
  expect(error).toMatchObject({ code: 'HANDLER_FAILED', block: { source: 'm', number: 3 } })
  expect(error.item).toBeUndefined()
  expect(error.message).toMatch(/handleBlock at block 3/)
})

test('an item without a handler, when it arrives', async () => {
  const items = memorySource({
    id: 'm',
    blocks: [{ number: 9, items: [{ type: 'Mint' }, { type: 'Burn' }] }],
  })
  const error = await failed({ source: items, handle: undefined, handlers: { Mint: () => undefined } })
  expect(error).toMatchObject({
    code: 'HANDLER_FAILED',
    cause: { code: 'MISSING_HANDLER' },
    block: { number: 9 },
    item: 1,
  })
  expect(error.message).toMatch(/there is no handler for items of type 'Burn' \(there are: Mint\)/)
})

test('an item without a type', async () => {
  const error = await failed({ handle: undefined, handlers: { Mint: () => undefined } })
  expect(error.message).toMatch(/no string `type`.*use `handle` for items without types/)
})

test.each<[string, object, RegExp]>([
  [
    'an unknown column',
    { where: { colour: 1 } },
    /`row\.colour`: there is no such column \(there are id, value\)/,
  ],
  ['undefined', { where: { value: undefined } }, /leave the column out to match every row/],
  ['an unknown operator', { where: { value: { like: 'x' } } }, /unknown operator `like` \(there are eq, ne,/],
  ['another type', { where: { value: 'many' } }, /`row\.value`/],
  ['an unknown order', { orderBy: { value: 'up' } }, /expected 'asc' or 'desc', got up/],
  ['a negative limit', { limit: -1 }, /expected a whole number ≥ 0, got -1/],
])('where and orderBy: %s', async (_name, find, message) => {
  const error = await failed({
    handle: (_item: number, { db }: { db: { row: { find(options: object): Promise<unknown> } } }) =>
      db.row.find(find),
  })
  expect(error).toMatchObject({ code: 'HANDLER_FAILED', cause: { code: 'INVALID_WHERE' } })
  expect(error.message).toMatch(message)
})

test.each<[string, object, RegExp]>([
  ['a missing column', { id: 1 }, /row\.value/],
  ['null where it is not allowed', { id: 1, value: null }, /row\.value/],
  ['a value of another type', { id: 1, value: 'many' }, /row\.value/],
  ['a value out of range', { id: 1, value: 2 ** 40 }, /row\.value/],
  ['an unknown property', { id: 1, value: 1, colour: 1 }, /row has no column colour.*it has id, value/],
])('a row with %s', async (_name, given, message) => {
  const error = await failed({
    handle: (_item: number, { db }: { db: { row: { set(given: object): void } } }) => db.row.set(given),
  })
  expect(error).toMatchObject({ code: 'HANDLER_FAILED', table: 'row' })
  expect(error.message).toMatch(message)
})

test('a serial column without a value', async () => {
  const t = pgTable('t', { id: serial().primaryKey(), name: text() })
  const error = await failed({
    tables: { t },
    handle: (_item: number, { db }: { db: { t: { insert(given: object): void } } }) =>
      db.t.insert({ name: 'x' }),
  })
  expect(error.message).toMatch(/t\.id.*sequence in the database/)
})

test('H10: a context that is used after its handler has settled', async () => {
  let leaked: (() => unknown) | undefined
  const error = await failed({
    preload: false,
    handle(item: number, { db }: { db: { row: { get(key: number): unknown } } }) {
      if (item === 1) leaked = () => db.row.get(1)
      else leaked?.()
    },
  })
  expect(error.message).toMatch(/used its context after it had settled; await every call/)
})

// ── sources ─────────────────────────────────────────────────────────────────────────────────────────────────

function saying(...messages: unknown[]): Source<number> {
  return {
    id: 'odd',
    async *open() {
      for (const message of messages) yield (await Promise.resolve(message)) as SourceMessage<number>
    },
  }
}
const blocks = (...given: unknown[]) => ({ type: 'blocks', blocks: given })

test.each<[string, unknown[], string, RegExp]>([
  [
    'blocks out of order',
    [blocks({ number: 5, items: [] }, { number: 4, items: [] })],
    'SOURCE_ORDER',
    /Source 'odd' gave block 4 after block 5; numbers must grow \(a fork is a message of its own\)/,
  ],
  [
    'the same block twice',
    [blocks({ number: 5, items: [] }), blocks({ number: 5, items: [] })],
    'SOURCE_ORDER',
    /gave block 5 after block 5/,
  ],
  [
    'a number that is none',
    [blocks({ number: 1.5, items: [] })],
    'SOURCE_ORDER',
    /gave a block with number 1\.5; numbers are whole and ≥ 0/,
  ],
  [
    'a message of unknown type',
    [{ type: 'block' }],
    'SOURCE_MESSAGE',
    /unknown type "block"; a source yields blocks/,
  ],
  ['no message', [undefined], 'SOURCE_MESSAGE', /unknown type undefined; a source yields/],
  ['blocks that are none', [{ type: 'blocks', blocks: 7 }], 'SOURCE_MESSAGE', /`blocks` is not an array/],
  [
    'a block without items',
    [blocks({ number: 1 })],
    'SOURCE_MESSAGE',
    /gave a block without an array of `items`/,
  ],
  ['no block', [blocks(null)], 'SOURCE_MESSAGE', /gave a block without an array of `items`/],
])('a source that gives %s', async (_name, messages, code, message) => {
  const error = await failed({ source: saying(...messages) })
  expect(error.message).toMatch(message)
  expect(error).toMatchObject({ code, phase: 'source' })
})

test('a source that throws, at once or later, or gives no iterable', async () => {
  const thrower: Source<number> = {
    id: 'odd',
    open() {
      throw new Error('no network')
    },
  }
  expect((await failed({ source: thrower })).message).toBe("Source 'odd' failed: no network")
  const later: Source<number> = {
    id: 'odd',
    async *open() {
      yield { type: 'blocks', blocks: numbered(1) }
      throw await Promise.resolve(new Error('stream reset'))
    },
  }
  expect(await failed({ source: later })).toMatchObject({
    code: 'SOURCE_FAILED',
    message: "Source 'odd' failed: stream reset",
  })
  expect(await failed({ source: { id: 'odd', open: () => undefined } })).toMatchObject({
    code: 'SOURCE_FAILED',
  })
})

test('memory blocks that are others than those indexed', async () => {
  const store = memoryStore()
  await createIndexer(options({ store })).run()
  const others = numbered(3).map((block) => ({ ...block, hash: `other-${block.number}` }))
  const error = await failed({ store, source: memorySource({ id: 'm', blocks: others }) })
  expect(error.code).toBe('SOURCE_CHANGED')
  expect(error.message).toMatch(/block 3 has hash other-3, but 3 was indexed/)
})

test('a generator that would be read twice', async () => {
  const once = memorySource({ id: 'm', blocks: numbered(3)[Symbol.iterator]() })
  const indexer = createIndexer(options({ source: once }))
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 3n })
  const outcome = await indexer.run()
  expect(outcome).toMatchObject({ status: 'failed', error: { code: 'SOURCE_EXHAUSTED' } })
})

// ── the host's own callbacks ────────────────────────────────────────────────────────────────────────────────

test('a listener that throws, or rejects, is logged and disturbs nobody', async () => {
  const errors: string[] = []
  const quiet = () => undefined
  const logger = { debug: quiet, info: quiet, warn: quiet, error: (text: string) => void errors.push(text) }
  const indexer = createIndexer(options({ logger }))
  let heard = 0
  indexer.on('batch.committed', () => {
    throw new Error('listener')
  })
  const rejecting = (): unknown => Promise.reject(new Error('async listener'))
  indexer.on('batch.committed', rejecting)
  indexer.on('state', () => {
    throw new Error('listener')
  })
  indexer.on('batch.committed', () => void heard++)
  expect(await indexer.run()).toMatchObject({ status: 'finished' })
  expect(heard).toBe(1)
  expect(errors.filter((text) => text.includes("'batch.committed'"))).toHaveLength(2)
})

test('an inspection observer that throws does not wedge the run', async () => {
  const errors: string[] = []
  const quiet = () => undefined
  const logger = { debug: quiet, info: quiet, warn: quiet, error: (text: string) => void errors.push(text) }
  for (const inspect of [
    () => {
      throw new Error('observer')
    },
    {
      next() {
        throw new Error('observer')
      },
    },
  ]) {
    expect(await createIndexer(options({ inspect, logger })).run()).toMatchObject({
      status: 'finished',
      committed: 3n,
    })
  }
  expect(errors).toHaveLength(2)
})
