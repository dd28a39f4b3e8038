/**
 * Random programs under random schedules of every port: what every handler read, and the final tables, equal those of the
 * naive sequential executor. A failure prints its seed; `SEED=<n>` replays it, `SHRINK=0` leaves it as it was found.
 */
import fc from 'fast-check'
import { test } from 'vitest'
import { cases, check, inMemory } from './world.ts'

const seed = process.env['SEED'] === undefined ? undefined : Number(process.env['SEED'])
const runs = Number(process.env['CASES'] ?? 200)

test('I2 I4 I6 I7 I8 I10: random programs under random schedules', { timeout: 300_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(cases, fc.scheduler(), async (given, schedule) => {
      await check(given, schedule, inMemory())
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
})
