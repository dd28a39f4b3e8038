/**
 * timestamp(p) with and without time zone, as a frozen Date (UTC; milliseconds, finer digits of the database are cut off as
 * drizzle does) or as the text Postgres prints in a session whose TimeZone is UTC.
 */
import {
  epochDay,
  firstDay,
  microsPerDay,
  millisPerDay,
  parseMoment,
  printClock,
  printDay,
  roundMoment,
  timestampEnd,
  writeMoment,
  type Moment,
} from './calendar.ts'
import { compareText } from './characters.ts'
import { ValueError, type ByteWriter, type ColumnCodec, type ColumnWire } from './codec.ts'
import { frozenDate } from './frozen-date.ts'
import { show, wrongType } from './show.ts'
import { sizeOfDate, sizeOfString } from './size.ts'
import { binaryWire } from './wire.ts'

export interface TimestampShape {
  /** Decimals of a second that are kept; `undefined`: all six. */
  readonly precision: number | undefined
  readonly withTimeZone: boolean
}

const infinities = /^\s*([+-]?)inf(?:inity)?\s*$/i
const max64 = (1n << 63n) - 1n
const min64 = -(1n << 63n)
const epochMillis = epochDay * millisPerDay

export function timestampDateCodec(shape: TimestampShape): ColumnCodec {
  const precision = shape.precision ?? 6
  const millisOf = (value: unknown): number => (value as Date).getTime()
  const print = (value: unknown): string => printMoment(momentOf(value as Date), shape)
  return {
    pgType: typeName(shape),
    wire: wireOf(shape, (value, out) => {
      const { day, micros } = momentOf(value as Date)
      writeMoment(day, micros, out)
    }),
    canonical(value) {
      if (!(value instanceof Date)) throw new ValueError(wrongType('a Date', value))
      const millis = value.getTime()
      if (Number.isNaN(millis)) throw new ValueError('the Date is invalid')
      if (millis < firstDay * millisPerDay + epochMillis) {
        throw new ValueError(`${typeName(shape)} cannot hold ${show(value)}: it is out of range`)
      }
      return precision >= 3 ? frozenDate(value) : dateOf(roundMoment(momentOf(value), precision))
    },
    decode(text) {
      if (infinities.test(text)) {
        throw new ValueError(`the database holds ${show(text)}, which a Date cannot; declare mode: 'string'`)
      }
      return dateOf(parseMoment(text, true))
    },
    print,
    compare: (a, b) => millisOf(a) - millisOf(b),
    keyable: true,
    identity: millisOf,
    byteSize: () => sizeOfDate,
  }
}

/** Also what the driver hands to a customType over timestamp. */
export function timestampStringCodec(shape: TimestampShape): ColumnCodec {
  const precision = shape.precision ?? 6
  const same = (value: unknown): string => value as string
  return {
    pgType: typeName(shape),
    wire: wireOf(shape, (value, out) => {
      const text = value as string
      if (text === 'infinity') out.int64(max64)
      else if (text === '-infinity') out.int64(min64)
      else {
        const { day, micros } = parseMoment(text, true)
        writeMoment(day, micros, out)
      }
    }),
    canonical(value) {
      if (typeof value !== 'string' && !(value instanceof Date)) {
        throw new ValueError(wrongType('a string in ISO 8601 form', value))
      }
      if (value instanceof Date && Number.isNaN(value.getTime())) throw new ValueError('the Date is invalid')
      const infinite = typeof value === 'string' ? infinities.exec(value) : null
      if (infinite !== null) return infinite[1] === '-' ? '-infinity' : 'infinity'
      const exact = value instanceof Date ? momentOf(value) : parseMoment(value, shape.withTimeZone)
      const rounded = roundMoment(exact, precision)
      if (rounded.day < firstDay || rounded.day >= timestampEnd) {
        throw new ValueError(`${typeName(shape)} cannot hold ${show(value)}: it is out of range`)
      }
      return printMoment(rounded, shape)
    },
    decode: same,
    print: same,
    compare: (a, b) => compareMoments(a as string, b as string),
    keyable: true,
    identity: same,
    byteSize: (value) => sizeOfString(value as string),
  }
}

function wireOf(shape: TimestampShape, encode: (value: unknown, out: ByteWriter) => void): ColumnWire {
  return binaryWire(shape.withTimeZone ? 'timestamptz' : 'timestamp', encode)
}

function typeName({ precision, withTimeZone }: TimestampShape): string {
  const suffix = withTimeZone ? 'with time zone' : 'without time zone'
  return `timestamp${precision === undefined ? '' : `(${precision})`} ${suffix}`
}

function momentOf(date: Date): Moment {
  const millis = date.getTime()
  const day = Math.floor(millis / millisPerDay)
  return { day: day - epochDay, micros: (millis - day * millisPerDay) * 1000 }
}

function dateOf({ day, micros }: Moment): Date {
  const date = frozenDate((day + epochDay) * millisPerDay + Math.floor(micros / 1000))
  if (Number.isNaN(date.getTime()))
    throw new ValueError(`the year is beyond what a Date can hold; declare mode: 'string'`)
  return date
}

function printMoment({ day, micros }: Moment, shape: TimestampShape): string {
  const { text, era } = printDay(day)
  return `${text} ${printClock(micros)}${shape.withTimeZone ? '+00' : ''}${era}`
}

function compareMoments(a: string, b: string): number {
  if (a === b) return 0
  if (isOrdinary(a) && isOrdinary(b)) return compareText(a, b)
  const left = parts(a)
  const right = parts(b)
  return left.day - right.day || left.micros - right.micros
}

/** Four digits of year in our era: such texts sort as what they mean. */
function isOrdinary(text: string): boolean {
  return text.charCodeAt(4) === 0x2d && text.charCodeAt(text.length - 1) !== 0x43
}

function parts(text: string): Moment {
  if (text === 'infinity') return { day: Infinity, micros: microsPerDay }
  if (text === '-infinity') return { day: -Infinity, micros: 0 }
  return parseMoment(text, true)
}
