/** How actors end: plain facts. Checkpoints are numbers here (exact below 2^53), bigints at the public edge. */

/** Who holds a pipeline, as its row says it. */
export interface Owner {
  readonly epoch: number
  readonly host: string
  readonly pid: number
}

/** Checkpoints `(from, upTo]` whose commit may or may not have landed. */
export interface InDoubt {
  readonly from: number
  readonly upTo: number
}

/** What one commit or one rollback came to. `landed` counts batches; it may be a prefix of the group. */
export interface CommitOutcome {
  readonly status: 'committed' | 'recalled' | 'superseded' | 'failed'
  readonly landed: number
  /** Committed frontier, as far as this commit moved it. */
  readonly committed: number
  /** Batches staged after a rollback. */
  readonly stagedBatches: number
  /** Uncommitted bytes after it, and how many batches the next group may hold. */
  readonly stagedBytes: number
  readonly groupLimit: number
  /** Region snapshots that became durable and are now to be delivered. */
  readonly snapshots: number
  readonly error: unknown
  readonly inDoubt: InDoubt | null
  readonly owner: Owner | null
}

/** Output of the indexer machine: one of four ends. */
export interface IndexerOutcome {
  readonly status: 'finished' | 'stopped' | 'superseded' | 'failed'
  readonly committed: number
  readonly processed: number
  readonly error: unknown
  readonly suppressed: readonly unknown[]
  readonly inDoubt: InDoubt | null
  readonly owner: Owner | null
}
