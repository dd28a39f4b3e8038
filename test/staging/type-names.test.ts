/** Names of types and columns: which spellings are read, what is refused with which remedy, and when a name is quoted (H45). */
import * as t from 'drizzle-orm/pg-core'
import { describe, expect, it } from 'vitest'
import { ConfigurationError } from '../../src/errors.ts'
import { codecOf } from '../../src/staging/column/codec-of.ts'
import { qualifiedName, quoteName } from '../../src/staging/column/names.ts'
import { parseSqlType, remedyFor } from '../../src/staging/column/sql-type.ts'

const codec = (column: t.PgColumnBuilderBase) => codecOf(t.pgTable('subject', { v: column })['v'], 'subject')

describe('SQL types', () => {
  it.each([
    ['text', 'text'],
    ['varchar character_varying', 'varchar'],
    ['char character', 'char'],
    ['uuid', 'uuid'],
    ['boolean bool', 'boolean'],
    ['smallint int2 smallserial', 'smallint'],
    ['integer int int4 serial', 'integer'],
    ['bigint int8 bigserial', 'bigint'],
    ['numeric decimal', 'numeric'],
    ['real float4', 'real'],
    ['double_precision float8', 'double precision'],
    ['timestamp timestamp_without_time_zone', 'timestamp'],
    ['timestamptz timestamp_with_time_zone', 'timestamptz'],
    ['date', 'date'],
    ['time time_without_time_zone', 'time'],
    ['json', 'json'],
    ['jsonb', 'jsonb'],
    ['bytea', 'bytea'],
  ])('H45 %s', (spellings, base) => {
    for (const spelling of spellings.split(' ').map((each) => each.replaceAll('_', ' '))) {
      expect(parseSqlType(spelling)).toEqual({ base, first: undefined, second: undefined })
    }
  })

  it('H45 reads lengths, precisions and scales, however they are spaced', () => {
    expect(parseSqlType('  CHARACTER   VARYING ( 7 ) ')).toEqual({
      base: 'varchar',
      first: 7,
      second: undefined,
    })
    expect(parseSqlType('numeric(5, -2)')).toEqual({ base: 'numeric', first: 5, second: -2 })
    expect(parseSqlType('timestamp (3) with time zone')).toEqual({
      base: 'timestamptz',
      first: 3,
      second: undefined,
    })
    for (const text of ['text(', 'text)', 'frob', 'text(x)', 'text(1,2,3)', 'numeric(-5)', '(5)']) {
      expect(parseSqlType(text)).toBeUndefined()
    }
  })

  it.each([
    ['time with time zone', 'use timestamp({ withTimezone: true }), or time() and the zone in a text column'],
    ['TIMETZ', 'use timestamp({ withTimezone: true }), or time() and the zone in a text column'],
    ['interval', 'store seconds or microseconds in a bigint column'],
    ['inet', 'use text'],
    ['cidr', 'use text'],
    ['macaddr8', 'use text'],
    ['citext', 'use text, and lower-case the value in the handler'],
    [' money', 'use numeric'],
    ['geometry(point)', 'use double precision columns, or jsonb'],
    ['halfvec(3)', 'use real().array()'],
    ['bit(3)', 'use bytea, or text of 0 and 1'],
    ['varbit', 'use bytea, or text of 0 and 1'],
    ['xml', 'use text'],
    ['integer[3]', 'use drizzle’s .array() on the element type'],
    ['integer[]', 'use drizzle’s .array() on the element type'],
  ])('H45 has a remedy for %s', (type, remedy) => {
    expect(remedyFor(type)).toBe(remedy)
  })

  it('H45 lists what there is where it has no other remedy', () => {
    const all =
      'use one of text, varchar, char, uuid, boolean, smallint, integer, bigint, numeric, real, double precision, ' +
      'timestamp, timestamptz, date, time, json, jsonb, bytea, an enum, or a one-dimensional array of these'
    for (const type of [
      'tsvector',
      'a interval',
      'a time with time zone',
      'int[] x',
      'a inet',
      'a citext',
      'a money',
      'a point',
      'a vector',
      'a bit',
      'a xml',
    ]) {
      expect(remedyFor(type)).toBe(all)
    }
  })
})

describe('columns', () => {
  const over = (type: string) => t.customType<{ data: unknown }>({ dataType: () => type })()
  it.each([
    [over('frob'), 'the type frob is not supported; use one of text'],
    [t.varchar({ length: 0 }), 'the length 0 is not between 1 and 10485760'],
    [t.varchar({ length: 10_485_761 }), 'the length 10485761 is not between 1 and 10485760'],
    [t.char({ length: 0 }), 'the length 0 is not between 1 and 10485760'],
    [t.numeric({ precision: 1001 }), 'the precision 1001 is not between 1 and 1000'],
    [over('numeric(0)'), 'the precision 0 is not between 1 and 1000'],
    [t.time({ precision: 7 as never }), "a precision of 7 is beyond Postgres' six decimals; use 6"],
    [
      t.timestamp({ precision: 7 as never, withTimezone: true }),
      "a precision of 7 is beyond Postgres' six decimals; use 6",
    ],
    [
      t.numeric({ precision: 3, scale: 1, mode: 'bigint' }),
      'a bigint cannot hold numeric(3,1); declare the scale as 0, or use numeric() as a string',
    ],
    [t.integer().array().array(), 'arrays of several dimensions are not supported; use jsonb'],
    [t.smallserial().array(), 'an array of smallserial is not supported; use integers'],
  ])('H45 refused, with its place: %#', (column, message) => {
    const attempt = () => codec(column)
    expect(attempt).toThrow(ConfigurationError)
    expect(attempt).toThrow(
      expect.objectContaining({
        code: 'UNSUPPORTED_TYPE',
        phase: 'opening',
        table: 'subject',
        column: 'v',
        message: expect.stringContaining(`subject.v: ${message}`),
      }),
    )
  })

  it.each([
    [t.varchar({ length: 10_485_760 }), 'character varying(10485760)'],
    [t.varchar({ length: 1 }), 'character varying(1)'],
    [t.char({ length: 10_485_760 }), 'character(10485760)'],
    [t.numeric({ precision: 1000 }), 'numeric(1000,0)'],
    [over('numeric(1)'), 'numeric(1,0)'],
    [over('numeric(5,-2)'), 'numeric(5,-2)'],
    [t.time({ precision: 6 }), 'time(6) without time zone'],
    [t.timestamp({ precision: 6, withTimezone: true }), 'timestamp(6) with time zone'],
    [t.numeric({ precision: 3, scale: 0, mode: 'bigint' }), 'numeric(3,0)'],
    [t.bigserial({ mode: 'number' }), 'bigint'],
    [t.bigserial({ mode: 'bigint' }), 'bigint'],
    [t.serial(), 'integer'],
    [t.pgSchema('app').enum('Mood', ['x'])().array(), 'app."Mood"[]'],
  ])('H45 taken, as Postgres names it: %#', (column, type) => {
    expect(codec(column).pgType).toBe(type)
  })
})

describe('names in SQL', () => {
  it('H45 quotes keywords, capitals, leading digits and anything else that is not plain', () => {
    const keywords =
      'all analyze between both case cast char check current_date default deferrable desc foreign from full grant ' +
      'greatest inner inout join lateral leading normalize not notnull null primary real references returning ' +
      'substring symmetric table tablesample varchar variadic verbose xmlparse xmlpi xmltable'
    for (const name of keywords.split(' ')) expect(quoteName(name)).toBe(`"${name}"`)
    for (const name of ['Upper', 'with space', '1st', 'é', 'a"b', 'a-b', '']) {
      expect(quoteName(name)).toBe(`"${name.replace('"', '""')}"`)
    }
    for (const name of ['plain', '_x1', 'name', 'id2', 'a']) expect(quoteName(name)).toBe(name)
  })

  it('H45 leaves the schema out where it is public', () => {
    expect(qualifiedName(undefined, 'a')).toBe('a')
    expect(qualifiedName('public', 'Order')).toBe('"Order"')
    expect(qualifiedName('App', 'a')).toBe('"App".a')
  })
})
