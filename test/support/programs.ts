/**
 * Random handler programs, as data: what they read is recorded call by call, so that a pipelined run can be compared
 * with the naive sequential one. A program depends on nothing but what it reads as of its calls.
 */
import assert from 'node:assert/strict'
import * as t from 'drizzle-orm/pg-core'
import fc from 'fast-check'
import type { Context } from '../../src/compute/context.ts'
import type { FindOptions } from '../../src/db.ts'
import { TailraceError } from '../../src/errors.ts'
import { keyed } from '../../src/staging/keyed.ts'

const mood = t.pgEnum('mood', ['sad', 'ok', 'happy'])

/** A composite key, a table of every nullable kind with text beyond the BMP, and one that is only inserted into. */
export const programTables = {
  holding: keyed(
    t.pgTable(
      'holding',
      {
        owner: t.text().notNull(),
        token: t.integer().notNull(),
        amount: t.integer().notNull(),
        memo: t.text(),
      },
      (table) => [t.primaryKey({ columns: [table.owner, table.token] })],
    ),
    'owner',
    'token',
  ),
  profile: t.pgTable('profile', {
    id: t.text().primaryKey(),
    amount: t.integer().notNull(),
    name: t.text(),
    mood: mood(),
    seen: t.timestamp({ precision: 3 }),
    score: t.doublePrecision(),
    blob: t.customType<{ data: Uint8Array; driverData: Buffer }>({ dataType: () => 'bytea' })(),
  }),
  event: t.pgTable('event', {
    id: t.text().primaryKey(),
    owner: t.text().notNull(),
    amount: t.integer().notNull(),
  }),
}

export type ProgramTables = typeof programTables
type RowOf<N extends keyof ProgramTables> = N extends 'holding'
  ? { owner: string; token: number; amount: number; memo: string | null }
  : Record<string, unknown>

/** When a call is waited for: at once, at the next barrier or the handler's end, or never. */
export type Wait = 'now' | 'end' | 'never'

type Changeable = 'holding' | 'profile'

export type Op =
  | { readonly op: 'get'; readonly table: Changeable; readonly key: unknown; readonly wait: Wait }
  | { readonly op: 'getOrThrow'; readonly table: Changeable; readonly key: unknown }
  | {
      readonly op: 'getMany'
      readonly table: Changeable
      readonly keys: readonly unknown[]
      readonly wait: Wait
    }
  | {
      readonly op: 'find'
      readonly table: keyof ProgramTables
      readonly options: FindOptions<Record<string, unknown>>
      readonly wait: Wait
    }
  | { readonly op: 'set'; readonly table: Changeable; readonly row: Record<string, unknown> }
  /** Reads one row, writes another that depends on it. */
  | {
      readonly op: 'carry'
      readonly table: Changeable
      readonly from: unknown
      readonly row: Record<string, unknown>
    }
  | { readonly op: 'insertNew'; readonly table: Changeable; readonly row: Record<string, unknown> }
  | { readonly op: 'replace'; readonly table: Changeable; readonly row: Record<string, unknown> }
  | { readonly op: 'delete'; readonly table: Changeable; readonly key: unknown }
  | {
      readonly op: 'update'
      readonly table: Changeable
      readonly key: unknown
      readonly by: number
      readonly patch: Record<string, unknown>
      readonly wait: Wait
    }
  | { readonly op: 'log'; readonly owner: string; readonly amount: number }
  /** Sets so many rows that staged ones are found by an index. */
  | { readonly op: 'crowd'; readonly first: number; readonly amount: number }
  /** Updates one row until it has reached a value, or is gone. */
  | { readonly op: 'climb'; readonly table: Changeable; readonly key: unknown; readonly to: number }
  | { readonly op: 'barrier' }

export interface ProgramItem {
  /** Unique among the items of all branches. */
  readonly id: string
  readonly ops: readonly Op[]
}

/** What was read: `item id / index of the call` → value, or the code of the error. */
export type Readings = Map<string, unknown>

/** More staged rows of a table than are looked through one by one. */
const crowdSize = 33

type AnyAccess = Record<string, (...given: unknown[]) => unknown>

/** A handler that runs the item's program. Speculative runs are not recorded. */
export function programHandler(
  readings: Readings,
): (item: ProgramItem, context: Context<ProgramTables>) => unknown {
  return (item, context) => runProgram(item, context, readings)
}

async function runProgram(
  item: ProgramItem,
  context: Context<ProgramTables>,
  readings: Readings,
): Promise<void> {
  const db = context.db as unknown as Record<string, AnyAccess>
  let outstanding: Promise<void>[] = []
  const record = (index: number | string, value: unknown) => {
    const rows = [value].flat()
    for (const row of rows) assert.ok(Object.isFrozen(row), 'I17: a row that can be changed')
    if (!context.preloading) readings.set(`${item.id}/${index}`, structuredClone(value))
    // bytes cannot be frozen: they are the handler's own
    for (const row of rows)
      for (const part of Object.values(row ?? {})) if (part instanceof Uint8Array) part.fill(7)
  }
  const awaited = (index: number, wait: Wait, calling: unknown): Promise<void> | undefined => {
    const recorded = (calling as Promise<unknown>).then(
      (value) => (wait === 'never' ? undefined : record(index, value)),
      (error: unknown) => (wait === 'never' ? undefined : record(index, codeOf(error))),
    )
    // a handler that fails over one call waits for none of the others
    recorded.catch(() => undefined)
    if (wait === 'now') return recorded
    if (wait === 'end') outstanding.push(recorded)
    return undefined
  }
  for (const [index, op] of item.ops.entries()) {
    switch (op.op) {
      case 'get':
        await awaited(index, op.wait, db[op.table]!['get']!(op.key))
        break
      case 'getOrThrow':
        await awaited(index, 'now', db[op.table]!['getOrThrow']!(op.key))
        break
      case 'getMany':
        await awaited(index, op.wait, db[op.table]!['getMany']!(op.keys))
        break
      case 'find':
        await awaited(index, op.wait, db[op.table]!['find']!(op.options))
        break
      case 'set':
        db[op.table]!['set']!(op.row)
        break
      case 'carry': {
        const from = (await db[op.table]!['get']!(op.from)) as RowOf<'holding'> | undefined
        record(index, from)
        db[op.table]!['set']!({ ...op.row, amount: (from?.amount ?? -1) + 1 })
        break
      }
      case 'insertNew': {
        const key = op.table === 'profile' ? op.row['id'] : { owner: op.row['owner'], token: op.row['token'] }
        const there = await db[op.table]!['get']!(key)
        record(index, there)
        if (there === undefined) db[op.table]!['insert']!(op.row)
        break
      }
      case 'replace': {
        const key = op.table === 'profile' ? op.row['id'] : { owner: op.row['owner'], token: op.row['token'] }
        // awaited, so that no update of the row is in line: a duplicate could not be told at the call
        record(index, await db[op.table]!['get']!(key))
        db[op.table]!['delete']!(key)
        db[op.table]!['insert']!(op.row)
        break
      }
      case 'delete':
        db[op.table]!['delete']!(op.key)
        break
      case 'update': {
        const change = (row: RowOf<'holding'>) => ({ ...op.patch, amount: row.amount * 2 + op.by })
        await awaited(index, op.wait, db[op.table]!['update']!(op.key, change))
        break
      }
      case 'log':
        db['event']!['insert']!({ id: `${item.id}/${index}`, owner: op.owner, amount: op.amount })
        break
      case 'crowd':
        for (let at = op.first; at < op.first + crowdSize; at++) {
          db['profile']!['set']!({ id: `c${at}`, amount: ((op.amount + at) % 4) - 1 })
        }
        break
      case 'climb':
        for (let step = 0; ; step++) {
          const row = (await db[op.table]!['get']!(op.key)) as RowOf<'holding'> | undefined
          record(`${index}.${step}`, row)
          if (row === undefined || row.amount >= op.to || step > 8) break
          await db[op.table]!['update']!(op.key, { amount: row.amount + 1 + step })
        }
        break
      case 'barrier':
        await Promise.all(outstanding)
        outstanding = []
        break
      default:
        throw new Error(`unreachable: ${String(op satisfies never)}`)
    }
  }
  await Promise.all(outstanding)
}

function codeOf(error: unknown): string {
  if (error instanceof TailraceError && error.code === 'ROW_NOT_FOUND') return error.code
  throw error
}

// ── generators ──────────────────────────────────────────────────────────────────────────────────────────────

const names = ['', 'a', 'B', 'b', 'é', '\u{1f600}', '\uffff', '\ue000']
const owners = ['x', '\u{1f600}', '\uffff']
const ids = ['p', 'q', '\u{10000}', '\ufffd']
const amount = fc.integer({ min: -3, max: 3 })
const nullable = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: null, freq: 3 })

const holdingPart = { memo: nullable(fc.constantFrom(...names)) }
const profilePart = {
  name: nullable(fc.constantFrom(...names)),
  mood: nullable(fc.constantFrom('sad', 'ok', 'happy')),
  seen: nullable(fc.constantFrom(0, 1, 1_500_000_000_123, -1).map((ms) => new Date(ms))),
  score: nullable(fc.constantFrom(0, -0, 1.5, -2, NaN, Infinity, -Infinity)),
  blob: nullable(fc.uint8Array({ maxLength: 2 })),
}
const columns: Record<keyof ProgramTables, Record<string, fc.Arbitrary<unknown>>> = {
  holding: {
    owner: fc.constantFrom(...owners),
    token: fc.constantFrom(1, 2, 3),
    amount,
    memo: fc.constantFrom(...names),
  },
  profile: {
    id: fc.constantFrom(...ids),
    amount,
    name: fc.constantFrom(...names),
    mood: fc.constantFrom('sad', 'ok', 'happy'),
    seen: fc.constantFrom(0, 1).map((ms) => new Date(ms)),
    score: fc.constantFrom(0, 1.5, NaN, Infinity),
    blob: fc.uint8Array({ maxLength: 2 }),
  },
  event: { id: fc.constantFrom('1', '2'), owner: fc.constantFrom(...owners), amount },
}

/** A column's condition. */
function condition(values: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.oneof(
    values,
    fc.constant(null),
    fc.record({ isNull: fc.boolean() }),
    fc.record({ in: fc.array(values, { maxLength: 3 }) }),
    fc
      .tuple(fc.constantFrom('eq', 'ne', 'gt', 'gte', 'lt', 'lte'), values)
      .map(([op, value]) => ({ [op]: value })),
  )
}

/** Any `where` over the given columns, `and`, `or` and `not` included. */
export function whereOver(
  columnValues: Record<string, fc.Arbitrary<unknown>>,
  depth = 2,
): fc.Arbitrary<object> {
  const simple = fc.oneof(
    ...Object.entries(columnValues).map(([column, values]) =>
      condition(values).map((given) => ({ [column]: given })),
    ),
  )
  if (depth === 0) return simple
  const inner = whereOver(columnValues, depth - 1)
  return fc.oneof(
    { weight: 3, arbitrary: simple },
    { weight: 1, arbitrary: fc.tuple(simple, simple).map(([a, b]) => ({ ...a, ...b })) },
    { weight: 1, arbitrary: fc.array(inner, { maxLength: 3 }).map((parts) => ({ and: parts })) },
    { weight: 1, arbitrary: fc.array(inner, { maxLength: 3 }).map((parts) => ({ or: parts })) },
    { weight: 1, arbitrary: inner.map((part) => ({ not: part })) },
  )
}

/** Any order over the given columns. */
export function orderOver(columnNames: readonly string[]): fc.Arbitrary<unknown> {
  const direction = fc.oneof(
    fc.constantFrom('asc', 'desc'),
    fc.record({
      direction: fc.constantFrom('asc', 'desc'),
      nulls: fc.constantFrom('first', 'last', undefined),
    }),
  )
  const term = fc
    .tuple(fc.constantFrom(...columnNames), direction)
    .map(([column, given]) => ({ [column]: given }))
  return fc.oneof(term, fc.array(term, { maxLength: 3 }))
}

export function findOptionsOver(
  columnValues: Record<string, fc.Arbitrary<unknown>>,
): fc.Arbitrary<FindOptions<Record<string, unknown>>> {
  return fc.record(
    {
      where: whereOver(columnValues),
      orderBy: orderOver(Object.keys(columnValues)),
      limit: fc.nat({ max: 4 }),
      offset: fc.nat({ max: 3 }),
    },
    { requiredKeys: [] },
  ) as fc.Arbitrary<FindOptions<Record<string, unknown>>>
}

const wait = fc.constantFrom<Wait[]>('now', 'now', 'end', 'end', 'never')
const overlapping = fc.constantFrom<Wait[]>('end', 'end', 'end', 'now', 'never', 'never')

/** The keys that programs use. The fewer, the more often one changes what another still reads. */
interface Keys {
  readonly owners: readonly string[]
  readonly ids: readonly string[]
}

function opsOn(table: Changeable, keys: Keys, waits = wait): fc.Arbitrary<Op>[] {
  const holdingKey = { owner: fc.constantFrom(...keys.owners), token: fc.constantFrom(1, 2) }
  const id = fc.constantFrom(...keys.ids)
  const key: fc.Arbitrary<unknown> = table === 'holding' ? fc.record(holdingKey) : id
  const row: fc.Arbitrary<Record<string, unknown>> =
    table === 'holding'
      ? fc.record({ ...holdingKey, amount, ...holdingPart })
      : fc.record({ id, amount, ...profilePart })
  const parts: Record<string, fc.Arbitrary<unknown>> = table === 'holding' ? holdingPart : profilePart
  const patch = fc.record(parts, { requiredKeys: [] }) as fc.Arbitrary<Record<string, unknown>>
  const on = fc.constant(table)
  return [
    fc.record({ op: fc.constant('get' as const), table: on, key, wait: waits }),
    fc.record({
      op: fc.constant('getMany' as const),
      table: on,
      keys: fc.array(key, { maxLength: 3 }),
      wait: waits,
    }),
    fc.record({ op: fc.constant('set' as const), table: on, row }),
    fc.record({ op: fc.constant('delete' as const), table: on, key }),
    fc.record({ op: fc.constant('update' as const), table: on, key, by: amount, patch, wait: waits }),
    fc.record({ op: fc.constant('update' as const), table: on, key, by: amount, patch, wait: waits }),
    fc.record({ op: fc.constant('getOrThrow' as const), table: on, key }),
    fc.record({ op: fc.constant('carry' as const), table: on, from: key, row }),
    fc.record({ op: fc.constant('insertNew' as const), table: on, row }),
    fc.record({ op: fc.constant('replace' as const), table: on, row }),
    fc.record({ op: fc.constant('climb' as const), table: on, key, to: fc.integer({ min: 0, max: 5 }) }),
  ]
}

/** Those of them that need not be awaited. */
const unawaited = 6

type Question = FindOptions<Record<string, unknown>>

/** Few different ones, which most rows match: asked again by another batch, or for another number of rows. */
const commonQuestion = fc.record(
  {
    where: fc.constantFrom({}, {}, { amount: { gte: 0 } }, { amount: { lt: 1 } }, { amount: 1 }),
    orderBy: fc.constantFrom({ amount: 'asc' }, { amount: 'desc' }),
    limit: fc.integer({ min: 1, max: 3 }),
    offset: fc.nat({ max: 1 }),
  },
  { requiredKeys: ['where'] },
) as fc.Arbitrary<Question>

function findOn(table: keyof ProgramTables, options: fc.Arbitrary<Question>, waits = wait): fc.Arbitrary<Op> {
  return fc.record({ op: fc.constant('find' as const), table: fc.constant(table), options, wait: waits })
}

function mixed(keys: Keys): fc.Arbitrary<readonly Op[]> {
  const finds = (['holding', 'profile', 'event'] as const).map((table) =>
    findOn(table, fc.oneof(findOptionsOver(columns[table]), commonQuestion)),
  )
  const log = fc.record({ op: fc.constant('log' as const), owner: fc.constantFrom(...keys.owners), amount })
  const op = fc.oneof(
    { weight: 10, arbitrary: fc.oneof(...opsOn('holding', keys)) },
    { weight: 10, arbitrary: fc.oneof(...opsOn('profile', keys)) },
    { weight: 6, arbitrary: fc.oneof(...finds) },
    { weight: 2, arbitrary: log },
    { weight: 1, arbitrary: fc.constant({ op: 'barrier' as const }) },
  )
  return fc.array(op, { maxLength: 7 })
}

/** Calls on one table that overlap in time: where the order of the calls is easiest to lose. */
function tangle(table: Changeable, keys: Keys): fc.Arbitrary<readonly Op[]> {
  const find = findOn(table, fc.oneof(findOptionsOver(columns[table]), commonQuestion), overlapping)
  const others = fc.oneof(...opsOn(table, keys, overlapping).slice(0, unawaited))
  return fc.array(fc.oneof({ weight: 1, arbitrary: find }, { weight: 2, arbitrary: others }), {
    maxLength: 6,
  })
}

/** Calls on more staged rows than a `find` looks through one by one. */
export const crowdedOps: fc.Arbitrary<readonly Op[]> = fc.array(
  fc.oneof(
    fc.record({
      op: fc.constant('crowd' as const),
      first: fc.nat({ max: 2 }),
      amount: fc.nat({ max: 3 }),
    }),
    findOn(
      'profile',
      fc.record(
        {
          where: fc.constantFrom({ amount: 1 }, { amount: { in: [0, 2] } }, { amount: 2, id: { gt: 'c1' } }),
          limit: fc.integer({ min: 1, max: 12 }),
        },
        { requiredKeys: ['where'] },
      ) as fc.Arbitrary<Question>,
    ),
    fc.oneof(...opsOn('profile', { owners, ids: ['c1', 'c2', 'c30'] }).slice(0, unawaited)),
  ),
  { minLength: 2, maxLength: 7 },
)

/** Few questions for the first of several rows, between changes of them. */
export const rankingOps: fc.Arbitrary<readonly Op[]> = fc.array(
  fc.oneof(
    { weight: 2, arbitrary: opsOn('holding', { owners, ids })[2]! },
    { weight: 1, arbitrary: opsOn('holding', { owners, ids })[3]! },
    {
      weight: 3,
      arbitrary: findOn(
        'holding',
        fc.record(
          {
            where: fc.constantFrom({}, { amount: { gte: 0 } }),
            orderBy: fc.constant({ amount: 'desc' }),
            limit: fc.integer({ min: 1, max: 3 }),
          },
          { requiredKeys: ['where', 'limit'] },
        ) as fc.Arbitrary<Question>,
      ),
    },
  ),
  { minLength: 2, maxLength: 6 },
)

/** Reads that nobody waits for, of rows that are changed without being read. */
export const forgetfulOps: fc.Arbitrary<readonly Op[]> = fc.array(
  fc.oneof(
    opsOn('holding', { owners: ['x'], ids }, fc.constantFrom<Wait[]>('now', 'never'))[0]!,
    opsOn('holding', { owners: ['x'], ids })[2]!,
  ),
  { maxLength: 3 },
)

function programsOver(keys: Keys): fc.Arbitrary<readonly Op[]> {
  return fc.oneof(
    { weight: 5, arbitrary: mixed(keys) },
    { weight: 4, arbitrary: tangle('holding', keys) },
    { weight: 4, arbitrary: tangle('profile', keys) },
    { weight: 1, arbitrary: crowdedOps },
  )
}

export const programOps = programsOver({ owners, ids })

/** Over so few rows that nearly everything concerns the same one. */
export const narrowProgramOps = programsOver({ owners: ['x'], ids: ['p', '\u{10000}'] })
