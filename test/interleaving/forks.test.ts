/**
 * Random programs over chains that fork, under random schedules of every port: what has landed, whenever one looks, is what
 * a sequential run over the surviving blocks would have written. A failure prints its seed; `SEED=<n>` replays it,
 * `SHRINK=0` leaves it as it was found.
 */
import fc from 'fast-check'
import { test } from 'vitest'
import { forksCases } from './forks-cases.ts'
import { checkForks } from './forks-world.ts'
import { inMemory } from './world.ts'

const seed = process.env['SEED'] === undefined ? undefined : Number(process.env['SEED'])
const runs = Number(process.env['CASES'] ?? 200)

test(
  'I2 I4 I5 I8 I10 I12 I15, H21–H25 H28–H33 H69–H71: random programs with forks under random schedules',
  { timeout: 300_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(forksCases, fc.scheduler(), async (given, schedule) => {
        await checkForks(given, schedule, inMemory())
      }),
      {
        numRuns: runs,
        endOnFailure: process.env['SHRINK'] === '0',
        includeErrorInReport: true,
        interruptAfterTimeLimit: 240_000,
        markInterruptAsFailure: true,
        ...(seed === undefined ? {} : { seed }),
      },
    )
  },
)
