/**
 * `find` on a real server: what the server answers equals what memory says about the same rows, and what the overlay
 * answers over staged and stored rows equals what the server answers once everything is committed. Filters, order,
 * NULLs, ties, code points beyond U+FFFF, numerics, dates, enums and booleans included (I4, H11).
 *
 * SEED=… replays a run that failed (the failure names it), RUNS=… shakes it harder.
 */
import * as t from 'drizzle-orm/pg-core'
import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { BlockRef } from '../../src/block.ts'
import { postgres } from '../../src/commit/postgres.ts'
import type { StoreSession } from '../../src/commit/store.ts'
import type { FindOptions } from '../../src/db.ts'
import { FatalError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { parseFind } from '../../src/staging/find.ts'
import { keyed } from '../../src/staging/keyed.ts'
import { comparator } from '../../src/staging/order.ts'
import { Staging } from '../../src/staging/staging.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { completeRow } from '../../src/staging/table-row.ts'
import type { Row } from '../../src/staging/table.ts'
import { evaluate } from '../../src/staging/where.ts'
import { workspace } from '../../src/staging/workspace.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'
import { findOptionsOver } from '../support/programs.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const numRuns = Number(process.env['RUNS'] ?? 25)
const timeout = 30_000 + numRuns * 400

// an enum whose name begins like a type that has a collation
const mood = t.pgEnum('text_mood', ['sad', 'ok', 'happy'])
const bytea = t.customType<{ data: Uint8Array; driverData: Buffer }>({ dataType: () => 'bytea' })
const thing = t.pgTable(
  'thing',
  {
    owner: t.char({ length: 3 }).notNull(),
    id: t.text().notNull(),
    words: t.text(),
    label: t.varchar({ length: 8 }),
    code: t.char({ length: 4 }),
    small: t.smallint(),
    count: t.integer(),
    large: t.bigint({ mode: 'bigint' }),
    amount: t.numeric({ precision: 12, scale: 3 }),
    exact: t.numeric({ mode: 'bigint', precision: 40 }),
    free: t.numeric(),
    score: t.doublePrecision(),
    ratio: t.real(),
    day: t.date(),
    midnight: t.date({ mode: 'date' }),
    seen: t.timestamp({ precision: 3 }),
    heard: t.timestamp({ mode: 'string', withTimezone: true }),
    clock: t.time(),
    open: t.boolean(),
    mood: mood(),
    token: t.uuid(),
    bytes: bytea(),
  },
  (table) => [t.primaryKey({ columns: [table.id, table.owner] })],
)
const model = tableModelOf('thing', keyed(thing, 'owner', 'id'))

const texts = ['', ' ', 'a', 'B', 'b', 'ab', 'a b', 'é', 'É', 'z', '\u{1f600}', '\uffff', '\ue000', 'ß', '_']
const values: Record<string, fc.Arbitrary<unknown>> = {
  owner: fc.constantFrom('a', 'B', '\u{1f600}', '\uffff'),
  id: fc.constantFrom('x', 'Y', 'é', '\u{1f600}', '\ue000'),
  words: fc.constantFrom(...texts),
  label: fc.constantFrom(...texts),
  code: fc.constantFrom('', 'a', 'a ', 'ab', 'B', '\u{1f600}', '\uffff', 'a\t'),
  small: fc.integer({ min: -2, max: 2 }),
  count: fc.integer({ min: -2, max: 2 }),
  large: fc.constantFrom(0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n, 2n ** 53n),
  amount: fc.constantFrom('0', '-0.001', '1.5', '1.4999', '10', '9', '-10', '999999999.999'),
  exact: fc.constantFrom(0n, 10n ** 39n, 10n ** 39n - 1n, -(10n ** 39n), 9n),
  free: fc.constantFrom('NaN', '0', '0.0', '1e30', '-1', '1.10', '1.1', '0.00000001'),
  score: fc.constantFrom(0, -0, NaN, Infinity, -Infinity, 0.1, -1.5, 5e-324),
  ratio: fc.constantFrom(0, NaN, Infinity, 0.1, -1.5),
  day: fc.constantFrom(
    '2024-02-29',
    '0001-01-01',
    '0044-03-15 BC',
    '10000-01-01',
    'infinity',
    '-infinity',
    '1999-12-31',
  ),
  midnight: fc
    .constantFrom('2024-02-29', '0001-01-01', '1969-12-31', '1970-01-01')
    .map((day) => new Date(day)),
  seen: fc.constantFrom(0, -1, 1, 1_700_000_000_123, -62_135_596_800_000).map((ms) => new Date(ms)),
  heard: fc.constantFrom(
    '2024-01-01 00:00:00+00',
    '2024-01-01 00:00:00.000001+00',
    '0044-03-15 12:00:00+00 BC',
    'infinity',
    '10000-01-01 00:00:00+00',
  ),
  clock: fc.constantFrom('00:00:00', '23:59:59.999999', '24:00:00', '12:00:00.5'),
  open: fc.boolean(),
  mood: fc.constantFrom('sad', 'ok', 'happy'),
  token: fc.constantFrom(
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    '0a000000-0000-0000-0000-000000000000',
  ),
  bytes: fc.constantFrom([], [0], [0, 0], [255], [1, 2]).map((bytes) => Uint8Array.from(bytes)),
}
const optional = Object.keys(values).filter((name) => name !== 'owner' && name !== 'id')
const row = fc.record(
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name,
      optional.includes(name) ? fc.option(value, { nil: null, freq: 3 }) : value,
    ]),
  ),
) as fc.Arbitrary<Row>
const queries = fc.array(findOptionsOver(values), {
  minLength: 20,
  maxLength: 20,
})

let database: TestDatabase
let client: pg.Client
let session: StoreSession
let checkpoint = 0
const closing = new AbortController()

beforeAll(async () => {
  database = await createDatabase()
  session = await postgres({ connectionString: database.connectionString, createTables: true }).open({
    pipeline: 'overlay',
    models: [model],
    sources: [{ id: 's', historyDepth: 0 }],
    staleMs: 15_000,
    ownershipTimeoutMs: 1000,
    signal: closing.signal,
    log: silentLog,
  })
  client = new pg.Client(database.connectionString)
  await client.connect()
  // a collation that orders and compares as no code point does: `find` must not depend on it
  const { rows } = await client.query<{ collname: string }>(
    `SELECT collname FROM pg_collation WHERE collname IN ('en-x-icu', 'en_US.utf8', 'en_US') AND collisdeterministic`,
  )
  const collation = rows[0]?.collname
  if (collation !== undefined) {
    await client.query(
      `ALTER TABLE thing ALTER words TYPE text COLLATE "${collation}", ALTER label TYPE varchar(8) COLLATE "${collation}", ALTER code TYPE char(4) COLLATE "${collation}"`,
    )
  }
})

afterAll(async () => {
  await session?.close()
  await client?.end()
  await database?.drop()
})

/** What the server says, with nothing staged. */
async function asked(options: FindOptions<Row>): Promise<readonly Row[]> {
  const { predicate, order, limit, offset } = parseFind(model, options)
  const rows = await session.reader.find(model, {
    predicate,
    order,
    limit: limit === undefined ? undefined : offset + limit,
  })
  return rows.slice(offset)
}

async function commit(staging: Staging, count = staging.batches.length): Promise<void> {
  const ended = await session.write(staging.freeze(count), () => undefined)
  if (ended.end !== 'landed') throw ended.error
  staging.land(count)
}

function begin(staged: ReturnType<typeof workspace>): void {
  const ref: BlockRef = {
    checkpoint: ++checkpoint,
    source: 's',
    number: checkpoint,
    hash: String(checkpoint),
  }
  staged.begin([ref])
}

/** One batch of one handler. */
async function batch<T>(
  staged: ReturnType<typeof workspace>,
  handler: (
    thing: Record<'set' | 'delete' | 'insert', (given: unknown) => void> & {
      find(options: FindOptions<Row>): Promise<Row[]>
    },
  ) => T,
): Promise<Awaited<T>> {
  begin(staged)
  const scope = staged.scope(checkpoint, 0, false, () => 'a handler')
  const result = await handler((scope.db as Record<string, never>)['thing']!)
  await scope.settle()
  staged.end()
  return result
}

const key = ({ owner, id }: Row) => ({ owner, id })

test(
  `I4, H11: the server's answer to a find is memory's answer over the same rows (seed ${seed})`,
  { timeout },
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 20 }), queries, async (given, options) => {
        await client.query('TRUNCATE thing')
        const staging = new Staging([model], 1e9)
        await batch(workspace(staging, session.reader), (things) => {
          for (const one of given) things.set(one)
        })
        await commit(staging)
        const rows = new Map(
          given.map((one) => completeRow(model, one)).map((one) => [JSON.stringify(key(one)), one]),
        )
        for (const query of options) {
          const { predicate, order, offset, limit } = parseFind(model, query)
          const expected = [...rows.values()]
            .filter((one) => evaluate(predicate, one) === true)
            .toSorted(comparator(order))
            .slice(offset, limit === undefined ? undefined : offset + limit)
          expect([query, await asked(query)]).toEqual([query, expected])
        }
      }),
      { seed, numRuns },
    )
  },
)

test(
  `I4, H11, H12: the overlay's answer is the server's once everything is committed (seed ${seed})`,
  { timeout },
  async () => {
    const change = fc.record({ kind: fc.constantFrom('set', 'set', 'delete', 'renew'), row })
    const batches = fc.array(fc.array(change, { maxLength: 5 }), { minLength: 1, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { maxLength: 15 }),
        batches,
        queries,
        fc.array(fc.nat({ max: 3 }), { minLength: 20, maxLength: 20 }),
        async (stored, changes, options, moments) => {
          await client.query('TRUNCATE thing')
          const staging = new Staging([model], 1e9)
          const staged = workspace(staging, session.reader)
          await batch(staged, (things) => {
            for (const one of stored) things.set(one)
          })
          await commit(staging)
          staging.cut(checkpoint)
          for (const ofBatch of changes) {
            await batch(staged, (things) => {
              for (const { kind, row: given } of ofBatch) {
                if (kind !== 'set') things.delete(key(given))
                if (kind === 'renew') things.insert(given)
                if (kind === 'set') things.set(given)
              }
            })
          }
          // one handler asks while commits land between its questions
          const answers = await batch(staged, async (things) => {
            const found: Row[][] = []
            for (const [index, query] of options.entries()) {
              if (moments[index] === 0 && staging.batches.length > 0) {
                const [answer] = await Promise.all([things.find(query), commit(staging, 1)])
                found.push(answer)
              } else {
                found.push(await things.find(query))
              }
            }
            return found
          })
          await commit(staging)
          for (const [index, query] of options.entries()) {
            expect([query, answers[index]]).toEqual([query, await asked(query)])
          }
        },
      ),
      { seed, numRuns },
    )
  },
)

test('H13: an insert of a key that only the database knows fails the commit, naming block and item, also when a later delete would hide it', async () => {
  await client.query('TRUNCATE thing')
  const staging = new Staging([model], 1e9)
  const staged = workspace(staging, session.reader)
  await batch(staged, (things) => things.set({ owner: 'a', id: 'x', count: 1 }))
  await commit(staging)
  staging.cut(checkpoint)
  await batch(staged, (things) => {
    things.insert({ owner: 'a', id: 'y' })
    things.insert({ owner: 'a', id: 'x', count: 2 })
  })
  await batch(staged, (things) => things.delete({ owner: 'a', id: 'x' }))
  const error: unknown = await commit(staging).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(FatalError)
  expect(error).toMatchObject({
    code: 'DUPLICATE_KEY',
    table: 'thing',
    key: { owner: 'a  ', id: 'x' },
    item: 0,
    block: { source: 's', number: checkpoint - 1 },
  })
  expect(await asked({})).toMatchObject([{ owner: 'a  ', id: 'x', count: 1 }])
})

test.each<[FindOptions<Row>, string]>([
  [{ where: { count: 1 } }, 'count = 1'],
  [{ where: { count: { ne: 1 } } }, 'count <> 1'],
  [{ where: { not: { count: 1 } } }, 'NOT count = 1'],
  [{ where: { count: { gt: 0, lte: 2 } } }, 'count > 0 AND count <= 2'],
  [{ where: { count: null } }, 'count IS NULL'],
  [{ where: { count: { isNull: false } } }, 'count IS NOT NULL'],
  [{ where: { count: { in: [] } } }, 'FALSE'],
  [{ where: { not: { count: { in: [] } } } }, 'TRUE'],
  [{ where: { not: { count: { in: [1, 2] } } } }, 'count NOT IN (1, 2)'],
  [{ where: { or: [] } }, 'FALSE'],
  [{ where: { not: { or: [{ count: 1 }, { words: 'a' }] } } }, `NOT (count = 1 OR words = 'a')`],
  [
    { where: { and: [{ count: 1 }], words: { lt: '\u{1f600}' } } },
    `count = 1 AND words COLLATE "C" < '\u{1f600}'`,
  ],
  [{ where: { code: 'a ' } }, `code = 'a'`],
  [{ where: { mood: { gt: 'sad' } } }, `mood > 'sad'`],
  [{ where: { score: NaN } }, `score = 'NaN'`],
  [{ where: { free: { gte: '1.1' } } }, 'free >= 1.1'],
  [{ orderBy: { count: 'asc' } }, 'TRUE ORDER BY count, owner COLLATE "C", id COLLATE "C"'],
  [{ orderBy: { count: 'desc' } }, 'TRUE ORDER BY count DESC, owner COLLATE "C", id COLLATE "C"'],
  [
    { orderBy: [{ mood: { direction: 'desc', nulls: 'last' } }, { id: 'desc' }] },
    'TRUE ORDER BY mood DESC NULLS LAST, id COLLATE "C" DESC, owner COLLATE "C"',
  ],
])('H11: %o means what the same words mean in SQL, staged and stored', async (options, written) => {
  await client.query('TRUNCATE thing')
  const rows = fc.sample(row, { seed: 7, numRuns: 60 })
  const staging = new Staging([model], 1e9)
  const staged = workspace(staging, session.reader)
  await batch(staged, (things) => {
    for (const one of rows) things.set(one)
  })
  const overlaid = await batch(staged, (things) => things.find(options))
  await commit(staging)
  const condition = written.includes('ORDER BY')
    ? written
    : `${written} ORDER BY owner COLLATE "C", id COLLATE "C"`
  const plain = await client.query<Row>(`SELECT owner, id FROM thing WHERE ${condition}`)
  expect(overlaid.map(key)).toEqual(plain.rows)
  expect((await asked(options)).map(key)).toEqual(plain.rows)
})
