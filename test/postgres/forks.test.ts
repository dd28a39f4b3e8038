/**
 * The random programs with forks of `test/interleaving` on a real server, a sample of them per run and a database per case:
 * so that the history of triggers and the rollback's SQL cannot drift apart from what the store in memory does.
 *
 * SEED=… replays a run that failed (the failure names it), CASES=… shakes it harder.
 */
import fc from 'fast-check'
import { test } from 'vitest'
import { forksCases } from '../interleaving/forks-cases.ts'
import { checkForks } from '../interleaving/forks-world.ts'
import { createDatabase } from '../support/postgres.ts'
import { onServer } from '../support/programs-on-postgres.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const numRuns = Number(process.env['CASES'] ?? 8)

test(
  `I2 I5 I8 I10 I12 I15 H21 H22 H23 H25 H69 H70: random programs with forks on a real server (seed ${seed})`,
  { timeout: 150_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(forksCases, fc.scheduler(), async (given, schedule) => {
        await using database = await createDatabase()
        await using server = onServer(database.connectionString)
        await checkForks(given, schedule, server)
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
