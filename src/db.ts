/** What handlers see of the database: one typed accessor per table. Shared by staging, compute and testing. */
import type { InferInsertModel, InferSelectModel } from 'drizzle-orm'
import type { PgTable } from 'drizzle-orm/pg-core'
import type { KeyedTable } from './staging/keyed.ts'

/** A drizzle table, or one with its composite key declared by `keyed()`. */
// eslint-disable-next-line typescript/no-explicit-any -- the key names differ per table
export type TableInput = PgTable | KeyedTable<any, any>
export type TablesInput = Readonly<Record<string, TableInput>>

// eslint-disable-next-line typescript/no-explicit-any -- see above
export type DefinitionOf<T> = T extends KeyedTable<infer D, any> ? D : T extends PgTable ? T : never

/** A row as handlers get it: drizzle's inferred type, frozen. */
export type RowOf<T> = Readonly<InferSelectModel<DefinitionOf<T>>>
/** A row as handlers give it: columns with a default may be left out. */
export type InsertOf<T> = InferInsertModel<DefinitionOf<T>>

type PrimaryColumn<D extends PgTable> = {
  [C in keyof D['_']['columns']]: D['_']['columns'][C]['_']['isPrimaryKey'] extends true ? C : never
}[keyof D['_']['columns']]

/** A single-column key is its value; a composite key is an object of its columns. */
export type KeyOf<T> =
  T extends KeyedTable<infer D, infer K>
    ? Pick<RowOf<D>, K & keyof RowOf<D>>
    : T extends PgTable
      ? [PrimaryColumn<T>] extends [never]
        ? { readonly 'declare this composite key with keyed()': never }
        : RowOf<T>[PrimaryColumn<T> & keyof RowOf<T>]
      : never

export interface Operators<V> {
  readonly eq?: NonNullable<V> | undefined
  readonly ne?: NonNullable<V> | undefined
  readonly in?: readonly NonNullable<V>[] | undefined
  readonly gt?: NonNullable<V> | undefined
  readonly gte?: NonNullable<V> | undefined
  readonly lt?: NonNullable<V> | undefined
  readonly lte?: NonNullable<V> | undefined
  readonly isNull?: boolean | undefined
}

/**
 * Columns are joined by AND. Three-valued logic as in SQL: a comparison with NULL is unknown, and only what is
 * true matches. `{ column: null }` means `isNull: true`.
 */
export type Where<R> = { readonly [C in keyof R]?: R[C] | Operators<R[C]> } & {
  readonly and?: readonly Where<R>[]
  readonly or?: readonly Where<R>[]
  readonly not?: Where<R>
}

/** Postgres' defaults: NULLs last when ascending, first when descending. Ties are broken by the key. */
export type Direction =
  'asc' | 'desc' | { readonly direction: 'asc' | 'desc'; readonly nulls?: 'first' | 'last' | undefined }

export interface FindOptions<R> {
  readonly where?: Where<R> | undefined
  readonly orderBy?:
    { readonly [C in keyof R]?: Direction } | readonly { readonly [C in keyof R]?: Direction }[] | undefined
  readonly limit?: number | undefined
  readonly offset?: number | undefined
}

/**
 * One table, read *through* everything staged and not yet committed. Reads see the state at the moment of the
 * call. Rows are frozen.
 */
export interface TableAccess<T extends TableInput> {
  get(key: KeyOf<T>): Promise<RowOf<T> | undefined>
  /** @throws HandlerError `ROW_NOT_FOUND` */
  getOrThrow(key: KeyOf<T>): Promise<RowOf<T>>
  /** In the order of the keys; `undefined` where there is no row. */
  getMany(keys: readonly KeyOf<T>[]): Promise<(RowOf<T> | undefined)[]>
  find(options?: FindOptions<RowOf<T>>): Promise<RowOf<T>[]>
  /**
   * Stages a row that must be new. A duplicate that is staged or cached throws at once (`DUPLICATE_KEY`); one
   * that only the database knows fails the commit, naming block and item.
   */
  insert(row: InsertOf<T>): void
  /** Stages the whole row, whether the key exists or not. */
  set(row: InsertOf<T>): void
  /** Stages the removal of the row, if there is one. */
  delete(key: KeyOf<T>): void
  /**
   * Merges a patch into the row that is there at this point of the program. Updates of one key are applied in the
   * order of the calls. Key columns cannot be changed.
   * @throws HandlerError `ROW_NOT_FOUND`
   */
  update(
    key: KeyOf<T>,
    patch: Partial<InsertOf<T>> | ((row: RowOf<T>) => Partial<InsertOf<T>>),
  ): Promise<RowOf<T>>
}

export type Db<Tables extends TablesInput> = { readonly [N in keyof Tables]: TableAccess<Tables[N]> }
