/** Order of a `find`: as Postgres orders, always ending with the key, so that it is total and repeatable. */
import type { ColumnModel, Row, TableModel } from './table.ts'
import { columnNamed, invalid } from './where.ts'

export interface OrderTerm {
  readonly column: ColumnModel
  readonly descending: boolean
  readonly nullsFirst: boolean
}

/** @throws HandlerError `INVALID_WHERE` for an unknown column, direction, or a type without an order. */
export function parseOrder(model: TableModel, orderBy: unknown): readonly OrderTerm[] {
  const terms: OrderTerm[] = []
  for (const part of orderBy === undefined ? [] : Array.isArray(orderBy) ? orderBy : [orderBy]) {
    if (typeof part !== 'object' || part === null)
      throw invalid(model, 'expected an object', undefined, 'orderBy')
    for (const [name, direction] of Object.entries(part as Record<string, unknown>)) {
      if (direction !== undefined) terms.push(parseTerm(model, columnNamed(model, name), direction))
    }
  }
  for (const column of model.key) {
    if (!terms.some((term) => term.column === column))
      terms.push({ column, descending: false, nullsFirst: false })
  }
  return terms
}

function parseTerm(model: TableModel, column: ColumnModel, given: unknown): OrderTerm {
  const { direction, nulls } = (
    typeof given === 'object' && given !== null ? given : { direction: given }
  ) as { direction?: unknown; nulls?: unknown }
  if (column.codec.compare === undefined) {
    throw invalid(model, `a column of type ${column.codec.pgType} has no order`, column.property, 'orderBy')
  }
  if (direction !== 'asc' && direction !== 'desc') {
    throw invalid(model, `expected 'asc' or 'desc', got ${String(direction)}`, column.property, 'orderBy')
  }
  if (nulls !== undefined && nulls !== 'first' && nulls !== 'last') {
    throw invalid(
      model,
      `nulls: expected 'first' or 'last', got ${String(nulls)}`,
      column.property,
      'orderBy',
    )
  }
  const descending = direction === 'desc'
  return { column, descending, nullsFirst: nulls === undefined ? descending : nulls === 'first' }
}

export function comparator(terms: readonly OrderTerm[]): (a: Row, b: Row) => number {
  return (a, b) => {
    for (const { column, descending, nullsFirst } of terms) {
      const left = a[column.property]
      const right = b[column.property]
      if (left === null || right === null) {
        if (left === right) continue
        return (left === null) === nullsFirst ? -1 : 1
      }
      const sign = column.codec.compare!(left, right)
      if (sign !== 0) return descending ? -sign : sign
    }
    return 0
  }
}
