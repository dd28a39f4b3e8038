/** One run of a case: the real indexer, with everything around it under the schedule, until it ends or dies. */
import { setImmediate as turn } from 'node:timers/promises'
import type { Limits } from '../../machines/limits.ts'
import type { Context } from '../compute/context.ts'
import { createIndexer, type Indexer } from '../indexer.ts'
import type { IndexerEventName, IndexerEvents } from '../observe/events.ts'
import type { IndexerOptions } from '../options.ts'
import type { Outcome } from '../outcome.ts'
import type { RegionPublisher } from '../publish/port.ts'
import type { Group } from '../staging/batch.ts'
import { DisturbedStore } from './disturbed-store.ts'
import type { TestProgram } from './expected.ts'
import { pausedRegions } from './paused-regions.ts'
import type { Ledger } from './ledger.ts'
import type { MemoryStore } from './memory-store.ts'
import type { Disturbance, Plan, PlannedRun, PortKind } from './plan.ts'
import type { ShownChain } from './shown-chain.ts'
import type { HistoryEntry } from './story.ts'
import { Turns } from './turns.ts'
import { watchedHandlers } from './watched-handlers.ts'

/**
 * An event of the indexer, under its name. Without `state`, which says every transition of the chart.
 * @example `{ type: 'batch.committed', checkpoint: 3n, batches: 1, rows: 7, … }`
 */
export type TestedEvent = {
  readonly [N in Exclude<IndexerEventName, 'state'>]: { readonly type: N } & IndexerEvents[N]
}[Exclude<IndexerEventName, 'state'>]

export interface RunsProgram extends TestProgram {
  readonly preload?: false | ((blocks: never, context: never) => unknown) | undefined
  readonly limits?: Partial<Limits> | undefined
}

/** What a run shares with the others of its case. */
export interface Surroundings {
  readonly program: RunsProgram
  readonly plan: Plan
  readonly store: MemoryStore
  readonly regions: RegionPublisher
  readonly chain: ShownChain
  readonly ledger: Ledger
  readonly history: HistoryEntry[]
  readonly events: TestedEvent[]
  /** The chain takes this block back. */
  isOrphan(hash: string): boolean
}

/** `over`: it ended as it was meant to, and another one goes on. */
export type RunEnd =
  { readonly end: 'finished' | 'over' | 'differs' } | { readonly end: 'failed'; readonly error: unknown }

const heard = [
  'batch.processed',
  'batch.committed',
  'commit.retrying',
  'read.retrying',
  'fork',
  'rollback.started',
  'rollback.committed',
  'region.settled',
  'region.health',
  'ownership',
  'caughtUp',
] as const satisfies readonly TestedEvent['type'][]

/** Ends a run that nobody wants to hear of any more at once; a run that goes on is drained, whatever the clock says. */
const patienceMs = { ofTheDead: 0, otherwise: 600_000 }

export class DisturbedRun {
  readonly #around: Surroundings
  readonly #planned: PlannedRun
  readonly #turns: Turns
  readonly #store: DisturbedStore
  readonly #indexer: Indexer
  readonly #disturbances: Disturbance[]
  readonly #planted = new Error('a handler fails, by the test')
  #calls = 0
  #isToFail = false
  /** The run was ended by the plan. */
  #isEnded = false
  #crash: Extract<Disturbance, { what: 'crash' }> | undefined
  #failure: { readonly error: unknown } | undefined
  #isGivenUp = false

  constructor(around: Surroundings, planned: PlannedRun, nth: number) {
    const { plan, history, program } = around
    const { batchItems, stagedBytes, groupLatencyMs } = { ...planned, ...program.limits }
    const preload = program.preload === undefined ? planned.preload : program.preload !== false
    this.#around = around
    this.#planned = planned
    this.#disturbances = [...planned.disturbances]
    this.#turns = new Turns(plan.seed + nth, plan.stalls, (kind) => this.#called(kind))
    this.#store = new DisturbedStore(around.store, this.#turns, {
      landed: (group) => this.#landed(group),
      restored: (target, rows) => this.#restored(target, rows),
      lost: (what, landed) => this.#tell({ type: 'lost', what, landed }),
    })
    this.#indexer = this.#createIndexer()
    history.push({ type: 'run', run: nth, batchItems, stagedBytes, groupLatencyMs, preload })
  }

  async toItsEnd(): Promise<RunEnd> {
    const { history, ledger, program } = this.#around
    await program.beforeRun?.()
    const running = this.#indexer.run()
    await this.#turns.drive(running, () => this.#isRetrying())
    if (this.#turns.isDead) await this.#bury()
    const outcome = await running
    if (ledger.found !== undefined) return { end: 'differs' }
    if (this.#failure !== undefined) return { end: 'failed', error: this.#failure.error }
    if (this.#crash !== undefined) return { end: 'over' }
    history.push({ type: 'end', status: outcome.status })
    return this.#endOf(outcome)
  }

  #endOf(outcome: Outcome): RunEnd {
    if (outcome.status === 'finished') return { end: 'finished' }
    if (outcome.status === 'stopped' && this.#isEnded) return { end: 'over' }
    const error = outcome.status === 'failed' ? outcome.error : new Error(`The run ended ${outcome.status}.`)
    const isPlanned =
      outcome.status === 'failed' &&
      (outcome.error.walk((cause) => cause === this.#planted) !== undefined ||
        (this.#isEnded && outcome.error.code === 'ABORTED'))
    return isPlanned ? { end: 'over' } : { end: 'failed', error }
  }

  // ── what is around the indexer ────────────────────────────────────────────────────────────────────────────

  #createIndexer(): Indexer {
    const { program, regions, chain, events } = this.#around
    const { batchItems, stagedBytes, groupLatencyMs, disturbances } = this.#planned
    const turns = this.#turns
    const dies = disturbances.at(-1)?.what === 'crash'
    const preload = program.preload ?? (this.#planned.preload ? undefined : (false as const))
    const handlers = watchedHandlers(program, {
      calling: (context) => this.#calling(context),
      working: (change) => turns.working(change),
      late: (error) => this.#fail(error),
    })
    const indexer = createIndexer({
      ...handlers,
      name: 'testIndexer',
      source: chain.source((kind) => turns.call(kind)),
      tables: program.tables,
      ...(preload === undefined ? {} : { preload }),
      store: this.#store.store,
      regions: pausedRegions(regions, turns),
      limits: {
        batchItems,
        stagedBytes,
        groupLatencyMs,
        ...program.limits,
        failDeadlineMs: dies ? patienceMs.ofTheDead : patienceMs.otherwise,
      },
    } as IndexerOptions<never, never>)
    for (const type of heard) {
      indexer.on(type, (event) => {
        if (!turns.isDead && !this.#isGivenUp) events.push({ type, ...event } as TestedEvent)
      })
    }
    indexer.on('fork', ({ validTo, depth }) => this.#tell({ type: 'fork', validTo, depth }))
    return indexer
  }

  #calling({ preloading }: Context): Promise<void> | undefined {
    const turns = this.#turns
    // the speculative ones come all together, so that their loads become one
    const waiting = preloading && !turns.isDead ? undefined : turns.call('handler')
    if (this.#isToFail && !preloading) {
      this.#isToFail = false
      this.#tell({ type: 'handler fails' })
      return Promise.reject(this.#planted)
    }
    return waiting
  }

  #landed(group: Group): void {
    const { ledger, isOrphan } = this.#around
    const blocks = group.batches.flatMap((batch) => batch.blocks)
    if (blocks.length > 0) {
      this.#tell({
        type: 'commit',
        blocks: blocks.map(({ number }) => number),
        orphans: blocks.filter(({ hash }) => isOrphan(hash)).map(({ number }) => number),
        rows: group.rows,
      })
    }
    ledger.landed(group)
    if (ledger.found !== undefined) this.#giveUp()
  }

  #restored(target: number, rows: number): void {
    const { ledger } = this.#around
    const to = ledger.restored(target)
    this.#tell({ type: 'rollback', to, rows })
    if (ledger.found !== undefined) this.#giveUp()
  }

  #fail(error: unknown): void {
    this.#failure ??= { error }
    this.#giveUp()
  }

  /** The verdict is there: what comes now is of no interest, and goes on without a stop until the run has ended. */
  #giveUp(): void {
    this.#isGivenUp = true
    this.#turns.free()
    void this.#abandon()
  }

  /** Once what was let go has settled. */
  async #abandon(): Promise<void> {
    await turn()
    await turn()
    await this.#indexer.abort('abandoned by the test')
  }

  #tell(entry: HistoryEntry): void {
    if (!this.#isGivenUp) this.#around.history.push(entry)
  }

  // ── what disturbs it ──────────────────────────────────────────────────────────────────────────────────────

  /** A port is called: it may be the moment. */
  #called(kind: PortKind): void {
    const [next] = this.#disturbances
    if (next === undefined || (next.of ?? kind) !== kind || this.#calls++ < next.after) return
    this.#calls = 0
    this.#disturbances.shift()
    switch (next.what) {
      case 'answer lost':
      case 'connection lost':
        this.#store.loss = next.what
        return
      case 'handler fails':
        this.#isToFail = true
        return
      case 'stop':
      case 'abort':
        this.#isEnded = true
        this.#tell({ type: next.what })
        return void (next.what === 'stop' ? this.#indexer.stop() : this.#indexer.abort('by the test'))
      case 'crash':
        this.#crash = next
        return this.#turns.kill()
      default:
        throw new Error(`unreachable: ${String(next satisfies never)}`)
    }
  }

  /** The chart pauses before it sends again: by a timer, at the end of which it is heard of. */
  #isRetrying(): boolean {
    if (!this.#store.isToRetry) return false
    const { lanes } = this.#indexer.status()
    return lanes?.commit === 'committing' || lanes?.control.startsWith('rollingBack') === true
  }

  /** Nobody in it gets an answer any more; its timers and its listeners go. What was on the wire may still arrive. */
  async #bury(): Promise<void> {
    if (this.#crash !== undefined) {
      const { flight, isLanded } = this.#store
      const { lands } = this.#crash
      const inFlight = isLanded ? 'landed before' : lands ? 'landed after' : 'never landed'
      this.#tell({ type: 'crash', ...(flight === undefined && !isLanded ? {} : { inFlight }) })
      if (lands) await flight?.()
    }
    await this.#abandon()
  }
}
