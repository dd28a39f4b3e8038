/**
 * The random programs and schedules of `test/interleaving` on a real server, a sample of them per run and a database per
 * case: so that memory and SQL cannot drift apart (three-valued logic, order of NULLs and of ties, code points, numbers,
 * dates), nor the two stores in what a lost answer comes to.
 *
 * SEED=… replays a run that failed (the failure names it), CASES=… shakes it harder.
 */
import fc from 'fast-check'
import { test } from 'vitest'
import { cases, check } from '../interleaving/world.ts'
import { createDatabase } from '../support/postgres.ts'
import { onServer } from '../support/programs-on-postgres.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const numRuns = Number(process.env['CASES'] ?? 14)

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
