/**
 * real and double precision. NaN equals itself and is above everything, −0 is kept and equals 0.
 * A real is handed back as the shortest decimal that stands for it: 0.1 stays 0.1, not 0.10000000149011612.
 */
import { ValueError, type ColumnCodec } from './codec.ts'
import { show, wrongType } from './show.ts'
import { sizeOfNumber } from './size.ts'
import { binaryWire } from './wire.ts'

/** Smallest real that has all 24 bits. */
const smallestNormal = 2 ** -126

export function doubleCodec(): ColumnCodec {
  return floatCodec(
    'double precision',
    binaryWire('float8', (value, out) => out.float64(value as number)),
    someNumber,
  )
}

export function realCodec(): ColumnCodec {
  return floatCodec(
    'real',
    binaryWire('float4', (value, out) => out.float32(value as number)),
    (value) => shortestReal(someNumber(value)),
  )
}

/** As Postgres orders floating point values. */
export function compareFloats(a: number, b: number): number {
  if (a < b) return -1
  if (a > b) return 1
  if (a === b) return 0
  return Number(Number.isNaN(a)) - Number(Number.isNaN(b))
}

function floatCodec(
  pgType: string,
  wire: ColumnCodec['wire'],
  canonical: (value: unknown) => number,
): ColumnCodec {
  return {
    pgType,
    wire,
    canonical,
    decode: Number,
    print: (value) => (Object.is(value, -0) ? '-0' : String(value)),
    compare: (a, b) => compareFloats(a as number, b as number),
    keyable: false,
    identity: (value) => value as number,
    byteSize: () => sizeOfNumber,
  }
}

function someNumber(value: unknown): number {
  if (typeof value === 'number') return value
  throw new ValueError(wrongType('a number', value))
}

function shortestReal(value: number): number {
  const single = Math.fround(value)
  if (!Number.isFinite(single)) {
    if (Number.isFinite(value)) throw new ValueError(`real cannot hold ${show(value)}: it is out of range`)
    return single
  }
  if (single === 0) {
    if (value !== 0) throw new ValueError(`real cannot hold ${show(value)}: it is too close to zero`)
    return single
  }
  if (Number.isInteger(single) && Math.abs(single) < 16_777_216) return single
  // Twenty digits are enough to tell which neighbour is nearer; ties go to the even digit, as in Postgres.
  const [exact = '', exponent = ''] = Math.abs(single).toExponential(20).split('e')
  const digits = exact.replace('.', '')
  // Below seven digits a normal value has one decimal at most, and six digits with zeros show it as well.
  for (let count = Math.abs(single) < smallestNormal ? 1 : 6; count < 9; count++) {
    const down = Number(digits.slice(0, count))
    const rest = digits.slice(count)
    const upIsNearer = rest[0]! > '5' || (rest[0] === '5' && (down % 2 === 1 || /[1-9]/.test(rest.slice(1))))
    const near = upIsNearer ? down + 1 : down
    // At a power of two the farther neighbour can be the only one that still reads as this value.
    const far = upIsNearer ? down : down + 1
    for (const mantissa of [near, far]) {
      const candidate = Math.sign(single) * Number(`${mantissa}e${Number(exponent) - count + 1}`)
      if (readsAs(candidate, single)) return candidate
    }
  }
  return Number(single.toPrecision(9))
}

/** Postgres does not print a decimal that lies exactly between two reals, although reading it would give the even one. */
function readsAs(candidate: number, single: number): boolean {
  if (candidate === single) return true
  const mirrored = 2 * candidate - single
  return Math.fround(candidate) === single && Math.fround(mirrored) !== mirrored
}
