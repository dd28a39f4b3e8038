/**
 * Simulated worlds, a sample; `npm run soak -- sim` plays them for as long as one likes. A failure prints its seed;
 * `SEED=<n>` plays that one alone and makes it small (`SHRINK=0` leaves it as it was found).
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { simulatedCases } from './cases.ts'
import { simulate } from './world.ts'

const seed = process.env['SEED'] === undefined ? undefined : Number(process.env['SEED'])
const cases = Number(process.env['CASES'] ?? 100)

test('I1–I17: whatever crashes, is lost, forks or is taken over', { timeout: 300_000 }, async () => {
  const first = seed ?? Math.floor(Math.random() * 2 ** 31)
  const property = fc.asyncProperty(simulatedCases, async (given) => void (await simulate(given)))
  for (let index = 0; index < (seed === undefined ? cases : 1); index++) {
    await fc.assert(property, {
      seed: (first + index) % 2 ** 31,
      numRuns: 1,
      endOnFailure: process.env['SHRINK'] === '0',
      includeErrorInReport: true,
    })
  }
})

test('I8: a seed is a world: played twice, the same happens', async () => {
  for (const given of fc.sample(simulatedCases, { seed: 7, numRuns: 8 })) {
    expect((await simulate(given)).fingerprint).toBe((await simulate(given)).fingerprint)
  }
})
