/** Typed events for the host. Every checkpoint says which frontier it belongs to. */
import type { RegionHealth, RegionSettled } from '../regions.ts'
import type { IndexerStatus } from '../status.ts'

export interface Retry {
  readonly attempt: number
  readonly inMs: number
  readonly error: unknown
}

export interface Fork {
  readonly source: string
  /** Height of the newest block of the source that survives; null: none that is known. */
  readonly validTo: number | null
  /** Blocks of this source that are orphaned. */
  readonly depth: number
  /** The checkpoint to go back to, of the whole pipeline. */
  readonly target: bigint
}

export interface Rollback {
  readonly target: bigint
  /** Blocks taken back, of all sources: staged ones and committed ones. */
  readonly depth: number
}

export interface IndexerEvents {
  /** A batch was handled and is staged; not durable yet. */
  'batch.processed': {
    /** Processed frontier. */
    readonly checkpoint: bigint
    readonly blocks: number
    readonly items: number
    readonly preloadMs: number
    readonly handleMs: number
    readonly stagedBytes: number
  }
  /** A group is durable. */
  'batch.committed': {
    /** Committed frontier. */
    readonly checkpoint: bigint
    readonly batches: number
    readonly rows: number
    readonly bytes: number
    readonly encodeMs: number
    readonly commitMs: number
  }
  /** A commit (or a rollback) failed for a reason that may pass; the same group goes again after a pause. */
  'commit.retrying': Retry
  /** The same of a handler's `get` or `find`; the handler goes on waiting. */
  'read.retrying': Retry
  /** A source says that what it gave was orphaned. */
  fork: Fork
  /** What was in flight has settled; the tables go back now. */
  'rollback.started': Rollback
  'rollback.committed': Rollback & {
    /** Staged batches that were dropped, or trimmed, unsent. */
    readonly droppedBatches: number
    /** Committed rows put back or removed; undefined: the answer was lost, and only that it landed is known. */
    readonly restoredRows: number | undefined
    readonly ms: number
  }
  /** A region's delivery has ended: readers see it, or it is given up for now. */
  'region.settled': RegionSettled
  /** A region's health is another one. */
  'region.health': {
    readonly region: string
    readonly health: RegionHealth
    /** Undefined: it is seen for the first time. */
    readonly was: RegionHealth | undefined
  }
  /** Somebody else holds the pipeline; this run waits. Or: this run has it. */
  ownership: {
    readonly state: 'waiting' | 'taken'
    readonly epoch: bigint
    readonly host: string
    readonly pid: number
  }
  /** A source has reached its head. */
  caughtUp: { readonly source: string }
  /** Every transition of the chart, as a small serialisable picture of it. */
  state: IndexerStatus
}

export type IndexerEventName = keyof IndexerEvents
export type Listener<N extends IndexerEventName> = (event: IndexerEvents[N]) => void
