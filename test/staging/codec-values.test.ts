/**
 * Every type on the list, value by value and without a server: what is kept, how it is printed, which bytes travel, what it
 * weighs. That Postgres reads these bytes as these values is shown in test/postgres/column-roundtrip.test.ts.
 */
import * as t from 'drizzle-orm/pg-core'
import { describe, expect, it } from 'vitest'
import { codecOf } from '../../src/staging/column/codec-of.ts'
import { GrowingWriter } from '../../src/staging/column/writer.ts'
import type { CodecCase } from './codec-case.ts'
import { numbers } from './codec-numbers.ts'
import { texts } from './codec-texts.ts'
import { times } from './codec-times.ts'

const codec = ({ column }: Pick<CodecCase, 'column'>) =>
  codecOf(t.pgTable('subject', { v: column })['v'], 'subject')

describe.each([...texts, ...numbers, ...times])('H45, H66: $type ($mode)', (each) => {
  const { type, wire, keyable, isCopied, values, ascending } = each

  it('travels as it is declared', () => {
    const { pgType, wire: is, keyable: mayBeKey, copy } = codec(each)
    expect([pgType, is.elementType, is.elementOid, is.arrayOid, is.cast]).toEqual([type, ...wire])
    expect([mayBeKey, copy !== undefined]).toEqual([keyable, isCopied])
  })

  const rows = values.map(([given, kept, printed, bytes, weight]) => ({
    given,
    kept,
    printed,
    bytes,
    weight,
  }))
  it.each(rows)('$printed', ({ given, kept, printed, bytes, weight }) => {
    const { canonical, decode, print, identity, byteSize, wire: is } = codec(each)
    const value = canonical(given)
    expect(value).toStrictEqual(kept)
    expect(canonical(value)).toStrictEqual(kept)
    expect(print(value)).toBe(printed)
    expect(decode(printed)).toStrictEqual(kept)
    expect(identity(decode(printed))).toBe(identity(value))
    expect(identity(value)).not.toBeUndefined()
    const out = new GrowingWriter()
    is.encode(value, out)
    expect(out.view().toString('hex')).toBe(bytes)
    expect(byteSize(value)).toBe(weight)
    if (typeof value === 'object') expect(Buffer.isBuffer(value) || Object.isFrozen(value)).toBe(true)
  })

  it('is ordered as Postgres orders it', () => {
    const { canonical, compare, identity } = codec(each)
    if (ascending === undefined) {
      expect(compare).toBeUndefined()
      return
    }
    const sorted = ascending.map((value) => canonical(value))
    for (const [left, a] of sorted.entries()) {
      for (const [right, b] of sorted.entries()) {
        expect(Math.sign(compare!(a, b)), `${String(a)} and ${String(b)}`).toBe(Math.sign(left - right))
        expect(Object.is(identity(a), identity(b))).toBe(left === right)
      }
    }
  })
})
