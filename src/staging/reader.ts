/** The load port: what staging asks of the database. Implemented in `commit/`. */
import type { OrderTerm } from './order.ts'
import type { Row, TableModel } from './table.ts'
import type { Predicate } from './where.ts'

export interface FindQuery {
  readonly predicate: Predicate
  readonly order: readonly OrderTerm[]
  /** `undefined`: all. */
  readonly limit: number | undefined
}

export interface Reader {
  /** Rows of these keys, in any order; absent ones are left out. Rows are canonical and frozen. */
  byKeys(model: TableModel, keys: readonly Row[]): Promise<readonly Row[]>
  find(model: TableModel, query: FindQuery): Promise<readonly Row[]>
}
