/** Why a value cannot be stored, or what is stored cannot be read, word for word: the message is all that a user gets (H45). */
import * as t from 'drizzle-orm/pg-core'
import { describe, expect, it } from 'vitest'
import { codecOf } from '../../src/staging/column/codec-of.ts'
import { ValueError, type ColumnCodec } from '../../src/staging/column/codec.ts'

const over = (dataType: string, mapping: object = {}) =>
  t.customType<{ data: unknown }>({ dataType: () => dataType, ...mapping })()
const noMap = (): never => {
  throw new Error('no')
}
const zoned = t.timestamp({ mode: 'string', withTimezone: true })
const columns = {
  text: t.text(),
  varchar: t.varchar({ length: 3 }),
  char: t.char({ length: 3 }),
  mood: t.pgEnum('mood', ['sad', 'ok'])(),
  uuid: t.uuid(),
  boolean: t.boolean(),
  smallint: t.smallint(),
  integer: t.integer(),
  safe: t.bigint({ mode: 'number' }),
  bigint: t.bigint({ mode: 'bigint' }),
  digits: over('bigint'),
  numeric: t.numeric(),
  money: t.numeric({ precision: 5, scale: 2 }),
  float: t.numeric({ mode: 'number' }),
  whole: t.numeric({ mode: 'bigint' }),
  whole3: t.numeric({ precision: 3, mode: 'bigint' }),
  real: t.real(),
  double: t.doublePrecision(),
  at: t.timestamp(),
  atText: t.timestamp({ mode: 'string' }),
  zoned,
  day: t.date({ mode: 'date' }),
  dayText: t.date(),
  time: t.time(),
  json: t.json(),
  bytes: over('bytea'),
  ints: t.integer().array(),
  texts: t.text().array(),
  lossy: over('text', { toDriver: (value: string) => `${value}!` }),
  lost: over('text', { toDriver: () => undefined }),
  unread: over('text', { fromDriver: () => null }),
  failing: over('text', { toDriver: noMap }),
  intText: over('integer'),
  flag: over('boolean'),
  tree: over('jsonb'),
}
const codec = (name: keyof typeof columns): ColumnCodec =>
  codecOf(t.pgTable('subject', { v: columns[name] })['v'], 'subject')

const invalidDate = new Date(NaN)
const beforeTheFirstDay = new Date('-004714-11-23T00:00:00Z')
const noDay = 'is out of range: there is no such day'
const noTime = 'is out of range: there is no such time of day'
const noOffset = 'is out of range: there is no such offset'

describe('what cannot be stored', () => {
  it.each<readonly [keyof typeof columns, unknown, string]>([
    ['text', 'a\0b', 'Postgres text cannot hold the character U+0000; remove it or use bytea'],
    [
      'text',
      'a\udc00',
      'the string holds half of a surrogate pair, which is not text; remove it or use bytea',
    ],
    ['text', 5n, 'expected a string, got 5n (bigint)'],
    ['text', -0, 'expected a string, got -0 (number)'],
    ['text', invalidDate, 'expected a string, got an invalid Date'],
    ['text', new Date(0), 'expected a string, got 1970-01-01T00:00:00.000Z'],
    ['text', noMap, 'expected a string, got a function'],
    ['text', Object.create(null), 'expected a string, got an object (no prototype)'],
    ['text', [1, 2], 'expected a string, got an array of 2'],
    ['text', Buffer.from('00ff', 'hex'), 'expected a string, got \\x00ff'],
    ['text', Buffer.alloc(61), `expected a string, got \\x${'0'.repeat(58)}…`],
    ['varchar', 'abcd ', 'character varying(3) cannot hold "abcd ": it has 4 characters'],
    ['char', 'abcd', 'character(3) cannot hold "abcd": it has 4 characters'],
    ['mood', 'x'.repeat(60), `the enum mood has no value "${'x'.repeat(59)}…; it has "sad", "ok"`],
    ['uuid', 5, '5 is not a uuid'],
    [
      'uuid',
      '{01234567-89ab-cdef-0000-00000000000f',
      '"{01234567-89ab-cdef-0000-00000000000f" is not a uuid',
    ],
    [
      'uuid',
      '01234567-89ab-cdef-0000-00000000000f}',
      '"01234567-89ab-cdef-0000-00000000000f}" is not a uuid',
    ],
    [
      'uuid',
      '01234567-89ab-cdef-0000-00000000000f0',
      '"01234567-89ab-cdef-0000-00000000000f0" is not a uuid',
    ],
    [
      'uuid',
      'a01234567-89ab-cdef-0000-00000000000f',
      '"a01234567-89ab-cdef-0000-00000000000f" is not a uuid',
    ],
    [
      'uuid',
      'A01234567-89ab-cdef-0000-00000000000f',
      '"A01234567-89ab-cdef-0000-00000000000f" is not a uuid',
    ],
    ['boolean', 1, 'expected a boolean, got 1 (number)'],
    ['smallint', -32_769, 'smallint cannot hold -32769: it is out of range'],
    ['smallint', 32_768, 'smallint cannot hold 32768: it is out of range'],
    ['smallint', 1.5, 'smallint cannot hold 1.5: it is not a whole number'],
    ['integer', -2_147_483_649, 'integer cannot hold -2147483649: it is out of range'],
    ['integer', 2_147_483_648n, 'integer cannot hold 2147483648n: it is out of range'],
    ['safe', -(2 ** 53), "bigint({ mode: 'number' }) cannot hold -9007199254740992: it is out of range"],
    ['safe', '1', 'expected a number, got "1" (string)'],
    ['bigint', 1n << 63n, 'bigint cannot hold 9223372036854775808n: it is out of range'],
    ['bigint', -(1n << 63n) - 1n, 'bigint cannot hold -9223372036854775809n: it is out of range'],
    ['bigint', 2 ** 53, 'expected a bigint, got 9007199254740992 (number)'],
    ['bigint', '1', 'expected a bigint, got "1" (string)'],
    ['digits', 'x1', 'expected whole decimal digits, got "x1" (string)'],
    ['digits', '1x', 'expected whole decimal digits, got "1x" (string)'],
    ['digits', '+', 'expected whole decimal digits, got "+" (string)'],
    ['digits', '9223372036854775808', 'bigint cannot hold 9223372036854775808n: it is out of range'],
    ['numeric', '', '"" is not a decimal number'],
    ['numeric', '.', '"." is not a decimal number'],
    ['numeric', '+nan', '"+nan" is not a decimal number'],
    ['numeric', 'xnan', '"xnan" is not a decimal number'],
    ['numeric', 'infx', '"infx" is not a decimal number'],
    ['numeric', '1e131072', 'numeric cannot hold "1e131072": it has too many digits'],
    ['numeric', '1e-16384', 'numeric cannot hold "1e-16384": it has too many digits'],
    ['numeric', '0e1000001', 'numeric cannot hold "0e1000001": it has too many digits'],
    ['numeric', true, 'expected a string of decimal digits, got true (boolean)'],
    ['money', '999.995', 'numeric(5,2) cannot hold "999.995": it is out of range'],
    ['money', '-inf', 'numeric(5,2) cannot hold an infinite value'],
    ['float', 1n, 'expected a number, got 1n (bigint)'],
    ['whole', 1.5, 'expected a bigint, got 1.5 (number)'],
    ['whole3', 1000n, 'numeric(3,0) cannot hold 1000n: it is out of range'],
    ['whole3', -1000n, 'numeric(3,0) cannot hold -1000n: it is out of range'],
    ['real', -1e39, 'real cannot hold -1e+39: it is out of range'],
    ['real', 1e-46, 'real cannot hold 1e-46: it is too close to zero'],
    ['double', '1', 'expected a number, got "1" (string)'],
    ['at', invalidDate, 'the Date is invalid'],
    ['at', '2024', 'expected a Date, got "2024" (string)'],
    [
      'at',
      beforeTheFirstDay,
      'timestamp without time zone cannot hold -004714-11-23T00:00:00.000Z: it is out of range',
    ],
    ['atText', 5, 'expected a string in ISO 8601 form, got 5 (number)'],
    ['atText', invalidDate, 'the Date is invalid'],
    ['atText', 'x2024-01-01', '"x2024-01-01" is not a date or time in ISO 8601 form'],
    ['atText', '2024-01-01x', '"2024-01-01x" is not a date or time in ISO 8601 form'],
    ['atText', '24-01-01', '"24-01-01" is not a date or time in ISO 8601 form'],
    ['atText', '0000-01-01', `"0000-01-01" ${noDay}`],
    ['atText', '2024-00-01', `"2024-00-01" ${noDay}`],
    ['atText', '2024-13-01', `"2024-13-01" ${noDay}`],
    ['atText', '2024-01-00', `"2024-01-00" ${noDay}`],
    ['atText', '2024-01-32', `"2024-01-32" ${noDay}`],
    ['atText', '2023-02-29', `"2023-02-29" ${noDay}`],
    ['atText', '1900-02-29', `"1900-02-29" ${noDay}`],
    ['atText', '2024-04-31', `"2024-04-31" ${noDay}`],
    ['atText', '2024-06-31', `"2024-06-31" ${noDay}`],
    ['atText', '2024-09-31', `"2024-09-31" ${noDay}`],
    ['atText', '2024-11-31', `"2024-11-31" ${noDay}`],
    ['atText', '2024-01-01 24:00:01', `"2024-01-01 24:00:01" ${noTime}`],
    ['atText', '2024-01-01 10:60', `"2024-01-01 10:60" ${noTime}`],
    ['atText', '2024-01-01 10:00:61', `"2024-01-01 10:00:61" ${noTime}`],
    ['atText', '294277-01-01', 'timestamp without time zone cannot hold "294277-01-01": it is out of range'],
    [
      'atText',
      '4714-11-23 BC',
      'timestamp without time zone cannot hold "4714-11-23 BC": it is out of range',
    ],
    ['zoned', '2024-01-01 00:00+16', `"2024-01-01 00:00+16" ${noOffset}`],
    ['zoned', '2024-01-01 00:00+15:60', `"2024-01-01 00:00+15:60" ${noOffset}`],
    ['zoned', '2024-01-01 00:00-15:59:60', `"2024-01-01 00:00-15:59:60" ${noOffset}`],
    ['day', invalidDate, 'the Date is invalid'],
    ['day', '2024-01-01', 'expected a Date, got "2024-01-01" (string)'],
    ['day', beforeTheFirstDay, 'date cannot hold -004714-11-23T00:00:00.000Z: it is out of range'],
    ['dayText', invalidDate, 'expected a string in ISO 8601 form, got an invalid Date'],
    ['dayText', '5874898-01-01', 'date cannot hold "5874898-01-01": it is out of range'],
    ['dayText', '4714-11-23 BC', 'date cannot hold "4714-11-23 BC": it is out of range'],
    ['time', 5, 'expected a string such as "13:05:00", got 5 (number)'],
    ['time', 'x10:00', '"x10:00" is not a time of day'],
    ['time', '10:00x', '"10:00x" is not a time of day'],
    ['time', '24:00:01', '"24:00:01" is not a time of day'],
    ['time', '10:60', '"10:60" is not a time of day'],
    ['json', undefined, 'JSON cannot hold undefined: leave the property out or use null'],
    ['json', noMap, 'JSON cannot hold a function: convert it first'],
    ['json', NaN, 'JSON cannot hold NaN'],
    ['json', new Map(), 'JSON cannot hold an object (Map): convert it to plain data'],
    [
      'json',
      { a: { b: undefined } },
      'JSON cannot hold undefined (at a.b): leave the property out or use null',
    ],
    ['json', [[Infinity]], 'JSON cannot hold Infinity (at [0][0])'],
    [
      'json',
      { a: ['x\ud800'] },
      'the string holds half of a surrogate pair, which is not text; remove it or use bytea (at a[0])',
    ],
    ['bytes', '\\xabc', '"\\\\xabc" is not bytea in hex form: \\x and pairs of digits'],
    ['bytes', 'x\\xab', '"x\\\\xab" is not bytea in hex form: \\x and pairs of digits'],
    ['bytes', '\\xabz', '"\\\\xabz" is not bytea in hex form: \\x and pairs of digits'],
    ['bytes', [1], 'expected a Uint8Array or a Buffer, got an array of 1'],
    ['ints', 'x', 'expected an array, got "x" (string)'],
    ['ints', [1.5], 'element 0: integer cannot hold 1.5: it is not a whole number'],
    ['ints', [undefined], 'element 0: undefined is no value; use null'],
    [
      'lossy',
      'a',
      'toDriver and fromDriver of the customType text do not fit: "a" is stored as "a!", which is read as "a!" and stored as something else',
    ],
    ['lost', 'a', 'toDriver of the customType text made undefined of "a"'],
    ['unread', 'a', 'fromDriver of the customType text made null of "a"'],
    ['failing', 'a', 'toDriver of the customType text failed for "a": no'],
    ['intText', ' ', 'expected a number, got " " (string)'],
    ['intText', 'x', 'expected a number, got "x" (string)'],
    ['intText', 'NaN', 'integer cannot hold NaN: it is not a whole number'],
    ['flag', 'x', 'expected a boolean, got "x" (string)'],
  ])('H45 %s: %o', (name, value, message) => {
    const { canonical } = codec(name)
    expect(() => canonical(value)).toThrow(ValueError)
    expect(() => canonical(value)).toThrow(expect.objectContaining({ name: 'ValueError', message }))
  })

  it('H45 JSON text that is none, and a tree that never ends', () => {
    expect(() => codec('tree').canonical('{')).toThrow(/^"\{" is not JSON: /)
    const nested = (depth: number): unknown => (depth === 0 ? [] : [nested(depth - 1)])
    expect(codec('json').canonical(nested(1000))).toEqual(nested(1000))
    expect(() => codec('json').canonical(nested(1001))).toThrow(
      'JSON nested more than 1000 deep (or in a circle)',
    )
  })
})

describe('what is stored and cannot be read', () => {
  it.each<readonly [keyof typeof columns, string, string]>([
    ['mood', 'x', 'the enum mood has no value "x"; it has "sad", "ok"'],
    [
      'safe',
      '9007199254740993',
      "the database holds 9007199254740993, which a number cannot; declare bigint({ mode: 'bigint' })",
    ],
    [
      'float',
      '0.1000000000000000055',
      `the database holds "0.1000000000000000055", which a number cannot; declare numeric({ mode: 'bigint' }) or a string`,
    ],
    ['whole', '1.5', 'the database holds "1.5", which a bigint cannot; declare numeric() as a string'],
    ['whole', 'x5', 'the database holds "x5", which a bigint cannot; declare numeric() as a string'],
    ['whole', '5x', 'the database holds "5x", which a bigint cannot; declare numeric() as a string'],
    ['whole', 'x5.0', 'the database holds "x5.0", which a bigint cannot; declare numeric() as a string'],
    ['whole', '5.0x', 'the database holds "5.0x", which a bigint cannot; declare numeric() as a string'],
    ['at', '-infinity', `the database holds "-infinity", which a Date cannot; declare mode: 'string'`],
    ['at', '294276-12-31 23:59:59', `the year is beyond what a Date can hold; declare mode: 'string'`],
    [
      'day',
      'infinity',
      `the database holds "infinity", which a Date cannot; declare date({ mode: 'string' })`,
    ],
    ['bytes', 'ab', '"ab" is not bytea in hex form: \\x and pairs of digits'],
    ['ints', '{{1}}', 'the database holds an array of several dimensions: "{{1}}"'],
  ])('H45 %s: %s', (name, text, message) => {
    expect(() => codec(name).decode(text)).toThrow(expect.objectContaining({ name: 'ValueError', message }))
  })
})

describe('what is read, and what a driver may hand over', () => {
  it.each<readonly [keyof typeof columns, string, unknown]>([
    ['safe', '-5', -5],
    ['float', '123456789012345', 123_456_789_012_345],
    ['float', '0.30000000000000004', 0.1 + 0.2],
    ['float', '1234567890123456.5', 1_234_567_890_123_456.5],
    ['whole', '-7.00', -7n],
    ['whole', '12.', 12n],
    ['at', '2024-01-01 00:00:00.1239', new Date('2024-01-01T00:00:00.123Z')],
    ['ints', '{}', []],
    ['ints', '{1,NULL,3}', [1, null, 3]],
    ['ints', '[2:3]={7,8}', [7, 8]],
    ['texts', '{"a\\"b","c,d",NULL,"NULL",x,"{}",""}', ['a"b', 'c,d', null, 'NULL', 'x', '{}', '']],
  ])('H66 %s: %s', (name, text, value) => {
    expect(codec(name).decode(text)).toStrictEqual(value)
  })

  it.each<readonly [keyof typeof columns | 'over text' | 'over real', unknown, unknown]>([
    ['intText', '7', 7],
    ['flag', 'true', true],
    ['flag', 't', true],
    ['flag', 'false', false],
    ['flag', 'f', false],
    ['tree', '{"b":1,"a":[2]}', { a: [2], b: 1 }],
    ['tree', 5, 5],
    ['over text', 5, '5'],
    ['over text', 5n, '5'],
    ['over text', true, 'true'],
    ['over real', '0.1', 0.1],
    ['over real', 'NaN', NaN],
  ])('H66 %s: %o', (name, value, kept) => {
    const is = name.startsWith('over ')
      ? codecOf(t.pgTable('subject', { v: over(name.slice(5)) })['v'], 'subject')
      : codec(name as keyof typeof columns)
    expect(is.canonical(value)).toStrictEqual(kept)
  })
})
