/**
 * The publisher port: what tailrace needs of a place where regions' snapshots are read. `redisRegions()` and
 * `memoryRegions()` implement it, under the same rules.
 *
 * What must hold for each region by itself: `latest` moves forward only by its stamp (H51, H57, H76); a snapshot is known
 * by its id, so that saying it twice does what saying it once does (H50, H58); contents are compared with the current
 * `latest` and with nothing older (H54); whatever is refused has changed nothing (H52).
 */

import type { Stamp } from '../stamp.ts'

export type { Stamp } from '../stamp.ts'

/** A snapshot on its way. */
export interface Outgoing {
  readonly region: string
  /** Unique in its region, and the same for every attempt. */
  readonly id: string
  readonly stamp: Stamp
  /** JSON; null: a tombstone, the region has no snapshot any more. */
  readonly body: string | null
  /** Hash of what counts as its content, as `contentHash` makes it; '' for a tombstone. */
  readonly hash: string
  /** Who writes the region: the pipeline's name; empty without an indexer. Nobody else's region is touched. */
  readonly writer: string
}

/**
 * - `persisted`: it is `latest` now, and whoever watches has been told
 * - `duplicate`: `latest` has the same content; its stamp and its lifetime moved forward, nobody was told
 * - `replayed`: this very delivery had been made already
 * - `stale`: something with a higher stamp is there; nothing was changed
 */
export type DeliveryStatus = 'persisted' | 'duplicate' | 'replayed' | 'stale'

export interface Delivery {
  readonly status: DeliveryStatus
  /** Of the body, as stored: after compression. */
  readonly bytes: number
  /** There was no `latest` before. */
  readonly wasEmpty: boolean
}

/** What a region shows to its readers. */
export interface RegionSnapshot {
  readonly region: string
  readonly id: string
  /** Parsed. */
  readonly body: unknown
  readonly stamp: Stamp
  readonly hash: string
  /** Version of the body's shape, as the publisher said it. */
  readonly schema: string
  /** When it was persisted, and when it was last said to be current; by the server's clock. */
  readonly persistedAt: Date
  readonly confirmedAt: Date
  readonly bytes: number
}

export interface RegionChange {
  readonly region: string
  /** Of the stream's entry; `watch` goes on after it. */
  readonly entry: string
  readonly id: string
  readonly stamp: Stamp
  /** The region has no snapshot any more. */
  readonly isTombstone: boolean
}

/** One key that would be written. */
export interface PlannedKey {
  readonly key: string
  readonly type: 'hash' | 'zset' | 'stream'
  readonly ttlMs: number
  readonly bytes: number
}

export interface PublisherSettings {
  /** `newest`: while a region is busy only its newest snapshot waits. `every`: each one is delivered, in order. */
  readonly deliver: 'newest' | 'every'
  /** Attempts before a region is quarantined. */
  readonly attempts: number
  /** Of one attempt; milliseconds. */
  readonly attemptMs: number
  /** Pause before the first retry; doubles, with full jitter, up to `maxBackoffMs`. */
  readonly backoffMs: number
  readonly maxBackoffMs: number
  /** A quarantined region is tried again so often. */
  readonly probeMs: number
  /** A region that was not confirmed for so long counts as stale. Infinity: never. */
  readonly staleAfterMs: number
  /** What counts as a body's content when it is compared; default: all of it. */
  readonly contentOf?: ((body: unknown) => unknown) | undefined
}

export interface RegionPublisher extends AsyncDisposable {
  /** Where to, without secrets: for messages. */
  readonly address: string
  readonly settings: PublisherSettings
  readonly isConnected: boolean
  /**
   * Connects early, so that the first publish needs no handshake. Called by itself where nobody did. Rejects when there is
   * no connection within `attemptMs`; it goes on trying.
   * @throws RetryableError; ConfigurationError where no retry helps
   */
  connect(): Promise<void>
  /**
   * One attempt, one round trip. Attempts of one turn of the event loop share a flight.
   * @throws RetryableError when another attempt may succeed; ConfigurationError or FatalError when none will
   */
  persist(snapshot: Outgoing, signal: AbortSignal): Promise<Delivery>
  /** Stamp of each region's `latest`, in one round trip; a region that has none is left out. */
  standing(
    regions: readonly string[],
  ): Promise<ReadonlyMap<string, { readonly stamp: Stamp; readonly id: string }>>
  /** A number above every one that it gave before, to any publisher: for stamps without an indexer. */
  nextRun(): Promise<number>
  /** In one round trip; a region without a snapshot is left out. */
  read(regions: readonly string[]): Promise<ReadonlyMap<string, RegionSnapshot>>
  /** Newest first, `latest` included. */
  history(region: string, limit: number): Promise<readonly RegionSnapshot[]>
  /** Changes of the regions from now on, or after the given entries. Ends with the signal. */
  watch(
    regions: readonly string[],
    options: { readonly signal: AbortSignal; readonly after?: Readonly<Record<string, string>> | undefined },
  ): AsyncIterable<RegionChange>
  /** What `persist` would write. Connects to nothing. */
  plan(snapshot: Outgoing): readonly PlannedKey[]
  /** Told after a connection that was lost has been replaced: the server may be another one, or empty (H77). */
  onReconnect(listener: () => void): () => void
  /** Ends every connection. Used again afterwards, it connects again. */
  close(): Promise<void>
}
