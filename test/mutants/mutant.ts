/** One deliberate fault: one line, plausible, and quiet enough for the happy path. */

type Digit = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9
export type InvariantId = `I${Digit}` | `I1${Exclude<Digit, 8 | 9> | 0}`

export interface Mutant {
  readonly id: string
  /** The one it breaks most directly: a test whose title has this id must fail. */
  readonly invariant: InvariantId
  /** What happens, and the hazards concerned. */
  readonly breaks: string
  readonly file: string
  /** Stands in the file exactly once, so that a mutant that no longer fits is noticed. */
  readonly find: string
  readonly replace: string
  /** Only programs with forks can find it. */
  readonly forks?: true
  /** Where it must die; tried in this order. Default: the random programs, of those with forks or of all. */
  readonly tests?: readonly string[]
}

const testOf = (name: string) => `test/interleaving/${name}.test.ts`

export const happyPath = testOf('happy-path')

export function testsOf({ forks, tests }: Mutant): readonly string[] {
  return tests ?? (forks === true ? [testOf('forks')] : [testOf('random'), testOf('exhaustive')])
}

/** Those need Postgres or Redis; the others run without the project's global setup. */
export function needsServers(test: string): boolean {
  return (
    !/^test\/(compute|interleaving|machines|publish|source|staging)\//.test(test) || test === testOf('replay')
  )
}
