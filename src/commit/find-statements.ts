/**
 * SQL of finds. Those that differ in their values only share a text, and become one statement: their values are the
 * rows of `q`, and each row has its own answer.
 */
import type { FindQuery } from '../staging/reader.ts'
import type { ColumnModel, TableModel } from '../staging/table.ts'
import { selectText, type Binder } from './select.ts'
import { columnParameter } from './wire/columns.ts'
import { arrayParameter, bytesOf, int8ArrayParameter, writeElement } from './wire/frames.ts'

export interface Statement {
  readonly text: string
  readonly values: readonly Buffer[]
}

/** A find whose values are named `q.v1`, `q.v2`, … and its limit `q.rows`. */
export interface Shape {
  readonly text: string
  readonly values: readonly { readonly column: ColumnModel; readonly value: unknown }[]
}

/** undefined: it has a list of values, and stands alone. */
export function shapeOf(model: TableModel, { predicate, order }: FindQuery): Shape | undefined {
  const values: { readonly column: ColumnModel; readonly value: unknown }[] = []
  let hasList = false
  const text = selectText(model, predicate, order, 'q.rows', {
    value: (column, value) => cast(column, `q.v${values.push({ column, value })}`),
    array: () => ((hasList = true), 'NULL'),
  })
  return hasList ? undefined : { text, values }
}

export function findOne(model: TableModel, { predicate, order, limit }: FindQuery): Statement {
  const values: Buffer[] = []
  const bind: Binder = {
    value(column, value) {
      const { wire } = column.codec
      const number = values.push(bytesOf({ oid: wire.elementOid, write: (out) => wire.encode(value, out) }))
      return cast(column, `$${number}::${wire.elementType}`)
    },
    array(column, elements) {
      const { cast: type, elementType } = column.codec.wire
      const rows = elements.map((value) => ({ [column.property]: value }))
      const array = `$${values.push(bytesOf(columnParameter(column, rows)))}::${elementType}[]`
      return type === null ? array : `${array}::${type}[]`
    },
  }
  const text = selectText(model, predicate, order, limit === undefined ? undefined : String(limit), bind)
  return { text, values }
}

/** Each row of the result begins with the number of its find, from 1. */
export function findMany(shapes: readonly Shape[], limits: readonly (number | undefined)[]): Statement {
  const { text, values } = shapes[0]!
  const arrays = values.map(({ column: { codec } }, index) =>
    arrayParameter(codec.wire.arrayOid, codec.wire.elementOid, shapes.length, (row, out) =>
      writeElement(out, shapes[row]!.values[index]!.value, codec.wire.encode),
    ),
  )
  const types = values.map(({ column }, index) => `, $${index + 2}::${column.codec.wire.elementType}[]`)
  const names = values.map((_, index) => `, v${index + 1}`)
  return {
    text: `SELECT q.find, r.* FROM unnest($1::int8[]${types.join('')}) WITH ORDINALITY AS q(rows${names.join('')}, find) CROSS JOIN LATERAL (${text}) AS r`,
    // LIMIT NULL: all
    values: [int8ArrayParameter(limits.map((limit) => limit ?? null)), ...arrays].map(bytesOf),
  }
}

function cast(column: ColumnModel, value: string): string {
  const { wire } = column.codec
  return wire.cast === null ? value : `${value}::${wire.cast}`
}
