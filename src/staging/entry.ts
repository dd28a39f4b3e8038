/** What the change log knows of one row: its value now, and every uncommitted version behind it. */
import type { StagedBatch } from './batch.ts'
import type { KeyId, Row } from './table.ts'

/** One batch's (above the safe checkpoint: one checkpoint's) last value of a row. */
export class Version {
  row: Row | null
  readonly batch: StagedBatch
  checkpoint: number
  bytes: number
  older: Version | undefined
  /** The row as it was inserted, when an insert came first: then the database must not hold the key (H13). */
  readonly inserted: Row | null
  /** Where that insert came from; later changes move `checkpoint` on. */
  readonly insertedAt: number
  /** Index of the item inside its block; -1 for `handleBlock`. */
  readonly insertedItem: number

  constructor(
    batch: StagedBatch,
    checkpoint: number,
    item: number,
    row: Row | null,
    inserted: Row | null,
    bytes: number,
    older: Version | undefined,
  ) {
    this.batch = batch
    this.checkpoint = checkpoint
    this.row = row
    this.inserted = inserted
    this.insertedAt = checkpoint
    this.insertedItem = item
    this.bytes = bytes
    this.older = older
  }
}

export class Entry {
  readonly id: KeyId
  /** The row's key: any object with the key's properties. */
  readonly key: Row
  /** The value now; null: known to be absent. */
  row: Row | null
  /** The value in the database, before every version; undefined: not known. */
  base: Row | null | undefined
  baseBytes = 0
  newest: Version | undefined = undefined
  /** Its place in the table's `held`; -1: it holds no versions. */
  heldAt = -1
  /** Sequence number at which the entry came to hold versions: later calls see it as staged (H12). */
  heldSince = 0
  /** Read since the last sweep: kept once more. */
  used = false

  constructor(id: KeyId, key: Row, base: Row | null | undefined) {
    this.id = id
    this.key = key
    this.base = base
    this.row = base ?? null
  }
}
