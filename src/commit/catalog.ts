/**
 * The check of the user's tables at start: everything that would break a guarantee is found before anything is
 * written, and told at once, with the SQL that mends it.
 */
import type pg from 'pg'
import { ConfigurationError } from '../errors.ts'
import type { TableModel } from '../staging/table.ts'
import { tableDifferences } from './catalog-differences.ts'
import type { Difference } from './catalog-differences.ts'
import { readCatalog } from './catalog-query.ts'

/**
 * Compares all tables with the database in one round trip.
 * @throws ConfigurationError `TABLES_DIFFER`, listing every difference and what to run
 */
export async function checkTables(
  client: Pick<pg.ClientBase, 'query'>,
  models: readonly TableModel[],
): Promise<void> {
  if (models.length === 0) return
  const { encoding, tables } = await readCatalog(client, models)
  const differences: Difference[] = models.flatMap((model, index) => {
    const facts = tables[index]
    return facts === undefined ? [] : tableDifferences(model, facts, models)
  })
  const lines = differences.map(({ table, message, fix }) => {
    const head = `- ${table}: ${message}`
    return fix === undefined ? head : `${head}\n${`${fix};`.replace(/^/gm, '    ')}`
  })
  if (encoding !== 'UTF8') {
    lines.unshift(
      `- the database's encoding is ${encoding}, text needs UTF8: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`,
    )
  }
  if (lines.length === 0) return
  const concerned = new Set(differences.map(({ table }) => table))
  throw new ConfigurationError(
    'TABLES_DIFFER',
    `the database does not fit the schema; nothing was written\n${lines.join('\n')}`,
    { phase: 'opening', table: concerned.size === 1 ? [...concerned][0] : undefined },
  )
}
