/** Which of the entries that hold changes a `find` is shown: all of few; of many those that have had the value it asks for. */
import * as t from 'drizzle-orm/pg-core'
import { describe, expect, test } from 'vitest'
import { StagedBatch } from '../../src/staging/batch.ts'
import { Entry, Version } from '../../src/staging/entry.ts'
import { HeldEntries } from '../../src/staging/held.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import type { Row } from '../../src/staging/table.ts'
import { parseWhere } from '../../src/staging/where.ts'

const model = tableModelOf(
  'account',
  t.pgTable('account', { id: t.text().primaryKey(), n: t.integer(), rate: t.real() }),
)
const batch = new StagedBatch(1, [], true)
const row = (id: string, n: number | null): Row => ({ id, n, rate: n })

/** With its values from the oldest on; `base` undefined: nobody has read it. */
function entryOf(
  id: string,
  base: number | null | undefined,
  values: readonly (number | null)[],
  inserted = false,
) {
  const entry = new Entry(id, { id }, base === undefined ? undefined : base === null ? null : row(id, base))
  for (const [index, n] of values.entries()) {
    const value = n === null ? null : row(id, n)
    const fresh = inserted && index === 0 ? value : null
    entry.newest = new Version(batch, index + 1, 0, value, fresh, 0, entry.newest)
    entry.row = value
  }
  return entry
}

/** So many that no question is about, each read before it was changed. */
function held(...entries: Entry[]): HeldEntries {
  const all = new HeldEntries()
  for (const entry of entries) all.add(entry)
  for (let index = all.size; index < 32; index++) all.add(entryOf(`z${index}`, 0, [0]))
  return all
}
const asked = (all: HeldEntries, where: object) => {
  const { entries, unseen } = all.concernedBy(parseWhere(model, where))
  return [[...entries].map(({ id }) => id).join(' '), unseen]
}

describe('H11: among 32 held entries', () => {
  test('those are shown that have the value, had it, or have it in the database', () => {
    const all = held(
      entryOf('now', 1, [1, 7]),
      entryOf('before', 1, [7, 1]),
      entryOf('stored', 7, [1]),
      entryOf('deleted', 7, [null]),
      entryOf('other', 1, [2]),
      entryOf('null', null, [null]),
    )
    expect(asked(all, { n: 7 })).toEqual(['now before stored deleted', 0])
    expect(asked(all, { n: { in: [2, 3, 7, 7] } })).toEqual(['other now before stored deleted', 0])
    expect(asked(all, { n: { in: [2] } })).toEqual(['other', 0])
    expect(asked(all, { n: 99 })).toEqual(['', 0])
    expect(asked(all, { id: 'now' })).toEqual(['now', 0])
  })

  test('the first condition that says enough is taken, of those that all must hold', () => {
    const all = held(entryOf('a', 7, [7]))
    expect(asked(all, { rate: 7, n: { gt: 3 }, id: 'a' })).toEqual(['a', 0])
    expect(asked(all, { n: { gt: 3, eq: 7 } })).toEqual(['a', 0])
    expect(asked(all, { and: [{ n: { ne: 0 } }, { n: 7 }] })).toEqual(['a', 0])
  })

  test.each([
    {},
    { n: { ne: 7 } },
    { n: { gt: 7 } },
    { n: null },
    { not: { n: 7 } },
    { or: [{ n: 7 }, { id: 'a' }] },
    { rate: 7 },
    { rate: { in: [7] } },
    { and: [{ n: { gt: 1 } }, { n: { lt: 9 } }] },
  ])('all are shown when the value is not known: %j', (where) => {
    const [ids, unseen] = asked(held(entryOf('a', 7, [7])), where)
    expect(String(ids).split(' ')).toHaveLength(32)
    expect(unseen).toBe(0)
  })

  test('what nobody has seen in the database is counted, since it may be anything', () => {
    const all = held(
      entryOf('unread', undefined, [1]),
      entryOf('unread twice', undefined, [1, 2]),
      entryOf('unread, deleted', undefined, [null]),
      entryOf('inserted', undefined, [1], true),
      entryOf('absent', null, [1]),
      entryOf('read', 5, [1]),
    )
    expect(asked(all, { n: 99 })).toEqual(['', 3])
    all.add(entryOf('later', undefined, [99]))
    expect(asked(all, { n: 99 })).toEqual(['later', 4])
  })

  test('a value that comes later is found, and the one before it is not forgotten', () => {
    const entry = entryOf('a', undefined, [1])
    const all = held(entry)
    expect(asked(all, { n: 7 })).toEqual(['', 1])
    entry.newest = new Version(batch, 9, 0, row('a', 7), null, 0, entry.newest)
    entry.row = row('a', 7)
    all.add(entry)
    // its row in the database is counted once, whatever becomes of it here
    expect(asked(all, { n: 7 })).toEqual(['a', 1])
    expect(asked(all, { n: 1 })).toEqual(['a', 1])
    expect(all.size).toBe(32)
  })

  test('what is released is gone from every answer', () => {
    const entry = entryOf('a', 7, [7])
    const all = held(entry, entryOf('b', 7, [7]))
    expect(asked(all, { n: 7 })).toEqual(['a b', 0])
    all.add(entryOf('c', 1, [1]))
    all.delete(entry)
    expect(asked(all, { n: 7 })).toEqual(['b', 0])
    expect(all.size).toBe(32)
  })
})

test('of fewer all are shown, which costs less than an index', () => {
  const all = new HeldEntries()
  for (let index = 0; index < 31; index++) all.add(entryOf(`a${index}`, undefined, [index]))
  const [ids, unseen] = asked(all, { n: 7 })
  expect([String(ids).split(' ').length, unseen]).toEqual([31, 0])
  all.add(entryOf('a31', undefined, [31]))
  expect(asked(all, { n: 7 })).toEqual(['a7', 32])
})
