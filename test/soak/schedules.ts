/** Random programs under random schedules for as long as asked, with a count of what actually happened in them. */
import { randomInt } from 'node:crypto'
import fc from 'fast-check'
import { cases, check, inMemory, type Mix } from '../interleaving/world.ts'

/** Cases between two looks at the clock. */
const chunk = 50

/** @returns how many cases differed from the reference */
export async function soakSchedules(
  seconds: number,
  firstSeed: number | undefined,
  atMost = Infinity,
): Promise<number> {
  const until = performance.now() + seconds * 1_000
  const mixes: Mix[] = []
  let failures = 0
  while (performance.now() < until && mixes.length < atMost) {
    const seed = firstSeed ?? randomInt(2 ** 31)
    const property = fc.asyncProperty(cases, fc.scheduler(), async (given, schedule) => {
      mixes.push(await check(given, schedule, inMemory()))
    })
    const result = await fc.check(property, { seed, numRuns: chunk })
    if (result.failed) {
      failures++
      console.log(
        `DIFFERS  SEED=${seed}\n${String(result.errorInstance)}\n${fc.stringify(result.counterexample)}`,
      )
    }
    if (firstSeed !== undefined) break
  }
  const share = (happened: (mix: Mix) => boolean) =>
    `${((100 * mixes.filter(happened).length) / Math.max(1, mixes.length)).toFixed(1)} %`
  console.log(`cases                          ${mixes.length}`)
  console.log(`differences                    ${failures}`)
  console.log(`a commit on the wire at a read ${share((mix) => mix.commitDuringRead)}`)
  console.log(`two or more staged batches     ${share((mix) => mix.severalStaged)}`)
  console.log(`a full budget                  ${share((mix) => mix.fullBudget)}`)
  console.log(`an abort                       ${share((mix) => mix.abort)}`)
  return failures
}
