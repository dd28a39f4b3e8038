/**
 * Everything that is said between the charts and the workers behind them. Workers are long-lived callback
 * actors, one a lane: a lane's state may change while its worker still works, so no result and no error is
 * ever lost. Commands go down, facts come up; one event per phase change, none per row or item.
 */
import type { CommitOutcome, Owner } from './outcome.ts'

// ── facts: worker → indexer ─────────────────────────────────────────────────────────────────────────────────

export type OpenerEvent =
  | { readonly type: 'opened'; readonly committed: number }
  | { readonly type: 'open.failed'; readonly error: unknown }
  /** Answer to `cancel`, when there was nothing to undo. */
  | { readonly type: 'open.cancelled' }

export type SourceEvent =
  | { readonly type: 'source.full' }
  | { readonly type: 'source.room' }
  /** Every source said `end`; what they gave may still be buffered. The last word of its `open`. */
  | { readonly type: 'source.ended' }
  /** Checkpoints above `target` are orphaned. Overtakes whatever is buffered. */
  | { readonly type: 'source.fork'; readonly source: string; readonly target: number }
  | { readonly type: 'source.failed'; readonly error: unknown }
  /** Answer to `close` and `cut`: every iterator is returned. The last word of its `open`, unless that was `source.ended`. */
  | { readonly type: 'source.closed' }

export type ComputeEvent =
  | { readonly type: 'batch.pulled'; readonly from: number; readonly upTo: number; readonly items: number }
  /** Sources ended and their buffers are empty. */
  | { readonly type: 'pull.ended' }
  | { readonly type: 'batch.preloaded' }
  /** Handlers ended; the batch is staged. `stagedBytes` counts everything uncommitted. */
  | { readonly type: 'batch.handled'; readonly upTo: number; readonly stagedBytes: number }
  | { readonly type: 'batch.failed'; readonly error: unknown }
  /** The last word after `cancel` or `cut`: nothing of the batch runs any more, what was half done is gone. */
  | { readonly type: 'batch.cancelled' }

/** The commit's frames are in the kernel (or will not get there soon); compute may go on. */
export interface FramesFlushed {
  readonly type: 'frames.flushed'
}

export type PublishEvent =
  /** More is to be settled than commits have told of: Redis was emptied, or a look at the regions has found something. */
  | { readonly type: 'publish.offered'; readonly snapshots: number }
  | RegionSettled
  /** Answer to `halt` and `cut`: nothing is being delivered any more. */
  | { readonly type: 'publish.parked' }

/** Of so many committed snapshots nothing more is waited for. */
export interface RegionSettled {
  readonly type: 'region.settled'
  readonly settled: number
  /** Redis has the newest of them: a delivery mark is due. */
  readonly delivered: boolean
  /** Why its region is quarantined; null: it is not. */
  readonly error: unknown
}

export type HostEvent = { readonly type: 'stop' } | { readonly type: 'abort'; readonly error: unknown }

/** The heartbeat found another owner in our place; between commits nothing else would. */
export interface OwnershipLost {
  readonly type: 'ownership.lost'
  readonly owner: Owner | null
}

export type IndexerEvent =
  | HostEvent
  | OwnershipLost
  | OpenerEvent
  | SourceEvent
  | ComputeEvent
  | FramesFlushed
  | PublishEvent
  | CommitterDone

export type CommitterDone =
  | { readonly type: 'xstate.done.actor.committer'; readonly output: CommitOutcome }
  | { readonly type: 'xstate.done.actor.restorer'; readonly output: CommitOutcome }

// ── facts: wire → committer ─────────────────────────────────────────────────────────────────────────────────

/** What every attempt's answer says about retrying: drawn by the worker, since charts have no clock or dice. */
export interface Pause {
  readonly retryInMs: number
}

export type WireEvent =
  | FramesFlushed
  /** The group is frozen: its last checkpoint, for the case that its fate stays open. */
  | { readonly type: 'write.started'; readonly upTo: number }
  | {
      readonly type: 'write.landed' | 'resolve.landed'
      /** Batches landed by this write. */
      readonly batches: number
      readonly committed: number
      /** Batches staged and not in this group; only a rollback changes it. */
      readonly stagedBatches: number
      readonly stagedBytes: number
      readonly groupLimit: number
      readonly snapshots: number
    }
  /** The connection went away before the answer: its fate is unknown. */
  | ({ readonly type: 'write.lost'; readonly error: unknown } & Pause)
  /** Postgres answered with an error that a retry may cure; nothing landed. */
  | ({ readonly type: 'write.deferred'; readonly error: unknown } & Pause)
  /** Postgres answered with any other error; believed once the row still names us. */
  | ({ readonly type: 'write.refused'; readonly error: unknown } & Pause)
  | ({ readonly type: 'resolve.notLanded' } & Pause)
  | ({ readonly type: 'resolve.lost'; readonly error: unknown } & Pause)
  | { readonly type: 'resolve.superseded'; readonly owner: Owner | null }
  /** Neither the commit number before nor the one after: the database went back. */
  | { readonly type: 'resolve.reverted'; readonly error: unknown }

export type CommitterEvent =
  | WireEvent
  /** The run is failing: settle what is on the wire, send nothing more. */
  | { readonly type: 'halt' }
  /** A fork: what is not on the wire goes back to the change log. */
  | { readonly type: 'recall' }
  /** The deadline: destroy the socket, say what is in doubt. */
  | { readonly type: 'cut' }

// ── facts: outbox → publisher, delivery → region ────────────────────────────────────────────────────────────

/** A region has something that is to be delivered. Every snapshot offered is settled once. */
export interface RegionOffered {
  readonly type: 'region.offered'
  readonly region: string
  readonly snapshots: number
  /** By a look that has just had an answer: whatever kept the region from being delivered may be over. */
  readonly found?: boolean | undefined
}

export type OutboxEvent =
  | RegionOffered
  | { readonly type: 'publish.offered'; readonly snapshots: number }
  /** A look is over; what it found was offered. */
  | { readonly type: 'outbox.looked'; readonly snapshots: number }

export type PublisherEvent =
  | OutboxEvent
  | (RegionSettled & { readonly region: string })
  | { readonly type: 'region.parked'; readonly region: string }
  /** Nothing new starts; what is on the wire settles. */
  | { readonly type: 'halt' }
  /** The deadline: what is on the wire is given up. */
  | { readonly type: 'cut' }

export type DeliveryEvent =
  /** Its rows are read. Before each snapshot of an attempt. `progress`: this attempt has delivered one already. */
  | { readonly type: 'delivery.sent'; readonly progress?: boolean | undefined }
  /** Everything that its region had when it was told to deliver is in Redis. */
  | { readonly type: 'delivery.done' }
  | {
      readonly type: 'delivery.failed'
      readonly error: unknown
      /** No retry of the same snapshot helps. */
      readonly permanent: boolean
      readonly retryInMs: number
    }

export type RegionEvent =
  | { readonly type: 'offer'; readonly snapshots: number; readonly found?: boolean | undefined }
  | DeliveryEvent
  | { readonly type: 'halt' }
  | { readonly type: 'cut' }

// ── commands: chart → worker ────────────────────────────────────────────────────────────────────────────────

export type OpenerCommand = { readonly type: 'cancel' }
export type SourceCommand = { readonly type: 'open' } | { readonly type: 'close' } | { readonly type: 'cut' }
export type ComputeCommand =
  | { readonly type: 'pull' }
  | { readonly type: 'run' }
  | { readonly type: 'cancel' }
  | { readonly type: 'cut' }
export type PublishCommand = { readonly type: 'halt' } | { readonly type: 'cut' }
export type DeliveryCommand =
  /** Deliver what the region has now; the answer is `delivery.done` or `delivery.failed`. */
  | { readonly type: 'deliver'; readonly attempt: number }
  /** Give it up; there is no answer. */
  | { readonly type: 'cut' }
  /** The run ends: what was not begun is not to be. There is no answer. */
  | { readonly type: 'stop' }
export type WireCommand =
  /** Send the first `batches` batches of the frozen group that have not landed. */
  | { readonly type: 'write'; readonly batches: number }
  | { readonly type: 'resolve' }
  /** An attempt is past its deadline: destroy the socket; `write.lost` (or `resolve.lost`) follows. */
  | { readonly type: 'destroy' }
  /** Destroy the socket and say nothing more. */
  | { readonly type: 'cut' }
