/** date, as text (`2024-02-29`) or as a frozen Date at midnight UTC; a time of day is dropped, as Postgres does. */
import { dateEnd, epochDay, firstDay, millisPerDay, parseMoment, printDay } from './calendar.ts'
import { ValueError, type ColumnCodec } from './codec.ts'
import { frozenDate } from './frozen-date.ts'
import { show, wrongType } from './show.ts'
import { sizeOfDate, sizeOfString } from './size.ts'
import { binaryWire } from './wire.ts'

const infinities = /^\s*([+-]?)inf(?:inity)?\s*$/i
const infiniteDay = 2_147_483_647

export function dateCodec(): ColumnCodec {
  const dayOfDate = (value: unknown): number =>
    Math.floor((value as Date).getTime() / millisPerDay) - epochDay
  return {
    pgType: 'date',
    wire: binaryWire('date', (value, out) => out.int32(dayOfDate(value))),
    canonical(value) {
      if (!(value instanceof Date)) throw new ValueError(wrongType('a Date', value))
      if (Number.isNaN(value.getTime())) throw new ValueError('the Date is invalid')
      return atMidnight(inRange(dayOfDate(value), value))
    },
    decode(text) {
      const day = infinities.test(text) ? Infinity : parseMoment(text, false).day
      const date = atMidnight(day)
      if (!Number.isNaN(date.getTime())) return date
      throw new ValueError(
        `the database holds ${show(text)}, which a Date cannot; declare date({ mode: 'string' })`,
      )
    },
    print: (value) => printDate(dayOfDate(value)),
    compare: (a, b) => (a as Date).getTime() - (b as Date).getTime(),
    keyable: true,
    identity: (value) => (value as Date).getTime(),
    byteSize: () => sizeOfDate,
  }
}

/** Also what the driver hands to a customType over date. */
export function dateStringCodec(): ColumnCodec {
  const same = (value: unknown): string => value as string
  return {
    pgType: 'date',
    wire: binaryWire('date', (value, out) => out.int32(dayOfText(value as string))),
    canonical(value) {
      if (value instanceof Date && !Number.isNaN(value.getTime())) {
        return printDate(inRange(Math.floor(value.getTime() / millisPerDay) - epochDay, value))
      }
      if (typeof value !== 'string') throw new ValueError(wrongType('a string in ISO 8601 form', value))
      const infinite = infinities.exec(value)
      if (infinite !== null) return infinite[1] === '-' ? '-infinity' : 'infinity'
      return printDate(inRange(parseMoment(value, false).day, value))
    },
    decode: same,
    print: same,
    compare: (a, b) => dayOfText(a as string) - dayOfText(b as string),
    keyable: true,
    identity: same,
    byteSize: (value) => sizeOfString(value as string),
  }
}

function inRange(day: number, value: unknown): number {
  if (day >= firstDay && day < dateEnd) return day
  throw new ValueError(`date cannot hold ${show(value)}: it is out of range`)
}

function atMidnight(day: number): Date {
  return frozenDate((day + epochDay) * millisPerDay)
}

function printDate(day: number): string {
  const { text, era } = printDay(day)
  return text + era
}

function dayOfText(text: string): number {
  if (text === 'infinity') return infiniteDay
  if (text === '-infinity') return -infiniteDay - 1
  return parseMoment(text, false).day
}
