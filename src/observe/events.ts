/** Typed events for the host. Every checkpoint says which frontier it belongs to. */
import type { IndexerStatus } from '../status.ts'

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
  'commit.retrying': { readonly attempt: number; readonly inMs: number; readonly error: unknown }
  fork: { readonly source: string; readonly target: bigint }
  'rollback.started': { readonly target: bigint }
  'rollback.committed': { readonly target: bigint; readonly droppedBatches: number; readonly ms: number }
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
