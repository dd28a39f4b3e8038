/** What is told of the regions: in the status, in events, in the outcome. */
import type { TailraceError } from './errors.ts'

/**
 * - `ok`: readers see the newest committed snapshot
 * - `stale`: they see an older one, after at least one attempt that failed, or it was not confirmed for `staleAfterMs`
 * - `empty`: they see none, and never have
 * - `quarantined`: given up for now; tried again from time to time, and with the next snapshot where it was refused
 */
export type RegionHealth = 'ok' | 'stale' | 'empty' | 'quarantined'

export interface RegionStatus {
  readonly health: RegionHealth
  /** Checkpoint of the newest snapshot that readers see, and of the newest that is committed. */
  readonly delivered: bigint | undefined
  readonly committed: bigint | undefined
  /** Milliseconds since readers' snapshot was last delivered or confirmed. */
  readonly ageMs: number | undefined
  /** Committed and not delivered. Where only the newest counts: 0 or 1. */
  readonly undelivered: number
  /** Attempts of the delivery under way, or of the last one. */
  readonly attempts: number
  /** Of the latest attempt, if it failed. */
  readonly error?: TailraceError | undefined
}

/** How a region's delivery ended. */
export interface RegionSettled {
  readonly region: string
  readonly status: 'persisted' | 'duplicate' | 'replayed' | 'stale' | 'failed'
  /** Of the snapshot; undefined: it was not even read. */
  readonly checkpoint: bigint | undefined
  /** From the first attempt on. */
  readonly ms: number
  /** As stored, after compression. */
  readonly bytes: number
  readonly attempts: number
  readonly error?: TailraceError | undefined
}
