/** docs/mutants.md: one paragraph by hand, and below it the table that `npm run mutants -- --write` stores. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { format, resolveConfig } from 'prettier'
import type { Mutant } from './mutant.ts'

export const page = 'docs/mutants.md'

const path = join(import.meta.dirname, '../..', page)
const begin = '<!-- generated: mutants -->'
const end = '<!-- end of generated part -->'

/** What is known of a mutant: the last two cells of its row. */
export interface Known {
  /** Its file and title; or why there is none. */
  readonly test: string
  /** `no`, or after how long; empty: not tried. */
  readonly simulator: string
}

export const killedByTest = ({ test }: Known) => test.startsWith('`test/')
export const killedBySimulator = ({ simulator }: Known) => simulator.endsWith(' s')

export function readPage(): ReadonlyMap<string, Known> {
  const rows = readFileSync(path, 'utf8').matchAll(/^\| `([\w-]+)` +\|((?:\\.|[^\\\n])*)\|$/gm)
  return new Map(
    [...rows].map(([, id, rest]) => {
      const cells = rest!.split(/(?<!\\)\|/).map((cell) => cell.trim())
      return [id!, { test: cells[2] ?? '', simulator: cells[3] ?? '' }]
    }),
  )
}

export async function writePage(
  mutants: readonly Mutant[],
  known: ReadonlyMap<string, Known>,
): Promise<void> {
  const before = readFileSync(path, 'utf8')
  const [head, rest] = before.split(begin)
  const tail = rest?.split(end)[1]
  if (head === undefined || tail === undefined) throw new Error(`${page} has lost its markers`)
  const text = `${head}${begin}\n\n${tableOf(mutants, known)}\n\n${summaryOf(mutants, known)}\n\n${end}${tail}`
  writeFileSync(path, await format(text, { ...(await resolveConfig(path)), parser: 'markdown' }))
}

function tableOf(mutants: readonly Mutant[], known: ReadonlyMap<string, Known>): string {
  const rows = mutants.map((mutant) => {
    const { test, simulator } = known.get(mutant.id) ?? { test: '', simulator: '' }
    return `| \`${mutant.id}\` | ${mutant.invariant} | ${mutant.breaks} | ${test} | ${simulator} |`
  })
  return [
    '| mutant | invariant | breaks | failing test | simulator |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n')
}

export function summaryOf(mutants: readonly Mutant[], known: ReadonlyMap<string, Known>): string {
  const tried = mutants.flatMap(({ id }) => known.get(id) ?? [])
  const killed = tried.filter(killedByTest).length
  const tests = `${killed} of ${mutants.length} killed by a test that names the invariant`
  const simulated = tried.filter(({ simulator }) => simulator !== '')
  if (simulated.length === 0) return `${tests}.`
  const bySimulator = simulated.filter(killedBySimulator).length
  const percent = Math.floor((100 * bySimulator) / simulated.length)
  return `${tests}; by the simulator alone ${bySimulator} of ${simulated.length} = ${percent} %.`
}

export function cellOf(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}
