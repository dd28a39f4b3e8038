/** Columns of rows as binary array parameters, to be unnested by the server. */
import type { ColumnModel, Row } from '../../staging/table.ts'
import { arrayParameter, writeElement, type CopiedRows, type Parameter } from './frames.ts'

/** `rows[from, to)` of one column. */
export function columnParameter(
  column: ColumnModel,
  rows: readonly Row[],
  from = 0,
  to = rows.length,
): Parameter {
  const { wire } = column.codec
  const { property } = column
  return arrayParameter(wire.arrayOid, wire.elementOid, to - from, (index, out) =>
    writeElement(out, rows[from + index]![property], wire.encode),
  )
}

/** Can COPY take these columns? Only if they travel in their own type's binary form. */
export function isCopied(columns: readonly ColumnModel[]): boolean {
  return columns.every(({ codec }) => codec.wire.cast === null)
}

/** Whole rows, for a COPY of these columns. */
export function copiedRows(columns: readonly ColumnModel[], rows: readonly Row[]): CopiedRows {
  return {
    count: rows.length,
    columns: columns.length,
    write(index, out) {
      const row = rows[index]!
      for (const { codec, property } of columns) writeElement(out, row[property], codec.wire.encode)
    },
  }
}

/** `u.c1`, with the cast that turns what travelled into the column's type. */
export function unnestedColumn(column: ColumnModel, index: number): string {
  const { cast } = column.codec.wire
  return cast === null ? `u.c${index + 1}` : `u.c${index + 1}::${cast}`
}

/** `unnest($1::text[], $2::int8[]) AS u(c1, c2)` */
export function unnest(columns: readonly ColumnModel[], firstParameter = 1): string {
  const parameters = columns
    .map((column, index) => `$${firstParameter + index}::${column.codec.wire.elementType}[]`)
    .join(', ')
  const names = columns.map((_, index) => `c${index + 1}`).join(', ')
  return `unnest(${parameters}) AS u(${names})`
}
