/**
 * All staged changes of a run: one change log per table, and the sequence of batches that are not committed yet.
 *
 * Maintained invariants: the batches are in checkpoint order and only their head is ever frozen into a group
 * (I2); a frozen group's rows never change (H5, H6, H73); what is uncommitted is never evicted; nothing is
 * released or evicted while a batch runs or a load that will be remembered is in flight (H12, H16).
 */
import type { BlockRef } from '../block.ts'
import { FatalError } from '../errors.ts'
import { StagedBatch, type Group } from './batch.ts'
import { Entry, Version } from './entry.ts'
import { collect } from './group.ts'
import { addSnapshot, type Deliver } from './snapshots.ts'
import type { KeyId, Row, TableModel } from './table.ts'
import { entryBytes, TableLog } from './table-log.ts'
import { rowBytes } from './table-row.ts'

/** Who stages a change: for error messages, and for the value per checkpoint. */
export interface Origin {
  readonly checkpoint: number
  readonly item: number
}

export class Staging {
  readonly tables: ReadonlyMap<string, TableLog>
  readonly #budgetBytes: number
  readonly #deliver: Deliver
  /** Handled, not landed; in order. */
  readonly #batches: StagedBatch[] = []
  /** Landed, their versions not yet released. */
  #landed: StagedBatch[] = []
  #open: StagedBatch | undefined
  #orders = 0
  #sequence = 0
  #uncommittedBytes = 0
  #loads = 0
  #generation = 0

  /** @param deliver whether of a region's snapshots only the newest counts */
  constructor(models: readonly TableModel[], budgetBytes: number, deliver: Deliver = 'newest') {
    this.tables = new Map(models.map((model) => [model.name, new TableLog(model)]))
    this.#budgetBytes = budgetBytes
    this.#deliver = deliver
  }

  /** Everything uncommitted, the group on the wire included. */
  get uncommittedBytes(): number {
    return this.#uncommittedBytes
  }

  /** Rows read or committed that are still known; inside the same budget. */
  get cacheBytes(): number {
    let bytes = 0
    for (const log of this.tables.values()) bytes += log.cacheBytes
    return bytes
  }

  get batches(): readonly StagedBatch[] {
    return this.#batches
  }

  /** Grows when loads in flight must not be remembered any more: with every cut, and when they outlive their batch. */
  get generation(): number {
    return this.#generation
  }

  /** The moment of a call: what is staged later is not seen by it. */
  get now(): number {
    return this.#sequence
  }

  loadStarted(): void {
    this.#loads++
  }

  loadEnded(): void {
    this.#loads--
  }

  // ── a batch ───────────────────────────────────────────────────────────────────────────────────────────────

  begin(blocks: readonly BlockRef[], collapses: boolean): StagedBatch {
    if (this.#open !== undefined) throw new Error('a batch is open already')
    // a load that outlived its batch was not awaited: nobody needs it, and it must not hold up what is settled here
    if (this.#loads > 0) this.#generation++
    this.#settle()
    this.#open = new StagedBatch(++this.#orders, blocks, collapses)
    return this.#open
  }

  /** Stages one change of the open batch. `row` null: deleted. `fresh`: the database must not hold the key. */
  stage(log: TableLog, id: KeyId, key: Row, row: Row | null, fresh: boolean, origin: Origin): void {
    const batch = this.#open
    if (batch === undefined) throw new Error('no batch is open')
    let entry = log.entries.get(id)
    if (entry === undefined) {
      entry = new Entry(id, key, undefined)
      log.entries.set(id, entry)
    }
    const bytes = entryBytes + (row === null ? 0 : rowBytes(log.model, row))
    const newest = entry.newest
    if (newest?.batch === batch && (batch.collapses || newest.checkpoint === origin.checkpoint)) {
      batch.bytes += bytes - newest.bytes
      this.#uncommittedBytes += bytes - newest.bytes
      newest.bytes = bytes
      newest.row = row
      newest.checkpoint = origin.checkpoint
    } else {
      if (newest === undefined) entry.heldSince = ++this.#sequence
      entry.newest = new Version(
        batch,
        origin.checkpoint,
        origin.item,
        row,
        fresh ? row : null,
        bytes,
        newest,
      )
      if (newest?.batch !== batch) touch(batch, log, entry)
      batch.bytes += bytes
      this.#uncommittedBytes += bytes
    }
    entry.row = row
    log.held.add(entry)
  }

  /** Stages a region's snapshot with the open batch. @param body JSON */
  publish(region: string, body: string, { checkpoint }: Origin): void {
    const batch = this.#open
    if (batch === undefined) throw new Error('no batch is open')
    this.#resize(batch, () => addSnapshot(batch, this.#deliver, { region, checkpoint, body }))
  }

  /** The open batch's handlers ended: it is staged. */
  end(): StagedBatch {
    const batch = this.#open
    if (batch === undefined) throw new Error('no batch is open')
    this.#open = undefined
    this.#batches.push(batch)
    return batch
  }

  /** The open batch was aborted: nothing of it remains. */
  discard(): void {
    const batch = this.#open
    if (batch === undefined) return
    this.#open = undefined
    this.#undo(batch, 0)
  }

  // ── a group ───────────────────────────────────────────────────────────────────────────────────────────────

  /** The first `count` batches as one group. The same call gives the same group, whatever was staged since. */
  freeze(count: number): Group {
    return collect(this.#batches.slice(0, count), this.tables, this.#deliver)
  }

  /** The first `count` batches are durable. */
  land(count: number): void {
    for (const batch of this.#batches.splice(0, count)) {
      batch.landed = true
      this.#uncommittedBytes -= batch.bytes
      this.#landed.push(batch)
    }
  }

  // ── a fork ────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Drops every staged change above `target` and everything known of the database. A batch that straddles the
   * target keeps its part below.
   * @returns how many batches went or were trimmed
   */
  cut(target: number): { readonly dropped: number; readonly trimmed: number } {
    if (this.#open !== undefined) throw new Error('a batch is open')
    this.#release()
    let dropped = 0
    let trimmed = 0
    for (
      let last = this.#batches.at(-1);
      last !== undefined && last.upTo > target;
      last = this.#batches.at(-1)
    ) {
      const kept = last.blocks.filter((block) => block.checkpoint <= target)
      if (kept.length > 0 && last.collapses) {
        throw new FatalError(
          'FORK_BEYOND_HISTORY',
          `A fork at checkpoint ${target} cuts batch ${last.blocks[0]!.checkpoint}–${last.upTo}, which no source could take back when it was handled. Nothing was changed; the next run resumes from what is committed. The source forks deeper than its historyDepth says: raise it.`,
          { phase: 'rollback' },
        )
      }
      this.#undo(last, target)
      if (kept.length === 0) {
        this.#batches.pop()
        dropped++
      } else {
        last.blocks = kept
        trimmed++
      }
    }
    this.forget()
    return { dropped, trimmed }
  }

  /** Nothing is known of the database any more, and what loads in flight bring is not remembered. */
  forget(): void {
    this.#generation++
    for (const log of this.tables.values()) log.emptyCache()
  }

  /** Keeps count of the snapshots' bytes. */
  #resize(batch: StagedBatch, change: () => void): void {
    const before = snapshotsBytes(batch)
    change()
    const bytes = snapshotsBytes(batch) - before
    batch.bytes += bytes
    this.#uncommittedBytes += bytes
  }

  // ── memory ────────────────────────────────────────────────────────────────────────────────────────────────

  #settle(): void {
    this.#release()
    let excess = this.#uncommittedBytes + this.cacheBytes - this.#budgetBytes
    // what nobody reads goes first, whichever table it is of: one table's hot rows outlive another's cold ones
    for (let lap = 1; lap <= 2; lap++) {
      for (const log of this.tables.values()) {
        if (excess <= 0) return
        excess -= log.evict(excess)
      }
    }
  }

  /** Landed versions become what the database is known to hold. */
  #release(): void {
    for (const batch of this.#landed) {
      for (const [name, entries] of batch.touched) {
        const log = this.tables.get(name)!
        for (const entry of entries) releaseLanded(log, entry)
      }
    }
    this.#landed = []
  }

  /** Takes back the batch's versions above `target`. */
  #undo(batch: StagedBatch, target: number): void {
    this.#resize(batch, () => {
      batch.snapshots = batch.snapshots.filter(({ checkpoint }) => checkpoint <= target)
    })
    for (const [name, entries] of batch.touched) {
      const log = this.tables.get(name)!
      for (const entry of entries) {
        let newest = entry.newest
        while (newest?.batch === batch && newest.checkpoint > target) {
          batch.bytes -= newest.bytes
          this.#uncommittedBytes -= newest.bytes
          newest = newest.older
        }
        entry.newest = newest
        if (newest === undefined) log.settle(entry)
        else entry.row = newest.row
      }
    }
  }
}

function snapshotsBytes({ snapshots }: StagedBatch): number {
  return snapshots.reduce((sum, { bytes }) => sum + bytes, 0)
}

function touch(batch: StagedBatch, log: TableLog, entry: Entry): void {
  const entries = batch.touched.get(log.model.name)
  if (entries === undefined) batch.touched.set(log.model.name, [entry])
  else entries.push(entry)
}

function releaseLanded(log: TableLog, entry: Entry): void {
  let younger: Version | undefined
  let version = entry.newest
  while (version !== undefined && !version.batch.landed) {
    younger = version
    version = version.older
  }
  if (version === undefined) return
  log.setBase(entry, version.row)
  if (younger === undefined) log.settle(entry)
  else younger.older = undefined
}
