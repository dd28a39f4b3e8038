/** The store port: what an indexer needs of a database. `postgres()` and `embeddedPostgres()` implement it. */
import type { Logger } from '../log.ts'
import type { Position } from '../source/port.ts'
import type { Group } from '../staging/batch.ts'
import type { Reader } from '../staging/reader.ts'
import type { Deliver } from '../staging/snapshots.ts'
import type { Stamp } from '../stamp.ts'
import type { SourceShape } from './shape.ts'
import type { Casing } from '../staging/table-model.ts'
import type { TableModel } from '../staging/table.ts'

export interface OpenStore {
  /** The pipeline's name. */
  readonly pipeline: string
  readonly models: readonly TableModel[]
  readonly sources: readonly SourceShape[]
  /** Whether of a region's snapshots only the newest is to be delivered. Undefined: nothing is published. */
  readonly deliver?: Deliver | undefined
  /** How long to wait for another owner to let go. Infinity: for ever. */
  readonly ownershipTimeoutMs: number
  /** An owner that was silent for so long counts as dead. */
  readonly staleMs: number
  /** Told once while somebody else holds the pipeline. */
  waiting?(holder: Holder): void
  /** How long a read is retried while the database is away. Default: 300,000. */
  readonly readDeadlineMs?: number | undefined
  readRetrying?(error: unknown, attempt: number, inMs: number): void
  readRecovered?(): void
  /** Told at most once, when another owner took the pipeline and no commit has found out yet. */
  superseded?(owner: Holder | null): void
  readonly signal: AbortSignal
  readonly log: Logger
}

export interface Holder {
  readonly host: string
  readonly pid: number
  readonly epoch: number
}

/** Make one with `postgres()` or `embeddedPostgres()`. */
export interface Store {
  readonly casing: Casing | undefined
  /** @throws TailraceError that says what to do; nothing is left open then. */
  open(request: OpenStore): Promise<StoreSession>
}

/** What is known of a pipeline when it is opened. */
export interface Resume {
  readonly epoch: number
  readonly committed: number
  /** Highest checkpoint that ever reached the database; ids go on above it. */
  readonly counter: number
  /** A rollback can go back to here, and no further; never decreases. */
  readonly restorableFrom: number
  /** When the pipeline's row was made; milliseconds of the database's clock. The first number of its stamps. */
  readonly incarnation: number
  /** Stored positions of each source, newest first; the first is where to resume. */
  readonly positions: ReadonlyMap<string, readonly (Position & { readonly checkpoint: number })[]>
}

export type WriteEnd =
  | { readonly end: 'landed' }
  | { readonly end: 'lost'; readonly error: unknown }
  | { readonly end: 'deferred'; readonly error: unknown }
  | { readonly end: 'refused'; readonly error: unknown }

/** How a rollback ended. `rows`: how many were put back or removed. */
export type RestoreEnd =
  Exclude<WriteEnd, { end: 'landed' }> | { readonly end: 'landed'; readonly rows: number }

export type ResolveEnd =
  | { readonly end: 'landed' | 'notLanded' }
  | { readonly end: 'lost'; readonly error: unknown }
  | { readonly end: 'superseded'; readonly owner: Holder | null }
  | { readonly end: 'reverted'; readonly error: unknown }

/** A committed snapshot, without its body. */
export interface RegionRow {
  readonly region: string
  readonly id: string
  readonly checkpoint: number
  readonly seq: number
  readonly stamp: Stamp
  readonly isDelivered: boolean
  /** Of its region, how many are not delivered; where only the newest counts, some may have been passed over. */
  readonly undelivered: number
  /** When its commit, or the rollback that brought it back, was written; by the database's clock. */
  readonly committedAt: Date
}

export interface StoredSnapshot extends RegionRow {
  /** JSON; null: a tombstone. */
  readonly body: string | null
}

/** One run's hold on its pipeline. */
export interface StoreSession {
  readonly resume: Resume
  readonly reader: Reader
  /** As of what this session has heard of; see `Resume`. */
  readonly restorableFrom: number
  /**
   * Sends the group as one flight, encoded and handed to the socket before this returns.
   * @param flushed called once its bytes are in the kernel, or will never be
   */
  write(group: Group, flushed: () => void): Promise<WriteEnd>
  /**
   * Takes back every checkpoint above `target`, as one flight: rows, cursors, positions, the frontier. The counter of
   * checkpoints stays (I12).
   * @param target a checkpoint below the committed one, and not below `restorableFrom`
   */
  restore(target: number): Promise<RestoreEnd>
  /** The current snapshot of each region. */
  regions(): Promise<readonly RegionRow[]>
  /** Of these regions the current snapshot; or all that are not delivered and the current one, oldest first. */
  snapshots(regions: readonly string[], deliver: Deliver): Promise<readonly StoredSnapshot[]>
  /** After a write or a restore without a certain end: takes the pipeline's row again with the run's own token. */
  resolve(): Promise<ResolveEnd>
  /**
   * Asks whether the pipeline is still ours, and tells `superseded` if it is not. A handler that failed over what it read
   * may have read the rows of another owner (H74). Within a second; never rejects.
   */
  confirm?(): Promise<void>
  /** Destroys the writer's socket; a write in flight then ends as lost. */
  destroyWriter(): void
  /** Gives the pipeline up if it is still ours, and closes every connection. Never rejects. */
  close(): Promise<void>
}
