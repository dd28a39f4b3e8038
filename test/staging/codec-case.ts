/** One column type, and what its codec makes of values (codec-values.test.ts). */
import type { PgColumnBuilderBase } from 'drizzle-orm/pg-core'

export interface CodecCase {
  readonly mode: string
  readonly column: PgColumnBuilderBase
  readonly type: string
  /** Element type, its object id and its array's, and the cast on arrival. */
  readonly wire: readonly [string, number, number, string | null]
  readonly keyable: boolean
  readonly isCopied: boolean
  /** Given, kept, printed, bytes, weight in bytes of the heap. */
  readonly values: readonly (readonly [
    given: unknown,
    kept: unknown,
    printed: string,
    bytes: string,
    weight: number,
  ])[]
  /** Undefined: Postgres' order of this type is not ours to know. */
  readonly ascending: readonly unknown[] | undefined
}
