/** A scratch copy of the project, in which a fault can be put in its place, tests be run, and the simulator. */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { idsIn } from '../hygiene/ids.ts'
import { needsServers, type Mutant } from './mutant.ts'

const root = join(import.meta.dirname, '../..')

/** A mutant may loop for ever; then this ends it. The longest test takes a minute by itself. */
const patienceMs = 400_000

export interface Failure {
  readonly file: string
  /** With those of the groups around it. */
  readonly title: string
  /** What it complained of, and of a random case its seed and path, as `seeds.test.ts` wants them. */
  readonly cause: string
}

export interface TestRun {
  /** False: it hung, and no test said so. */
  readonly ended: boolean
  /** A file that could not be loaded fails without a title. */
  readonly failures: readonly Failure[]
}

export class Scratch {
  readonly folder: string
  readonly #seed: string

  private constructor(folder: string, seed: string) {
    this.folder = folder
    this.#seed = seed
  }

  static async make(seed: string): Promise<Scratch> {
    const folder = await mkdtemp(join(tmpdir(), 'tailrace-mutants-'))
    for (const part of [
      'machines',
      'src',
      'test',
      'docs',
      'package.json',
      'tsconfig.json',
      'vitest.config.ts',
    ]) {
      await cp(join(root, part), join(folder, part), { recursive: true })
    }
    // servers that were fetched once
    for (const part of ['node_modules', '.cache']) {
      if (existsSync(join(root, part))) await symlink(join(root, part), join(folder, part))
    }
    return new Scratch(folder, seed)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true })
  }

  /** @throws when its line does not stand exactly once in its file */
  async apply({ file, find, replace }: Mutant): Promise<AsyncDisposable> {
    const path = join(this.folder, file)
    const source = await readFile(path, 'utf8')
    const places = source.split(find).length - 1
    if (places !== 1) throw new Error(`its line stands ${places} times in ${file}`)
    await writeFile(
      path,
      source.replace(find, () => replace),
    )
    return { [Symbol.asyncDispose]: () => writeFile(path, source) }
  }

  /** One after the other file, each with what it needs; until one of them fails. */
  async test(...files: readonly string[]): Promise<TestRun> {
    for (const servers of [false, true]) {
      const chosen = files.filter((file) => needsServers(file) === servers)
      if (chosen.length === 0) continue
      const run = await this.#test(servers ? 'vitest.config.ts' : 'test/mutants/vitest.config.ts', chosen)
      if (!run.ended || run.failures.length > 0) return run
    }
    return { ended: true, failures: [] }
  }

  async #test(config: string, files: readonly string[]): Promise<TestRun> {
    const vitest = join(root, 'node_modules/vitest/vitest.mjs')
    const child = this.#start(
      [vitest, 'run', '--reporter=json', '--config', config, ...files],
      // where a fault shows in few cases
      { SHRINK: '0', SEED: this.#seed, ...casesOf(files) },
    )
    let output = ''
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (output += text))
    if (!(await endsWithin(child, patienceMs))) return { ended: false, failures: [] }
    return { ended: true, failures: failuresIn(output, files) }
  }

  /** The program with the same Node, in a group of its own: what it has started ends with it. */
  #start(args: readonly string[], env: NodeJS.ProcessEnv): ChildProcess {
    return spawn(process.execPath, args, {
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, ...env },
      detached: true,
    })
  }

  /** `npm run soak -- sim`; undefined: it does not end, or ends without a verdict. */
  async simulate(seconds: number): Promise<Simulation | undefined> {
    const began = performance.now()
    const main = join(this.folder, 'test/soak/main.ts')
    const child = this.#start(
      ['--import', 'tsx', main, 'sim', '--seconds', String(seconds), '--seed', this.#seed, '--first'],
      {},
    )
    let differs: string | undefined
    // what happened too rarely fails it, too; that is no fault of the mutant
    let isSound = false
    let tail = ''
    let inSeconds = 0
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (tail + text).split('\n')
      tail = lines.pop()!
      isSound ||= lines.some((line) => /^failures +0$/.test(line))
      const found = lines.find((line) => line.startsWith('DIFFERS'))
      if (found === undefined || differs !== undefined) return
      differs = found
      inSeconds = (performance.now() - began) / 1_000
    })
    if (!(await endsWithin(child, (seconds + 60) * 1_000))) return undefined
    if (differs !== undefined) return { killed: true, seconds: inSeconds, differs }
    return isSound ? { killed: false } : undefined
  }
}

export type Simulation =
  { readonly killed: true; readonly seconds: number; readonly differs: string } | { readonly killed: false }

export const hasSimulator = /^ *sim\b/m.test(readFileSync(join(root, 'test/soak/main.ts'), 'utf8'))

/** Whether the failure is one of a test that holds the invariant. */
export function holds({ invariant }: Mutant, { title }: Failure): boolean {
  return idsIn(title).includes(invariant)
}

function casesOf(files: readonly string[]): NodeJS.ProcessEnv {
  if (files.some((file) => file.endsWith('/forks.test.ts'))) return { CASES: '900' }
  return files.some((file) => file.endsWith('interleaving/regions.test.ts')) ? { CASES: '300' } : {}
}

async function endsWithin(child: ChildProcess, longestMs: number): Promise<boolean> {
  let ended = true
  const timer = setTimeout(() => {
    ended = false
    process.kill(-child.pid!, 'SIGKILL')
  }, longestMs)
  await new Promise((resolve) => child.once('close', resolve))
  clearTimeout(timer)
  return ended
}

interface Report {
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: readonly {
      readonly status: string
      readonly title: string
      readonly ancestorTitles: readonly string[]
      readonly failureMessages: readonly string[]
    }[]
  }[]
}

function failuresIn(output: string, files: readonly string[]): Failure[] {
  const start = output.indexOf('{"num')
  if (start === -1) return [{ file: files.join(' '), title: '', cause: 'no report' }]
  const { testResults } = JSON.parse(output.slice(start)) as Report
  return testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = files.find((each) => name.endsWith(each)) ?? name
    const failed = assertionResults.filter((test) => test.status === 'failed')
    if (failed.length === 0 && status !== 'passed') return [{ file, title: '', cause: firstLine(message) }]
    return failed.map(({ ancestorTitles, title, failureMessages }) => ({
      file,
      title: [...ancestorTitles, title].filter((part) => part !== '').join(' › '),
      cause: causeIn(failureMessages.join('\n')),
    }))
  })
}

function causeIn(message: string): string {
  const found = /seed: (-?\d+), path: "(\d+)/.exec(message)
  const cause = /^Got (.*)/m.exec(message)?.[1] ?? firstLine(message)
  return found === null ? cause : `case ${found[2]} of seed ${found[1]}: ${cause}`
}

function firstLine(text: string): string {
  return text.split('\n')[0]!.slice(0, 160)
}
