/**
 * Rows and keys of a table: from what a handler gives to what Postgres would hand back. Runs once per staged row, so
 * nothing is allocated beside the row itself.
 */
import { HandlerError, messageOf } from '../errors.ts'
import { show } from './column/show.ts'
import type { ColumnModel, KeyId, Row, TableModel } from './table.ts'

/** Heap bytes of a row beside its values. */
const rowOverhead = 56
const slotBytes = 8

/**
 * Applies defaults, brings every value to its canonical form, and freezes the row.
 * @throws HandlerError `INVALID_ROW` naming table, column and key: unknown property, missing or unfit value.
 */
export function completeRow(model: TableModel, input: Readonly<Record<string, unknown>>): Row {
  if (typeof input !== 'object' || input === null) {
    throw new HandlerError('INVALID_ROW', `${model.name}: expected a row, got ${show(input)}`, {
      table: model.name,
    })
  }
  const row = model.blankRow()
  const { columns } = model
  for (let index = 0; index < columns.length; index++) {
    const column = columns[index]!
    const { property } = column
    let value = input[property]
    // A column named like a method of every object ("constructor") is not given by that method.
    if (typeof value === 'function' && !Object.hasOwn(input, property)) value = undefined
    try {
      if (value === undefined) value = absentValue(column)
      row[property] = value === null ? nullValue(column) : column.codec.canonical(value)
    } catch (error) {
      throw rowError(model, column, input, error)
    }
  }
  for (const property in input) {
    const kept = row[property]
    if ((kept === undefined || typeof kept === 'function') && !Object.hasOwn(row, property)) {
      throw unknownProperty(model, property, input)
    }
  }
  return Object.freeze(row)
}

/** The row as handlers get it: with copies of what cannot be frozen, so that nobody changes what is staged (I17, H9). */
export function handedOut(model: TableModel, row: Row): Row {
  let copy: Record<string, unknown> | undefined
  for (const { codec, property } of model.copied) {
    const value = row[property]
    const own = value === null ? null : codec.copy!(value)
    if (own === value) continue
    copy ??= copyOf(model, row)
    copy[property] = own
  }
  return copy === undefined ? row : Object.freeze(copy)
}

/** The same values, not frozen. */
export function copyOf(model: TableModel, row: Row): Record<string, unknown> {
  const copy = model.blankRow()
  for (const { property } of model.columns) copy[property] = row[property]
  return copy
}

/** The key of a row: the value of a single column, or an object of the columns of a composite key. */
export function keyOf(model: TableModel, row: Row): unknown {
  const { key } = model
  if (key.length === 1) return row[key[0]!.property]
  const parts: Record<string, unknown> = {}
  for (const { property } of key) parts[property] = row[property]
  return Object.freeze(parts)
}

/**
 * A key as handlers write it → the key that Postgres would hand back, in the shape of `keyOf`.
 * @throws HandlerError `INVALID_KEY`
 */
export function canonicalKey(model: TableModel, key: unknown): unknown {
  const columns = model.key
  if (columns.length === 1) return canonicalPart(model, columns[0]!, key, key)
  if (typeof key !== 'object' || key === null) {
    const shape = columns.map(({ property }) => property).join(', ')
    throw keyError(model, undefined, key, `expected an object { ${shape} }, got ${show(key)}`)
  }
  const given = key as Readonly<Record<string, unknown>>
  const parts: Record<string, unknown> = {}
  for (const column of columns)
    parts[column.property] = canonicalPart(model, column, given[column.property], key)
  for (const property in given) {
    if (!Object.hasOwn(parts, property))
      throw keyError(model, undefined, key, `${property} is not part of the key`)
  }
  return Object.freeze(parts)
}

/**
 * Identity of a key as handlers write it. Equal for two keys exactly when Postgres takes them for the same.
 * @throws HandlerError `INVALID_KEY`
 */
export function keyIdOf(model: TableModel, key: unknown): KeyId {
  return keyIdOfCanonical(model, canonicalKey(model, key))
}

/** Identity of a key that came from `canonicalKey` or `keyOf`. */
export function keyIdOfCanonical(model: TableModel, key: unknown): KeyId {
  const columns = model.key
  if (columns.length === 1) return columns[0]!.codec.identity(key)
  return keyIdOfRow(model, key as Row)
}

/** Identity of a row that came from `completeRow` or from the database. */
export function keyIdOfRow(model: TableModel, row: Row): KeyId {
  const columns = model.key
  if (columns.length === 1) return columns[0]!.codec.identity(row[columns[0]!.property])
  let id = ''
  for (const { codec, property } of columns) {
    // The length in front keeps ('a', 'bc') and ('ab', 'c') apart.
    const part = String(codec.identity(row[property]))
    id += `${part.length}:${part}`
  }
  return id
}

/** `id = "0xab"`, for messages; never throws, whatever the key is. */
export function describeKey(model: TableModel, key: unknown): string {
  const columns = model.key
  if (columns.length === 1) return `${columns[0]!.property} = ${show(key)}`
  if (typeof key !== 'object' || key === null) return show(key)
  const parts = key as Readonly<Record<string, unknown>>
  return columns.map(({ property }) => `${property} = ${show(parts[property])}`).join(', ')
}

/** Heap bytes a canonical row holds, roughly; for the byte budget. */
export function rowBytes(model: TableModel, row: Row): number {
  const { columns } = model
  let bytes = rowOverhead + slotBytes * columns.length
  for (let index = 0; index < columns.length; index++) {
    const { codec, property } = columns[index]!
    const value = row[property]
    if (value !== null) bytes += codec.byteSize(value)
  }
  return bytes
}

function absentValue(column: ColumnModel): unknown {
  if (column.makeDefault !== undefined) return column.makeDefault() ?? null
  if (column.suppliedOnly !== undefined) {
    throw new Error(`the handler must supply the value: ${column.suppliedOnly} (a $defaultFn would do, too)`)
  }
  if (column.notNull) throw new Error('the value is missing, the column is NOT NULL and has no default')
  return null
}

function nullValue(column: ColumnModel): null {
  if (column.notNull) throw new Error('null is not allowed, the column is NOT NULL')
  return null
}

function canonicalPart(model: TableModel, column: ColumnModel, value: unknown, key: unknown): unknown {
  if (value === undefined || value === null) throw keyError(model, column, key, `the key is ${value}`)
  try {
    return column.codec.canonical(value)
  } catch (error) {
    throw keyError(model, column, key, messageOf(error), error)
  }
}

function keyError(
  model: TableModel,
  column: ColumnModel | undefined,
  key: unknown,
  why: string,
  cause?: unknown,
): HandlerError {
  const place = column === undefined ? model.name : `${model.name}.${column.property}`
  const facts = { phase: 'compute', table: model.name, column: column?.property, key, cause } as const
  return new HandlerError('INVALID_KEY', `${place}: ${why}`, facts)
}

function rowError(model: TableModel, column: ColumnModel, input: Row, cause: unknown): HandlerError {
  const key = givenKey(model, input)
  const message = `${model.name}.${column.property} of the row with ${describeKey(model, key)}: ${messageOf(cause)}`
  const facts = { phase: 'compute', table: model.name, column: column.property, key, cause } as const
  return new HandlerError('INVALID_ROW', message, facts)
}

function unknownProperty(model: TableModel, property: string, input: Row): HandlerError {
  const key = givenKey(model, input)
  const known = model.columns.map((column) => column.property).join(', ')
  const message = `${model.name} has no column ${property} (row with ${describeKey(model, key)}); it has ${known}`
  return new HandlerError('INVALID_ROW', message, {
    phase: 'compute',
    table: model.name,
    column: property,
    key,
  })
}

/** What the input gives as its key, canonical or not. */
function givenKey(model: TableModel, input: Row): unknown {
  if (model.key.length === 1) return input[model.key[0]!.property]
  return Object.fromEntries(model.key.map(({ property }) => [property, input[property]]))
}
