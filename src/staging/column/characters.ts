/** What Postgres can hold as text, and how it orders it: by code point, which is the order of UTF-8 bytes. */
import { ValueError } from './codec.ts'
import { wrongType } from './show.ts'

/** Node 20 has it, the es2023 library does not declare it yet. */
type MaybeIllFormed = string & { isWellFormed(): boolean }

/** @throws ValueError unless the value is a string that Postgres can store. */
export function storableText(value: unknown): string {
  if (typeof value !== 'string') throw new ValueError(wrongType('a string', value))
  refuseUnstorable(value)
  return value
}

/** @throws ValueError on U+0000 and on half of a surrogate pair. */
export function refuseUnstorable(value: string): void {
  if (value.includes('\0'))
    throw new ValueError('Postgres text cannot hold the character U+0000; remove it or use bytea')
  if (!(value as MaybeIllFormed).isWellFormed()) {
    throw new ValueError(
      'the string holds half of a surrogate pair, which is not text; remove it or use bytea',
    )
  }
}

/** Number of characters as Postgres counts them. */
export function characterCount(value: string): number {
  let count = value.length
  for (let index = 0; index < value.length; index++) {
    if ((value.charCodeAt(index) & 0xfc00) === 0xd800) count--
  }
  return count
}

/** `value` without trailing spaces; no other white space counts. */
export function withoutTrailingSpaces(value: string): string {
  let end = value.length
  while (end > 0 && value.charCodeAt(end - 1) === 0x20) end--
  return end === value.length ? value : value.slice(0, end)
}

/** JavaScript's `<` compares UTF-16 units, which puts U+E000–U+FFFF after the surrogate pairs; Postgres does not. */
export function compareText(a: string, b: string): number {
  const shared = Math.min(a.length, b.length)
  for (let index = 0; index < shared; index++) {
    const left = a.charCodeAt(index)
    const right = b.charCodeAt(index)
    if (left !== right) return rank(left) - rank(right)
  }
  return a.length - b.length
}

function rank(unit: number): number {
  if (unit < 0xd800) return unit
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800
}
