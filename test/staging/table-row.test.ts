/** Rows and keys: completed, normalised, frozen, or refused by table, column and key. */
import { sql } from 'drizzle-orm'
import * as t from 'drizzle-orm/pg-core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HandlerError } from '../../src/errors.ts'
import { keyed } from '../../src/staging/keyed.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import {
  canonicalKey,
  completeRow,
  describeKey,
  keyIdOf,
  keyIdOfCanonical,
  keyIdOfRow,
  keyOf,
  rowBytes,
} from '../../src/staging/table-row.ts'

let made = 0
const model = tableModelOf(
  'account',
  t.pgTable('account', {
    id: t.char({ length: 4 }).primaryKey(),
    balance: t.numeric({ precision: 10, scale: 2 }).notNull().default('0.005'),
    note: t.text(),
    tags: t.jsonb().notNull().default({ a: [] }),
    serial: t
      .integer()
      .notNull()
      .$defaultFn(() => ++made),
    seen: t.timestamp().default(sql`now()`),
    constructor: t.text(),
  }),
)
const allowance = tableModelOf(
  'allowance',
  keyed(
    t.pgTable('allowance', { owner: t.text(), spender: t.text(), id: t.uuid().notNull() }, (table) => [
      t.primaryKey({ columns: [table.spender, table.owner, table.id] }),
    ]),
    'owner',
    'spender',
    'id',
  ),
)
const uuid = '00000000-0000-0000-0000-00000000000a'

const refusal = (attempt: () => unknown): HandlerError => {
  try {
    attempt()
  } catch (error) {
    if (error instanceof HandlerError) return error
    throw error
  }
  throw new Error('accepted')
}

describe('completeRow', () => {
  it('H66 applies defaults, normalises every column, and freezes the row', () => {
    const row = completeRow(model, { id: 'a', seen: null, note: undefined })
    expect(row).toEqual({
      id: 'a   ',
      balance: '0.01',
      note: null,
      tags: { a: [] },
      serial: made,
      seen: null,
      constructor: null,
    })
    expect(Object.isFrozen(row) && Object.isFrozen(row['tags'])).toBe(true)
    expect(completeRow(model, row)).toEqual(row)
  })

  it('H45 names table, column and key of what it refuses', () => {
    const error = refusal(() => completeRow(model, { id: 'a', seen: null, balance: 'x' }))
    expect(error).toMatchObject({ code: 'INVALID_ROW', table: 'account', column: 'balance', key: 'a' })
    expect(error.message).toBe('account.balance of the row with id = "a": "x" is not a decimal number')
  })

  it.each([
    [{ seen: null }, 'account.id of the row with id = undefined: the value is missing'],
    [{ id: 'a' }, 'the handler must supply the value: its default is an SQL expression'],
    [{ id: 'a', seen: null, balance: null }, 'null is not allowed, the column is NOT NULL'],
    [{ id: 'a', seen: null, balanse: '1' }, 'account has no column balanse (row with id = "a")'],
    [{ id: 'a', seen: null, toString: '1' }, 'account has no column toString'],
    [null, 'account: expected a row, got null'],
  ])('H45 refuses %j', (input, message) => {
    expect(refusal(() => completeRow(model, input as never)).message).toContain(message)
  })

  it('a $defaultFn that fails or gives SQL is refused like a value', () => {
    const bad = tableModelOf(
      'bad',
      t.pgTable('bad', {
        id: t
          .text()
          .primaryKey()
          .$defaultFn(() => sql`now()` as never),
      }),
    )
    expect(refusal(() => completeRow(bad, {})).message).toContain('expected a string, got an object (SQL)')
  })
})

describe('keys of rows', () => {
  it('a single-column key is its value, a composite key an object in the order of keyed()', () => {
    expect(keyOf(model, completeRow(model, { id: 'b', seen: null }))).toBe('b   ')
    const row = completeRow(allowance, { id: uuid, spender: 's', owner: 'o' })
    expect(Object.entries(keyOf(allowance, row) as object)).toEqual([
      ['owner', 'o'],
      ['spender', 's'],
      ['id', uuid],
    ])
  })

  it('H66 one identity for every way of writing a key', () => {
    expect(keyIdOf(model, 'b')).toBe(keyIdOf(model, 'b  '))
    const written = { spender: 's', owner: 'o', id: '{0000000000000000000000000000000A}' }
    const row = completeRow(allowance, { id: uuid, spender: 's', owner: 'o' })
    expect(keyIdOf(allowance, written)).toBe(keyIdOfRow(allowance, row))
    expect(keyIdOfCanonical(allowance, keyOf(allowance, row))).toBe(keyIdOfRow(allowance, row))
    expect(canonicalKey(allowance, written)).toEqual(keyOf(allowance, row))
  })

  it('composite identities are injective', () => {
    const part = fc.string({ unit: fc.constantFrom('a', ':', '1', ',', '"'), maxLength: 4 })
    fc.assert(
      fc.property(part, part, part, part, (a, b, c, d) => {
        const same =
          keyIdOf(allowance, { owner: a, spender: b, id: uuid }) ===
          keyIdOf(allowance, { owner: c, spender: d, id: uuid })
        expect(same).toBe(a === c && b === d)
      }),
    )
  })

  it.each([
    [model, undefined, 'account.id: the key is undefined'],
    [model, { id: 'a' }, 'account.id: expected a string, got an object (Object)'],
    [allowance, 'o', 'allowance: expected an object { owner, spender, id }, got "o"'],
    [allowance, { owner: 'o', id: uuid }, 'allowance.spender: the key is undefined'],
    [allowance, { owner: 'o', spender: 's', id: uuid, x: 1 }, 'allowance: x is not part of the key'],
  ])('refuses a key that does not fit: %#', (table, key, message) => {
    expect(refusal(() => keyIdOf(table, key))).toMatchObject({ code: 'INVALID_KEY', message })
  })

  it('describes any key, and weighs rows', () => {
    expect(describeKey(model, 'b')).toBe('id = "b"')
    expect(describeKey(allowance, { owner: 'o', spender: 's', id: uuid })).toBe(
      `owner = "o", spender = "s", id = "${uuid}"`,
    )
    expect(describeKey(allowance, null)).toBe('null')
    const short = completeRow(model, { id: 'b', seen: null })
    const long = completeRow(model, { id: 'b', seen: null, note: 'x'.repeat(1000) })
    expect(rowBytes(model, long) - rowBytes(model, short)).toBeGreaterThan(999)
  })
})
