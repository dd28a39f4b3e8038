/** Codecs without a server: properties that hold for every value, and the refusals with their reasons. */
import * as t from 'drizzle-orm/pg-core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareText } from '../../src/staging/column/characters.ts'
import { codecOf } from '../../src/staging/column/codec-of.ts'
import { ValueError, type ColumnCodec } from '../../src/staging/column/codec.ts'
import {
  canonicalDecimal,
  compareDecimals,
  encodeDecimal,
  encodeWholeDecimal,
} from '../../src/staging/column/decimal.ts'
import { GrowingWriter } from '../../src/staging/column/writer.ts'
import { ConfigurationError } from '../../src/errors.ts'

const columnOf = (column: t.PgColumnBuilderBase): t.PgColumn => t.pgTable('subject', { v: column })['v']
const codec = (column: t.PgColumnBuilderBase): ColumnCodec => codecOf(columnOf(column), 'subject')
const encoded = (write: (out: GrowingWriter) => void): string => {
  const out = new GrowingWriter()
  write(out)
  return out.view().toString('hex')
}

describe('text (H45)', () => {
  it('H45 orders by code point, as UTF-8 bytes do', () => {
    const unit = fc.constantFrom('a', 'Z', 'é', '\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{10ffff}')
    fc.assert(
      fc.property(fc.string({ unit }), fc.string({ unit }), (a, b) => {
        expect(Math.sign(compareText(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)))
      }),
    )
  })

  it('H45 refuses U+0000 and half of a surrogate pair in every text type', () => {
    for (const column of [t.text(), t.varchar(), t.varchar({ length: 9 }), t.char({ length: 9 })]) {
      expect(() => codec(column).canonical('a\0b')).toThrow(/U\+0000/)
      expect(() => codec(column).canonical('a\ud800')).toThrow(/surrogate/)
      expect(() => codec(column).canonical(5)).toThrow('expected a string, got 5 (number)')
    }
  })

  it('H66 char(n) is padded, and trailing spaces do not count when compared', () => {
    const char5 = codec(t.char({ length: 5 }))
    expect(char5.canonical('ab')).toBe('ab   ')
    expect(char5.compare!(char5.canonical('a'), char5.canonical('a\t'))).toBeLessThan(0)
  })

  it('H66 counts characters, not UTF-16 units', () => {
    expect(codec(t.varchar({ length: 2 })).canonical('\u{1f600}\u{1f600}')).toBe('\u{1f600}\u{1f600}')
    expect(() => codec(t.varchar({ length: 2 })).canonical('abc')).toThrow(
      'character varying(2) cannot hold "abc"',
    )
  })

  it('H45 an enum takes only what it declares, in the declared order', () => {
    const mood = codec(t.pgEnum('mood', ['sad', 'ok', 'glad'])())
    expect(['glad', 'sad', 'ok'].sort(mood.compare)).toEqual(['sad', 'ok', 'glad'])
    expect(() => mood.canonical('cross')).toThrow(
      'the enum mood has no value "cross"; it has "sad", "ok", "glad"',
    )
    expect(codec(t.pgSchema('app').enum('Mood', ['x'])()).pgType).toBe('app."Mood"')
  })
})

describe('numbers (H45, H66)', () => {
  it('H66 rounds half away from zero to the declared scale', () => {
    const money = codec(t.numeric({ precision: 10, scale: 2 }))
    expect(money.canonical('1.005')).toBe('1.01')
    expect(money.canonical('-1.005')).toBe('-1.01')
    expect(money.canonical('1.0049999')).toBe('1.00')
    expect(money.canonical('-0.004')).toBe('0.00')
    expect(money.canonical(7n)).toBe('7.00')
    expect(() => money.canonical('99999999.995')).toThrow('numeric(10,2) cannot hold "99999999.995"')
    expect(codec(t.numeric({ precision: 10, scale: 2, mode: 'number' })).canonical(1.005)).toBe(1.01)
  })

  it('H45 scaled integers and decimals agree for any size', () => {
    const digits = fc.bigInt({ min: -(10n ** 60n), max: 10n ** 60n })
    fc.assert(
      fc.property(digits, digits, fc.integer({ min: 0, max: 20 }), (a, b, places) => {
        const [left, right] = [a, b].map((value) => canonicalDecimal(`${value}e-${places}`, undefined))
        expect(Math.sign(compareDecimals(left!, right!))).toBe(a < b ? -1 : a > b ? 1 : 0)
        expect(canonicalDecimal(left!, undefined)).toBe(left)
        const rounded = canonicalDecimal(left!, { precision: 80, scale: 0 })
        const divisor = 10n ** BigInt(places)
        const magnitude = ((a < 0n ? -a : a) * 2n + divisor) / (divisor * 2n)
        expect(BigInt(rounded)).toBe(a < 0n ? -magnitude : magnitude)
      }),
    )
  })

  it('H45 whole numbers are written alike by both encoders', () => {
    const sizes = [9999n, 10n ** 8n, 10n ** 16n, 10n ** 40n].map((max) => fc.bigInt({ min: -max, max }))
    fc.assert(
      fc.property(fc.oneof(...sizes), fc.constantFrom(1n, 10_000n, 100_000_000n), (value, factor) => {
        const whole = value * factor
        expect(encoded((out) => encodeWholeDecimal(whole, out))).toBe(
          encoded((out) => encodeDecimal(String(whole), out)),
        )
      }),
    )
  })

  it('H45 a number never stands for a larger integer than it can hold', () => {
    const int8 = codec(t.bigint({ mode: 'number' }))
    expect(() => int8.canonical(2 ** 53)).toThrow(ValueError)
    expect(() => int8.decode('9007199254740993')).toThrow("declare bigint({ mode: 'bigint' })")
    expect(() => codec(t.numeric({ mode: 'number' })).decode('9007199254740993')).toThrow('a number cannot')
    expect(codec(t.numeric({ mode: 'number' })).decode('100000000000000000000')).toBe(1e20)
    expect(() => codec(t.integer()).canonical(1.5)).toThrow(
      'integer cannot hold 1.5: it is not a whole number',
    )
    expect(() => codec(t.numeric({ mode: 'bigint' })).decode('1.5')).toThrow(ValueError)
    expect(encoded((out) => int8.wire.encode(-(2 ** 40) - 1, out))).toBe(
      encoded((out) => out.int64(-(2n ** 40n) - 1n)),
    )
  })

  it('H66 NaN equals itself and is above everything; −0 equals 0', () => {
    for (const column of [t.real(), t.doublePrecision(), t.numeric({ mode: 'number' })]) {
      const { compare } = codec(column)
      expect(compare!(NaN, NaN)).toBe(0)
      expect(compare!(NaN, Infinity)).toBeGreaterThan(0)
      expect(compare!(-0, 0)).toBe(0)
    }
    expect(codec(t.numeric()).compare!('NaN', 'Infinity')).toBeGreaterThan(0)
  })
})

describe('dates (H66)', () => {
  it('H66 every Date survives printing and reading', () => {
    const dates = fc.date({
      min: new Date('-004713-12-01T00:00:00Z'),
      max: new Date(8.64e15),
      noInvalidDate: true,
    })
    const [plain, zoned, day] = [
      codec(t.timestamp()),
      codec(t.timestamp({ withTimezone: true })),
      codec(t.date({ mode: 'date' })),
    ]
    fc.assert(
      fc.property(dates, (date) => {
        expect(plain.decode(plain.print(date))).toEqual(date)
        expect(zoned.decode(zoned.print(date))).toEqual(date)
        const midnight = day.canonical(date)
        expect(day.decode(day.print(midnight))).toEqual(midnight)
      }),
    )
  })

  it('H66 keeps a copy, because a Date cannot be frozen', () => {
    const given = new Date(5)
    const kept = codec(t.timestamp()).canonical(given)
    given.setTime(6)
    expect(kept).toEqual(new Date(5))
    expect(() => codec(t.timestamp()).canonical(new Date(NaN))).toThrow('the Date is invalid')
    expect(() => codec(t.timestamp()).canonical('2024-01-01')).toThrow('expected a Date')
    expect(() => codec(t.timestamp()).decode('infinity')).toThrow("declare mode: 'string'")
  })

  it('H66 a timestamp with time zone is normalised to UTC, one without drops its offset', () => {
    const text = '2024-01-01 00:30:00.1239999+02'
    expect(codec(t.timestamp({ mode: 'string', withTimezone: true, precision: 3 })).canonical(text)).toBe(
      '2023-12-31 22:30:00.124+00',
    )
    expect(codec(t.timestamp({ mode: 'string' })).canonical(text)).toBe('2024-01-01 00:30:00.124')
  })
})

describe('json, bytea and arrays (H45)', () => {
  it('H45 json refuses what JSON would drop or change in silence', () => {
    const json = codec(t.jsonb())
    for (const value of [
      undefined,
      () => 1,
      1n,
      NaN,
      Symbol('x'),
      new Map(),
      [undefined],
      { a: { b: undefined } },
      'a\0',
      { 'a\0': 1 },
    ]) {
      expect(() => json.canonical(value)).toThrow(ValueError)
    }
    expect(() => json.canonical({ a: [{ b: 1n }] })).toThrow('JSON cannot hold 1n (at a[0].b)')
    const circle: unknown[] = []
    circle.push(circle)
    expect(() => json.canonical(circle)).toThrow('in a circle')
  })

  it('H66 json is a frozen copy, jsonb in its own order of keys', () => {
    const given = { b: [{}], aa: 1, a: -0, at: new Date(0) }
    const kept = codec(t.jsonb()).canonical(given) as typeof given
    expect(JSON.stringify(kept)).toBe('{"a":0,"b":[{}],"aa":1,"at":"1970-01-01T00:00:00.000Z"}')
    expect([kept, kept.b, kept.b[0]].every(Object.isFrozen)).toBe(true)
    expect(JSON.stringify(codec(t.json()).canonical(given))).toMatch(/^\{"b"/)
    const jsonb = codec(t.jsonb())
    const once = jsonb.canonical(given)
    expect(jsonb.canonical(once)).toBe(once)
  })

  it('H45 bytes are copied', () => {
    const given = new Uint8Array([1, 2])
    const kept = codec(t.customType<{ data: Uint8Array }>({ dataType: () => 'bytea' })()).canonical(given)
    given[0] = 9
    expect(kept).toEqual(Buffer.from([1, 2]))
  })

  it('H45 array literals survive any text', () => {
    const array = codec(t.text().array())
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.string({ unit: fc.constantFrom('"', '\\', ',', '{', '}', ' ', 'N', 'é') }))),
        (items) => {
          expect(array.decode(array.print(items))).toEqual(items)
        },
      ),
    )
    expect(() => codec(t.integer().array()).canonical([1, [2]])).toThrow(
      'element 1: expected a number, got an array of 1',
    )
    expect(() => codec(t.integer().array()).canonical([1, undefined])).toThrow(
      'element 1: undefined is no value',
    )
    expect(() => array.decode('{{a},{b}}')).toThrow('several dimensions')
  })
})

describe('custom types', () => {
  it('H66 refuses a mapping that does not give back what it stored', () => {
    const lossy = codec(
      t.customType<{ data: string }>({ dataType: () => 'text', toDriver: (value) => `${value}!` })(),
    )
    expect(() => lossy.canonical('a')).toThrow('do not fit: "a" is stored as "a!"')
    const failing = codec(
      t.customType<{ data: bigint }>({ dataType: () => 'text', fromDriver: BigInt as never })(),
    )
    expect(() => failing.canonical('x')).toThrow('fromDriver of the customType text failed for "x"')
  })
})

describe('types that are not on the list (H45)', () => {
  it.each([
    [t.interval(), 'interval', 'bigint column'],
    [t.time({ withTimezone: true }), 'time with time zone', 'withTimezone: true'],
    [t.inet(), 'inet', 'use text'],
    [t.point(), 'point', 'jsonb'],
    [t.vector({ dimensions: 3 }), 'vector(3)', 'real().array()'],
    [t.customType({ dataType: () => 'citext' })(), 'citext', 'lower-case'],
    [t.customType({ dataType: () => 'integer[]' })(), 'integer[]', '.array()'],
    [t.customType({ dataType: () => 'tsquery' })(), 'tsquery', 'use one of text'],
    [t.integer().array().array(), 'several dimensions', 'use jsonb'],
    [t.serial().array(), 'array of serial', 'integers'],
    [t.numeric({ precision: 10, scale: 2, mode: 'bigint' }), 'numeric(10,2)', 'scale as 0'],
    [t.timestamp({ precision: 7 as never }), 'precision of 7', 'use 6'],
  ] as const)('H45 refused by table, column and type, with a remedy: %#', (column, named, remedy) => {
    const attempt = (): unknown => codec(column)
    expect(attempt).toThrow(ConfigurationError)
    expect(attempt).toThrow('subject.v: ')
    expect(attempt).toThrow(named)
    expect(attempt).toThrow(remedy)
  })
})

describe('the writer', () => {
  it('grows, keeps what it holds, and reuses its buffer after reset', () => {
    const out = new GrowingWriter(64)
    const at = out.reserveInt32()
    out.utf8('é'.repeat(100))
    out.utf8('short \u{1f600}')
    out.patchInt32(at, out.length)
    expect(out.view().readInt32BE(0)).toBe(out.length)
    expect(out.view().toString('utf8', 4)).toBe(`${'é'.repeat(100)}short \u{1f600}`)
    const { capacity } = out
    out.reset()
    expect([out.length, out.capacity]).toEqual([0, capacity])
    for (const value of [-1, 32_767, -32_768]) out.int16(value)
    expect(out.view().toString('hex')).toBe('ffff7fff8000')
  })
})
