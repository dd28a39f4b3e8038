/**
 * `npm run mutants [-- id …] [--seed N]`: applies each fault to a scratch copy of the project; the happy path must still
 * pass there (else the fault is too crude to count), and the interleavings must fail. Prints the table mutant → who killed
 * it, with the seed and the path of the case, as `seeds.test.ts` wants them.
 */
import { spawn } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { mutants, type Mutant } from './mutants.ts'

const root = join(import.meta.dirname, '../..')
const happyPath = 'test/interleaving/happy-path.test.ts'
const random = 'test/interleaving/random.test.ts'
const forks = 'test/interleaving/forks.test.ts'
const exhaustive = 'test/interleaving/exhaustive.test.ts'

/** A mutant may loop for ever; then this ends it. The schedules take a minute by themselves. */
const patienceMs = { random: 120_000, forks: 300_000, exhaustive: 400_000 }
/** Where a fault shows in few cases. */
const forksCases = '900'

const { values, positionals: chosen } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: 'string', default: '34' } },
})

interface FileRun {
  readonly passed: boolean
  /** Why not, in a few words. */
  readonly failure: string
}

/** Runs test files; undefined: they did not end. */
async function runTests(
  folder: string,
  files: readonly string[],
  longestMs: number,
  env: NodeJS.ProcessEnv = {},
): Promise<ReadonlyMap<string, FileRun> | undefined> {
  const args = [
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--reporter=json',
    '--config',
    'test/mutants/vitest.config.ts',
    ...files,
  ]
  const child = spawn(process.execPath, args, {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, SEED: values.seed, SHRINK: '0', ...env },
    // a group of its own: what it has started ends with it
    detached: true,
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  let ended = true
  const timer = setTimeout(() => {
    ended = false
    process.kill(-child.pid!, 'SIGKILL')
  }, longestMs)
  await new Promise((resolve) => child.once('close', resolve))
  clearTimeout(timer)
  if (!ended) return undefined
  const report = JSON.parse(output.slice(output.indexOf('{"num'))) as {
    testResults: {
      name: string
      status: string
      message: string
      assertionResults: { status: string; title: string; failureMessages: string[] }[]
    }[]
  }
  return new Map(
    report.testResults.map(({ name, status, message, assertionResults }) => {
      const failed = assertionResults.find((test) => test.status === 'failed')
      const failure =
        failed === undefined ? message : describe(failed.title, failed.failureMessages.join('\n'))
      return [files.find((file) => name.endsWith(file)) ?? name, { passed: status === 'passed', failure }]
    }),
  )
}

/** Of a random case its seed and path, else the test's title; and what it complained of. */
function describe(title: string, message: string): string {
  const found = /seed: (-?\d+), path: "(\d+)/.exec(message)
  const cause = /^Got (.*)/m.exec(message)?.[1] ?? message.split('\n')[0]!
  const place = found === null ? `“${title}”` : `random case ${found[2]} of seed ${found[1]}`
  return `${place}: ${cause.slice(0, 100)}`
}

async function tryMutant(folder: string, mutant: Mutant): Promise<string> {
  const path = join(folder, mutant.file)
  const source = await readFile(path, 'utf8')
  const places = source.split(mutant.find).length - 1
  if (places !== 1) return `does not apply: its line stands ${places} times in ${mutant.file}`
  await writeFile(
    path,
    source.replace(mutant.find, () => mutant.replace),
  )
  try {
    const cases = mutant.forks === true ? forks : random
    const first =
      mutant.forks === true
        ? await runTests(folder, [happyPath, forks], patienceMs.forks, { CASES: forksCases })
        : await runTests(folder, [happyPath, random], patienceMs.random)
    const happy = first ?? (await runTests(folder, [happyPath], patienceMs.random))
    if (happy?.get(happyPath)?.passed !== true) return 'TOO CRUDE: the happy path fails'
    if (first === undefined) return 'killed: the random cases did not end'
    if (!first.get(cases)!.passed) return `killed by ${first.get(cases)!.failure}`
    if (mutant.forks === true) return 'SURVIVED'
    const rest = await runTests(folder, [exhaustive], patienceMs.exhaustive)
    // there a world that hangs is seen as stuck at once: what takes too long is a busy machine
    if (rest === undefined || /timed out/.test(rest.get(exhaustive)!.failure))
      return 'UNDECIDED: it takes too long'
    return rest.get(exhaustive)!.passed ? 'SURVIVED' : `killed by ${rest.get(exhaustive)!.failure}`
  } finally {
    await writeFile(path, source)
  }
}

const folder = await mkdtemp(join(tmpdir(), 'tailrace-mutants-'))
let tried = 0
let killed = 0
try {
  for (const part of ['machines', 'src', 'test', 'package.json', 'tsconfig.json']) {
    await cp(join(root, part), join(folder, part), { recursive: true })
  }
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  for (const mutant of mutants) {
    if (chosen.length > 0 && !chosen.includes(mutant.id)) continue
    tried++
    const verdict = await tryMutant(folder, mutant)
    if (verdict.startsWith('killed')) killed++
    console.log(`${mutant.id.padEnd(32)} ${verdict}`)
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
console.log(`${killed} of ${tried} mutants killed`)
process.exitCode = tried > 0 && killed === tried ? 0 : 1
