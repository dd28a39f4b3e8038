/**
 * `find`'s share of the database as SQL. Must agree with `staging/where.ts` and `staging/order.ts` on every row, so
 * text is compared and ordered by code point whatever the column's collation.
 */
import type { OrderTerm } from '../staging/order.ts'
import type { ColumnModel, TableModel } from '../staging/table.ts'
import type { Comparison, Predicate } from '../staging/where.ts'
import { qualified, quoteName } from './sql-names.ts'

/** Puts the values of a condition where the server finds them; each returns the SQL that stands for them. */
export interface Binder {
  value(column: ColumnModel, value: unknown): string
  array(column: ColumnModel, values: readonly unknown[]): string
}

/** @param limit SQL; undefined: all rows */
export function selectText(
  model: TableModel,
  predicate: Predicate,
  order: readonly OrderTerm[],
  limit: string | undefined,
  bind: Binder,
): string {
  const terms = order.map(orderTerm).join(', ')
  const end = limit === undefined ? '' : ` LIMIT ${limit}`
  return `SELECT ${columnList(model)} FROM ${tableName(model)} AS t WHERE ${condition(predicate, bind)} ORDER BY ${terms}${end}`
}

function condition(predicate: Predicate, bind: Binder): string {
  switch (predicate.kind) {
    case 'and':
    case 'or': {
      if (predicate.parts.length === 0) return predicate.kind === 'and' ? 'TRUE' : 'FALSE'
      const parts = predicate.parts.map((part) => `(${condition(part, bind)})`)
      return parts.join(predicate.kind === 'and' ? ' AND ' : ' OR ')
    }
    case 'not':
      return `NOT (${condition(predicate.part, bind)})`
    case 'isNull':
      return `${columnName(predicate.column)} IS ${predicate.negated ? 'NOT NULL' : 'NULL'}`
    case 'in':
      return `${columnName(predicate.column)} = ANY (${bind.array(predicate.column, predicate.values)})`
    case 'compare':
      return `${compared(predicate.column, predicate.op)} ${operator[predicate.op]} ${bind.value(predicate.column, predicate.value)}`
    default:
      throw new Error(`unreachable: ${String(predicate satisfies never)}`)
  }
}

const operator: Readonly<Record<Comparison, string>> = {
  eq: '=',
  ne: '<>',
  gt: '>',
  gte: '>=',
  lt: '<',
  lte: '<=',
}

function orderTerm(term: OrderTerm): string {
  return `${sorted(term.column)} ${term.descending ? 'DESC' : 'ASC'} NULLS ${term.nullsFirst ? 'FIRST' : 'LAST'}`
}

/** Types whose order depends on a collation unless one is given; an enum may be named `text_kind`. */
const collated = /^(text|character( varying)?)(\(\d+\))?$/

function sorted(column: ColumnModel): string {
  return collated.test(column.codec.pgType) ? `${columnName(column)} COLLATE "C"` : columnName(column)
}

/** Texts that are equal are so in every collation (nondeterministic ones are refused), and thus any index serves. */
function compared(column: ColumnModel, op: Comparison): string {
  return op === 'eq' || op === 'ne' ? columnName(column) : sorted(column)
}

export function columnName(column: ColumnModel): string {
  return `t.${quoteName(column.sqlName)}`
}

export function columnList(model: TableModel): string {
  return model.columns.map(columnName).join(', ')
}

export function tableName(model: TableModel): string {
  return qualified(model.schema, model.sqlName)
}
