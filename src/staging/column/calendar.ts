/**
 * The calendar as Postgres has it: proleptic Gregorian, microseconds, no leap seconds, days counted from 2000-01-01.
 * A moment is a day and the microseconds in it, so that plain numbers hold every value exactly.
 */
import { ValueError, type ByteWriter } from './codec.ts'
import { show } from './show.ts'

export interface Moment {
  /** Days since 2000-01-01; negative before. */
  readonly day: number
  /** Microseconds since midnight, below `microsPerDay`. */
  readonly micros: number
}

export const microsPerDay = 86_400_000_000
export const millisPerDay = 86_400_000
/** Days from 1970-01-01 to 2000-01-01. */
export const epochDay = 10_957

/** 4714-11-24 BC, the first day that Postgres knows. */
export const firstDay = -2_451_545
/** First day beyond what a timestamp, and what a date can hold. */
export const timestampEnd = dayOf(294_277, 1, 1)
export const dateEnd = dayOf(5_874_898, 1, 1)

const two32 = 4_294_967_296
const safeDays = Math.floor(Number.MAX_SAFE_INTEGER / microsPerDay) - 1

/** Year 0 is 1 BC. */
export function dayOf(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year
  const era = Math.floor(shifted / 400)
  const yearOfEra = shifted - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146_097 + dayOfEra - 719_468 - epochDay
}

/** `2024-02-29`, and the ` BC` that goes to the very end of the text. */
export function printDay(day: number): { readonly text: string; readonly era: string } {
  const shifted = day + 719_468 + epochDay
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153)
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  const dayOfMonth = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1
  const shownYear = String(year > 0 ? year : 1 - year).padStart(4, '0')
  return { text: `${shownYear}-${pad(month)}-${pad(dayOfMonth)}`, era: year > 0 ? '' : ' BC' }
}

/** `13:05:00.25`: no trailing zeros. */
export function printClock(micros: number): string {
  const seconds = Math.floor(micros / 1_000_000)
  const fraction = micros - seconds * 1_000_000
  const text = `${pad(Math.floor(seconds / 3600))}:${pad(Math.floor(seconds / 60) % 60)}:${pad(seconds % 60)}`
  if (fraction === 0) return text
  return `${text}.${String(fraction).padStart(6, '0').replace(/0+$/, '')}`
}

const written =
  /^\s*(\d{4,7})-(\d{1,2})-(\d{1,2})(?:(?:[Tt]|\s+)(\d{1,2}):(\d{2})(?::(\d{2})(\.\d*)?)?\s*([Zz]|[+-]\d{2}(?::?\d{2}(?::?\d{2})?)?)?)?(?:\s+(BC|AD))?\s*$/i

/**
 * Reads ISO 8601 as Postgres reads and prints it: a date, a time that may be missing, an offset, an era.
 * @param useOffset false: an offset is read and then ignored, as `timestamp without time zone` does.
 */
export function parseMoment(text: string, useOffset: boolean): Moment {
  const match = written.exec(text)
  if (match === null) throw new ValueError(`${show(text)} is not a date or time in ISO 8601 form`)
  const shownYear = Number(match[1])
  const year = match[9]?.toUpperCase() === 'BC' ? 1 - shownYear : shownYear
  const month = Number(match[2])
  const dayOfMonth = Number(match[3])
  if (shownYear === 0 || month < 1 || month > 12 || dayOfMonth < 1 || dayOfMonth > daysIn(year, month)) {
    throw new ValueError(`${show(text)} is out of range: there is no such day`)
  }
  const micros = clockMicros(match[4], match[5], match[6], match[7])
  if (micros === undefined)
    throw new ValueError(`${show(text)} is out of range: there is no such time of day`)
  const offset = useOffset ? offsetMicros(match[8]) : 0
  if (offset === undefined) throw new ValueError(`${show(text)} is out of range: there is no such offset`)
  return moment(dayOf(year, month, dayOfMonth), micros - offset)
}

/** Carries microseconds below zero or beyond a day over to the day. */
export function moment(day: number, micros: number): Moment {
  const carry = Math.floor(micros / microsPerDay)
  return carry === 0 ? { day, micros } : { day: day + carry, micros: micros - carry * microsPerDay }
}

/** Microseconds since midnight; `undefined` when there is no such time. 24:00:00 and second 60 exist, as in Postgres. */
export function clockMicros(hour = '0', minute = '0', second = '0', fraction = '.0'): number | undefined {
  const rounded = roundHalfEven(Number(`0${fraction}`) * 1_000_000)
  const micros = ((Number(hour) * 60 + Number(minute)) * 60 + Number(second)) * 1_000_000 + rounded
  if (Number(minute) > 59 || Number(second) > 60 || micros > microsPerDay) return undefined
  return micros
}

/** Rounds half away from 2000-01-01 00:00 to `precision` decimals of a second, as Postgres does. */
export function roundMoment({ day, micros }: Moment, precision: number): Moment {
  if (precision >= 6) return { day, micros }
  const unit = 10 ** (6 - precision)
  const rounded =
    day >= 0 ? Math.floor((micros + unit / 2) / unit) * unit : Math.ceil((micros - unit / 2) / unit) * unit
  return moment(day, rounded === 0 ? 0 : rounded)
}

/** Microseconds since 2000-01-01 as int64. */
export function writeMoment(day: number, micros: number, out: ByteWriter): void {
  if (day > safeDays || day < -safeDays) {
    out.int64(BigInt(day) * BigInt(microsPerDay) + BigInt(micros))
    return
  }
  const total = day * microsPerDay + micros
  out.int32(Math.floor(total / two32))
  out.int32(total | 0)
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

function offsetMicros(text: string | undefined): number | undefined {
  if (text === undefined || text === 'Z' || text === 'z') return 0
  const digits = text.slice(1).replaceAll(':', '').padEnd(6, '0')
  const [hours, minutes, seconds] = [digits.slice(0, 2), digits.slice(2, 4), digits.slice(4)].map(Number)
  if (hours! > 15 || minutes! > 59 || seconds! > 59) return undefined
  const micros = ((hours! * 60 + minutes!) * 60 + seconds!) * 1_000_000
  return text.startsWith('-') ? -micros : micros
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value)
  const rest = value - below
  if (rest !== 0.5) return Math.round(value)
  return below % 2 === 0 ? below : below + 1
}

function pad(value: number): string {
  return value < 10 ? `0${value}` : String(value)
}
