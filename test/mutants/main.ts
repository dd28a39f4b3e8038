/**
 * `npm run mutants [-- id … | I9 …] [--no-sim | --sim-only] [--write] [--seed N]`: puts each fault into a scratch copy of
 * the project. The happy path must still pass there, else the fault is too crude to count; then a test must fail whose
 * title names the invariant that it breaks; and the simulator has a minute to find it by itself. Prints the table, and
 * with `--write` stores it in docs/mutants.md. Ends with 1 when one survives the tests, or is too crude.
 */
import { parseArgs } from 'node:util'
import { happyPath, testsOf, type Mutant } from './mutant.ts'
import { mutants } from './mutants.ts'
import { cellOf, killedByTest, readPage, summaryOf, writePage, type Known } from './page.ts'
import { hasSimulator, holds, Scratch } from './scratch.ts'

const simulatorSeconds = 60

const { values, positionals: chosen } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '34' },
    'no-sim': { type: 'boolean', default: false },
    'sim-only': { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})
const simulates = hasSimulator && !values['no-sim']
const tried = mutants.filter(
  ({ id, invariant }) => chosen.length === 0 || chosen.includes(id) || chosen.includes(invariant),
)
const unknown = chosen.filter((name) => !tried.some(({ id, invariant }) => name === id || name === invariant))

/** What fails without any fault is no proof of one. */
async function assertSound(scratch: Scratch): Promise<void> {
  if (simulates) {
    const simulation = await scratch.simulate(simulatorSeconds)
    if (simulation?.killed !== false) {
      throw new Error(`the simulator fails without any fault: ${simulation?.differs ?? 'no verdict'}`)
    }
  }
  if (values['sim-only']) return
  for (const file of new Set([happyPath, ...tried.flatMap(testsOf)])) {
    const { ended, failures } = await scratch.test(file)
    if (!ended || failures.length > 0) {
      throw new Error(`${file} fails without any fault: ${failures[0]?.title}: ${failures[0]?.cause}`)
    }
  }
}

/** Which test notices it: a cell of the table. */
async function testOf(scratch: Scratch, mutant: Mutant): Promise<string> {
  const happy = await scratch.test(happyPath)
  if (!happy.ended || happy.failures.length > 0) return 'TOO CRUDE: the happy path fails'
  let elsewhere = ''
  for (const file of testsOf(mutant)) {
    const { ended, failures } = await scratch.test(file)
    // no test has said so
    if (!ended) return `UNDECIDED: \`${file}\` does not end`
    const failure = failures.find((each) => holds(mutant, each))
    if (failure !== undefined) {
      console.log(`  ${failure.cause}`)
      return `\`${file}\`: ${failure.title}`
    }
    if (failures.length > 0) elsewhere = `; without the id fails ${failures[0]!.title}: ${failures[0]!.cause}`
  }
  return `SURVIVED${elsewhere}`
}

async function simulatorOf(scratch: Scratch): Promise<string> {
  const simulation = await scratch.simulate(simulatorSeconds)
  if (simulation === undefined) return 'no verdict'
  if (!simulation.killed) return 'no'
  console.log(`  ${simulation.differs}`)
  return `${simulation.seconds.toFixed(simulation.seconds < 10 ? 1 : 0)} s`
}

async function tryOut(scratch: Scratch, mutant: Mutant, before: Known | undefined): Promise<Known> {
  await using _applied = await scratch.apply(mutant)
  return {
    test: values['sim-only'] ? (before?.test ?? '') : cellOf(await testOf(scratch, mutant)),
    simulator: simulates ? await simulatorOf(scratch) : (before?.simulator ?? ''),
  }
}

async function main(): Promise<boolean> {
  await using scratch = await Scratch.make(values.seed)
  if (values.write) await assertSound(scratch)
  const known = new Map(readPage())
  for (const mutant of tried) {
    const found = await tryOut(scratch, mutant, known.get(mutant.id))
    known.set(mutant.id, found)
    const { id, invariant, breaks } = mutant
    console.log(`| ${id} | ${invariant} | ${breaks} | ${found.test} | ${found.simulator} |`)
    // a long run that is interrupted has not been for nothing
    if (values.write) await writePage(mutants, known)
  }
  console.log(summaryOf(tried, known))
  return tried.length > 0 && tried.every(({ id }) => killedByTest(known.get(id)!))
}

if (unknown.length > 0) console.error(`no mutant and no invariant: ${unknown.join(', ')}`)
process.exitCode = unknown.length === 0 && (await main()) ? 0 : 1
