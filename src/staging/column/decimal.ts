/**
 * Decimal text, exactly as Postgres' numeric reads, rounds, prints and orders it. Plain strings: no precision is
 * lost and no arithmetic is needed beyond one carry.
 */
import { ValueError, type ByteWriter } from './codec.ts'
import { show } from './show.ts'

/** A declared numeric(precision, scale); the scale may be negative or beyond the precision. */
export interface DecimalShape {
  readonly precision: number
  readonly scale: number
}

const input = /^\s*([+-]?)(\d*)(?:\.(\d*))?(?:e([+-]?\d+))?\s*$/i
const special = /^\s*([+-]?)(nan|inf|infinity)\s*$/i
const printed = /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/
const negativeZero = /^-[0.]+$/
const mostSafe = BigInt(Number.MAX_SAFE_INTEGER)
const leastSafe = BigInt(Number.MIN_SAFE_INTEGER)
const mostDigitsBefore = 131_072
const mostDigitsAfter = 16_383

/** @returns the text that Postgres prints for it in a column of this shape (`undefined`: plain numeric). */
export function canonicalDecimal(text: string, shape: DecimalShape | undefined): string {
  if (shape === undefined && text.length < 64 && printed.test(text) && !isNegativeZero(text)) return text
  const match = input.exec(text)
  if (match === null) return specialDecimal(text, shape)
  const [, sign, before = '', after = '', exponentText = '0'] = match
  if (before === '' && after === '') throw new ValueError(`${show(text)} is not a decimal number`)
  const exponent = Number(exponentText)
  const scale = Math.max(0, after.length - exponent)
  const digits = withoutLeadingZeros(before + after)
  // Digits before the decimal point; zero or less when the number is below 0.1.
  const point = digits.length - after.length + exponent
  if (
    scale > mostDigitsAfter ||
    (digits !== '' && point > mostDigitsBefore) ||
    Math.abs(exponent) > 1_000_000
  ) {
    throw new ValueError(`numeric cannot hold ${show(text)}: it has too many digits`)
  }
  const wanted = shape === undefined ? scale : shape.scale
  const unscaled = withoutLeadingZeros(roundAt(digits, point + wanted))
  if (shape !== undefined && unscaled.length > shape.precision) {
    throw new ValueError(
      `numeric(${shape.precision},${shape.scale}) cannot hold ${show(text)}: it is out of range`,
    )
  }
  const rounded = place(unscaled, wanted)
  return sign === '-' && unscaled !== '' ? `-${rounded}` : rounded
}

/** Numeric has one zero, and it has no sign. */
export function isNegativeZero(text: string): boolean {
  return text.charCodeAt(0) === 0x2d && negativeZero.test(text)
}

/** Canonical text → Postgres' binary numeric: sign, weight and base-10000 digits. */
export function encodeDecimal(text: string, out: ByteWriter): void {
  const negative = text.charCodeAt(0) === 0x2d
  const start = negative ? 1 : 0
  if (text.charCodeAt(start) > 0x39) {
    // "NaN" or "Infinity"
    writeHead(out, 0, 0, text === 'NaN' ? 0xc000 : negative ? 0xf000 : 0xd000, 0)
    return
  }
  const dot = text.indexOf('.')
  const end = dot === -1 ? text.length : dot
  const scale = dot === -1 ? 0 : text.length - dot - 1
  const groupsBefore = (end - start + 3) >> 2
  let first = 0
  let last = groupsBefore + ((scale + 3) >> 2)
  while (first < last && groupAt(text, first, groupsBefore, start, end) === 0) first++
  while (last > first && groupAt(text, last - 1, groupsBefore, start, end) === 0) last--
  if (first === last) {
    writeHead(out, 0, 0, 0, scale)
    return
  }
  writeHead(out, last - first, groupsBefore - 1 - first, negative ? 0x4000 : 0, scale)
  for (let index = first; index < last; index++) out.int16(groupAt(text, index, groupsBefore, start, end))
}

/** A whole number, written without the detour over text where it is small. */
export function encodeWholeDecimal(value: bigint, out: ByteWriter): void {
  if (value > mostSafe || value < leastSafe) {
    encodeDecimal(value.toString(), out)
    return
  }
  let rest = Math.abs(Number(value))
  const low = rest % 10_000
  const second = (rest = Math.floor(rest / 10_000)) % 10_000
  const third = (rest = Math.floor(rest / 10_000)) % 10_000
  const high = Math.floor(rest / 10_000)
  const count = high > 0 ? 4 : third > 0 ? 3 : second > 0 ? 2 : low > 0 ? 1 : 0
  // Trailing zero groups are not sent; the weight keeps their place.
  const zeros = low > 0 ? 0 : second > 0 ? 1 : third > 0 ? 2 : 3
  writeHead(out, Math.max(0, count - zeros), Math.max(0, count - 1), value < 0n ? 0x4000 : 0, 0)
  if (count > 3) out.int16(high)
  if (count > 2 && zeros < 3) out.int16(third)
  if (count > 1 && zeros < 2) out.int16(second)
  if (count > 0 && zeros < 1) out.int16(low)
}

/** Sign of two canonical texts as Postgres orders them: by value, NaN equal to itself and above everything. */
export function compareDecimals(a: string, b: string): number {
  if (a === b) return 0
  const left = magnitudeClass(a)
  const right = magnitudeClass(b)
  if (left !== right) return left - right
  return left < 0 ? compareMagnitudes(b.slice(1), a.slice(1)) : compareMagnitudes(a, b)
}

function magnitudeClass(text: string): number {
  if (text === 'NaN') return 3
  if (text === 'Infinity') return 2
  if (text === '-Infinity') return -2
  return text.charCodeAt(0) === 0x2d ? -1 : 1
}

function compareMagnitudes(a: string, b: string): number {
  const dotA = a.indexOf('.')
  const dotB = b.indexOf('.')
  const endA = dotA === -1 ? a.length : dotA
  const endB = dotB === -1 ? b.length : dotB
  if (endA !== endB) return endA - endB
  const longest = Math.max(a.length, b.length)
  for (let index = 0; index < longest; index++) {
    const difference = digitAt(a, index) - digitAt(b, index)
    if (difference !== 0) return difference
  }
  return 0
}

/** Beyond the end, and at the decimal point, a digit is zero. */
function digitAt(text: string, index: number): number {
  if (index >= text.length) return 0
  const unit = text.charCodeAt(index)
  return unit === 0x2e ? 0 : unit - 0x30
}

function specialDecimal(text: string, shape: DecimalShape | undefined): string {
  const match = special.exec(text)
  if (match === null) throw new ValueError(`${show(text)} is not a decimal number`)
  const [, sign = '', name = ''] = match
  if (name.toLowerCase() === 'nan') {
    if (sign !== '') throw new ValueError(`${show(text)} is not a decimal number`)
    return 'NaN'
  }
  if (shape !== undefined) {
    throw new ValueError(`numeric(${shape.precision},${shape.scale}) cannot hold an infinite value`)
  }
  return sign === '-' ? '-Infinity' : 'Infinity'
}

/** The first `keep` digits, half rounded away from zero, or zero-padded up to there. */
function roundAt(digits: string, keep: number): string {
  if (digits === '' || keep < 0) return ''
  if (keep >= digits.length) return digits + '0'.repeat(keep - digits.length)
  const kept = digits.slice(0, keep)
  return digits.charCodeAt(keep) < 0x35 ? kept : increment(kept)
}

function increment(digits: string): string {
  let end = digits.length
  while (end > 0 && digits.charCodeAt(end - 1) === 0x39) end--
  const zeros = '0'.repeat(digits.length - end)
  if (end === 0) return `1${zeros}`
  return digits.slice(0, end - 1) + String.fromCharCode(digits.charCodeAt(end - 1) + 1) + zeros
}

/** Puts the decimal point `scale` digits from the right. */
function place(unscaled: string, scale: number): string {
  if (scale <= 0) return unscaled === '' ? '0' : unscaled + '0'.repeat(-scale)
  const padded = unscaled.padStart(scale + 1, '0')
  return `${padded.slice(0, -scale)}.${padded.slice(-scale)}`
}

function withoutLeadingZeros(digits: string): string {
  let start = 0
  while (start < digits.length && digits.charCodeAt(start) === 0x30) start++
  return start === 0 ? digits : digits.slice(start)
}

/** Base-10000 digit number `index` of the text whose whole part is `[start, end)` and has `groupsBefore` of them. */
function groupAt(text: string, index: number, groupsBefore: number, start: number, end: number): number {
  return index < groupsBefore
    ? fourDigits(text, end - (groupsBefore - index) * 4, start, end)
    : fourDigits(text, end + 1 + (index - groupsBefore) * 4, end + 1, text.length)
}

/** Four digits from `at`, those outside `[start, end)` being zero. */
function fourDigits(text: string, at: number, start: number, end: number): number {
  if (at >= start && at + 4 <= end) {
    const high = text.charCodeAt(at) * 1000 + text.charCodeAt(at + 1) * 100
    return high + text.charCodeAt(at + 2) * 10 + text.charCodeAt(at + 3) - 0x30 * 1111
  }
  let value = 0
  for (let index = at; index < at + 4; index++) {
    value = value * 10 + (index >= start && index < end ? text.charCodeAt(index) - 0x30 : 0)
  }
  return value
}

function writeHead(out: ByteWriter, count: number, weight: number, sign: number, scale: number): void {
  out.int16(count)
  out.int16(weight)
  out.int16(sign)
  out.int16(scale)
}
