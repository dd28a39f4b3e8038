/** One case: a chain, a store, and as many runs as it takes. Its verdict is against the naive executor. */
import { isDeepStrictEqual } from 'node:util'
import type { MemoryRegions } from '../publish/memory.ts'
import { memoryRegions } from '../publish/memory.ts'
import { positionOf, type Block } from '../source/port.ts'
import { tableModelOf } from '../staging/table-model.ts'
import { handedOut } from '../staging/table-row.ts'
import type { Row, TableModel } from '../staging/table.ts'
import { DisturbedRun, type RunsProgram, type TestedEvent } from './disturbed-run.ts'
import { emptyState, statesOf, type State, type States } from './expected.ts'
import { Ledger, type Found } from './ledger.ts'
import { memoryStore, type MemoryStore } from './memory-store.ts'
import type { Plan } from './plan.ts'
import { chainOf, ShownChain } from './shown-chain.ts'
import type { PlannedFork } from './branch.ts'
import type { HistoryEntry } from './story.ts'

export type Verdict =
  | { readonly is: 'passed' }
  | { readonly is: 'differing'; readonly found: Found }
  | { readonly is: 'published'; readonly region: string; readonly was: unknown; readonly mustBe: unknown }
  | { readonly is: 'failed'; readonly error: unknown }

export interface CaseEnd {
  readonly verdict: Verdict
  readonly history: readonly HistoryEntry[]
  readonly events: readonly TestedEvent[]
  readonly published: ReadonlyMap<string, unknown>
  rows(table: string): readonly Row[]
}

/** What is known of the blocks before anything is disturbed. */
export class Cases {
  readonly #program: RunsProgram
  readonly #blocks: readonly Block[]
  readonly #states: States
  readonly #models: readonly TableModel[]
  readonly #empty: State
  readonly #given: ReadonlySet<string>
  /** Null: the handlers cannot get through it, so it is no branch that a chain would have had. */
  readonly #branches = new WeakMap<PlannedFork, States | null>()

  constructor(program: RunsProgram, blocks: readonly Block[], states: States) {
    this.#program = program
    this.#blocks = blocks
    this.#states = states
    this.#models = Object.entries(program.tables).map(([name, table]) =>
      tableModelOf(name, table, { casing: program.casing }),
    )
    this.#empty = emptyState(program)
    this.#given = new Set(blocks.map((block) => positionOf(block).hash))
  }

  /** Without the branches that the handlers refuse. */
  async fit(plan: Plan): Promise<Plan> {
    const forks: PlannedFork[] = []
    for (const fork of plan.forks) if ((await this.#statesOn(fork)) !== null) forks.push(fork)
    return { ...plan, forks }
  }

  /** @param plan one that fits */
  async run(plan: Plan): Promise<CaseEnd> {
    const states = new Map(this.#states)
    for (const fork of plan.forks) {
      for (const [hash, state] of (await this.#statesOn(fork)) ?? [])
        if (!states.has(hash)) states.set(hash, state)
    }
    const store = memoryStore({ casing: this.#program.casing })
    // no clock of its own: an attempt may be held up for as long as a handler takes
    const regions = memoryRegions({ attemptMs: dayMs })
    const history: HistoryEntry[] = []
    const events: TestedEvent[] = []
    const ledger = new Ledger({ store, models: this.#models, states, empty: this.#empty })
    const chain = new ShownChain(this.#blocks, plan)
    const isOrphan = (hash: string) => !this.#given.has(hash)
    const around = { program: this.#program, plan, store, regions, chain, ledger, history, events, isOrphan }
    let verdict: Verdict | undefined
    for (let nth = 1; verdict === undefined; nth++) {
      // a run that its disturbances have not ended has come to its end
      const run = new DisturbedRun(around, plan.runs[nth - 1]!, nth)
      const ended = await run.toItsEnd()
      if (ended.end === 'over') chain.pause()
      else if (ended.end === 'failed') verdict = { is: 'failed', error: ended.error }
      else verdict = await this.#verdict(ledger, regions)
    }
    return {
      verdict,
      history,
      events,
      published: await bodiesIn(regions, this.#regions(states)),
      rows: (table) => this.#rows(store, table),
    }
  }

  async #verdict(ledger: Ledger, regions: MemoryRegions): Promise<Verdict> {
    ledger.compare()
    if (ledger.found !== undefined) return { is: 'differing', found: ledger.found }
    const mustBe = this.#last.published
    const published = await bodiesIn(regions, [...mustBe.keys()])
    for (const [region, json] of mustBe) {
      const was = published.get(region)
      const body: unknown = JSON.parse(json)
      if (!isDeepStrictEqual(was, body)) return { is: 'published', region, was, mustBe: body }
    }
    return { is: 'passed' }
  }

  get #last(): State {
    const last = this.#blocks.at(-1)
    return (last && this.#states.get(positionOf(last).hash)) ?? this.#empty
  }

  /** Every region that anybody may have published, on whatever branch. */
  #regions(states: States): readonly string[] {
    return [...new Set([...states.values()].flatMap(({ published }) => [...published.keys()]))]
  }

  #rows(store: MemoryStore, name: string): readonly Row[] {
    const model = this.#models.find((candidate) => candidate.name === name)
    if (model === undefined) {
      const known = this.#models.map((candidate) => candidate.name).join(', ')
      throw new Error(`There is no table '${name}'; there are ${known}.`)
    }
    return store.rows(name).map((row) => handedOut(model, row))
  }

  async #statesOn(fork: PlannedFork): Promise<States | null> {
    const known = this.#branches.get(fork)
    if (known !== undefined) return known
    const states = await statesOf(this.#program, chainOf(this.#blocks, fork)).catch(() => null)
    this.#branches.set(fork, states)
    return states
  }
}

const dayMs = 24 * 60 * 60 * 1_000

async function bodiesIn(
  regions: MemoryRegions,
  names: readonly string[],
): Promise<ReadonlyMap<string, unknown>> {
  return new Map([...(await regions.read(names))].map(([region, { body }]) => [region, body]))
}
