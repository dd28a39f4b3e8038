/**
 * A drizzle customType: the user's own mapping around what the driver hands over for the SQL type below it.
 * Canonical is what `fromDriver` makes of the stored value. The mapping must give back the stored value when it is
 * asked again, or what was read could not be written; that is checked for every value.
 */
import type { PgColumn } from 'drizzle-orm/pg-core'
import { messageOf } from '../../errors.ts'
import { ValueError, type ColumnCodec } from './codec.ts'
import { isFrozenDate } from './frozen-date.ts'
import { deepFreeze, parseJson } from './json.ts'
import { show, wrongType } from './show.ts'
import { sizeOfAny } from './size.ts'
import type { BaseType } from './sql-type.ts'

/** @param inner codec of the driver's form of the SQL type: what `toDriver` returns and `fromDriver` takes. */
export function customCodec(column: PgColumn, base: BaseType, inner: ColumnCodec): ColumnCodec {
  const type = `the customType ${column.getSQLType()}`
  const toDriver = (value: unknown): unknown => column.mapToDriverValue(value)
  const fromDriver = (value: unknown): unknown => column.mapFromDriverValue(value)
  const stored = (value: unknown): unknown =>
    inner.canonical(driverInput(base, mapped('toDriver', type, toDriver, value)))
  // Values that nobody can change: they are handed out as they are.
  const fixed = new WeakSet<object>()
  const restored = (value: unknown): unknown => {
    const result = deepFreeze(mapped('fromDriver', type, fromDriver, value))
    if (typeof result === 'object' && result !== null && isFixed(result)) fixed.add(result)
    return result
  }
  const innerCompare = inner.compare
  return {
    pgType: inner.pgType,
    wire: { ...inner.wire, encode: (value, out) => inner.wire.encode(stored(value), out) },
    canonical(value) {
      const driverValue = stored(value)
      const kept = inner.identity(driverValue)
      const result = restored(driverValue)
      if (Object.is(inner.identity(stored(result)), kept)) return result
      throw new ValueError(
        `toDriver and fromDriver of ${type} do not fit: ` +
          `${show(value)} is stored as ${show(driverValue)}, which is read as ${show(result)} and stored as something else`,
      )
    },
    decode: (text) => restored(inner.decode(text)),
    print: (value) => inner.print(stored(value)),
    compare: innerCompare === undefined ? undefined : (a, b) => innerCompare(stored(a), stored(b)),
    keyable: inner.keyable,
    identity: (value) => inner.identity(stored(value)),
    byteSize: sizeOfAny,
    copy: (value) =>
      typeof value !== 'object' || value === null || fixed.has(value) ? value : restored(stored(value)),
  }
}

/** Plain data, frozen all the way down. */
function isFixed(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return typeof value !== 'function'
  if (isFrozenDate(value)) return true
  const isData = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype
  return isData && Object.isFrozen(value) && Object.values(value).every(isFixed)
}

/** Runs the user's mapping, which may throw or lose the value. */
function mapped(name: string, type: string, map: (value: unknown) => unknown, value: unknown): unknown {
  let result: unknown
  try {
    result = map(value)
  } catch (error) {
    throw new ValueError(`${name} of ${type} failed for ${show(value)}: ${messageOf(error)}`, {
      cause: error,
    })
  }
  if (result !== null && result !== undefined) return result
  throw new ValueError(`${name} of ${type} made ${result} of ${show(value)}`)
}

/** The forms in which a driver takes a value of the type, brought to the one that the codec knows. */
function driverInput(base: BaseType, value: unknown): unknown {
  switch (base) {
    case 'text':
    case 'varchar':
    case 'char':
      return typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean'
        ? String(value)
        : value
    case 'smallint':
    case 'integer':
    case 'real':
    case 'double precision':
      return typeof value === 'string' ? numberOf(value) : value
    case 'boolean':
      return value === 'true' || value === 't' ? true : value === 'false' || value === 'f' ? false : value
    case 'json':
    case 'jsonb':
      return typeof value === 'string' ? parseJson(value) : value
    case 'uuid':
    case 'bigint':
    case 'numeric':
    case 'timestamp':
    case 'timestamptz':
    case 'date':
    case 'time':
    case 'bytea':
      return value
    default:
      return base satisfies never
  }
}

function numberOf(text: string): number {
  const number = Number(text)
  if (text.trim() === '' || (Number.isNaN(number) && text !== 'NaN'))
    throw new ValueError(wrongType('a number', text))
  return number
}
