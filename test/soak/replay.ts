/** Every path of the walks on the real indexer in memory (some minutes), then random ones for the time given. */
import { randomInt } from 'node:crypto'
import { HeldTimers } from '../support/held-timers.ts'
import type { Bounds } from '../support/model-indexer.ts'
import { walk } from '../support/model.ts'
import { replayModel } from '../support/replay-model.ts'
import { dice } from '../support/dice.ts'
import { countReasons, coveringWays, pathOf, randomPath } from '../support/replay-paths.ts'
import { replayedInMemory } from '../support/replay-stores.ts'
import { replayPath, type Step } from '../support/replay-world.ts'

const small = { failures: 1, undelivered: 0, readAhead: false }

const walks: Record<string, Bounds> = {
  'flow, forks and failure': { ...small, budget: 3, forks: 2, partial: false, crashes: false },
  'prefixes, doubt and failing sources': { ...small, budget: 2, forks: 1, partial: true, crashes: true },
}
const wide: Bounds = { ...small, budget: 3, forks: 4, partial: true, crashes: true }

/** @returns how many paths differed */
export async function soakReplay(seconds: number, firstSeed: number | undefined): Promise<number> {
  const timers = new HeldTimers()
  timers.install()
  let failures = 0
  const replay = async (path: readonly Step[], budget: number, variant: number, what: string) => {
    try {
      await replayPath(path, replayedInMemory(), timers, budget, variant)
    } catch (error) {
      failures++
      console.log(`DIFFERS  ${what}\n${String(error)}`)
    }
  }
  try {
    for (const [name, bounds] of Object.entries(walks)) {
      const model = replayModel(bounds)
      const walked = walk(model)
      const ways = coveringWays(walked)
      for (let variant = 0; variant < ways.length; variant++) {
        await replay(
          pathOf(model, walked, ways[variant]!),
          bounds.budget,
          variant,
          `${name}, path ${variant}`,
        )
      }
      console.log(
        `${name}: ${ways.length} paths, ${walked.states.size} states, ${walked.ways.length} transitions`,
      )
      const { states, transitions, reasons } = countReasons(bounds)
      console.log(`  of the walk of the chart (${states} states, ${transitions} transitions)`)
      for (const [reason, count] of reasons) console.log(`  ${String(count).padStart(6)} ${reason}`)
    }
    const model = replayModel(wide)
    const until = performance.now() + seconds * 1_000
    let paths = 0
    do {
      const seed = firstSeed ?? randomInt(2 ** 31)
      await replay(randomPath(model, dice(seed), 80), wide.budget, seed, `SEED=${seed}`)
      paths++
    } while (performance.now() < until && firstSeed === undefined)
    console.log(`random paths: ${paths}`)
  } finally {
    timers.restore()
  }
  console.log(`differences: ${failures}`)
  return failures
}
