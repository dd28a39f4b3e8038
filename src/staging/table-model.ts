/**
 * From a drizzle definition to a TableModel: its columns with their codecs and defaults, and its key. What could not be
 * read back before its commit is refused here, by name and with the remedy.
 */
import { getTableColumns, is, SQL } from 'drizzle-orm'
import { toCamelCase, toSnakeCase } from 'drizzle-orm/casing'
import { getTableConfig, PgTable, type PgColumn } from 'drizzle-orm/pg-core'
import { ConfigurationError, messageOf } from '../errors.ts'
import { codecOf } from './column/codec-of.ts'
import type { ColumnCodec } from './column/codec.ts'
import { isKeyedTable, type KeyedTable } from './keyed.ts'
import { keyProperties } from './table-key.ts'
import { refuseActions, refuseColumn, refuseName, refuseSharedNames, suppliedOnly } from './table-refusals.ts'
import type { ColumnModel, TableModel } from './table.ts'

/** drizzle's option of the same name: how columns without a name of their own are named in SQL. */
export type Casing = 'snake_case' | 'camelCase'

export interface TableModelOptions {
  readonly casing?: Casing | undefined
}

/**
 * @param name under which handlers reach the table: `db.<name>`
 * @throws ConfigurationError when the definition holds something that tailrace cannot keep its word about.
 */
export function tableModelOf(
  name: string,
  definition: PgTable | KeyedTable,
  options: TableModelOptions = {},
): TableModel {
  const table = isKeyedTable(definition) ? definition.table : definition
  if (!is(table, PgTable)) {
    const message = `tables.${name} is not a drizzle pgTable (nor keyed(pgTable, ...)); is its import right?`
    throw new ConfigurationError('INVALID_TABLE', message, { phase: 'opening', table: name })
  }
  const config = getTableConfig(table)
  const keys = keyProperties(name, table, isKeyedTable(definition) ? definition.keys : undefined)
  const isKey = new Set(keys)
  const columns = Object.entries(getTableColumns(table)).map(([property, column]) =>
    columnModel(name, property, column, isKey.has(property), options.casing),
  )
  const schema = config.schema ?? 'public'
  refuseName(name, 'schema', schema)
  refuseName(name, 'table', config.name)
  refuseSharedNames(name, columns)
  refuseActions(name, config.foreignKeys)
  const key = keys.map((property) => columns.find((column) => column.property === property)!)
  refuseUnfitKeys(name, key)
  const copied = columns.filter(({ codec }) => codec.copy !== undefined)
  return {
    name,
    schema,
    sqlName: config.name,
    columns,
    key,
    copied,
    blankRow: rowMaker(),
    definition: table,
  }
}

/**
 * Plain objects, from a constructor of the table's own: V8 learns from its first objects how many properties they get and
 * makes room for as many as eight inside the object. Of `{}` all but four lie in a second one, which then has to be
 * collected, too.
 */
function rowMaker(): TableModel['blankRow'] {
  const PlainRow = function () {} as unknown as new () => Record<string, unknown>
  PlainRow.prototype = Object.prototype
  return () => new PlainRow()
}

function columnModel(
  table: string,
  property: string,
  column: PgColumn,
  isKey: boolean,
  casing: Casing | undefined,
): ColumnModel {
  const sqlName = sqlNameOf(column, casing)
  refuseName(table, 'column', sqlName)
  refuseColumn(table, property, column)
  const codec = codecOf(column, table)
  return {
    property,
    sqlName,
    notNull: column.notNull || isKey,
    codec,
    makeDefault: defaultOf(table, property, column, codec),
    suppliedOnly: suppliedOnly(column),
  }
}

function sqlNameOf(column: PgColumn, casing: Casing | undefined): string {
  if (!column.keyAsName || casing === undefined) return column.name
  return casing === 'snake_case' ? toSnakeCase(column.name) : toCamelCase(column.name)
}

/** `$defaultFn` wins over a literal, as in drizzle. */
function defaultOf(
  table: string,
  property: string,
  column: PgColumn,
  codec: ColumnCodec,
): (() => unknown) | undefined {
  if (column.defaultFn !== undefined) return column.defaultFn
  const literal: unknown = column.default
  if (literal === undefined || literal === null || is(literal, SQL)) return undefined
  try {
    codec.canonical(literal)
  } catch (error) {
    const message = `${table}.${property}: its default does not fit: ${messageOf(error)}`
    throw new ConfigurationError('INVALID_DEFAULT', message, {
      phase: 'opening',
      table,
      column: property,
      cause: error,
    })
  }
  return () => literal
}

function refuseUnfitKeys(table: string, key: readonly ColumnModel[]): void {
  for (const { property, codec } of key) {
    if (codec.keyable) continue
    const message =
      `${table}.${property} cannot be part of a key: equality of ${codec.pgType} is not the same in JavaScript and in ` +
      `Postgres; use text, uuid, an integer type, numeric(p,s), numeric({ mode: 'bigint' }), bytea, date or timestamp`
    throw new ConfigurationError('INVALID_KEY', message, { phase: 'opening', table, column: property })
  }
}
