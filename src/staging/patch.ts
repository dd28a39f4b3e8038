/** Merging a patch into a row, and keys in the shape of a row. */
import { HandlerError, messageOf } from '../errors.ts'
import { canonicalKey, copyOf, describeKey, keyOf } from './table-row.ts'
import type { Row, TableModel } from './table.ts'

/** A key as handlers write it → an object with just the key's properties, canonical. */
export function keyRowOf(model: TableModel, key: unknown): Row {
  const canonical = canonicalKey(model, key)
  return model.key.length === 1 ? { [model.key[0]!.property]: canonical } : (canonical as Row)
}

/**
 * The row with the patch's values; `undefined` leaves a value as it is. Only what changes is made canonical.
 * @throws HandlerError `INVALID_ROW`: unknown property, unfit value, changed key.
 */
export function patchRow(model: TableModel, row: Row, patch: unknown): Row {
  const refuse = (property: string | undefined, reason: string, cause?: unknown): never => {
    const place = property === undefined ? model.name : `${model.name}.${property}`
    const key = keyOf(model, row)
    throw new HandlerError('INVALID_ROW', `${place} of the row with ${describeKey(model, key)}: ${reason}`, {
      table: model.name,
      column: property,
      key,
      cause,
    })
  }
  if (typeof patch !== 'object' || patch === null) {
    return refuse(
      undefined,
      `update takes an object of columns (or a function that returns one), got ${typeof patch}`,
    )
  }
  if (patch instanceof Promise) return refuse(undefined, 'the function given to update must not be async')
  const patched = copyOf(model, row)
  for (const [property, value] of Object.entries(patch)) {
    const column = model.columns.find((candidate) => candidate.property === property)
    if (column === undefined) return refuse(property, 'there is no such column')
    if (value === undefined) continue
    if (value === null) {
      if (column.notNull) return refuse(property, 'null is not allowed, the column is NOT NULL')
      patched[property] = null
      continue
    }
    try {
      patched[property] = column.codec.canonical(value)
    } catch (error) {
      return refuse(property, messageOf(error), error)
    }
    if (
      model.key.includes(column) &&
      column.codec.identity(patched[property]) !== column.codec.identity(row[property])
    ) {
      return refuse(property, 'a key cannot be changed; delete the row and insert it under the new key')
    }
  }
  return Object.freeze(patched)
}
