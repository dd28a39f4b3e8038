/** The two parts of the code that are mutated, and the tests that have to notice: none of them needs a server. */

export interface Part {
  readonly name: 'machines' | 'staging'
  readonly folder: string
  /** Of the valid mutants so many per cent have to be killed. */
  readonly bound: number
  readonly tests: string
  /** Not these. */
  readonly without: readonly string[]
  /** The first test that fails ends a mutant: these take longest, and come last. */
  readonly last: readonly string[]
  /** Of one test, which waits for what a mutant has kept from happening. */
  readonly patienceMs: number
}

export const parts: readonly Part[] = [
  {
    name: 'machines',
    folder: 'machines',
    bound: 90,
    tests: 'test/machines/*.test.ts',
    without: [
      // that the drawn pages differ shows that something has changed, and not that it is wrong
      'test/machines/docs.test.ts',
      // seconds each, for every mutant that survives
      'test/machines/publisher-walk.test.ts',
      'test/machines/indexer-walk.test.ts',
    ],
    last: [
      'test/machines/region-walk.test.ts',
      'test/machines/committer-walk.test.ts',
      // loads the charts inside its test: before the others it would seem to be the only one that reaches them
      'test/machines/loading.test.ts',
    ],
    patienceMs: 30_000,
  },
  {
    name: 'staging',
    folder: 'src/staging',
    bound: 80,
    tests: 'test/staging/*.test.ts',
    without: [],
    last: ['test/staging/access.test.ts', 'test/staging/find.test.ts', 'test/staging/model.test.ts'],
    patienceMs: 3_000,
  },
]
