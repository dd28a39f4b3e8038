/** A table as tailrace sees it: the user's drizzle definition, its key, and one codec per column. */
import type { PgTable } from 'drizzle-orm/pg-core'
import type { ColumnCodec } from './column/codec.ts'

/** A row in the user's shape: property names of the drizzle definition → canonical values; frozen. */
export type Row = Readonly<Record<string, unknown>>

/** Identity of a row inside its table: a primitive, so that a Map can hold it. */
export type KeyId = string | number | bigint | boolean

export interface ColumnModel {
  /** Name in rows. */
  readonly property: string
  /** Name in SQL (drizzle's casing applied). */
  readonly sqlName: string
  readonly notNull: boolean
  readonly codec: ColumnCodec
  /** Literal default or `$defaultFn`; applied at staging. `undefined`: none. */
  readonly makeDefault: (() => unknown) | undefined
  /** Why the handler must supply the value although the database has a default; `undefined`: no such default. */
  readonly suppliedOnly?: string | undefined
}

export interface TableModel {
  /** Name under which handlers reach it: `db.<name>`. */
  readonly name: string
  readonly schema: string
  readonly sqlName: string
  readonly columns: readonly ColumnModel[]
  /** One or more columns, in declared order. */
  readonly key: readonly ColumnModel[]
  /** Columns whose values cannot be frozen: handlers get copies of them. */
  readonly copied: readonly ColumnModel[]
  /** Makes a row without values: an object like `{}`, laid out for this table. */
  readonly blankRow: () => Record<string, unknown>
  readonly definition: PgTable
}
