/**
 * Simulated cases for as long as asked, one process a core, with a count of what happened in them. Each case follows from
 * one seed; `SEED=<seed>` of test/simulation/simulation.test.ts makes a failing one small.
 */
import { fork } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { availableParallelism } from 'node:os'
import fc from 'fast-check'
import { simulatedCases } from '../simulation/cases.ts'
import { simulate } from '../simulation/world.ts'

/** What a process is told: its seeds are `seed`, `seed + step`, … */
interface Share {
  readonly seed: number
  readonly step: number
  readonly seconds: number
  readonly cases: number
}

interface Played {
  readonly seed: number
  readonly happened: readonly string[]
  readonly error?: string
}

/** Between two reports of a process. */
const reportMs = 250
/** Of these each has to happen in so many of a thousand cases; in fewer cases than this nothing can be said. */
const requiredPermille = 3
const fewestCases = 2_000
const required = [
  'crash',
  'freeze',
  'stop',
  'abort',
  'taken over from a dead owner',
  'taken over from one that lives',
  'a run superseded',
  'a run ended in doubt',
  'a commit on the wire at a fork',
  'two staged batches at a fork',
  'committed checkpoints taken back',
  'a fork of committed blocks',
  'write late',
  'write answer lost',
  'write refused',
  'write hangs',
  'rollback answer lost',
  'resolve answer lost',
  'database restarts',
  'database away',
  'persist late',
  'persist answer lost',
  'redis emptied',
  'a region given up',
  'a tombstone shown',
  'a read beside a commit',
  'a full budget',
]

/** @returns how many cases differed, and how much of what should happen is too rare */
export async function soakSim(
  seconds: number,
  firstSeed = randomInt(2 ** 31),
  cases = Infinity,
  stopsAtFirst = false,
): Promise<number> {
  const began = performance.now()
  const step = Math.min(availableParallelism(), cases)
  const tally = new Map<string, number>()
  const seeds: number[] = []
  let played = 0
  const hear = (all: readonly Played[], end: () => void) => {
    for (const { seed, happened, error } of all) {
      played++
      for (const what of happened) tally.set(what, (tally.get(what) ?? 0) + 1)
      if (error === undefined) continue
      if (!stopsAtFirst || seeds.length === 0) console.log(`DIFFERS  SEED=${seed} ${error}`)
      seeds.push(seed)
      if (stopsAtFirst) end()
    }
  }
  const shares = Array.from({ length: step }, (_, index): Share => {
    // as JSON: no Infinity
    const own = Math.min(Math.ceil((cases - index) / step), Number.MAX_SAFE_INTEGER)
    return { seed: firstSeed + index, step, seconds, cases: own }
  })
  const ends: (() => void)[] = []
  const endAll = () => ends.forEach((end) => end())
  await Promise.all(
    shares.map(async (share) => {
      const child = fork(import.meta.filename, [JSON.stringify(share)])
      ends.push(() => child.kill('SIGKILL'))
      child.on('message', (all: readonly Played[]) => hear(all, endAll))
      const code = await new Promise<number | null>((resolve) => void child.once('exit', resolve))
      if (code !== 0 && !(stopsAtFirst && seeds.length > 0)) throw new Error(`a process ended with ${code}`)
    }),
  )
  const took = (performance.now() - began) / 1_000
  console.log(`${'cases'.padEnd(44)} ${played}, ${(played / took).toFixed(1)} a second on ${step} cores`)
  console.log(`${'failures'.padEnd(44)} ${seeds.length}`)
  let tooRare = 0
  const what = [...new Set([...tally.keys(), ...required])]
  for (const name of what.toSorted((a, b) => (tally.get(b) ?? 0) - (tally.get(a) ?? 0))) {
    const share = (tally.get(name) ?? 0) / Math.max(1, played)
    const isTooRare =
      !stopsAtFirst && played >= fewestCases && share < requiredPermille / 1_000 && required.includes(name)
    if (isTooRare) tooRare++
    console.log(`${name.padEnd(44)} ${(100 * share).toFixed(1)} %${isTooRare ? '  TOO RARE' : ''}`)
  }
  return seeds.length + tooRare
}

/** In a process of its own. */
async function play({ seed: first, step, seconds, cases }: Share): Promise<void> {
  // most errors are part of the play; where one came from, a replay tells
  Error.stackTraceLimit = 0
  const until = performance.now() + seconds * 1_000
  let reported = performance.now()
  let report: Played[] = []
  const tell = () => {
    process.send!(report)
    report = []
    reported = performance.now()
  }
  for (let index = 0; index < cases && performance.now() < until; index++) {
    const seed = (first + index * step) % 2 ** 31
    let happened: readonly string[] = []
    const property = fc.asyncProperty(simulatedCases, async (given) => {
      happened = [...(await simulate(given)).happened]
    })
    const result = await fc.check(property, { seed, numRuns: 1, endOnFailure: true })
    report.push({ seed, happened, ...(result.failed ? { error: String(result.errorInstance) } : {}) })
    if (result.failed || performance.now() - reported > reportMs) tell()
  }
  tell()
  process.disconnect()
}

if (process.argv[1] === import.meta.filename) await play(JSON.parse(process.argv[2]!) as Share)
