/**
 * What the user's drizzle definition says about a table beyond its TableModel: enums, constraints, the names
 * that drizzle's casing gives to columns which a constraint only mentions.
 */
import { getTableColumns } from 'drizzle-orm'
import type { SQL } from 'drizzle-orm'
import { toSnakeCase } from 'drizzle-orm/casing'
import { getTableConfig, PgDialect } from 'drizzle-orm/pg-core'
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core'
import { ConfigurationError, messageOf } from '../errors.ts'
import type { ColumnModel, TableModel } from '../staging/table.ts'
import { qualified } from './sql-names.ts'

/** drizzle's schema of a table or an enum that names none. */
export const defaultSchema = 'public'

export interface DeclaredEnum {
  readonly schema: string
  readonly name: string
  readonly labels: readonly string[]
  /** Type of the column: the enum, or an array of it. */
  readonly isArray: boolean
}

/** The drizzle column behind a column of the model. */
export function drizzleColumn(table: TableModel, column: ColumnModel): PgColumn {
  const found = getTableColumns(table.definition)[column.property]
  if (found === undefined) throw new TypeError(`table ${table.name} has no drizzle column ${column.property}`)
  return found
}

/** The enum that a column is of, or is an array of. */
export function enumOf(column: PgColumn): DeclaredEnum | undefined {
  // Neither is in the base column's type: arrays hold their element's column, enum columns their enum.
  const { baseColumn, enum: declared } = column as PgColumn & {
    baseColumn?: PgColumn
    enum?: { enumName: string; enumValues: readonly string[]; schema: string | undefined }
  }
  if (baseColumn !== undefined) {
    const element = enumOf(baseColumn)
    return element === undefined ? undefined : { ...element, isArray: true }
  }
  if (declared === undefined) return undefined
  return {
    schema: declared.schema ?? defaultSchema,
    name: declared.enumName,
    labels: declared.enumValues,
    isArray: false,
  }
}

/** The type as DDL names it; an enum's name is qualified, so that no search path matters. */
export function declaredType(table: TableModel, column: ColumnModel): string {
  const declared = enumOf(drizzleColumn(table, column))
  if (declared === undefined) return column.codec.pgType
  return `${qualified(declared.schema, declared.name)}${declared.isArray ? '[]' : ''}`
}

/** Types that have a collation and compare by it. */
export function isTextLike(column: ColumnModel): boolean {
  return /^(text|character|character varying)(\(\d+\))?$/.test(column.codec.pgType)
}

/**
 * Names as drizzle's `casing` option makes them. The option itself is not in the models, but what it did to
 * their columns is; where it changed none of them, nothing depends on it.
 */
export class DeclaredNames {
  readonly #sqlNames = new Map<PgTable, ReadonlyMap<string, string>>()
  readonly #dialect: PgDialect

  constructor(models: readonly TableModel[]) {
    for (const model of models) {
      const names = model.columns.map(
        (column) => [drizzleColumn(model, column).name, column.sqlName] as const,
      )
      this.#sqlNames.set(model.definition, new Map(names))
    }
    const renamed = [...this.#sqlNames.values()]
      .flatMap((names) => [...names])
      .find(([name, sqlName]) => name !== sqlName)
    const casing =
      renamed === undefined ? undefined : toSnakeCase(renamed[0]) === renamed[1] ? 'snake_case' : 'camelCase'
    this.#dialect = new PgDialect(casing === undefined ? undefined : { casing })
  }

  /** Also for columns of tables that are not ours, which a foreign key may mention. */
  column(table: PgTable, column: { readonly name: string; readonly keyAsName: boolean }): string {
    const known = this.#sqlNames.get(table)?.get(column.name)
    if (known !== undefined) return known
    if (!column.keyAsName) return column.name
    const found = getTableConfig(table).columns.find(({ name }) => name === column.name)
    // Internal in drizzle's typings, and what it names columns by.
    const { casing } = this.#dialect as unknown as { casing: { getColumnCasing(column: PgColumn): string } }
    return found === undefined ? column.name : casing.getColumnCasing(found)
  }

  /** An expression of the user's, with its parameters as literals and columns without their table. */
  expression(owner: string, expression: SQL): string {
    try {
      return this.#dialect.sqlToQuery(expression.inlineParams(), 'indexes').sql
    } catch (error) {
      throw new ConfigurationError(
        'UNSUPPORTED_DDL',
        `${owner}: its SQL cannot be written without parameters (${messageOf(error)}); ` +
          `write the value into the sql template's text, or create the table yourself`,
        { phase: 'opening', cause: error },
      )
    }
  }
}
