/** `npm run soak -- <what> [--seconds N] [--cases N | --rounds N] [--seed N] [--first]`: the proofs that take longer than a test run may. */
import { parseArgs } from 'node:util'
import { soakCrash } from './crash.ts'
import { soakFreeze } from './freeze.ts'
import { soakForks } from './forks.ts'
import { soakOutage } from './outage.ts'
import { soakRegions } from './regions.ts'
import { soakReplay } from './replay.ts'
import { soakSchedules } from './schedules.ts'
import { soakSim } from './sim.ts'

type Soak = (
  seconds: number,
  seed: number | undefined,
  cases: number,
  stopsAtFirst: boolean,
) => Promise<number>

const soaks: Readonly<Record<string, Soak>> = {
  crash: soakCrash,
  freeze: soakFreeze,
  forks: soakForks,
  outage: soakOutage,
  regions: soakRegions,
  replay: soakReplay,
  schedules: soakSchedules,
  sim: soakSim,
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    cases: { type: 'string' },
    seed: { type: 'string' },
    // only the simulation: nothing more is wanted than whether it fails
    first: { type: 'boolean', default: false },
  },
})
const soak = soaks[positionals[0] ?? '']
// a round of a rig is a case, too
const cases = Number(values.cases ?? values.rounds ?? Infinity)
// asked for cases: then they take as long as they take
const seconds = Number(values.seconds ?? (cases === Infinity ? 60 : Infinity))
if (soak === undefined || !(seconds > 0) || !(cases > 0)) {
  console.error(
    `usage: npm run soak -- <${Object.keys(soaks).join(' | ')}> [--seconds N] [--cases N | --rounds N] [--seed N] [--first]`,
  )
  process.exitCode = 2
} else {
  const seed = values.seed === undefined ? undefined : Number(values.seed)
  const failures = await soak(seconds, seed, cases, values.first)
  process.exitCode = failures === 0 ? 0 : 1
}
