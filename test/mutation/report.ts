/** Reads Stryker's report, counts, and prints. A mutant that ends in an error was not noticed by any test: it survived. */
import { readFile } from 'node:fs/promises'

interface Position {
  readonly line: number
  readonly column: number
}

interface MutantResult {
  readonly mutatorName: string
  readonly replacement: string
  readonly status: string
  readonly location: { readonly start: Position; readonly end: Position }
  readonly killedBy?: readonly string[]
}

interface Report {
  readonly files: Readonly<Record<string, { readonly source: string; readonly mutants: MutantResult[] }>>
  readonly testFiles?: Readonly<Record<string, { readonly tests: readonly { readonly id: string }[] }>>
}

export interface Tally {
  readonly killed: number
  /** Of those, by the clock: the mutant made a loop without an end. */
  readonly timedOut: number
  readonly survived: number
  /** Of those, in an error that no test saw, and where no test comes by. */
  readonly inError: number
  readonly uncovered: number
  /** Left out by a comment in the code. */
  readonly ignored: number
}

export interface Results {
  readonly files: ReadonlyMap<string, Tally>
  /** One line each: where, what was there, what stood in its place. */
  readonly survivors: readonly string[]
  /** The same of those that the clock has killed: whether each made a loop is for the reader to see. */
  readonly clocked: readonly string[]
  /** Test file → mutants that it was the first to notice. */
  readonly killers: ReadonlyMap<string, number>
}

const noticed = new Set(['Killed', 'Timeout'])
const invalid = new Set(['CompileError', 'Ignored'])

export async function readResults(path: string): Promise<Results> {
  const report = JSON.parse(await readFile(path, 'utf8')) as Report
  const homes = new Map(
    Object.entries(report.testFiles ?? {}).flatMap(([file, { tests }]) => tests.map(({ id }) => [id, file])),
  )
  const files = new Map<string, Tally>()
  const survivors: string[] = []
  const clocked: string[] = []
  const killers = new Map<string, number>()
  for (const [file, { source, mutants }] of Object.entries(report.files)) {
    const count = (...statuses: string[]) => mutants.filter(({ status }) => statuses.includes(status)).length
    const valid = mutants.filter(({ status }) => !invalid.has(status))
    const killed = count(...noticed)
    files.set(file, {
      killed,
      timedOut: count('Timeout'),
      survived: valid.length - killed,
      inError: count('RuntimeError'),
      uncovered: count('NoCoverage'),
      ignored: count('Ignored'),
    })
    for (const mutant of valid) {
      if (!noticed.has(mutant.status)) survivors.push(describe(file, source, mutant))
      if (mutant.status === 'Timeout') clocked.push(describe(file, source, mutant))
      for (const id of mutant.killedBy ?? []) {
        const home = homes.get(id) ?? '?'
        killers.set(home, (killers.get(home) ?? 0) + 1)
      }
    }
  }
  return { files, survivors, clocked, killers }
}

function describe(file: string, source: string, mutant: MutantResult): string {
  const { start, end } = mutant.location
  const lines = source.split('\n').slice(start.line - 1, end.line)
  const last = lines.length - 1
  lines[last] = lines[last]!.slice(0, end.column - 1)
  lines[0] = lines[0]!.slice(start.column - 1)
  const status = mutant.status === 'Survived' ? '' : ` [${mutant.status}]`
  const change = `${short(lines.join(' '))} → ${short(mutant.replacement)}`
  return `${file}:${start.line}:${start.column} ${mutant.mutatorName}${status}: ${change}`
}

function short(code: string): string {
  const line = code.replaceAll(/\s+/g, ' ')
  return line.length <= 90 ? line : `${line.slice(0, 60)} … ${line.slice(-27)}`
}

export function sumOf(tallies: Iterable<Tally>): Tally {
  const sum = { killed: 0, timedOut: 0, survived: 0, inError: 0, uncovered: 0, ignored: 0 }
  for (const tally of tallies) {
    for (const key of Object.keys(sum) as (keyof Tally)[]) sum[key] += tally[key]
  }
  return sum
}

export function scoreOf({ killed, survived }: Tally): number {
  return killed + survived === 0 ? 100 : (100 * killed) / (killed + survived)
}

export function lineOf(name: string, tally: Tally): string {
  const { killed, timedOut, survived, inError, uncovered, ignored } = tally
  const parts = [
    timedOut > 0 && `${timedOut} by the clock`,
    inError > 0 && `${inError} in an error`,
    uncovered > 0 && `${uncovered} uncovered`,
    ignored > 0 && `${ignored} left out`,
  ].filter((part) => part !== false)
  const rest = parts.length === 0 ? '' : ` (${parts.join(', ')})`
  return `${name.padEnd(38)} ${scoreOf(tally).toFixed(1).padStart(6)} %  ${killed} of ${killed + survived}${rest}`
}
