/**
 * The change log of one table: key → entry. Entries that hold uncommitted versions cannot be evicted; the others
 * are a cache of rows read or committed, absent ones included (H19).
 */
import { Entry } from './entry.ts'
import { HeldEntries } from './held.ts'
import type { KeyId, Row, TableModel } from './table.ts'
import { rowBytes } from './table-row.ts'

/** Bytes an entry costs beside its rows: Map slot, object, key. Measured at ~150 on Node 20. */
export const entryBytes = 150

export class TableLog {
  readonly model: TableModel
  readonly entries = new Map<KeyId, Entry>()
  readonly held = new HeldEntries()
  cacheBytes = 0
  #sweep: Iterator<Entry, undefined> = this.entries.values()

  constructor(model: TableModel) {
    this.model = model
  }

  /**
   * Remembers what the database holds of a row of which nothing is known. Of a staged one it is not kept: its own
   * commit may have landed before the row was read, and `base` is the value before every version.
   */
  remember(id: KeyId, key: Row, row: Row | null): void {
    if (this.entries.has(id)) return
    const entry = new Entry(id, row ?? key, row)
    this.entries.set(id, entry)
    this.setBase(entry, row)
  }

  setBase(entry: Entry, row: Row | null | undefined): void {
    const bytes = row === undefined ? 0 : entryBytes + (row === null ? 0 : rowBytes(this.model, row))
    this.cacheBytes += bytes - entry.baseBytes
    entry.base = row
    entry.baseBytes = bytes
  }

  /** The entry holds no versions any more: it becomes cache, or goes if nothing is known of the database. */
  settle(entry: Entry): void {
    entry.newest = undefined
    this.held.delete(entry)
    if (entry.base === undefined) this.entries.delete(entry.id)
    else entry.row = entry.base
  }

  /**
   * Frees about `bytes` of cache in at most one lap over the table: what was read since the lap before is spared once
   * more (second chance). Returns what it freed.
   */
  evict(bytes: number): number {
    let freed = 0
    for (let left = this.entries.size; left > 0 && freed < bytes; left--) {
      const entry = this.#nextOfSweep()
      if (entry.newest !== undefined) continue
      if (entry.used) entry.used = false
      else freed += this.#drop(entry)
    }
    return freed
  }

  /** Forgets everything the database was known to hold: it is about to change under us. */
  emptyCache(): void {
    for (const entry of this.entries.values()) {
      if (entry.newest === undefined) this.#drop(entry)
      else this.setBase(entry, undefined)
    }
  }

  /** Round and round; there is an entry at least. */
  #nextOfSweep(): Entry {
    let next = this.#sweep.next()
    if (next.done === true) {
      this.#sweep = this.entries.values()
      next = this.#sweep.next()
    }
    return next.value!
  }

  #drop(entry: Entry): number {
    this.cacheBytes -= entry.baseBytes
    this.entries.delete(entry.id)
    return entry.baseBytes
  }
}
