/** Where codecs are easily wrong by a little: the last digit of a real, copies of what a customType makes, ends of a text. */
import * as t from 'drizzle-orm/pg-core'
import { describe, expect, it } from 'vitest'
import { codecOf } from '../../src/staging/column/codec-of.ts'
import type { ColumnCodec } from '../../src/staging/column/codec.ts'
import { GrowingWriter } from '../../src/staging/column/writer.ts'

const codec = (column: t.PgColumnBuilderBase): ColumnCodec =>
  codecOf(t.pgTable('subject', { v: column })['v'], 'subject')
const over = (dataType: string, mapping: object = {}) =>
  t.customType<{ data: unknown }>({ dataType: () => dataType, ...mapping })()

describe('H66: a real is the shortest decimal that Postgres prints for it', () => {
  // the right-hand sides are Postgres' own (test/postgres/column-roundtrip.test.ts compares many more)
  it.each([
    [2 ** -126, 1.175_494_4e-38],
    [2 ** -127, 5.877_472e-39],
    [2 ** -149, 1e-45],
    [2 ** -148, 3e-45],
    [2 ** -90, 8.077_936e-28],
    [2 ** -24, 5.960_464_5e-8],
    [2 ** -20, 9.536_743e-7],
    [0.007_812_5, 0.007_812_5],
    [265_811.125, 265_811.12],
    [187_383.125, 187_383.12],
    [-63_847.812_5, -63_847.812],
    [1_879_838.25, 1_879_838.2],
    [2 ** 24 - 1, 16_777_215],
    [2 ** 24, 16_777_216],
    [2 ** 24 + 2, 16_777_218],
    [-66_150_272, -66_150_272],
    [100_659_616, 100_659_616],
    [201_326_592, 201_326_590],
    [2 ** 28, 268_435_460],
    [2 ** 30, 1_073_741_800],
    [-(2 ** 31), -2_147_483_600],
    [8_589_973_000, 8_589_974_000],
    [1e10, 1e10],
    [2 ** 60, 1_152_921_500_000_000_000],
    [2 ** 90, 1.237_940_1e27],
    [2 ** 100, 1.267_650_6e30],
  ])('%d', (value, shortest) => {
    const { canonical } = codec(t.real())
    expect(canonical(value)).toBe(shortest)
    expect(Math.fround(shortest)).toBe(Math.fround(value))
    expect(canonical(-value)).toBe(-shortest)
  })

  it('as few digits as tell it from its neighbours', () => {
    const { canonical } = codec(t.real())
    const view = new DataView(new ArrayBuffer(4))
    let bits = 1
    for (let count = 0; count < 500; count++) {
      bits = (Math.imul(bits, 1_103_515_245) + 12_345) >>> 0
      view.setUint32(0, bits)
      const single = view.getFloat32(0)
      // ties and whole numbers have rules of their own
      if (!Number.isFinite(single) || Number.isInteger(single * 256)) continue
      let digits = 1
      while (Math.fround(Number(single.toPrecision(digits))) !== single) digits++
      expect(canonical(single)).toBe(Number(single.toPrecision(digits)))
    }
  })
})

describe('I17: what a customType makes is handed out as it is only if nobody can change it', () => {
  class Box {
    readonly n = 1
  }
  const made = (make: () => unknown): { readonly value: unknown; readonly copy: unknown } => {
    const { canonical, copy } = codec(over('text', { toDriver: () => 'x', fromDriver: make }))
    const value = canonical('given')
    return { value, copy: copy!(value) }
  }

  it.each<readonly [string, () => unknown]>([
    ['plain data', () => ({ a: [1, 'x', null, { b: true }] })],
    ['a list', () => [[1n], {}]],
    ['a text', () => 'x'],
    ['a number', () => 7],
  ])('the same: %s', (_name, make) => {
    const { value, copy } = made(make)
    expect(value).toEqual(make())
    expect(copy).toBe(value)
  })

  it.each<readonly [string, () => unknown]>([
    ['a Date inside', () => ({ at: new Date(5) })],
    ['a Date', () => new Date(5)],
    ['a list of Dates', () => [new Date(5)]],
    ['an instance', () => new Box()],
    ['a frozen instance', () => Object.freeze(new Box())],
    ['bytes', () => Buffer.from([1])],
  ])('another one: %s', (_name, make) => {
    const { value, copy } = made(make)
    expect(copy).toEqual(make())
    expect(copy).not.toBe(value)
  })

  it('another one: a function inside', () => {
    const { value, copy } = made(() => ({ run: () => 1 }))
    expect(copy).not.toBe(value)
  })

  it('a mapping that fails is the cause of the refusal', () => {
    const why = new Error('no')
    const failing = codec(
      over('text', {
        toDriver: () => {
          throw why
        },
      }),
    )
    expect(() => failing.canonical('x')).toThrow(expect.objectContaining({ cause: why }))
  })

  it('has an order where the type below has one', () => {
    expect(codec(over('jsonb')).compare).toBeUndefined()
    const { compare } = codec(over('text', { toDriver: (value: string) => value.toLowerCase() }))
    expect(Math.sign(compare!('B', 'a'))).toBe(1)
    expect(compare!('a', 'A')).toBe(0)
  })
})

describe('H66: what a driver takes for a type, through a customType that maps nothing', () => {
  it.each([
    ['varchar(5)', 5, '5'],
    ['varchar(5)', true, 'true'],
    ['char(2)', 5n, '5 '],
    ['smallint', '7', 7],
    ['double precision', '0.5', 0.5],
    ['json', '{"b":1,"a":2}', { b: 1, a: 2 }],
    ['uuid', '00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-00000000000a'],
    ['numeric(5,2)', '1.005', '1.01'],
    ['bigint', '7', '7'],
    ['timestamp', '2024-01-01', '2024-01-01 00:00:00'],
    ['timestamp with time zone', '2024-01-01', '2024-01-01 00:00:00+00'],
    ['date', '2024-01-01 10:00', '2024-01-01'],
    ['time', '10:00', '10:00:00'],
    ['bytea', '\\x01', Buffer.from([1])],
  ])('%s: %o', (type, given, kept) => {
    expect(codec(over(type)).canonical(given)).toStrictEqual(kept)
  })

  it('no more than that', () => {
    expect(() => codec(over('text')).canonical({})).toThrow('expected a string, got an object (Object)')
    expect(() => codec(over('uuid')).canonical(5)).toThrow('5 is not a uuid')
  })
})

it('H66: every year of two eras begins and ends on its day', () => {
  const { canonical, wire } = codec(t.date())
  for (let year = 1599; year <= 2401; year++) {
    for (const day of ['01-01', '02-28', '03-01', '12-31']) {
      const text = `${year}-${day}`
      expect(canonical(text)).toBe(text)
      const out = new GrowingWriter()
      wire.encode(text, out)
      expect(out.view().readInt32BE(0)).toBe(Date.parse(`${text}T00:00:00Z`) / 864e5 - 10_957)
    }
  }
})

describe('H45: JSON', () => {
  const json = () => codec(t.json())

  it('keeps a property named __proto__, and one named toJSON that is none', () => {
    const given = JSON.parse('{"__proto__":{"a":1},"b":2}') as object
    const kept = json().canonical(given) as object
    expect(Object.getOwnPropertyDescriptor(kept, '__proto__')).toMatchObject({
      value: { a: 1 },
      enumerable: true,
    })
    expect(JSON.stringify(kept)).toBe('{"__proto__":{"a":1},"b":2}')
    expect(json().canonical({ toJSON: 5 })).toEqual({ toJSON: 5 })
    expect(json().canonical(Object.assign(Object.create(null), { a: 1 }))).toEqual({ a: 1 })
  })

  it('ends, however deep it goes', () => {
    const nested = (depth: number): object => (depth === 0 ? {} : { a: nested(depth - 1) })
    expect(json().canonical(nested(1000))).toEqual(nested(1000))
    const again: { toJSON: () => unknown } = { toJSON: () => again }
    for (const endless of [nested(1001), again]) {
      expect(() => json().canonical(endless)).toThrow('JSON nested more than 1000 deep (or in a circle)')
    }
  })

  it('says where a text is that cannot be stored, dots and all', () => {
    expect(() => json().canonical({ 'a.b': ['\0'] })).toThrow('(at a.b[0])')
  })
})

describe('H45: decimals of unusual shapes', () => {
  it.each([
    ['numeric(5,-2)', '12345', '12300'],
    ['numeric(5,-2)', '49', '0'],
    ['numeric(5,-2)', '-50', '-100'],
    ['numeric(2,4)', '0.0099', '0.0099'],
    ['numeric(2,4)', '-0.00994', '-0.0099'],
    ['numeric(2,2)', '0.995', undefined],
    ['numeric(2,4)', '0.00995', undefined],
    ['numeric(2,2)', '-0.00', '0.00'],
    ['numeric(3)', '-0', '0'],
    ['numeric(3)', '007', '7'],
    ['numeric(3)', '999', '999'],
    ['numeric(3)', '999.5', undefined],
    ['numeric(4,1)', '123.4', '123.4'],
    ['numeric(4,1)', '1234.4', undefined],
    ['numeric(4,1)', '12', '12.0'],
    ['numeric', '-0', '0'],
    ['numeric', '-0.00', '0.00'],
    ['numeric', '-0.10', '-0.10'],
    ['numeric', '00.10', '0.10'],
    ['numeric', '1'.repeat(64), '1'.repeat(64)],
  ])('%s: %s', (type, given, kept) => {
    const { canonical } = codec(over(type))
    if (kept === undefined) expect(() => canonical(given)).toThrow('it is out of range')
    else expect(canonical(given)).toBe(kept)
  })
})

describe('H45: modes and declarations', () => {
  it('serials are numbers or bigints as they are declared; an enum may be an object', () => {
    expect(codec(t.bigserial({ mode: 'number' })).canonical(5)).toBe(5)
    expect(codec(t.bigserial({ mode: 'bigint' })).canonical(5)).toBe(5n)
    const level = codec(t.pgEnum('level', { Low: 'low', High: 'high' })())
    expect([level.pgType, level.canonical('high')]).toEqual(['level', 'high'])
    expect(() => level.canonical('High')).toThrow('the enum level has no value "High"; it has "low", "high"')
  })

  it('a date knows no offset, and its infinities stand alone', () => {
    const [text, day] = [codec(t.date()), codec(t.date({ mode: 'date' }))]
    expect(text.canonical('2024-01-01 00:30+02')).toBe('2024-01-01')
    expect(text.canonical(new Date('2024-02-29T23:59:59Z'))).toBe('2024-02-29')
    expect(text.canonical('  +inf  ')).toBe('infinity')
    expect(day.decode('2024-01-01 00:30+02')).toEqual(new Date('2024-01-01'))
    for (const column of [t.date(), t.timestamp({ mode: 'string' })]) {
      for (const wrong of ['x inf', 'inf x', 'infinit', '+ inf']) {
        expect(() => codec(column).canonical(wrong)).toThrow('is not a date or time in ISO 8601 form')
      }
    }
    expect(codec(t.timestamp({ mode: 'string' })).canonical('  -INFINITY  ')).toBe('-infinity')
  })
})
