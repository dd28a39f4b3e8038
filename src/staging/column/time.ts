/** time(p) without time zone, as text: `13:05:00.25`. */
import { clockMicros, printClock } from './calendar.ts'
import { ValueError, type ColumnCodec } from './codec.ts'
import { show, wrongType } from './show.ts'
import { sizeOfString } from './size.ts'
import { textWire } from './wire.ts'

const written = /^\s*(\d{1,2}):(\d{1,2})(?::(\d{1,2})(\.\d*)?)?\s*$/

/** @param precision decimals of a second that are kept; `undefined`: all six. */
export function timeCodec(precision: number | undefined): ColumnCodec {
  const pgType = `time${precision === undefined ? '' : `(${precision})`} without time zone`
  const unit = 10 ** (6 - (precision ?? 6))
  const same = (value: unknown): string => value as string
  return {
    pgType,
    wire: textWire(pgType, same),
    canonical(value) {
      if (typeof value !== 'string') throw new ValueError(wrongType('a string such as "13:05:00"', value))
      const match = written.exec(value)
      const micros = match === null ? undefined : clockMicros(match[1], match[2], match[3], match[4])
      if (micros === undefined) throw new ValueError(`${show(value)} is not a time of day`)
      return printClock(Math.floor((micros + Math.floor(unit / 2)) / unit) * unit)
    },
    decode: same,
    print: same,
    compare: (a, b) => (a === b ? 0 : (a as string) < (b as string) ? -1 : 1),
    keyable: false,
    identity: same,
    byteSize: (value) => sizeOfString(value as string),
  }
}
