/**
 * smallint, integer and bigint. A bigint column is a JavaScript bigint, a number (safe integers only, anything
 * beyond is refused instead of rounded) or, below a customType, the decimal string that the driver hands over.
 */
import { ValueError, type ColumnCodec } from './codec.ts'
import { show, wrongType } from './show.ts'
import { sizeOfNumber, sizeOfString } from './size.ts'
import { binaryWire } from './wire.ts'

const two32 = 4_294_967_296
const min64 = -(1n << 63n)
const max64 = (1n << 63n) - 1n

export function smallintCodec(): ColumnCodec {
  const canonical = (value: unknown): number => wholeNumber(value, -32_768, 32_767, 'smallint')
  return numberCodec(
    'smallint',
    canonical,
    binaryWire('int2', (value, out) => out.int16(value as number)),
    Number,
  )
}

export function integerCodec(): ColumnCodec {
  const canonical = (value: unknown): number => wholeNumber(value, -2_147_483_648, 2_147_483_647, 'integer')
  return numberCodec(
    'integer',
    canonical,
    binaryWire('int4', (value, out) => out.int32(value as number)),
    Number,
  )
}

/** drizzle's `bigint({ mode: 'number' })`. */
export function bigintNumberCodec(): ColumnCodec {
  const canonical = (value: unknown): number =>
    wholeNumber(value, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, `bigint({ mode: 'number' })`)
  const wire = binaryWire('int8', (value, out) => {
    out.int32(Math.floor((value as number) / two32))
    out.int32((value as number) | 0)
  })
  return numberCodec('bigint', canonical, wire, (text) => {
    const number = Number(text)
    if (Number.isSafeInteger(number)) return number
    throw new ValueError(
      `the database holds ${text}, which a number cannot; declare bigint({ mode: 'bigint' })`,
    )
  })
}

/** drizzle's `bigint({ mode: 'bigint' })`. */
export function bigintCodec(): ColumnCodec {
  return {
    pgType: 'bigint',
    wire: binaryWire('int8', (value, out) => out.int64(value as bigint)),
    canonical: wholeBigint,
    decode: BigInt,
    print: String,
    compare: (a, b) => ((a as bigint) < (b as bigint) ? -1 : (a as bigint) > (b as bigint) ? 1 : 0),
    keyable: true,
    identity: (value) => value as bigint,
    byteSize: () => 24,
  }
}

/** What the driver hands to a customType over bigint: decimal digits. */
export function bigintStringCodec(): ColumnCodec {
  const base = bigintCodec()
  const same = (value: unknown): string => value as string
  return {
    ...base,
    wire: binaryWire('int8', (value, out) => out.int64(BigInt(value as string))),
    canonical(value) {
      if (typeof value !== 'string') return String(wholeBigint(value))
      if (!/^\s*[+-]?\d+\s*$/.test(value)) throw new ValueError(wrongType('whole decimal digits', value))
      return String(wholeBigint(BigInt(value.replace('+', ''))))
    },
    decode: same,
    print: same,
    compare: (a, b) => {
      const difference = BigInt(a as string) - BigInt(b as string)
      return difference < 0n ? -1 : difference > 0n ? 1 : 0
    },
    identity: same,
    byteSize: (value) => sizeOfString(value as string),
  }
}

function numberCodec(
  pgType: string,
  canonical: (value: unknown) => number,
  wire: ColumnCodec['wire'],
  decode: (text: string) => number,
): ColumnCodec {
  return {
    pgType,
    wire,
    canonical,
    decode,
    print: String,
    compare: (a, b) => (a as number) - (b as number),
    keyable: true,
    identity: (value) => value as number,
    byteSize: () => sizeOfNumber,
  }
}

function wholeNumber(value: unknown, min: number, max: number, type: string): number {
  const number = typeof value === 'bigint' ? Number(value) : value
  if (typeof number !== 'number') throw new ValueError(wrongType('a number', value))
  if (!Number.isInteger(number))
    throw new ValueError(`${type} cannot hold ${show(value)}: it is not a whole number`)
  if (number < min || number > max)
    throw new ValueError(`${type} cannot hold ${show(value)}: it is out of range`)
  return number === 0 ? 0 : number
}

function wholeBigint(value: unknown): bigint {
  const whole = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value
  if (typeof whole !== 'bigint') throw new ValueError(wrongType('a bigint', value))
  if (whole < min64 || whole > max64)
    throw new ValueError(`bigint cannot hold ${show(value)}: it is out of range`)
  return whole
}
