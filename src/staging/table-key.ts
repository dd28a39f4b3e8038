/** Which columns are a table's key: its primary key, and for a composite one the order that `keyed()` gives. */
import { getTableColumns } from 'drizzle-orm'
import { getTableConfig, type PgTable } from 'drizzle-orm/pg-core'
import { ConfigurationError } from '../errors.ts'

/**
 * Properties of the key's columns, in order.
 * @param declared columns given to `keyed()`, if it was used
 * @throws ConfigurationError `INVALID_KEY` without a usable primary key, or when `keyed()` differs from it.
 */
export function keyProperties(
  name: string,
  table: PgTable,
  declared: readonly string[] | undefined,
): readonly string[] {
  const refuse = (message: string): never => {
    throw new ConfigurationError('INVALID_KEY', message, { phase: 'opening', table: name })
  }
  const primary = primaryKeyOf(name, table, refuse)
  if (declared === undefined) {
    if (primary.length === 1) return primary
    return refuse(`${name} has a composite primary key; declare it: ${keyedCall(name, primary)}`)
  }
  const wrong = [
    ...declared
      .filter((property) => !primary.includes(property))
      .map((property) => `${property} is not part of it`),
    ...primary.filter((property) => !declared.includes(property)).map((property) => `${property} is missing`),
    ...declared
      .filter((property, index) => declared.indexOf(property) !== index)
      .map((property) => `${property} twice`),
  ]
  if (wrong.length === 0) return declared
  return refuse(
    `${name}: keyed() does not name the table's primary key (${primary.join(', ')}): ${wrong.join('; ')}. ` +
      `Write ${primary.length === 1 ? `\`tables: { ${name} }\` without keyed()` : keyedCall(name, primary)}`,
  )
}

function primaryKeyOf(name: string, table: PgTable, refuse: (message: string) => never): readonly string[] {
  const columns = Object.entries(getTableColumns(table))
  const inline = columns.filter(([, column]) => column.primary).map(([property]) => property)
  const declared = getTableConfig(table).primaryKeys
  if (inline.length + declared.length > 1) {
    return refuse(
      `${name} declares more than one primary key; for a composite one use primaryKey({ columns: [...] })`,
    )
  }
  if (inline.length === 1) return inline
  const [composite] = declared
  if (composite === undefined) {
    return refuse(
      `${name} has no primary key; every table needs one: .primaryKey() on a column, or primaryKey({ columns })`,
    )
  }
  return composite.columns.map((part) => {
    const found = columns.find(([, column]) => column.name === part.name)
    return found === undefined
      ? refuse(`${name}: its primary key names ${part.name}, which is not a column`)
      : found[0]
  })
}

function keyedCall(name: string, primary: readonly string[]): string {
  return `keyed(${name}, ${primary.map((property) => `'${property}'`).join(', ')})`
}
