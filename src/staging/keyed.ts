/** Composite keys: drizzle's table type does not know them, so they are declared beside the table. */
import { is } from 'drizzle-orm'
import { PgTable } from 'drizzle-orm/pg-core'

/** Registered, so that two copies of tailrace in one process understand each other's tables. */
const brand: unique symbol = Symbol.for('tailrace.keyed') as never

/** A drizzle table and the columns of its key, in the order in which the key is written and sorted. */
export interface KeyedTable<TTable extends PgTable = PgTable, TKeys extends string = string> {
  readonly [brand]: true
  readonly table: TTable
  readonly keys: readonly TKeys[]
}

/** Names of a table's columns as rows have them. */
export type ColumnNames<TTable extends PgTable> = keyof TTable['_']['columns'] & string

/**
 * Declares the key of a table with a composite primary key. Handlers then use `get({ owner, spender })`.
 * The columns must be those of the table's primary key; that is checked at start.
 * @example
 * ```ts
 * tables: { allowance: keyed(schema.allowance, 'owner', 'spender') }
 * ```
 */
export function keyed<TTable extends PgTable, const TKeys extends ColumnNames<TTable>>(
  table: TTable,
  ...keys: readonly [TKeys, ...TKeys[]]
): KeyedTable<TTable, TKeys> {
  return { [brand]: true, table, keys }
}

export function isKeyedTable(value: unknown): value is KeyedTable {
  return (
    typeof value === 'object' &&
    value !== null &&
    brand in value &&
    'table' in value &&
    is(value.table, PgTable)
  )
}

/** True when the table's type names a `.primaryKey()` column; a key declared by `primaryKey({ columns })` is not in it. */
export type HasKeyColumn<TTable extends PgTable> = true extends {
  [C in keyof TTable['_']['columns']]: TTable['_']['columns'][C]['_']['isPrimaryKey']
}[keyof TTable['_']['columns']]
  ? true
  : false

/** Intersected with a table of the options: turns a table whose key must be declared into a compile error. */
export type WithKey<T> = T extends KeyedTable
  ? T
  : T extends PgTable
    ? HasKeyColumn<T> extends true
      ? T
      : { readonly 'declare the key of this table with keyed(table, ...columns)': never }
    : never

/** @example `tables: TTables & TablesWithKeys<TTables>` */
export type TablesWithKeys<TTables> = { readonly [N in keyof TTables]: WithKey<TTables[N]> }
