/**
 * `npm run mutants [-- id …]`: applies each fault to a scratch copy of the project; the happy path must still pass there
 * (else the fault is too crude to count), and the interleavings must fail. Prints the table mutant → who killed it.
 */
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mutants, type Mutant } from './mutants.ts'

const root = join(import.meta.dirname, '../..')
const happyPath = ['test/interleaving/happy-path.test.ts']
const proof = ['test/interleaving/random.test.ts', 'test/interleaving/exhaustive.test.ts']

interface TestRun {
  readonly passed: boolean
  /** Title of the first test that failed. */
  readonly killer: string | undefined
}

async function runTests(folder: string, files: readonly string[]): Promise<TestRun> {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const args = [
    vitest,
    'run',
    '--bail=1',
    '--reporter=json',
    '--config',
    'test/mutants/vitest.config.ts',
    ...files,
  ]
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, args, { cwd: folder, maxBuffer: 2 ** 28 }, (_error, stdout) => resolve(stdout))
  })
  const report = JSON.parse(output.slice(output.indexOf('{"num'))) as {
    success: boolean
    testResults: { assertionResults: { status: string; title: string }[] }[]
  }
  const failed = report.testResults
    .flatMap((file) => file.assertionResults)
    .find((each) => each.status === 'failed')
  return { passed: report.success, killer: failed?.title }
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
    if (!(await runTests(folder, happyPath)).passed) return 'too crude: the happy path fails'
    const proven = await runTests(folder, proof)
    return proven.passed ? 'SURVIVED' : `killed by “${proven.killer ?? 'an error outside any test'}”`
  } finally {
    await writeFile(path, source)
  }
}

const chosen = process.argv.slice(2)
const folder = await mkdtemp(join(tmpdir(), 'tailrace-mutants-'))
let failures = 0
try {
  for (const part of ['machines', 'src', 'test', 'package.json', 'tsconfig.json']) {
    await cp(join(root, part), join(folder, part), { recursive: true })
  }
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  for (const mutant of mutants) {
    if (chosen.length > 0 && !chosen.includes(mutant.id)) continue
    const verdict = await tryMutant(folder, mutant)
    if (!verdict.startsWith('killed')) failures++
    console.log(`${mutant.id.padEnd(26)} ${verdict}`)
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
console.log(`${failures} mutants not killed`)
process.exitCode = failures === 0 ? 0 : 1
