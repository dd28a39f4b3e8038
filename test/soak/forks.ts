/** Random programs with forks for as long, or for as many cases, as asked, with a count of what happened in them. */
import { randomInt } from 'node:crypto'
import fc from 'fast-check'
import { forksCases, type ForksMix } from '../interleaving/forks-cases.ts'
import { checkForks } from '../interleaving/forks-world.ts'
import { inMemory } from '../interleaving/world.ts'

/** Cases between two looks at the clock. */
const chunk = 50
/** Of these each has to happen in so many of a hundred cases; in fewer cases than this nothing can be said. */
const requiredPercent = 5
const fewestCases = 500
const required: readonly (readonly [keyof ForksMix, string])[] = [
  ['commitAtFork', 'a commit on the wire at a fork'],
  ['straddling', 'a group that straddles a fork'],
  ['stagedAtFork', 'two or more staged batches at a fork'],
  ['severalSources', 'several sources'],
  ['forkInRollback', 'a fork inside a rollback'],
]
const counted: typeof required = [
  ['fork', 'a fork that was told'],
  ['stagedStraddling', 'a staged batch that straddles a fork'],
  ['restored', 'committed checkpoints taken back'],
  ['restoreLost', 'a rollback whose fate was in doubt'],
  ['forkBetweenRuns', 'a fork between two runs'],
  ['beyond', 'a fork deeper than history'],
]

/** @returns how many cases differed, and how many shares of the mix are too small */
export async function soakForks(
  seconds: number,
  firstSeed: number | undefined,
  cases = Infinity,
): Promise<number> {
  const began = performance.now()
  const until = began + seconds * 1_000
  const mixes: ForksMix[] = []
  let failures = 0
  while (performance.now() < until && mixes.length < cases) {
    const seed = firstSeed ?? randomInt(2 ** 31)
    const property = fc.asyncProperty(forksCases, fc.scheduler(), async (given, schedule) => {
      mixes.push(await checkForks(given, schedule, inMemory()))
    })
    // not made smaller here: that would count in the mix, and SEED=… of forks.test.ts does it
    const result = await fc.check(property, { seed, numRuns: chunk, endOnFailure: true })
    if (result.failed) {
      failures++
      console.log(`DIFFERS  SEED=${seed} path ${result.counterexamplePath}: ${String(result.errorInstance)}`)
    }
    if (firstSeed !== undefined) break
  }
  const took = (performance.now() - began) / 1_000
  console.log(`${'cases'.padEnd(40)} ${mixes.length}, ${(mixes.length / took).toFixed(1)} a second`)
  console.log(`${'differences'.padEnd(40)} ${failures}`)
  let tooRare = 0
  for (const [kind, what] of [...required, ...counted]) {
    const percent = (100 * mixes.filter((mix) => mix[kind]).length) / Math.max(1, mixes.length)
    const isTooRare =
      mixes.length >= fewestCases && percent < requiredPercent && required.some(([needed]) => needed === kind)
    if (isTooRare) tooRare++
    console.log(`${what.padEnd(40)} ${percent.toFixed(1)} %${isTooRare ? '  TOO RARE' : ''}`)
  }
  return failures + tooRare
}
