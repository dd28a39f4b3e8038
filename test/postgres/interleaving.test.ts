/**
 * The random programs and schedules of `test/interleaving` on a real server, a sample of them per run and a database per
 * case: so that memory and SQL cannot drift apart (three-valued logic, order of NULLs and of ties, code points, numbers,
 * dates), nor the two stores in what a lost answer comes to.
 *
 * SEED=… replays a run that failed (the failure names it), CASES=… shakes it harder.
 */
import fc from 'fast-check'
import { test } from 'vitest'
import { readPool } from '../../src/commit/connection.ts'
import { postgres } from '../../src/commit/postgres.ts'
import { reader } from '../../src/commit/reader.ts'
import { silentLog } from '../../src/log.ts'
import { parseOrder } from '../../src/staging/order.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { parseWhere } from '../../src/staging/where.ts'
import { cases, check, type Rows, type StoreUnderTest } from '../interleaving/world.ts'
import { createDatabase } from '../support/postgres.ts'
import { programTables } from '../support/programs.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const numRuns = Number(process.env['CASES'] ?? 30)

const models = Object.entries(programTables).map(([name, table]) => tableModelOf(name, table))

/** A store in that database, and every row of it as a connection of our own reads them. */
function onServer(connectionString: string): StoreUnderTest & AsyncDisposable {
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

test(
  `I2 I4 I6 I7 I8 I10 H11 H12 H37: random programs under random schedules on a real server (seed ${seed})`,
  { timeout: 150_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.scheduler(), async (given, schedule) => {
        await using database = await createDatabase()
        await using server = onServer(database.connectionString)
        await check(given, schedule, server)
      }),
      {
        seed,
        numRuns,
        includeErrorInReport: true,
        interruptAfterTimeLimit: 120_000,
        markInterruptAsFailure: true,
      },
    )
  },
)
