/**
 * What the root chart knows: its context, and one pure function for each thing that becomes known.
 * Guards read these facts and nothing else, so every barrier can be checked by looking at one object.
 */
import type { ComputeEvent, OpenerEvent, RegionSettled, SourceEvent } from './events.ts'
import { defaultRegionLimits, type Limits, type RegionLimits } from './limits.ts'
import type { CommitOutcome, InDoubt, Owner } from './outcome.ts'

export interface IndexerInput {
  readonly limits: Limits
  readonly regionLimits?: RegionLimits | undefined
  /** A region that is quarantined fails the run. Default: it costs the run nothing. */
  readonly requireRegions?: boolean | undefined
}

export interface IndexerFacts {
  readonly limits: Limits
  readonly regionLimits: RegionLimits
  readonly requireRegions: boolean
  /** Last checkpoint handled; last checkpoint durable in Postgres. */
  readonly processed: number
  readonly committed: number
  /** The batch in the compute lane. */
  readonly running: { readonly from: number; readonly upTo: number } | null
  /** Batches handled and not in the group on the wire; batches in that group. */
  readonly stagedBatches: number
  readonly flightBatches: number
  /** Everything uncommitted, the group on the wire included. */
  readonly stagedBytes: number
  /** Batches the next group may hold, from measured latency. */
  readonly groupLimit: number
  /** Every source said `end`. */
  readonly sourcesEnded: boolean
  /** Why the run is to end: everything was read, or somebody asked. */
  readonly exit: 'ended' | 'stop' | null
  /** Lowest checkpoint that survives; null: no fork is pending. */
  readonly fork: number | null
  /**
   * Committed snapshots on their way to Redis, and whether a delivery mark still has to be committed. Below zero while a
   * commit in two halves is under way: what its first half brought may be delivered before the whole is told.
   */
  readonly undelivered: number
  readonly marksDirty: boolean
  /** The group on the wire holds the marks of what was delivered before it was frozen. */
  readonly flightMarks: boolean
  /** First error, and those that came after it. */
  readonly failed: boolean
  readonly error: unknown
  readonly suppressed: readonly unknown[]
  /** Set when the run lost its pipeline: who has it now. */
  readonly superseded: boolean
  readonly owner: Owner | null
  readonly inDoubt: InDoubt | null
}

/** Errors kept beside the first; the rest would only be echoes. */
const maxSuppressed = 16

export function initialFacts(input: IndexerInput): IndexerFacts {
  return {
    limits: input.limits,
    regionLimits: input.regionLimits ?? defaultRegionLimits,
    requireRegions: input.requireRegions ?? false,
    processed: 0,
    committed: 0,
    running: null,
    stagedBatches: 0,
    flightBatches: 0,
    stagedBytes: 0,
    groupLimit: 1,
    sourcesEnded: false,
    exit: null,
    fork: null,
    undelivered: 0,
    marksDirty: false,
    flightMarks: false,
    failed: false,
    error: null,
    suppressed: [],
    superseded: false,
    owner: null,
    inDoubt: null,
  }
}

type Known = Partial<IndexerFacts>
type Of<E extends { type: string }, T extends E['type']> = Extract<E, { type: T }>

export function opened(_facts: IndexerFacts, event: Of<OpenerEvent, 'opened'>): Known {
  return { committed: event.committed, processed: event.committed }
}

/** First error wins; later ones are attached, none is swallowed. */
export function failedWith(facts: IndexerFacts, error: unknown): Known {
  if (!facts.failed) return { failed: true, error }
  if (error === facts.error || facts.suppressed.length >= maxSuppressed) return {}
  return { suppressed: [...facts.suppressed, error] }
}

/** Another owner has the pipeline. */
export function superseded(facts: IndexerFacts, owner: Owner | null): Known {
  return { superseded: true, owner: owner ?? facts.owner }
}

export function pulled(_facts: IndexerFacts, event: Of<ComputeEvent, 'batch.pulled'>): Known {
  return { running: { from: event.from, upTo: event.upTo } }
}

export function handled(facts: IndexerFacts, event: Of<ComputeEvent, 'batch.handled'>): Known {
  return {
    running: null,
    processed: event.upTo,
    stagedBatches: facts.stagedBatches + 1,
    stagedBytes: event.stagedBytes,
  }
}

/** Nothing more will come, unless a rollback opens the sources again. */
export function readToTheEnd(facts: IndexerFacts): Known {
  return { exit: facts.exit ?? 'ended' }
}

/** Several forks before the rollback: the lowest target wins. */
export function forked(facts: IndexerFacts, event: Of<SourceEvent, 'source.fork'>): Known {
  return { fork: facts.fork === null ? event.target : Math.min(facts.fork, event.target) }
}

/** Freezes the next group: counted here in the same step in which its committer starts. */
export function grouped(facts: IndexerFacts): Known {
  const batches = Math.min(facts.stagedBatches, facts.groupLimit)
  return {
    flightBatches: batches,
    stagedBatches: facts.stagedBatches - batches,
    flightMarks: facts.marksDirty,
    marksDirty: false,
  }
}

/** What a commit came to. Batches that did not land are staged again, whatever the reason. */
export function committed(facts: IndexerFacts, outcome: CommitOutcome): Known {
  return {
    flightBatches: 0,
    flightMarks: false,
    stagedBatches: facts.stagedBatches + facts.flightBatches - outcome.landed,
    // what was delivered while the group was on the wire is not in it
    marksDirty: facts.marksDirty || (facts.flightMarks && outcome.status !== 'committed'),
    ...landed(facts, outcome),
    ...endedBadly(facts, outcome),
  }
}

/** What a rollback came to. `ended` is computed anew once the sources are open again. */
export function restored(facts: IndexerFacts, outcome: CommitOutcome): Known {
  if (outcome.status !== 'committed') return endedBadly(facts, outcome)
  const target = facts.fork ?? facts.processed
  return {
    ...landed(facts, outcome),
    processed: Math.min(facts.processed, target),
    stagedBatches: outcome.stagedBatches,
    running: null,
    fork: null,
    sourcesEnded: false,
    exit: facts.exit === 'ended' ? null : facts.exit,
  }
}

function landed(facts: IndexerFacts, outcome: CommitOutcome): Known {
  return {
    committed: outcome.committed,
    stagedBytes: outcome.stagedBytes < 0 ? facts.stagedBytes : outcome.stagedBytes,
    groupLimit: outcome.groupLimit < 1 ? facts.groupLimit : outcome.groupLimit,
    undelivered: facts.undelivered + outcome.snapshots,
  }
}

function endedBadly(facts: IndexerFacts, outcome: CommitOutcome): Known {
  if (outcome.status === 'superseded') return superseded(facts, outcome.owner)
  if (outcome.status !== 'failed') return {}
  const known: Known = { inDoubt: outcome.inDoubt ?? facts.inDoubt }
  return outcome.error === null ? known : { ...known, ...failedWith(facts, outcome.error) }
}

export function offered(facts: IndexerFacts, snapshots: number): Known {
  return { undelivered: facts.undelivered + snapshots }
}

export function regionSettled(facts: IndexerFacts, { settled, delivered, error }: RegionSettled): Known {
  return {
    undelivered: facts.undelivered - settled,
    marksDirty: facts.marksDirty || delivered,
    ...(facts.requireRegions && error !== null ? failedWith(facts, error) : {}),
  }
}

// ── what guards ask ─────────────────────────────────────────────────────────────────────────────────────────

/** Something ends or interrupts the flow: lanes park. */
export function mustPark(facts: IndexerFacts): boolean {
  return isEnding(facts) || facts.fork !== null || facts.exit !== null
}

/** The run is failing or superseded. */
export function isEnding(facts: IndexerFacts): boolean {
  return facts.failed || facts.superseded
}

/** The running batch cannot come to anything: the run ends, or it holds blocks above the fork. */
export function isDoomed(facts: IndexerFacts): boolean {
  if (facts.running === null) return false
  return isEnding(facts) || (facts.fork !== null && facts.running.upTo > facts.fork)
}

/** A commit may start: something is staged, or a delivery mark is left at the exit. Never beside a fork. */
export function mayCommit(facts: IndexerFacts): boolean {
  if (isEnding(facts) || facts.fork !== null) return false
  return facts.stagedBatches > 0 || (facts.exit !== null && facts.undelivered === 0 && facts.marksDirty)
}

export function isBudgetFull(facts: IndexerFacts): boolean {
  return facts.stagedBytes >= facts.limits.stagedBytes
}

export function isEverythingSettled(facts: IndexerFacts): boolean {
  return facts.stagedBatches === 0 && facts.undelivered === 0 && !facts.marksDirty
}
