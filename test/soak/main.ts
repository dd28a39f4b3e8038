/** `npm run soak -- <what> [--seconds N] [--seed N]`: the proofs that take longer than a test run may. */
import { parseArgs } from 'node:util'
import { soakReplay } from './replay.ts'
import { soakSchedules } from './schedules.ts'

const soaks: Readonly<Record<string, (seconds: number, seed: number | undefined) => Promise<number>>> = {
  replay: soakReplay,
  schedules: soakSchedules,
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' } },
})
const soak = soaks[positionals[0] ?? '']
const seconds = Number(values.seconds)
if (soak === undefined || !(seconds > 0)) {
  console.error(`usage: npm run soak -- <${Object.keys(soaks).join(' | ')}> [--seconds N] [--seed N]`)
  process.exitCode = 2
} else {
  const failures = await soak(seconds, values.seed === undefined ? undefined : Number(values.seed))
  process.exitCode = failures === 0 ? 0 : 1
}
