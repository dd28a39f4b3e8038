/** `testIndexer`: a user's handlers on the real indexer, disturbed in every way that it promises to survive. */
import type { Limits } from '../../machines/limits.ts'
import type { Context } from '../compute/context.ts'
import type { RowOf, TablesInput } from '../db.ts'
import type { Handlers } from '../options.ts'
import type { Block } from '../source/port.ts'
import type { TablesWithKeys } from '../staging/keyed.ts'
import type { Casing } from '../staging/table-model.ts'
import type { RunsProgram, TestedEvent } from './disturbed-run.ts'
import { statesOf, type States } from './expected.ts'
import { planOf, smallerThan, undisturbed, type Plan } from './plan.ts'
import type { HistoryEntry } from './story.ts'
import { failureOf, kindOf, referenceFailure } from './test-failure.ts'
import { checked } from './test-options.ts'
import { Cases, type CaseEnd } from './tested-case.ts'

export interface TestIndexerOptions<Item, Tables extends TablesInput> {
  /** What the source has in the end. Twenty or so are enough, of every kind that the handlers know. */
  readonly blocks: Iterable<Block<Item>>
  readonly tables: Tables & TablesWithKeys<Tables>
  /** By `item.type`. Either this or `handle`. */
  readonly handlers?: Handlers<Item, Tables> | undefined
  readonly handle?: ((item: Item, context: Context<Tables>) => unknown) | undefined
  readonly handleBlock?: ((block: Block<Item>, context: Context<Tables>) => unknown) | undefined
  /** As `createIndexer` takes it. Left out: on in some runs, off in others. */
  readonly preload?:
    false | ((blocks: readonly Block<Item>[], context: Context<Tables>) => unknown) | undefined
  readonly casing?: Casing | undefined
  /** Where the test is to keep to some of them; the others vary. `failDeadlineMs` is the kit's own. */
  readonly limits?: Partial<Limits> | undefined
  /** Of everything that is left to chance. The same seed, the same cases. Default: 1. */
  readonly seed?: number | undefined
  /** How many, each with other stalls, losses, crashes and forks; the first is undisturbed. Default: 20. */
  readonly cases?: number | undefined
  /** False: the source never takes a block back. Default: true. */
  readonly forks?: boolean | undefined
  /**
   * Called before every run, the naive one included, as a new process would begin: empty what the module holds. What is
   * held across blocks is tested then: it must neither be missed after a crash nor outlive a fork.
   */
  readonly beforeRun?: (() => unknown) | undefined
}

/** What is there after the last case. */
export interface TestedIndexer<Tables extends TablesInput> {
  /** Of a table, or of each one: its rows, in key order. The same after every case. */
  rows<N extends keyof Tables & string>(table: N): readonly RowOf<Tables[N]>[]
  rows(): { readonly [N in keyof Tables]: readonly RowOf<Tables[N]>[] }
  /** What happened in the last case, or in the one at `index`; 0 is the undisturbed one. */
  history(index?: number): readonly HistoryEntry[]
  /** The indexer's own events in the last case, or in the one at `index`, over all of its runs. */
  events(index?: number): readonly TestedEvent[]
  /** What a region shows in the end, or each one; undefined: nothing was published. */
  published(region: string): unknown
  published(): Readonly<Record<string, unknown>>
  /** Where the cases began. */
  readonly seed: number
}

/**
 * Runs the handlers on the given blocks, one case after the other: on the real indexer, over a store in memory, with
 * stalls, lost answers, stops, crashes and forks that a seed chooses. After every commit and every rollback the tables
 * are compared with what the same handlers make of the surviving blocks one by one (`referenceRun`). In any test runner.
 * @throws TestFailure when a row or a region differs, or a run fails: it names table, key and block, tells what happened
 * before, and which seed replays it
 * @throws ConfigurationError `INVALID_OPTIONS`
 * @example
 * ```ts
 * test('balances survive whatever happens', async () => {
 *   const tested = await testIndexer({ blocks, tables, handlers })
 *   expect(tested.rows('account')).toEqual([{ id: 'ada', balance: 30n }])
 * })
 * ```
 */
export async function testIndexer<Item, Tables extends TablesInput>(
  options: TestIndexerOptions<Item, Tables>,
): Promise<TestedIndexer<Tables>> {
  const { program, blocks, seed, cases, mayFork } = checked(
    options as TestIndexerOptions<unknown, TablesInput>,
  )
  const reference = await referenceOf(program, blocks)
  const all = new Cases(program, blocks, reference.states)
  const told: Told[] = []
  let last: CaseEnd | undefined
  for (let nth = 0; nth < cases; nth++) {
    // the first of the disturbed ones has the seed itself, so that a seed that is given again fails at once
    const own = seed + Math.max(0, nth - 1)
    const plan = nth === 0 ? undisturbed : await all.fit(planOf(own, blocks, mayFork))
    const ended = await all.run(plan)
    if (ended.verdict.is !== 'passed') {
      throw failureOf(await smallest(all, plan, ended), { seed: own, nth, cases, mayFork })
    }
    if (reference.failure !== undefined) throw referenceFailure(reference.failure.error, seed)
    told.push({ history: ended.history, events: ended.events })
    last = ended
  }
  return tested(program, told, last!, seed) as TestedIndexer<Tables>
}

type Told = Pick<CaseEnd, 'history' | 'events'>

/** Handlers that fail here fail on the indexer, too, which says where. */
async function referenceOf(
  program: RunsProgram,
  blocks: readonly Block[],
): Promise<{ readonly states: States; readonly failure?: { readonly error: unknown } }> {
  try {
    return { states: await statesOf(program, blocks) }
  } catch (error) {
    return { states: new Map(), failure: { error } }
  }
}

/** Enough for three runs of ten disturbances. */
const mostAttempts = 60
/** A test has five seconds, by default: rather a longer story than none. */
const mostMs = 2_000

/** The same failure with as little around it as possible. */
async function smallest(all: Cases, plan: Plan, ended: CaseEnd): Promise<CaseEnd> {
  const kind = kindOf(ended.verdict)
  const began = performance.now()
  let [least, end] = [plan, ended]
  let attempts = 0
  search: for (;;) {
    for (const smaller of smallerThan(least)) {
      if (attempts++ === mostAttempts || performance.now() - began > mostMs) return end
      const fitting = await all.fit(smaller)
      const candidate = await all.run(fitting)
      if (kindOf(candidate.verdict) !== kind) continue
      least = fitting
      end = candidate
      continue search
    }
    return end
  }
}

function tested(
  program: RunsProgram,
  told: readonly Told[],
  last: CaseEnd,
  seed: number,
): TestedIndexer<TablesInput> {
  const at = (index = told.length - 1) => {
    const one = told[index]
    if (one === undefined)
      throw new RangeError(`There are ${told.length} cases, from 0; there is none at ${index}.`)
    return one
  }
  return {
    rows: ((table?: string) =>
      table === undefined
        ? Object.fromEntries(Object.keys(program.tables).map((name) => [name, last.rows(name)]))
        : last.rows(table)) as TestedIndexer<TablesInput>['rows'],
    history: (index) => at(index).history,
    events: (index) => at(index).events,
    published: (region?: string) =>
      region === undefined ? Object.fromEntries(last.published) : last.published.get(region),
    seed,
  } as TestedIndexer<TablesInput>
}
