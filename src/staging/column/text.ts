/** text, varchar(n), char(n), and enums: all of them strings. */
import { characterCount, compareText, storableText, withoutTrailingSpaces } from './characters.ts'
import { ValueError, type ColumnCodec } from './codec.ts'
import { show } from './show.ts'
import { sizeOfString } from './size.ts'
import { textWire } from './wire.ts'

const same = (value: unknown): string => value as string

function stringCodec(
  pgType: string,
  cast: string | null,
  canonical: (value: unknown) => string,
  compare: (a: string, b: string) => number,
): ColumnCodec {
  return {
    pgType,
    wire: textWire(cast, same),
    canonical,
    decode: same,
    print: same,
    compare: compare as (a: unknown, b: unknown) => number,
    keyable: true,
    identity: same,
    byteSize: (value) => sizeOfString(value as string),
  }
}

export function textCodec(): ColumnCodec {
  return stringCodec('text', null, storableText, compareText)
}

/** Spaces beyond the limit are cut off, as Postgres does; any other character there is refused. */
export function varcharCodec(limit: number | undefined): ColumnCodec {
  if (limit === undefined) return stringCodec('character varying', null, storableText, compareText)
  const pgType = `character varying(${limit})`
  return stringCodec(pgType, null, (value) => fit(storableText(value), limit, pgType), compareText)
}

/** Padded with spaces to its length; they do not count in comparisons. */
export function charCodec(length: number): ColumnCodec {
  const pgType = `character(${length})`
  const canonical = (value: unknown): string => {
    const text = fit(storableText(value), length, pgType)
    const missing = length - characterCount(text)
    return missing === 0 ? text : text + ' '.repeat(missing)
  }
  const compare = (a: string, b: string): number =>
    compareText(withoutTrailingSpaces(a), withoutTrailingSpaces(b))
  // Cast on arrival: compared with text, a char(n) column would lose its padding and equal nothing.
  return stringCodec(pgType, pgType, canonical, compare)
}

/** @param pgType the enum's name as SQL writes it. */
export function enumCodec(pgType: string, values: readonly string[]): ColumnCodec {
  const order = new Map(values.map((value, index) => [value, index]))
  const canonical = (value: unknown): string => {
    if (order.has(value as string)) return value as string
    throw new ValueError(
      `the enum ${pgType} has no value ${show(value)}; it has ${values.map(show).join(', ')}`,
    )
  }
  const compare = (a: string, b: string): number => (order.get(a) ?? -1) - (order.get(b) ?? -1)
  return { ...stringCodec(pgType, pgType, canonical, compare), decode: canonical }
}

function fit(text: string, limit: number, pgType: string): string {
  if (text.length <= limit) return text
  const count = characterCount(text)
  if (count <= limit) return text
  const bare = withoutTrailingSpaces(text)
  const bareCount = characterCount(bare)
  if (bareCount > limit)
    throw new ValueError(`${pgType} cannot hold ${show(text)}: it has ${bareCount} characters`)
  return bare + ' '.repeat(limit - bareCount)
}
