/**
 * The DDL of `createTables: true`, from the user's drizzle definitions. What must hold: an existing relation is
 * never altered (the catalog check speaks about it), a second run changes nothing, and every created table
 * passes that check. Two first starts at once are the caller's matter: it holds an advisory lock.
 */
import { getTableConfig } from 'drizzle-orm/pg-core'
import type { ForeignKey, Index } from 'drizzle-orm/pg-core'
import { is, SQL } from 'drizzle-orm'
import { ConfigurationError } from '../errors.ts'
import type { ColumnModel, TableModel } from '../staging/table.ts'
import { declaredType, DeclaredNames, defaultSchema, drizzleColumn, enumOf, isTextLike } from './declared.ts'
import type { DeclaredEnum } from './declared.ts'
import { qualified, quoteName, quoteNames, quoteText } from './sql-names.ts'

/** Statements that create one table, in the order in which they can run once all tables are there. */
export interface TableDdl {
  readonly enums: readonly { readonly declared: DeclaredEnum; readonly statement: string }[]
  readonly table: string
  /** Deferrable, so that the rows of a commit may come in any order. */
  readonly foreignKeys: readonly string[]
  /** Plain secondary indexes, `IF NOT EXISTS`; dear during a backfill, so they may come after it. */
  readonly indexes: readonly string[]
}

/** Room for updates in place; see research/postgres.md §1.4. */
const storage = 'WITH (fillfactor = 85)'

/**
 * One statement (a DO block, atomic by itself) that creates what is missing of schemas, enums and tables, and
 * for each table that it has created the foreign keys and secondary indexes.
 *
 * @throws ConfigurationError for what tailrace could not work with: unique indexes (`UNIQUE_INDEX`), foreign
 * keys to a unique constraint (`FOREIGN_KEY`), SQL that needs parameters (`UNSUPPORTED_DDL`)
 */
export function createTableStatements(models: readonly TableModel[]): string[] {
  const ddl = models.map((model) => ({ model, ...tableDdl(model, models) }))
  const enums = ddl.flatMap((each) => each.enums)
  const schemas = new Set([
    ...models.map(({ schema }) => schema),
    ...enums.map(({ declared }) => declared.schema),
  ])
  const lines = ['DECLARE', '  fresh text[] := ARRAY[]::text[];', 'BEGIN']
  const when = (condition: string, ...statements: string[]) => {
    lines.push(`  IF ${condition} THEN`, ...statements.map((statement) => `    ${statement};`), '  END IF;')
  }
  for (const schema of schemas) {
    // Not IF NOT EXISTS: that asks for the right to create one even where there is nothing to create.
    when(`to_regnamespace(${quoteText(quoteName(schema))}) IS NULL`, `CREATE SCHEMA ${quoteName(schema)}`)
  }
  for (const { declared, statement } of enums) {
    when(`to_regtype(${quoteText(qualified(declared.schema, declared.name))}) IS NULL`, statement)
  }
  for (const { model, table } of ddl) {
    const name = quoteText(qualified(model.schema, model.sqlName))
    when(`to_regclass(${name}) IS NULL`, table, `fresh := fresh || ${name}::text`)
  }
  for (const { model, foreignKeys, indexes } of ddl) {
    if (foreignKeys.length + indexes.length === 0) continue
    when(`${quoteText(qualified(model.schema, model.sqlName))} = ANY (fresh)`, ...foreignKeys, ...indexes)
  }
  lines.push('END')
  const body = lines.join('\n')
  let tag = '$tailrace$'
  while (body.includes(tag)) tag = `$${tag.slice(1, -1)}_$`
  return [`DO ${tag}\n${body}\n${tag}`]
}

/** The plain secondary indexes of all tables, `CREATE INDEX IF NOT EXISTS`. */
export function createIndexStatements(models: readonly TableModel[]): string[] {
  return models.flatMap((model) => tableDdl(model, models).indexes)
}

/** What creates one table; `models` are all of them, for names that foreign keys mention. */
export function tableDdl(model: TableModel, models: readonly TableModel[]): TableDdl {
  const names = new DeclaredNames(models)
  const config = getTableConfig(model.definition)
  const keyNames = model.key.map(({ sqlName }) => sqlName)
  const coversKey = (columns: readonly string[]) => keyNames.every((name) => columns.includes(name))
  const sqlNames = (columns: readonly { name: string; keyAsName: boolean }[]) =>
    columns.map((column) => names.column(model.definition, column))

  const indexes = config.indexes.map((index) => indexStatement(model, index, names, coversKey))
  // Reads order and compare text by code point; an index in another collation would be of no use to them.
  const byCodePoint = new Set([
    ...keyNames,
    ...config.indexes.flatMap(({ config: { columns } }) =>
      columns.flatMap((column) =>
        is(column, SQL) ? [] : sqlNames([column as { name: string; keyAsName: boolean }]),
      ),
    ),
  ])
  const uniques = [
    ...config.columns
      .filter((column) => column.isUnique)
      .map((column) => ({
        name: column.uniqueName,
        columns: [column],
        nullsNotDistinct: column.uniqueType === 'not distinct',
      })),
    ...config.uniqueConstraints.map((unique) => ({
      name: unique.getName(),
      columns: unique.columns,
      nullsNotDistinct: unique.nullsNotDistinct,
    })),
  ]
  const primary = config.primaryKeys[0]?.getName()
  const parts = [
    ...model.columns.map((column) => columnDefinition(model, column, names, byCodePoint)),
    `${primary === undefined ? '' : `CONSTRAINT ${quoteName(primary)} `}PRIMARY KEY (${quoteNames(keyNames)})`,
    ...uniques.map(({ name, columns, nullsNotDistinct }) => {
      const list = sqlNames(columns)
      // What holds the key can only be violated with it; a foreign key may then refer to it.
      const deferral = coversKey(list) ? '' : ' DEFERRABLE INITIALLY IMMEDIATE'
      const constraint = name === undefined ? '' : `CONSTRAINT ${quoteName(name)} `
      return `${constraint}UNIQUE${nullsNotDistinct ? ' NULLS NOT DISTINCT' : ''} (${quoteNames(list)})${deferral}`
    }),
    ...config.checks.map(
      ({ name, value }) =>
        `CONSTRAINT ${quoteName(name)} CHECK (${names.expression(`check ${name} of table ${model.name}`, value)})`,
    ),
  ]
  return {
    enums: enumStatements(model),
    table: `CREATE TABLE ${qualified(model.schema, model.sqlName)} (\n  ${parts.join(',\n  ')}\n) ${storage}`,
    foreignKeys: config.foreignKeys.map((key) => foreignKeyStatement(model, key, models, names)),
    indexes,
  }
}

function columnDefinition(
  model: TableModel,
  column: ColumnModel,
  names: DeclaredNames,
  byCodePoint: ReadonlySet<string>,
): string {
  const drizzle = drizzleColumn(model, column)
  const words = [quoteName(column.sqlName), declaredType(model, column)]
  if (isTextLike(column) && byCodePoint.has(column.sqlName)) words.push('COLLATE "C"')
  const { default: value } = drizzle as { default: unknown }
  if (is(value, SQL)) {
    words.push(`DEFAULT ${names.expression(`the default of ${model.name}.${column.property}`, value)}`)
  } else if (value !== undefined && value !== null) {
    words.push(`DEFAULT ${literalDefault(drizzle.mapToDriverValue(value))}`)
  }
  if (column.notNull) words.push('NOT NULL')
  return words.join(' ')
}

/** As an untyped literal, which Postgres reads by the column's type. */
function literalDefault(value: unknown): string {
  if (is(value, SQL)) return new DeclaredNames([]).expression('a default', value)
  if (value instanceof Uint8Array) return quoteText(`\\x${Buffer.from(value).toString('hex')}`)
  if (value instanceof Date) return quoteText(value.toISOString())
  return quoteText(typeof value === 'object' ? JSON.stringify(value) : String(value))
}

function enumStatements(model: TableModel): TableDdl['enums'] {
  const found = model.columns.flatMap((column) => enumOf(drizzleColumn(model, column)) ?? [])
  return found.map((declared) => ({
    declared,
    statement: `CREATE TYPE ${qualified(declared.schema, declared.name)} AS ENUM (${declared.labels.map(quoteText).join(', ')})`,
  }))
}

function foreignKeyStatement(
  model: TableModel,
  key: ForeignKey,
  models: readonly TableModel[],
  names: DeclaredNames,
): string {
  const { columns, foreignColumns, foreignTable } = key.reference()
  const target = getTableConfig(foreignTable)
  const foreignNames = foreignColumns.map((column) => names.column(foreignTable, column))
  const managed = models.find(({ definition }) => definition === foreignTable)
  if (managed !== undefined && !managed.key.every(({ sqlName }) => foreignNames.includes(sqlName))) {
    throw new ConfigurationError(
      'FOREIGN_KEY',
      `foreign key ${key.getName()} of table ${model.name} refers to a unique constraint of ${managed.name}. ` +
        `That one has to be deferrable here, and Postgres lets no foreign key refer to such; refer to the primary key`,
      { phase: 'opening', table: model.name },
    )
  }
  return (
    `ALTER TABLE ${qualified(model.schema, model.sqlName)} ADD CONSTRAINT ${quoteName(key.getName())} ` +
    `FOREIGN KEY (${quoteNames(columns.map((column) => names.column(model.definition, column)))}) ` +
    `REFERENCES ${qualified(managed?.schema ?? target.schema ?? defaultSchema, managed?.sqlName ?? target.name)} ` +
    `(${quoteNames(foreignNames)}) DEFERRABLE INITIALLY IMMEDIATE`
  )
}

function indexStatement(
  model: TableModel,
  { config }: Index,
  names: DeclaredNames,
  coversKey: (columns: readonly string[]) => boolean,
): string {
  interface Plain {
    name: string
    keyAsName: boolean
    indexConfig: { order?: 'asc' | 'desc'; nulls?: 'first' | 'last'; opClass?: string } | undefined
  }
  const plain: string[] = []
  const entries = config.columns.map((column) => {
    if (is(column, SQL)) return `(${names.expression(`index ${config.name} of table ${model.name}`, column)})`
    const { name, keyAsName, indexConfig = {} } = column as Plain
    const sqlName = names.column(model.definition, { name, keyAsName })
    plain.push(sqlName)
    const words = [quoteName(sqlName)]
    if (indexConfig.opClass !== undefined) words.push(indexConfig.opClass)
    // Other access methods have no order.
    if (config.method === undefined || config.method === 'btree') {
      if (indexConfig.order === 'desc') words.push('DESC')
      if (indexConfig.nulls !== undefined) words.push(`NULLS ${indexConfig.nulls.toUpperCase()}`)
    }
    return words.join(' ')
  })
  const name = config.name ?? `${model.sqlName}_${plain.length === 0 ? 'expression' : plain.join('_')}_index`
  if (config.unique && !coversKey(plain)) {
    throw new ConfigurationError(
      'UNIQUE_INDEX',
      `table ${model.name}: unique index ${name} cannot be deferred to the end of a commit, where a row may take over ` +
        `a value that another one gives up. Declare a constraint instead: unique(${quoteText(name)}).on(…); ` +
        `where it is partial or of an expression, make it a plain index() and keep it unique in the handler`,
      { phase: 'opening', table: model.name },
    )
  }
  const method = config.method === undefined || config.method === 'btree' ? '' : ` USING ${config.method}`
  const settings = Object.entries(config.with ?? {}).map(
    ([setting, value]) => `${quoteName(setting)} = ${String(value)}`,
  )
  const where =
    config.where === undefined
      ? undefined
      : names.expression(`index ${name} of table ${model.name}`, config.where)
  return (
    `CREATE ${config.unique ? 'UNIQUE ' : ''}INDEX IF NOT EXISTS ${quoteName(name)} ` +
    `ON ${qualified(model.schema, model.sqlName)}${method} (${entries.join(', ')})` +
    (settings.length === 0 ? '' : ` WITH (${settings.join(', ')})`) +
    (where === undefined ? '' : ` WHERE ${where}`)
  )
}
