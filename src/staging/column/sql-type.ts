/** The closed list of Postgres types, and how their names are read, whichever of their spellings is used. */

export type BaseType =
  | 'text'
  | 'varchar'
  | 'char'
  | 'uuid'
  | 'boolean'
  | 'smallint'
  | 'integer'
  | 'bigint'
  | 'numeric'
  | 'real'
  | 'double precision'
  | 'timestamp'
  | 'timestamptz'
  | 'date'
  | 'time'
  | 'json'
  | 'jsonb'
  | 'bytea'

export interface SqlType {
  readonly base: BaseType
  /** Length, precision or precision and scale; `undefined` where not given. */
  readonly first: number | undefined
  readonly second: number | undefined
}

const spellings: ReadonlyMap<string, BaseType> = new Map<string, BaseType>([
  ['text', 'text'],
  ['varchar', 'varchar'],
  ['character varying', 'varchar'],
  ['char', 'char'],
  ['character', 'char'],
  ['uuid', 'uuid'],
  ['boolean', 'boolean'],
  ['bool', 'boolean'],
  ['smallint', 'smallint'],
  ['int2', 'smallint'],
  ['smallserial', 'smallint'],
  ['integer', 'integer'],
  ['int', 'integer'],
  ['int4', 'integer'],
  ['serial', 'integer'],
  ['bigint', 'bigint'],
  ['int8', 'bigint'],
  ['bigserial', 'bigint'],
  ['numeric', 'numeric'],
  ['decimal', 'numeric'],
  ['real', 'real'],
  ['float4', 'real'],
  ['double precision', 'double precision'],
  ['float8', 'double precision'],
  ['timestamp', 'timestamp'],
  ['timestamp without time zone', 'timestamp'],
  ['timestamp with time zone', 'timestamptz'],
  ['timestamptz', 'timestamptz'],
  ['date', 'date'],
  ['time', 'time'],
  ['time without time zone', 'time'],
  ['json', 'json'],
  ['jsonb', 'jsonb'],
  ['bytea', 'bytea'],
])

/** What to declare instead of some types that are often asked for. */
const remedies: readonly (readonly [RegExp, string])[] = [
  [
    /^(time\b.*with time zone|timetz)/,
    'use timestamp({ withTimezone: true }), or time() and the zone in a text column',
  ],
  [/^interval/, 'store seconds or microseconds in a bigint column'],
  [/^(inet|cidr|macaddr)/, 'use text'],
  [/^citext/, 'use text, and lower-case the value in the handler'],
  [/^money/, 'use numeric'],
  [/^(point|line|geometry|geography|box|circle|path|polygon)/, 'use double precision columns, or jsonb'],
  [/^(vector|halfvec|sparsevec)/, 'use real().array()'],
  [/^(bit|varbit)/, 'use bytea, or text of 0 and 1'],
  [/^xml/, 'use text'],
  [/\[\d*\]$/, 'use drizzle’s .array() on the element type'],
]

const shape = /^([^()]+?)\s*(?:\(\s*(\d+)\s*(?:,\s*(-?\d+)\s*)?\)\s*([a-z ]*))?$/

/** `undefined`: the type is not on the list. */
export function parseSqlType(text: string): SqlType | undefined {
  const match = shape.exec(text.trim().toLowerCase().replace(/\s+/g, ' '))
  if (match === null) return undefined
  const [, head = '', first, second, tail = ''] = match
  const base = spellings.get(tail === '' ? head : `${head} ${tail}`)
  if (base === undefined) return undefined
  return {
    base,
    first: first === undefined ? undefined : Number(first),
    second: second === undefined ? undefined : Number(second),
  }
}

/** What to use instead of a type that is not on the list. */
export function remedyFor(text: string): string {
  const found = remedies.find(([pattern]) => pattern.test(text.trim().toLowerCase()))
  if (found !== undefined) return found[1]
  return `use one of ${[...new Set(spellings.values())].join(', ')}, an enum, or a one-dimensional array of these`
}
