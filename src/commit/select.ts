/**
 * Loads: rows by key, and `find`'s share of the database. Must agree with `staging/where.ts` and
 * `staging/order.ts` on every row, so text is compared and ordered by code point whatever the column's collation.
 */
import { RetryableError, messageOf } from '../errors.ts'
import { GrowingWriter } from '../staging/column/writer.ts'
import type { OrderTerm } from '../staging/order.ts'
import type { FindQuery, Reader } from '../staging/reader.ts'
import type { ColumnModel, Row, TableModel } from '../staging/table.ts'
import type { Comparison, Predicate } from '../staging/where.ts'
import { qualified, quoteName } from './sql-names.ts'
import { columnParameter, unnest, unnestedColumn } from './wire/columns.ts'
import type { Parameter } from './wire/frames.ts'

/** What a reader needs of a pool: rows as arrays of raw text. */
export type QueryText = (
  text: string,
  values: readonly Buffer[],
) => Promise<readonly (readonly (string | null)[])[]>

export function reader(query: QueryText): Reader {
  const load = async (model: TableModel, text: string, values: readonly Buffer[]) => {
    let rows
    try {
      rows = await query(text, values)
    } catch (cause) {
      throw new RetryableError('READ_FAILED', `Reading table \`${model.name}\` failed: ${messageOf(cause)}`, {
        cause,
        phase: 'compute',
        table: model.name,
      })
    }
    return rows.map((row) => decodeRow(model, row))
  }
  return {
    byKeys(model, keys) {
      const matches = model.key.map(
        (column, index) => `t.${quoteName(column.sqlName)} = ${unnestedColumn(column, index)}`,
      )
      const text = `SELECT ${columnList(model)} FROM ${unnest(model.key)} JOIN ${table(model)} AS t ON ${matches.join(' AND ')}`
      return load(
        model,
        text,
        model.key.map((column) => bytesOf(columnParameter(column, keys))),
      )
    },
    find(model, findQuery) {
      const values: Buffer[] = []
      const text = selectText(model, findQuery, (parameter) => values.push(bytesOf(parameter)))
      return load(model, text, values)
    },
  }
}

/** @param bind adds a parameter and returns its number */
export function selectText(
  model: TableModel,
  query: FindQuery,
  bind: (parameter: Parameter) => number,
): string {
  const order = query.order.map(orderTerm).join(', ')
  const limit = query.limit === undefined ? '' : ` LIMIT ${query.limit}`
  return `SELECT ${columnList(model)} FROM ${table(model)} AS t WHERE ${condition(query.predicate, bind)} ORDER BY ${order}${limit}`
}

function condition(predicate: Predicate, bind: (parameter: Parameter) => number): string {
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
      return `${columnName(predicate.column)} = ANY (${bindArray(predicate.column, predicate.values, bind)})`
    case 'compare':
      return `${sorted(predicate.column)} ${operator[predicate.op]} ${bindValue(predicate.column, predicate.value, bind)}`
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

function bindArray(
  column: ColumnModel,
  values: readonly unknown[],
  bind: (parameter: Parameter) => number,
): string {
  const { cast, elementType } = column.codec.wire
  const rows = values.map((value) => ({ [column.property]: value }))
  const array = `$${bind(columnParameter(column, rows))}::${elementType}[]`
  return cast === null ? array : `${array}::${cast}[]`
}

function bindValue(column: ColumnModel, value: unknown, bind: (parameter: Parameter) => number): string {
  const { wire } = column.codec
  const number = bind({ oid: wire.elementOid, write: (out) => wire.encode(value, out) })
  const scalar = `$${number}::${wire.elementType}`
  return wire.cast === null ? scalar : `${scalar}::${wire.cast}`
}

function orderTerm(term: OrderTerm): string {
  return `${sorted(term.column)} ${term.descending ? 'DESC' : 'ASC'} NULLS ${term.nullsFirst ? 'FIRST' : 'LAST'}`
}

/** Types whose order depends on a collation unless one is given. */
const collated = /^(text|character)/

function sorted(column: ColumnModel): string {
  return collated.test(column.codec.pgType) ? `${columnName(column)} COLLATE "C"` : columnName(column)
}

function columnName(column: ColumnModel): string {
  return `t.${quoteName(column.sqlName)}`
}

function columnList(model: TableModel): string {
  return model.columns.map((column) => `${columnName(column)}`).join(', ')
}

function table(model: TableModel): string {
  return qualified(model.schema, model.sqlName)
}

function bytesOf(parameter: Parameter): Buffer {
  const out = new GrowingWriter(256)
  parameter.write(out)
  return out.view()
}

/** Rows come as text, so that every type is read by the codec that knows what was staged. */
function decodeRow(model: TableModel, values: readonly (string | null)[]): Row {
  const row: Record<string, unknown> = {}
  const { columns } = model
  for (let index = 0; index < columns.length; index++) {
    const value = values[index]
    const column = columns[index]!
    row[column.property] = value === null || value === undefined ? null : column.codec.decode(value)
  }
  return Object.freeze(row)
}
