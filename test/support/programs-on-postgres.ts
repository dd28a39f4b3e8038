/** The random programs' tables on a real server: their store, and every row of it as a connection of its own reads them. */
import { readPool } from '../../src/commit/connection.ts'
import { postgres } from '../../src/commit/postgres.ts'
import { reader } from '../../src/commit/reader.ts'
import { silentLog } from '../../src/log.ts'
import { parseOrder } from '../../src/staging/order.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { parseWhere } from '../../src/staging/where.ts'
import type { Rows, StoreUnderTest } from '../interleaving/world.ts'
import { programTables } from './programs.ts'

const models = Object.entries(programTables).map(([name, table]) => tableModelOf(name, table))

export function onServer(connectionString: string): StoreUnderTest & AsyncDisposable {
  const options = { connectionString, readConnections: 1, connectionTimeoutMs: 10_000 }
  const pool = readPool(options, 'checking', silentLog)
  const { find } = reader(pool.query)
  const rowsOf = (model: (typeof models)[number]) =>
    find(model, {
      predicate: parseWhere(model, undefined),
      order: parseOrder(model, undefined),
      limit: undefined,
    })
  return {
    store: postgres({ connectionString, createTables: true }),
    async rows(): Promise<Rows> {
      const [created] = await pool.query(`SELECT to_regclass('public.event')`, [])
      const all = await Promise.all(
        models.map(async (model) => [model.name, created![0] === null ? [] : await rowsOf(model)] as const),
      )
      return Object.fromEntries(all)
    },
    [Symbol.asyncDispose]: () => pool.end(),
  }
}
