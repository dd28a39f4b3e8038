/** Filters and orders as handlers write them: what is refused, and how unknowns combine. Real rows: postgres/overlay. */
import * as t from 'drizzle-orm/pg-core'
import { describe, expect, test } from 'vitest'
import { comparator, parseOrder } from '../../src/staging/order.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { evaluate, parseWhere } from '../../src/staging/where.ts'

const model = tableModelOf(
  'account',
  t.pgTable('account', { id: t.text().primaryKey(), n: t.integer(), at: t.timestamp(), tags: t.jsonb() }),
)
const row = (n: number | null, id = 'a') => ({ id, n, at: null, tags: null })

describe('H11: three-valued logic', () => {
  const T = { id: 'a' }
  const F = { id: 'b' }
  const U = { n: 1 }
  test.each([
    [{ and: [T, U] }, null],
    [{ and: [F, U] }, false],
    [{ or: [T, U] }, true],
    [{ or: [F, U] }, null],
    [{ or: [F, F] }, false],
    [{ not: { or: [F, F] } }, true],
    [{ and: [T, T] }, true],
    [{ not: U }, null],
    [{ not: { and: [F, U] } }, true],
    [{ n: { ne: 1 } }, null],
    [{ n: { in: [1] } }, null],
    [{ n: { in: [] } }, false],
    [{ n: null }, true],
    [{ n: { isNull: true } }, true],
    [{ n: { isNull: false } }, false],
    [{ and: [] }, true],
    [{ or: [] }, false],
    [{}, true],
    [undefined, true],
  ])('%j over n = NULL is %j', (where, expected) => {
    expect(evaluate(parseWhere(model, where), row(null))).toBe(expected)
  })

  test.each([
    [{ n: { eq: 2 } }, true],
    [{ n: { gt: 2 } }, false],
    [{ n: { gte: 2, lt: 3 } }, true],
    [{ n: { lte: 1 } }, false],
    [{ n: { in: [1, 2] } }, true],
    [{ not: { n: { in: [1, 3] } } }, true],
    [{ n: { isNull: false } }, true],
    [{ n: { isNull: true } }, false],
    [{ n: null }, false],
    [{ n: 2, id: 'b' }, false],
    [{ n: 3, id: 'a' }, false],
    [{ n: { gt: 1, ne: 2 } }, false],
  ])('%j over n = 2 is %j', (where, expected) => {
    expect(evaluate(parseWhere(model, where), row(2))).toBe(expected)
  })

  test.each([
    ['eq', [false, true, false]],
    ['ne', [true, false, true]],
    ['gt', [false, false, true]],
    ['gte', [false, true, true]],
    ['lt', [true, false, false]],
    ['lte', [true, true, false]],
  ])('%s 2 over n = 1, 2, 3', (op, expected) => {
    const predicate = parseWhere(model, { n: { [op]: 2 } })
    expect([1, 2, 3].map((n) => evaluate(predicate, row(n)))).toEqual(expected)
  })

  test('an error that is no refusal of a value is passed on as it is', () => {
    const why = new Error('a fault of the codec')
    const [, n] = model.columns
    const codec = {
      ...n!.codec,
      canonical: () => {
        throw why
      },
    }
    const broken = { ...model, columns: [{ ...n!, codec }] }
    expect(() => parseWhere(broken, { n: 1 })).toThrow(why)
  })
})

describe('what is refused, by table and column', () => {
  test.each([
    ['a string', 'where on `account`: expected an object, got string.'],
    [[], 'where on `account`: expected an object, got an array.'],
    [null, 'where on `account`: expected an object, got null.'],
    [new Date(0), 'where on `account`: expected an object, got object.'],
    [{ nn: 1 }, 'where on `account.nn`: there is no such column (there are id, n, at, tags).'],
    [{ n: undefined }, 'the condition is undefined; leave the column out to match every row'],
    [{ n: {} }, 'the condition is an empty object'],
    [
      { n: { like: 1 } },
      'where on `account.n`: unknown operator `like` (there are eq, ne, gt, gte, lt, lte, in, isNull).',
    ],
    [{ n: { eq: null } }, 'cannot compare with null; use `isNull`'],
    [{ n: { gt: undefined } }, 'cannot compare with undefined; use `isNull`'],
    [{ n: { in: 1 } }, '`in` takes an array'],
    [{ n: { in: [null] } }, 'cannot compare with null'],
    [{ n: { isNull: 1 } }, '`isNull` takes true or false'],
    [{ n: 'x' }, 'where on `account.n`: '],
    [{ at: '2024-01-01' }, 'expected a Date'],
    [{ tags: { eq: 1 } }, 'a column of type jsonb cannot be filtered'],
    [{ and: {} }, '`and` takes an array of conditions'],
  ])('where %j', (where, message) => {
    expect(() => parseWhere(model, where)).toThrow(
      expect.objectContaining({ code: 'INVALID_WHERE', message: expect.stringContaining(message) }),
    )
  })

  test.each([
    ['n', 'orderBy on `account`: expected an object.'],
    [{ nn: 'asc' }, 'there is no such column'],
    [{ n: 'up' }, "orderBy on `account.n`: expected 'asc' or 'desc', got up."],
    [{ n: { direction: 'asc', nulls: 'middle' } }, "nulls: expected 'first' or 'last', got middle"],
    [{ tags: 'asc' }, 'a column of type jsonb has no order'],
  ])('orderBy %j', (orderBy, message) => {
    expect(() => parseOrder(model, orderBy)).toThrow(
      expect.objectContaining({ code: 'INVALID_WHERE', message: expect.stringContaining(message) }),
    )
  })

  test('the table and the column are facts of the error', () => {
    expect(() => parseWhere(model, { n: 'x' })).toThrow(
      expect.objectContaining({ table: 'account', column: 'n', message: expect.stringMatching(/^where on/) }),
    )
    expect(() => parseOrder(model, { tags: 'asc' })).toThrow(
      expect.objectContaining({ column: 'tags', message: expect.stringMatching(/^orderBy on/) }),
    )
    expect(() => parseOrder(model, { n: { direction: 'asc', nulls: 0 } })).toThrow(/^orderBy on `account\.n`/)
    expect(() => parseOrder(model, null)).toThrow('orderBy on `account`: expected an object.')
  })

  test('json may be asked whether it is there', () => {
    expect(evaluate(parseWhere(model, { tags: { isNull: true } }), row(1))).toBe(true)
  })
})

describe('order', () => {
  test('H11: ends with the key, unless the key is in it already, ascending and with NULLs last', () => {
    const terms = (orderBy: unknown) =>
      parseOrder(model, orderBy).map((term) => [term.column.property, term.descending, term.nullsFirst])
    expect(terms(undefined)).toEqual([['id', false, false]])
    expect(terms({ id: 'desc' })).toEqual([['id', true, true]])
    expect(terms([{ n: 'asc' }, { id: 'asc' }])).toEqual([
      ['n', false, false],
      ['id', false, false],
    ])
  })

  const sorted = (orderBy: unknown) =>
    [row(null, 'c'), row(1, 'b'), row(1, 'a'), row(2, 'd'), row(null, 'e')]
      .toSorted(comparator(parseOrder(model, orderBy)))
      .map(({ id }) => id)
      .join('')

  test.each([
    [undefined, 'abcde'],
    [{ n: 'asc' }, 'abdce'],
    [{ n: 'desc' }, 'cedab'],
    [{ n: { direction: 'asc', nulls: 'first' } }, 'ceabd'],
    [{ n: { direction: 'desc', nulls: 'last' } }, 'dabce'],
    [[{ n: 'asc' }, { id: 'desc' }], 'badec'],
    [{ n: undefined }, 'abcde'],
  ])('%j: NULLs as Postgres puts them, ties by the key', (orderBy, expected) => {
    expect(sorted(orderBy)).toBe(expected)
  })
})
