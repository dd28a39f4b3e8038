/** Chooses the codec for a drizzle column; the only place that knows drizzle's column classes. */
import type { PgArray, PgColumn, PgEnumColumn } from 'drizzle-orm/pg-core'
import { ConfigurationError } from '../../errors.ts'
import { arrayCodec } from './array.ts'
import { booleanCodec } from './boolean.ts'
import { bytesCodec } from './bytes.ts'
import type { ColumnCodec } from './codec.ts'
import { customCodec } from './custom.ts'
import { dateCodec, dateStringCodec } from './date.ts'
import type { DecimalShape } from './decimal.ts'
import { doubleCodec, realCodec } from './float.ts'
import { bigintCodec, bigintNumberCodec, bigintStringCodec, integerCodec, smallintCodec } from './integer.ts'
import { jsonCodec } from './json.ts'
import { qualifiedName } from './names.ts'
import { numericBigintCodec, numericNumberCodec, numericStringCodec } from './numeric.ts'
import { parseSqlType, remedyFor, type SqlType } from './sql-type.ts'
import { charCodec, enumCodec, textCodec, varcharCodec } from './text.ts'
import { timeCodec } from './time.ts'
import { timestampDateCodec, timestampStringCodec, type TimestampShape } from './timestamp.ts'
import { uuidCodec } from './uuid.ts'

/**
 * The codec of a drizzle column.
 * @param tableName names the table in the error
 * @throws ConfigurationError `UNSUPPORTED_TYPE` when the column's type is not on the closed list.
 */
export function codecOf(column: PgColumn, tableName: string): ColumnCodec {
  const refuse = (why: string): never => {
    const facts = { phase: 'opening', table: tableName, column: column.name } as const
    throw new ConfigurationError('UNSUPPORTED_TYPE', `${tableName}.${column.name}: ${why}`, facts)
  }
  if (column.columnType === 'PgArray')
    return codecOfArray(column as unknown as PgArray<never, never>, tableName, refuse)
  if (column.columnType === 'PgEnumColumn' || column.columnType === 'PgEnumObjectColumn') {
    const { enum: declared } = column as unknown as PgEnumColumn<never>
    return enumCodec(qualifiedName(declared.schema, declared.enumName), declared.enumValues)
  }
  const sqlType = column.getSQLType()
  const type = parseSqlType(sqlType)
  if (type === undefined) return refuse(`the type ${sqlType} is not supported; ${remedyFor(sqlType)}`)
  const unfit = misfit(column, type)
  if (unfit !== undefined) return refuse(unfit)
  if (column.columnType === 'PgCustomColumn') return customCodec(column, type.base, driverCodec(type))
  return codecInMode(column, type)
}

function codecOfArray(
  column: PgArray<never, never>,
  tableName: string,
  refuse: (why: string) => never,
): ColumnCodec {
  const base = column.baseColumn
  if (base.columnType === 'PgArray')
    return refuse('arrays of several dimensions are not supported; use jsonb')
  if (base.getSQLType().endsWith('serial'))
    return refuse(`an array of ${base.getSQLType()} is not supported; use integers`)
  const element = codecOf(base, tableName)
  return arrayCodec(element, `${element.pgType}[]`)
}

/** drizzle's own column classes: the form that their mode has. */
function codecInMode(column: PgColumn, type: SqlType): ColumnCodec {
  switch (column.columnType) {
    case 'PgBigInt53':
    case 'PgBigSerial53':
      return bigintNumberCodec()
    case 'PgBigInt64':
    case 'PgBigSerial64':
      return bigintCodec()
    case 'PgNumericNumber':
      return numericNumberCodec(decimalShape(type))
    case 'PgNumericBigInt':
      return numericBigintCodec(decimalShape(type))
    case 'PgTimestamp':
      return timestampDateCodec(timestampShape(type))
    case 'PgDate':
      return dateCodec()
    default:
      return driverCodec(type)
  }
}

/** The form that node-postgres below drizzle hands over; what a customType maps from and to. */
function driverCodec(type: SqlType): ColumnCodec {
  switch (type.base) {
    case 'text':
      return textCodec()
    case 'varchar':
      return varcharCodec(type.first)
    case 'char':
      return charCodec(type.first ?? 1)
    case 'uuid':
      return uuidCodec()
    case 'boolean':
      return booleanCodec()
    case 'smallint':
      return smallintCodec()
    case 'integer':
      return integerCodec()
    case 'bigint':
      return bigintStringCodec()
    case 'numeric':
      return numericStringCodec(decimalShape(type))
    case 'real':
      return realCodec()
    case 'double precision':
      return doubleCodec()
    case 'timestamp':
    case 'timestamptz':
      return timestampStringCodec(timestampShape(type))
    case 'date':
      return dateStringCodec()
    case 'time':
      return timeCodec(type.first)
    case 'json':
    case 'jsonb':
      return jsonCodec(type.base)
    case 'bytea':
      return bytesCodec()
    default:
      return type.base satisfies never
  }
}

/** Declarations that Postgres, or drizzle on the way back, would reject. */
function misfit(column: PgColumn, { base, first, second }: SqlType): string | undefined {
  if (
    (base === 'timestamp' || base === 'timestamptz' || base === 'time') &&
    first !== undefined &&
    first > 6
  ) {
    return `a precision of ${first} is beyond Postgres' six decimals; use 6`
  }
  if ((base === 'varchar' || base === 'char') && first !== undefined && (first < 1 || first > 10_485_760)) {
    return `the length ${first} is not between 1 and 10485760`
  }
  if (base === 'numeric' && first !== undefined && (first < 1 || first > 1000)) {
    return `the precision ${first} is not between 1 and 1000`
  }
  if (column.columnType === 'PgNumericBigInt' && (second ?? 0) !== 0) {
    return `a bigint cannot hold numeric(${first},${second}); declare the scale as 0, or use numeric() as a string`
  }
  return undefined
}

function decimalShape({ first, second }: SqlType): DecimalShape | undefined {
  return first === undefined ? undefined : { precision: first, scale: second ?? 0 }
}

function timestampShape({ base, first }: SqlType): TimestampShape {
  return { precision: first, withTimeZone: base === 'timestamptz' }
}
