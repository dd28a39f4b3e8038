/**
 * Every column type against a real server: what `canonical` says a value becomes is what comes back, whether it goes in as
 * a binary array element, by COPY or as printed text; what drizzle reads is the same; and `compare` and `identity` agree with
 * the server's order and equality.
 */
import { sql } from 'drizzle-orm'
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import * as t from 'drizzle-orm/pg-core'
import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { copiedRows, isCopied } from '../../src/commit/wire/columns.ts'
import { Flight } from '../../src/commit/wire/flight.ts'
import { Frames } from '../../src/commit/wire/frames.ts'
import { codecOf } from '../../src/staging/column/codec-of.ts'
import { ValueError, type ColumnCodec } from '../../src/staging/column/codec.ts'
import { integerCodec } from '../../src/staging/column/integer.ts'
import { GrowingWriter } from '../../src/staging/column/writer.ts'
import type { ColumnModel } from '../../src/staging/table.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

const seed = Number(process.env['FC_SEED'] ?? 20_261_121)
const mood = t.pgEnum('mood', ['sad', 'ok', 'Happy "x"', "it's"])
const position = t.pgEnum('position', ['top', 'low'])
const bytea = t.customType<{ data: Uint8Array; driverData: Buffer }>({ dataType: () => 'bytea' })
const hexBytes = t.customType<{ data: string; driverData: Buffer }>({
  dataType: () => 'bytea',
  toDriver: (value) => Buffer.from(value.slice(2), 'hex'),
  fromDriver: (value) => `0x${value.toString('hex')}`,
})
const hexText = t.customType<{ data: string; driverData: string }>({
  dataType: () => 'text',
  toDriver: (value) => value.toLowerCase(),
})
const numeric78 = t.customType<{ data: bigint; driverData: string }>({
  dataType: () => 'numeric(78, 0)',
  toDriver: String,
  fromDriver: BigInt,
})
const instant = t.customType<{ data: number; driverData: string }>({
  dataType: () => 'timestamp(3) with time zone',
  toDriver: (value) => new Date(value).toISOString(),
  fromDriver: (value) => new Date(value).getTime(),
})

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({
    unit: fc.constantFrom('a', 'B', ' ', '\t', 'é', '\u{1f600}', '\ue000', '\uffff', '"', '\\', '{', ','),
  }),
)
const storable = text.filter((value) => !value.includes('\0'))
const decimals = fc.oneof(
  fc.tuple(fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }), fc.nat(30)).map(([digits, places]) => {
    const padded = String(digits < 0n ? -digits : digits).padStart(places + 1, '0')
    const whole = padded.slice(0, padded.length - places)
    return `${digits < 0n ? '-' : ''}${whole}${places === 0 ? '' : `.${padded.slice(padded.length - places)}`}`
  }),
  fc
    .tuple(fc.integer(), fc.integer({ min: -30, max: 30 }))
    .map(([mantissa, exponent]) => `${mantissa}e${exponent}`),
)
const oddDecimals = [
  '0',
  '-0',
  '-0.00',
  '1',
  '10000',
  '0.0001',
  '00012.500',
  '.5',
  '5.',
  '1.500e1',
  ' 7 ',
  'NaN',
  '-.5e-3',
]
const dates = fc.date({
  min: new Date('-004713-12-01T00:00:00Z'),
  max: new Date(8.64e15),
  noInvalidDate: true,
})
const usualDates = fc.date({
  min: new Date('1000-01-01T00:00:00Z'),
  max: new Date('9999-12-30T00:00:00Z'),
  noInvalidDate: true,
})
const momentText = fc
  .tuple(
    usualDates,
    fc.stringMatching(/^[0-9]{1,8}$/),
    fc.constantFrom('', 'Z', '+02', '-05:30', '+05:45:10'),
  )
  .map(([date, fraction, zone]) => `${date.toISOString().slice(0, 19)}.${fraction}${zone}`)
const oddDates = [
  new Date(0),
  new Date(-1),
  new Date('1999-12-31T23:59:59.999Z'),
  new Date('0001-01-01T00:00:00Z'),
]
const oddMoments = [
  [
    'infinity',
    '-infinity',
    '0044-03-15 10:00:00 BC',
    '294276-12-31 23:59:59.999999',
    '4714-11-24 00:00:00 BC',
  ],
  [
    '1999-12-31 23:59:59.9999995',
    '1999-01-01 00:00:00.0005',
    '2001-01-01 00:00:00.0005',
    '2024-02-29',
    '2024-1-2 3:04',
  ],
  ['2024-01-01 24:00', '2024-01-01 23:59:60', '12024-05-05 00:00:00.5'],
].flat()
const floats = fc.oneof(fc.double(), fc.float(), fc.integer())
const oddFloats = [0, -0, NaN, Infinity, -Infinity, 0.1, 1 / 3, 16_777_217, 1e21, 1e-7, 123_456_789]
const json = fc.jsonValue({ maxDepth: 4 }).filter((value) => value !== null && storableJson(value))
const oddJson = [
  -0,
  1e21,
  5e-324,
  1.7976931348623157e308,
  '',
  '"5"',
  [],
  {},
  { b: 1, aa: 2, a: { z: [null] }, 10: 0, é: 1 },
]
const jsonDates = [{ at: new Date(0), __proto__: null }, JSON.parse('{"__proto__": 1}') as unknown]
const hexString = fc.uint8Array({ maxLength: 40 }).map((value) => `0x${Buffer.from(value).toString('hex')}`)

interface Case {
  readonly column: t.PgColumnBuilderBase
  readonly values: fc.Arbitrary<unknown>
  readonly odd?: readonly unknown[]
  /** drizzle's own reading differs (its Date parsing beyond years 1000–9999, its double JSON parse, null elements). */
  readonly drizzleDiffers?: boolean
}

const int = (bits: number): fc.Arbitrary<number> => fc.integer({ min: -(2 ** bits), max: 2 ** bits - 1 })
const int64 = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n })
const whole = fc.oneof(
  fc.bigInt({ min: -(10n ** 78n) + 1n, max: 10n ** 78n - 1n }),
  fc.maxSafeInteger().map(BigInt),
)
const oddWholes = [
  0n,
  1n,
  -1n,
  9999n,
  10000n,
  100_000_000n,
  -1_0000_0000_0000n,
  123_0000n,
  10n ** 77n,
  2n ** 53n,
]
const times = fc
  .tuple(fc.date({ noInvalidDate: true }), fc.stringMatching(/^[0-9]{1,8}$/))
  .map(([date, fraction]) => {
    return `${date.toISOString().slice(-13, -5)}.${fraction}`
  })
const arrayOf = (element: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.array(fc.option(element, { freq: 5 }), { maxLength: 6 })

const cases: Record<string, Case> = {
  text: { column: t.text(), values: storable, odd: ['', 'NULL', 'x'.repeat(5000), 'é'.repeat(60)] },
  varchar: { column: t.varchar(), values: storable },
  'varchar(5)': {
    column: t.varchar({ length: 5 }),
    values: storable,
    odd: ['ab       ', '     ', '\u{1f600}'.repeat(5)],
  },
  char: { column: t.char(), values: storable, odd: ['', 'x   '] },
  'char(5)': {
    column: t.char({ length: 5 }),
    values: storable,
    odd: ['a', 'a\t', 'a ', 'a  \t', '', '     '],
  },
  uuid: {
    column: t.uuid(),
    values: fc.uuid(),
    odd: ['{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}', 'A0EEBC999C0B4EF8BB6D6BB9BD380A12'],
  },
  boolean: { column: t.boolean(), values: fc.boolean(), odd: [true, false] },
  smallint: { column: t.smallint(), values: int(15), odd: [-32_768, 32_767, -0] },
  integer: { column: t.integer(), values: int(31), odd: [-(2 ** 31), 2 ** 31 - 1, -0] },
  'bigint number': {
    column: t.bigint({ mode: 'number' }),
    values: fc.maxSafeInteger(),
    odd: [2 ** 53 - 1, -(2 ** 53) + 1, 2 ** 32, -1, -(2 ** 32), -0],
  },
  'bigint bigint': {
    column: t.bigint({ mode: 'bigint' }),
    values: int64,
    odd: [-(1n << 63n), (1n << 63n) - 1n, 0n],
  },
  serial: { column: t.serial(), values: int(31) },
  bigserial: { column: t.bigserial({ mode: 'bigint' }), values: int64 },
  numeric: {
    column: t.numeric(),
    values: decimals,
    odd: [...oddDecimals, 'Infinity', '-inf', '1e131071', '1e-16383'],
  },
  'numeric(10,2)': {
    column: t.numeric({ precision: 10, scale: 2 }),
    values: decimals,
    odd: [...oddDecimals, '1.005', '-1.005', '99999999.994', '0.995', '-0.004'],
  },
  'numeric(5)': {
    column: t.numeric({ precision: 5 }),
    values: decimals,
    odd: [...oddDecimals, '0.5', '99999.4'],
  },
  'numeric(2,4)': {
    column: t.numeric({ precision: 2, scale: 4 }),
    values: decimals,
    odd: ['0.00125', '0.0099', '-0.00005'],
  },
  'numeric(3,-2)': {
    column: t.numeric({ precision: 3, scale: -2 }),
    values: decimals,
    odd: ['12345', '50', '-49', '99949'],
  },
  'numeric number': { column: t.numeric({ mode: 'number' }), values: floats, odd: oddFloats },
  'numeric(12,4) number': {
    column: t.numeric({ precision: 12, scale: 4, mode: 'number' }),
    values: fc.oneof(floats, fc.double({ min: -1e8, max: 1e8 })),
    odd: [1.00005, 0.1, -0, NaN],
  },
  'numeric bigint': {
    column: t.numeric({ mode: 'bigint' }),
    values: whole,
    odd: [...oddWholes, 10n ** 500n],
  },
  'numeric(78,0) bigint': {
    column: t.numeric({ precision: 78, scale: 0, mode: 'bigint' }),
    values: whole,
    odd: oddWholes,
  },
  real: { column: t.real(), values: floats, odd: oddFloats },
  'double precision': { column: t.doublePrecision(), values: floats, odd: oddFloats },
  'timestamp date': { column: t.timestamp(), values: usualDates, odd: oddDates.slice(0, 3) },
  'timestamp(0) date': {
    column: t.timestamp({ precision: 0 }),
    values: usualDates,
    odd: [new Date('1999-12-31T23:59:59.500Z'), new Date('2000-01-01T00:00:00.500Z')],
  },
  'timestamp(2) date, far': {
    column: t.timestamp({ precision: 2 }),
    values: dates,
    odd: oddDates,
    drizzleDiffers: true,
  },
  'timestamptz(3) date': {
    column: t.timestamp({ withTimezone: true, precision: 3 }),
    values: usualDates,
    odd: oddDates.slice(0, 3),
  },
  'timestamptz date, far': {
    column: t.timestamp({ withTimezone: true }),
    values: dates,
    odd: oddDates,
    drizzleDiffers: true,
  },
  'timestamp string': { column: t.timestamp({ mode: 'string' }), values: momentText, odd: oddMoments },
  'timestamp(3) string': {
    column: t.timestamp({ mode: 'string', precision: 3 }),
    values: momentText,
    odd: oddMoments,
  },
  'timestamp(0) string': {
    column: t.timestamp({ mode: 'string', precision: 0 }),
    values: momentText,
    odd: oddMoments,
  },
  'timestamptz string': {
    column: t.timestamp({ mode: 'string', withTimezone: true }),
    values: momentText,
    odd: oddMoments,
  },
  'timestamptz(1) string': {
    column: t.timestamp({ mode: 'string', withTimezone: true, precision: 1 }),
    values: momentText,
    odd: oddMoments,
  },
  'date string': {
    column: t.date(),
    values: momentText,
    odd: ['infinity', '-infinity', '5874897-12-31', '4714-11-24 BC', '0044-03-15 BC', '0099-01-01'],
  },
  'date date': { column: t.date({ mode: 'date' }), values: usualDates },
  'date date, far': { column: t.date({ mode: 'date' }), values: dates, odd: oddDates, drizzleDiffers: true },
  time: {
    column: t.time(),
    values: times,
    odd: ['24:00', '0:0', '23:59:59.9999999', '00:00:00.0000005', '00:00:00.0000015'],
  },
  'time(2)': {
    column: t.time({ precision: 2 }),
    values: times,
    odd: ['00:00:00.005', '23:59:59.995', '1:2:3'],
  },
  json: { column: t.json(), values: json, odd: [...oddJson, ...jsonDates], drizzleDiffers: true },
  jsonb: { column: t.jsonb(), values: json, odd: [...oddJson, ...jsonDates], drizzleDiffers: true },
  enum: { column: mood(), values: fc.constantFrom(...mood.enumValues), odd: mood.enumValues },
  'enum, reserved name': {
    column: position(),
    values: fc.constantFrom(...position.enumValues),
    odd: position.enumValues,
  },
  bytea: {
    column: bytea(),
    values: fc.uint8Array({ maxLength: 30 }),
    odd: [new Uint8Array(), Buffer.from('00ff', 'hex'), new Uint8Array(5000)],
  },
  'custom hex bytea': { column: hexBytes(), values: hexString, odd: ['0x', '0xFF'] },
  'custom hex text': { column: hexText(), values: hexString, odd: ['0xFF'] },
  'custom numeric(78,0)': { column: numeric78(), values: whole, odd: oddWholes },
  'custom timestamptz(3)': {
    column: instant(),
    values: usualDates.map((date) => date.getTime()),
    odd: [0, -1],
  },
  'text[]': {
    column: t.text().array(),
    values: arrayOf(storable),
    odd: [[], ['NULL', 'null', '', ' ', null, '{}', 'a"b\\c', 'a,b']],
  },
  'integer[3]': { column: t.integer().array(3), values: arrayOf(int(31)), odd: [[]], drizzleDiffers: true },
  'bigint[]': { column: t.bigint({ mode: 'bigint' }).array(), values: arrayOf(int64), drizzleDiffers: true },
  'numeric(10,2)[]': {
    column: t.numeric({ precision: 10, scale: 2 }).array(),
    values: arrayOf(fc.constantFrom('1.005', '0', '-0', 'NaN', '12.3')),
    drizzleDiffers: true,
  },
  'real[]': {
    column: t.real().array(),
    values: arrayOf(fc.constantFrom(...oddFloats)),
    drizzleDiffers: true,
  },
  'boolean[]': { column: t.boolean().array(), values: arrayOf(fc.boolean()) },
  'char(3)[]': { column: t.char({ length: 3 }).array(), values: arrayOf(fc.constantFrom('a', 'b ', '')) },
  'timestamp(3)[]': {
    column: t.timestamp({ precision: 3 }).array(),
    values: arrayOf(usualDates),
    drizzleDiffers: true,
  },
  'timestamptz string[]': {
    column: t.timestamp({ mode: 'string', withTimezone: true }).array(),
    values: arrayOf(momentText),
    drizzleDiffers: true,
  },
  'date[]': { column: t.date().array(), values: arrayOf(momentText), drizzleDiffers: true },
  'time[]': { column: t.time().array(), values: arrayOf(times), drizzleDiffers: true },
  'uuid[]': { column: t.uuid().array(), values: arrayOf(fc.uuid()) },
  'jsonb[]': { column: t.jsonb().array(), values: arrayOf(json), drizzleDiffers: true },
  'enum[]': {
    column: mood().array(),
    values: arrayOf(fc.constantFrom(...mood.enumValues)),
    drizzleDiffers: true,
  },
  'bytea[]': {
    column: bytea().array(),
    values: arrayOf(fc.uint8Array({ maxLength: 9 })),
    odd: [[]],
    drizzleDiffers: true,
  },
}

describe('columns against a real server (H45, H66)', () => {
  let database: TestDatabase
  let client: pg.Client
  let orm: NodePgDatabase

  beforeAll(async () => {
    database = await createDatabase()
    client = new pg.Client({ connectionString: database.connectionString })
    await client.connect()
    await client.query(`SET timezone = 'UTC'; SET datestyle = 'ISO'; SET client_min_messages = warning`)
    await client.query(
      `CREATE TYPE mood AS ENUM ('sad', 'ok', 'Happy "x"', 'it''s'); CREATE TYPE "position" AS ENUM ('top', 'low')`,
    )
    orm = drizzle(client)
  })

  afterAll(async () => {
    await client.end()
    await database.drop()
  })

  for (const [name, { column, values, odd = [], drizzleDiffers = false }] of Object.entries(cases)) {
    it(`H66 ${name}: canonical is what comes back, in value, order and identity`, async () => {
      const definition = t.pgTable('subject', {
        n: t.integer().notNull(),
        v: column,
      })
      const subject = definition['v'] as unknown as t.PgColumn
      const codec = codecOf(subject, 'subject')
      const canonical = canonicalValues(codec, [...odd, ...fc.sample(values, { numRuns: 300, seed })])
      expect(canonical.length).toBeGreaterThan(odd.length === 0 ? 40 : odd.length / 2)
      await client.query(
        `DROP TABLE IF EXISTS subject; CREATE TABLE subject (n integer, v ${ddlType(subject)})`,
      )

      await insertBinary(client, codec, canonical)
      const stored = await client.query<string[]>({
        text: 'SELECT v FROM subject ORDER BY n',
        rowMode: 'array',
        types: asText,
      })
      const texts = stored.rows.map(([value]) => value!)
      for (const [index, value] of canonical.entries()) {
        expectSame(codec.decode(texts[index]!), value)
        expectSame(codec.canonical(value), value)
        expectSame(codec.decode(codec.print(value)), value)
      }

      const catalog = await client.query<{ type: string }>(
        `SELECT format_type(atttypid, atttypmod) AS type FROM pg_attribute WHERE attrelid = 'subject'::regclass AND attname = 'v'`,
      )
      expect(codec.pgType).toBe(catalog.rows[0]!.type)

      const printed = canonical.map((value) => codec.print(value))
      const reread = await client.query<string[]>({
        text: `SELECT v::${codec.pgType} FROM unnest($1::text[]) WITH ORDINALITY AS u(v, n) ORDER BY n`,
        values: [printed],
        rowMode: 'array',
        types: asText,
      })
      expect(reread.rows.map(([value]) => value)).toEqual(texts)

      if (!drizzleDiffers) {
        const rows = await orm
          .select()
          .from(definition)
          .orderBy(sql`n`)
        for (const [index, value] of canonical.entries()) expectSame((rows[index] as { v: unknown }).v, value)
      }
      await expectCopied(client, codec, canonical)
      if (codec.compare === undefined) return
      await expectServerOrder(client, codec, canonical)
      await expectServerEquality(client, codec, canonical)
    })
  }

  it('H66 real: the shortest decimal is the one that the server prints', async () => {
    const codec = codecOf(t.pgTable('subject', { v: t.real() }).v, 'subject')
    const bits = new DataView(new ArrayBuffer(4))
    const fromBits = (pattern: number): number => {
      bits.setUint32(0, pattern)
      return bits.getFloat32(0)
    }
    const powers = Array.from({ length: 254 }, (_, exponent) =>
      [-1, 0, 1].map((step) => fromBits(((exponent + 1) << 23) + step)),
    )
    const random = fc.sample(fc.nat(0x7f7fffff), { numRuns: 100_000, seed }).map(fromBits)
    const subnormal = Array.from({ length: 2000 }, (_, index) => fromBits(index + 1))
    const canonical = [...powers.flat(), ...random, ...subnormal].map((value) => codec.canonical(value))
    await client.query('DROP TABLE IF EXISTS subject; CREATE TABLE subject (n integer, v real)')
    await insertBinary(client, codec, canonical)
    const stored = await client.query<string[]>({
      text: 'SELECT v FROM subject ORDER BY n',
      rowMode: 'array',
      types: asText,
    })
    const different = stored.rows.filter(([value], index) => codec.decode(value!) !== canonical[index])
    expect(different).toEqual([])
  })

  it('H45 what is refused, the server refuses too (or cannot hand back)', async () => {
    const refused: [t.PgColumnBuilderBase, string, unknown][] = [
      [t.varchar({ length: 2 }), 'abc', 'abc'],
      [t.char({ length: 2 }), 'abc', 'abc'],
      [t.uuid(), 'a0ee', 'a0ee'],
      [t.uuid(), '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
      [t.smallint(), '32768', 32_768],
      [t.integer(), '-2147483649', -2_147_483_649],
      [t.bigint({ mode: 'bigint' }), '9223372036854775808', 1n << 63n],
      [t.numeric({ precision: 4, scale: 2 }), '99.995', '99.995'],
      [t.numeric({ precision: 4, scale: 2 }), 'Infinity', 'Infinity'],
      [t.numeric({ precision: 4, scale: 2 }), '-100', '-100'],
      [t.numeric(), '1e131072', '1e131072'],
      [t.numeric(), '1e-16384', '1e-16384'],
      [t.numeric(), '-NaN', '-NaN'],
      [t.numeric(), '', ''],
      [t.numeric(), '.', '.'],
      [t.real(), '1e39', 1e39],
      [t.real(), '1e-46', 1e-46],
      [t.timestamp({ mode: 'string' }), '2023-02-29', '2023-02-29'],
      [t.timestamp({ mode: 'string' }), '0000-01-01', '0000-01-01'],
      [t.timestamp({ mode: 'string' }), '2024-01-01 24:00:00.5', '2024-01-01 24:00:00.5'],
      [t.timestamp({ mode: 'string' }), '2024-01-01 10:60', '2024-01-01 10:60'],
      [t.timestamp({ mode: 'string' }), '294277-01-01', '294277-01-01'],
      [t.timestamp({ mode: 'string' }), '4714-11-23 BC', '4714-11-23 BC'],
      [t.timestamp({ mode: 'string', withTimezone: true }), '2024-01-01 00:00+16', '2024-01-01 00:00+16'],
      [t.date(), '5874898-01-01', '5874898-01-01'],
      [t.time(), '24:00:01', '24:00:01'],
      [mood(), 'glad', 'glad'],
      [t.jsonb(), '"\\u0000"', '\0'],
      [t.jsonb(), '"\\ud800"', '\ud800'],
    ]
    for (const [column, asSql, value] of refused) {
      const subject = t.pgTable('subject', { v: column })['v'] as unknown as t.PgColumn
      const codec = codecOf(subject, 'subject')
      expect(() => codec.canonical(value), `${codec.pgType} ${asSql}`).toThrow(ValueError)
      await client.query(`DROP TABLE IF EXISTS subject; CREATE TABLE subject (v ${ddlType(subject)})`)
      const quoted = `'${asSql.replaceAll("'", "''")}'`
      await expect(
        client.query(`INSERT INTO subject VALUES (${quoted})`),
        `${codec.pgType} ${asSql}`,
      ).rejects.toThrow()
    }
  })
})

const asText = { getTypeParser: () => (value: string) => value } as unknown as pg.CustomTypesConfig

/** What the codec takes of the candidates; each refusal must be a ValueError. */
function canonicalValues(codec: ColumnCodec, candidates: readonly unknown[]): unknown[] {
  return candidates.flatMap((candidate) => {
    try {
      return [codec.canonical(candidate)]
    } catch (error) {
      if (error instanceof ValueError) return []
      throw error
    }
  })
}

/** One dimension, no nulls, lower bound 1. */
function binaryArray(codec: ColumnCodec, canonical: readonly unknown[]): Buffer {
  const out = new GrowingWriter(64)
  for (const head of [1, 0, codec.wire.elementOid, canonical.length, 1]) out.int32(head)
  for (const value of canonical) {
    const at = out.reserveInt32()
    const start = out.length
    codec.wire.encode(value, out)
    out.patchInt32(at, out.length - start)
  }
  return out.view()
}

async function insertBinary(
  client: pg.Client,
  codec: ColumnCodec,
  canonical: readonly unknown[],
): Promise<void> {
  const { elementType, cast } = codec.wire
  const element = cast === null ? 'v' : `v::${cast}`
  await client.query({
    text: `INSERT INTO subject (n, v) SELECT n, ${element} FROM unnest($1::${elementType}[]) WITH ORDINALITY AS u(v, n)`,
    values: [binaryArray(codec, canonical)],
  })
}

/** By COPY the same is stored as by INSERT. */
async function expectCopied(
  client: pg.Client,
  codec: ColumnCodec,
  canonical: readonly unknown[],
): Promise<void> {
  const columns = [
    { property: 'n', codec: integerCodec() },
    { property: 'v', codec },
  ] as ColumnModel[]
  if (!isCopied(columns)) return
  const frames = new Frames(new GrowingWriter())
  frames.statement('CREATE TABLE copied (LIKE subject)', [])
  const rows = canonical.map((v, index) => ({ n: index + 1, v }))
  frames.copy('COPY copied (n, v) FROM STDIN (FORMAT binary)', copiedRows(columns, rows))
  frames.sync()
  const flight = new Flight(frames.view(), () => undefined)
  client.query(flight)
  expect(await flight.ended).toEqual({ end: 'landed', counts: [0, canonical.length] })
  const { rows: differing } = await client.query(
    'SELECT n, s.v::text AS inserted, c.v::text AS copied FROM subject s FULL JOIN copied c USING (n) WHERE s.v::text IS DISTINCT FROM c.v::text',
  )
  await client.query('DROP TABLE copied')
  expect(differing).toEqual([])
}

/** A parameter in its wire form equals the column that it was written to: what loads by key rely on. */
async function expectServerEquality(
  client: pg.Client,
  codec: ColumnCodec,
  canonical: readonly unknown[],
): Promise<void> {
  const { elementType, cast } = codec.wire
  const found = await client.query<{ n: string }>({
    text: `SELECT count(*) AS n FROM subject AS t JOIN unnest($1::${elementType}[]) WITH ORDINALITY AS u(v, n) USING (n)
           WHERE t.v = ${cast === null ? 'u.v' : `u.v::${cast}`}`,
    values: [binaryArray(codec, canonical)],
  })
  expect(Number(found.rows[0]!.n)).toBe(canonical.length)
}

async function expectServerOrder(
  client: pg.Client,
  codec: ColumnCodec,
  canonical: readonly unknown[],
): Promise<void> {
  const ranked = await client.query<{ rank: string }>(
    'SELECT dense_rank() OVER (ORDER BY v) AS rank FROM subject ORDER BY n',
  )
  const ranks = ranked.rows.map(({ rank }) => Number(rank))
  for (let left = 0; left < canonical.length; left++) {
    for (let right = left; right < canonical.length; right++) {
      const expected = Math.sign(ranks[left]! - ranks[right]!)
      const sign = Math.sign(codec.compare!(canonical[left], canonical[right]))
      const mirrored = Math.sign(codec.compare!(canonical[right], canonical[left]))
      if (sign !== expected || mirrored + expected !== 0)
        expect.fail(`${String(canonical[left])} / ${String(canonical[right])}: ${sign}, not ${expected}`)
      if (!codec.keyable) continue
      const same = codec.identity(canonical[left]) === codec.identity(canonical[right])
      const bothNaN =
        Number.isNaN(codec.identity(canonical[left])) && Number.isNaN(codec.identity(canonical[right]))
      if ((same || bothNaN) !== (expected === 0))
        expect.fail(`identity of ${String(canonical[left])} / ${String(canonical[right])}`)
    }
  }
}

function ddlType(column: t.PgColumn): string {
  return column.getSQLType().replace(/^position/, '"position"')
}

function storableJson(value: unknown): boolean {
  return !JSON.stringify(value).includes('\\u')
}

function expectSame(actual: unknown, expected: unknown): void {
  if (Object.is(actual, expected)) return
  expect(actual).toStrictEqual(expected)
  // Also the order of keys, which toStrictEqual does not look at.
  expect(inspectable(actual)).toBe(inspectable(expected))
}

function inspectable(value: unknown): string {
  return (
    JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? `${inner}n` : inner)) ?? ''
  )
}
