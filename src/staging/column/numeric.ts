/**
 * numeric in drizzle's three modes. With a declared shape values are rounded half away from zero to its scale;
 * whatever the column's JavaScript type cannot hold exactly is refused, never rounded on the way back.
 */
import { ValueError, type ColumnCodec } from './codec.ts'
import {
  canonicalDecimal,
  compareDecimals,
  encodeDecimal,
  encodeWholeDecimal,
  isNegativeZero,
  type DecimalShape,
} from './decimal.ts'
import { compareFloats } from './float.ts'
import { show, wrongType } from './show.ts'
import { sizeOfBigint, sizeOfNumber, sizeOfString } from './size.ts'
import { binaryWire } from './wire.ts'

/** Any decimal of at most this many characters comes back from a number unchanged. */
const exactInNumber = 15

/** A string, as it is printed: `'1.01'`. Also what the driver hands to a customType over numeric. */
export function numericStringCodec(shape: DecimalShape | undefined): ColumnCodec {
  const same = (value: unknown): string => value as string
  const ready =
    shape === undefined || shape.scale < 0 || shape.scale > shape.precision ? undefined : printedIn(shape)
  return {
    pgType: typeName(shape),
    wire: binaryWire('numeric', (value, out) => encodeDecimal(value as string, out)),
    canonical(value) {
      if (typeof value === 'string') {
        return ready?.test(value) === true && !isNegativeZero(value) ? value : canonicalDecimal(value, shape)
      }
      if (typeof value === 'bigint' || typeof value === 'number')
        return canonicalDecimal(String(value), shape)
      throw new ValueError(wrongType('a string of decimal digits', value))
    },
    decode: same,
    print: same,
    compare: (a, b) => compareDecimals(a as string, b as string),
    keyable: shape !== undefined,
    identity: same,
    byteSize: (value) => sizeOfString(value as string),
  }
}

export function numericNumberCodec(shape: DecimalShape | undefined): ColumnCodec {
  const print = (value: unknown): string => canonicalDecimal(String(value), shape)
  return {
    pgType: typeName(shape),
    wire: binaryWire('numeric', (value, out) => encodeDecimal(print(value), out)),
    canonical(value) {
      if (typeof value !== 'number') throw new ValueError(wrongType('a number', value))
      if (Number.isSafeInteger(value) && shape === undefined) return value === 0 ? 0 : value
      return Number(print(value))
    },
    decode(text) {
      const number = Number(text)
      if (text.length <= exactInNumber) return number
      if (compareDecimals(canonicalDecimal(String(number), undefined), text) === 0) return number
      throw new ValueError(
        `the database holds ${show(text)}, which a number cannot; declare numeric({ mode: 'bigint' }) or a string`,
      )
    },
    print,
    compare: (a, b) => compareFloats(a as number, b as number),
    keyable: shape !== undefined,
    identity: (value) => value as number,
    byteSize: () => sizeOfNumber,
  }
}

/** Digits before the point of a numeric without a declared precision. */
const mostDigits = 131_072n
/** Far below that many; nearly every number is, and the limit itself takes a while to compute. */
const surelyFits = within(1n << 4_096n)

function fitsUndeclared(whole: bigint): boolean {
  return surelyFits(whole) || within(10n ** mostDigits)(whole)
}

/** Both limits are made once: a bigint that is computed is an object more for every value. */
function within(limit: bigint): (whole: bigint) => boolean {
  const least = -limit
  return (whole) => whole < limit && whole > least
}

/** Whole numbers of any size; the declared scale, if any, is 0. */
export function numericBigintCodec(shape: DecimalShape | undefined): ColumnCodec {
  const fits = shape === undefined ? fitsUndeclared : within(10n ** BigInt(shape.precision))
  return {
    pgType: typeName(shape),
    wire: binaryWire('numeric', (value, out) => encodeWholeDecimal(value as bigint, out)),
    canonical(value) {
      const whole = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value
      if (typeof whole !== 'bigint') throw new ValueError(wrongType('a bigint', value))
      if (fits(whole)) return whole
      throw new ValueError(`${typeName(shape)} cannot hold ${show(value)}: it is out of range`)
    },
    decode(text) {
      if (/^-?\d+$/.test(text)) return BigInt(text)
      if (/^-?\d+\.0*$/.test(text)) return BigInt(text.slice(0, text.indexOf('.')))
      throw new ValueError(
        `the database holds ${show(text)}, which a bigint cannot; declare numeric() as a string`,
      )
    },
    print: String,
    compare: (a, b) => ((a as bigint) < (b as bigint) ? -1 : (a as bigint) > (b as bigint) ? 1 : 0),
    keyable: true,
    identity: (value) => value as bigint,
    byteSize: (value) => sizeOfBigint(value as bigint),
  }
}

function typeName(shape: DecimalShape | undefined): string {
  return shape === undefined ? 'numeric' : `numeric(${shape.precision},${shape.scale})`
}

/** Matches what Postgres prints for this shape, so that nothing needs to be done about it. */
function printedIn({ precision, scale }: DecimalShape): RegExp {
  const before = precision - scale
  const whole = before === 0 ? '0' : `(?:0|[1-9]\\d{0,${before - 1}})`
  return new RegExp(`^-?${whole}${scale === 0 ? '' : `\\.\\d{${scale}}`}$`)
}
