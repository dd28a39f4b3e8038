/** A batch from the moment its blocks get their checkpoints until its commit has landed. */
import type { BlockRef } from '../block.ts'
import type { Entry, Version } from './entry.ts'
import type { Row, TableModel } from './table.ts'

/** What a region shows once this has landed. */
export interface StagedSnapshot {
  readonly region: string
  readonly checkpoint: number
  /** Its place among those of the same region and checkpoint; 0 where only the newest counts. */
  readonly seq: number
  /** JSON. */
  readonly body: string
  readonly bytes: number
}

export class StagedBatch {
  /** Position in the run's sequence of batches; survives cuts, so versions can be compared by it. */
  readonly order: number
  /** May be trimmed by a fork that straddles the batch. */
  blocks: readonly BlockRef[]
  /**
   * True below the safe checkpoint: only the last value per key is kept. Above it every checkpoint's value is, so
   * that a fork can cut inside the batch.
   */
  readonly collapses: boolean
  /** Staged bytes and changed rows, for the budget and the group size. */
  bytes = 0
  landed = false
  /** Entries that hold a version of this batch, per table. */
  readonly touched = new Map<string, Entry[]>()
  /** In the order in which they were published. */
  snapshots: readonly StagedSnapshot[] = []

  constructor(order: number, blocks: readonly BlockRef[], collapses: boolean) {
    this.order = order
    this.blocks = blocks
    this.collapses = collapses
  }

  get upTo(): number {
    return this.blocks[this.blocks.length - 1]!.checkpoint
  }
}

/** That a snapshot was delivered, under this very stamp: a rollback that brings it back asks for it anew. */
export interface RegionMark {
  readonly region: string
  readonly checkpoint: number
  readonly seq: number
  readonly commit: number
}

/** One table's share of a group: what one commit has to write. Rows are frozen, so it cannot change any more. */
export interface TableGroup {
  readonly model: TableModel
  /** Must not be in the database yet; `origins[i]` tells which block and item inserted `inserts[i]`. */
  readonly inserts: readonly Row[]
  readonly origins: readonly Version[]
  readonly upserts: readonly Row[]
  /** Any object with the key's properties. */
  readonly deletes: readonly Row[]
}

/** Changes that are written together, each key once. */
export interface Slice {
  /** Above the safe checkpoint, one checkpoint's changes: they keep history under it. Null: they keep none. */
  readonly checkpoint: number | null
  readonly tables: readonly TableGroup[]
}

/** A frozen range of batches. At or below the safe checkpoint it is collapsed to one value per key. */
export interface Group {
  readonly batches: readonly StagedBatch[]
  readonly upTo: number
  /** In the order in which they are written. Without those that change nothing. */
  readonly slices: readonly Slice[]
  readonly rows: number
  readonly bytes: number
  /** Last block of each source in the group: the new cursors. */
  readonly cursors: readonly BlockRef[]
  /** Blocks whose position is kept for as long as a fork may go back to it. */
  readonly positions: readonly BlockRef[]
  /** The safe checkpoint as of its last block; undefined: no source of the pipeline ever forks. */
  readonly safe: number | undefined
  /** Regions' snapshots, in the order in which they were published. */
  readonly snapshots: readonly StagedSnapshot[]
  /** Of snapshots that have been delivered since the commit before; in a group without batches they go alone. */
  readonly marks: readonly RegionMark[]
}
