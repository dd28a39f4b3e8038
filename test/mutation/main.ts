/**
 * `npm run mutate [-- machines | staging | part of a path[:lines] …]`: Stryker changes the code in one place at a time, in a scratch
 * copy of the project, and the tests have to notice. Prints each part's score and the mutants that survived; ends with 1
 * below a bound. What the figures mean, and which survivors are known: docs/mutation.md.
 */
import { spawn } from 'node:child_process'
import { cp, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parts, type Part } from './parts.ts'
import { lineOf, readResults, scoreOf, sumOf } from './report.ts'

const root = join(import.meta.dirname, '../..')
const wanted = process.argv.slice(2)

/** Those of its files that are asked for; `file.ts:10-20` asks for the mutants of those lines. */
async function filesOf({ name, folder }: Part): Promise<string[]> {
  const found = await readdir(join(root, folder), { recursive: true })
  const files = found.filter((file) => file.endsWith('.ts')).map((file) => `${folder}/${file}`)
  if (wanted.length === 0 || wanted.includes(name)) return files
  return wanted.flatMap((filter) => {
    const [path = '', lines] = filter.split(':')
    const suffix = lines === undefined ? '' : `:${lines}`
    return files.filter((file) => file.includes(path)).map((file) => `${file}${suffix}`)
  })
}

async function mutate(part: Part, files: readonly string[], folder: string): Promise<boolean> {
  const report = join(folder, 'mutation.json')
  const options = {
    mutate: files,
    testRunner: 'vitest',
    plugins: ['@stryker-mutator/vitest-runner'],
    vitest: { configFile: 'test/mutation/vitest.config.ts', related: true },
    coverageAnalysis: 'perTest',
    warnings: { slow: false },
    // the copy is ours to change
    inPlace: true,
    tempDirName: join(folder, 'backup'),
    reporters: ['json', process.stdout.isTTY ? 'progress' : 'progress-append-only'],
    jsonReporter: { fileName: report },
    concurrency: Number(process.env['CONCURRENCY'] ?? 1),
    timeoutMS: 10_000,
    logLevel: 'warn',
    allowEmpty: true,
  }
  await writeFile(join(folder, 'stryker.json'), JSON.stringify(options))
  const stryker = join(root, 'node_modules/@stryker-mutator/core/bin/stryker.js')
  const child = spawn(process.execPath, [stryker, 'run', 'stryker.json'], {
    cwd: folder,
    stdio: 'inherit',
    // of the random programs always the same, and fewer: what they alone find they find early
    env: { ...process.env, MUTATION_PART: part.name, SEED: '34', RUNS: '60', NO_COLOR: '1' },
  })
  const code = await new Promise((resolve) => child.once('close', resolve))
  if (code !== 0) throw new Error(`Stryker ended with ${String(code)}`)

  const { files: tallies, survivors, clocked, killers } = await readResults(report)
  console.log(`\n${[...survivors, ...clocked].join('\n')}\n`)
  for (const [file, tally] of tallies) console.log(lineOf(file, tally))
  const all = sumOf(tallies.values())
  console.log(`\n${lineOf(part.name, all)}; wanted are ${part.bound} %`)
  const first = [...killers].toSorted(([, a], [, b]) => b - a)
  console.log(`first noticed by ${first.map(([file, count]) => `${file}: ${count}`).join(', ')}\n`)
  return scoreOf(all) >= part.bound
}

// the child hears it too, and ends; then the copy goes
process.on('SIGINT', () => undefined)

const folder = await mkdtemp(join(tmpdir(), 'tailrace-mutation-'))
try {
  for (const each of ['machines', 'src', 'test', 'docs', 'package.json', 'tsconfig.json']) {
    await cp(join(root, each), join(folder, each), { recursive: true })
  }
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  let found = 0
  for (const part of parts) {
    const files = await filesOf(part)
    found += files.length
    if (files.length > 0 && !(await mutate(part, files, folder))) process.exitCode = 1
  }
  if (found === 0) throw new Error(`no file that is mutated fits ${wanted.join(', ')}`)
} finally {
  await rm(folder, { recursive: true, force: true })
}
