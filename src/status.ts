/** Where a run stands. Every number says which frontier or which bytes it means. */
import type { Stalls } from './observe/stalls.ts'
import type { RegionStatus } from './regions.ts'

export interface Retrying {
  readonly what: 'commit' | 'rollback' | 'read'
  readonly attempt: number
  /** The latest failure. */
  readonly error: string
  /** Unix milliseconds of the first one. */
  readonly since: number
}

export interface IndexerStatus {
  readonly name: string
  /** `idle` before the first run. */
  readonly state: 'idle' | 'opening' | 'active' | 'finished' | 'stopped' | 'superseded' | 'failed'
  /** The lanes' states while active, as the chart names them. */
  readonly lanes?:
    | {
        readonly control: string
        readonly source: string
        readonly compute: string
        readonly commit: string
        readonly publish: string
      }
    | undefined
  /** Last checkpoint handled; last checkpoint durable in Postgres. */
  readonly processed: bigint
  readonly committed: bigint
  readonly stagedBatches: number
  /** Everything uncommitted, the group on the wire included. */
  readonly stagedBytes: number
  readonly readAheadBytes: number
  /** Set while something is tried again because the database failed it. */
  readonly retrying?: Retrying | undefined
  /** Empty without a region publisher. */
  readonly regions: Readonly<Record<string, RegionStatus>>
  readonly stalls: Stalls
}
