/**
 * Colour, numbers and lines that fit. `styleText` leaves colour out where there is no terminal or NO_COLOR is set; a
 * width of Infinity (no terminal) leaves everything unabridged, one fact a line.
 */
import { stripVTControlCharacters, styleText } from 'node:util'

type Paint = (text: string) => string

export const bold: Paint = (text) => styleText('bold', text)
export const dim: Paint = (text) => styleText('dim', text)
export const green: Paint = (text) => styleText('green', text)
export const yellow: Paint = (text) => styleText('yellow', text)
/** For the other stream. */
export const redError: Paint = (text) => styleText('red', text, { stream: process.stderr })

/** Columns of the terminal; Infinity: there is none. */
export const columnsOf = (stream: NodeJS.WriteStream): number =>
  stream.isTTY ? Math.max(40, stream.columns || 80) : Infinity

export const count = (value: bigint | number): string => value.toLocaleString('en-US')

export const plural = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`

export function bytes(value: bigint): string {
  const size = Number(value)
  if (size < 1_000) return `${size} B`
  if (size < 1_000_000) return `${Math.round(size / 1_000)} kB`
  return size < 1_000_000_000
    ? `${(size / 1_000_000).toFixed(1)} MB`
    : `${(size / 1_000_000_000).toFixed(1)} GB`
}

export function duration(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1_000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} days`
}

/** `2026-11-21 14:51:02 UTC` */
export const moment = (at: Date): string => `${at.toISOString().slice(0, 19).replace('T', ' ')} UTC`

const longestHash = 22

/** Both ends of a long hash, where there is a terminal to fit. */
export function hashFor(width: number, hash: string): string {
  return width === Infinity || hash.length <= longestHash ? hash : `${hash.slice(0, 10)}…${hash.slice(-8)}`
}

const labelWidth = 10
const separator = ' · '

const lengthOf = (text: string): number => stripVTControlCharacters(text).length

/** A label and what belongs to it; what does not fit goes to the next line, between two parts. */
export function fact(label: string, parts: readonly string[], width: number): string[] {
  const room = width - labelWidth - 2
  const lines: string[] = []
  let line = ''
  for (const part of parts) {
    if (line !== '' && lengthOf(line) + separator.length + lengthOf(part) > room) {
      lines.push(line)
      line = part
    } else {
      line = line === '' ? part : `${line}${dim(separator)}${part}`
    }
  }
  lines.push(line)
  return lines.map((text, index) =>
    index === 0 && label !== ''
      ? `  ${dim(label.padEnd(labelWidth))}${text}`
      : `${' '.repeat(labelWidth + 2)}${text}`,
  )
}

/** What the following facts are about. */
export const titled = (title: string, text: string): string =>
  `  ${bold(title)}${' '.repeat(Math.max(2, labelWidth - title.length))}${text}`

export function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`)
}

/** One document; bigints are decimal strings. */
export function printJson(document: unknown): void {
  const text = JSON.stringify(
    document,
    (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
    2,
  )
  process.stdout.write(`${text}\n`)
}
