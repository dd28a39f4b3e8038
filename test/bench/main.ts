/** `npm run bench -- <name>`: one benchmark a file, printed as text. Exit code 1 only when one could not run. */
import { inspected } from './inspect.ts'
import { overlap } from './overlap.ts'
import { regions } from './regions.ts'
import { rollback } from './rollback.ts'

const benchmarks: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  inspect: inspected,
  overlap,
  regions,
  rollback,
}

const [name = '', ...args] = process.argv.slice(2)
const run = Object.hasOwn(benchmarks, name) ? benchmarks[name] : undefined
if (run === undefined) {
  console.error(`npm run bench -- <name>; there are: ${Object.keys(benchmarks).join(', ')}`)
  process.exitCode = 1
} else {
  await run(args)
}
