/**
 * From batches to one group. At or below the safe checkpoint each key comes once, with its last value in the group;
 * above it nothing collapses across checkpoints, since a fork may go back to each of them (I15). Whether a key must be
 * new is decided by its *first* change: an insert that the database contradicts fails the commit even when a later
 * change would hide it (H13).
 */
import type { BlockRef } from '../block.ts'
import type { Group, Slice, StagedBatch, TableGroup } from './batch.ts'
import type { Entry, Version } from './entry.ts'
import { collectSnapshots, type Deliver } from './snapshots.ts'
import type { Row } from './table.ts'
import type { TableLog } from './table-log.ts'

type Logs = ReadonlyMap<string, TableLog>

export function collect(batches: readonly StagedBatch[], logs: Logs, deliver: Deliver): Group {
  const last = batches[batches.length - 1]
  if (last === undefined) throw new Error('an empty group')
  const slices = [...slicesOf(batches, logs)].filter(({ tables }) => tables.length > 0)
  let rows = 0
  for (const { tables } of slices) {
    for (const { inserts, upserts, deletes } of tables)
      rows += inserts.length + upserts.length + deletes.length
  }
  const cursors = new Map<string, BlockRef>()
  let bytes = 0
  for (const batch of batches) {
    bytes += batch.bytes
    for (const block of batch.blocks) cursors.set(block.source, block)
  }
  const { safe } = last.blocks[last.blocks.length - 1]!
  return {
    batches,
    upTo: last.upTo,
    slices,
    rows,
    bytes,
    cursors: [...cursors.values()],
    positions: positionsOf(batches, safe),
    safe,
    snapshots: collectSnapshots(batches, deliver),
    marks: [],
  }
}

/** Every block above the safe checkpoint, and of each source the newest at or below it: its anchor. */
function positionsOf(batches: readonly StagedBatch[], safe: number | undefined): BlockRef[] {
  if (safe === undefined) return []
  const positions: BlockRef[] = []
  const anchors = new Map<string, BlockRef>()
  for (const batch of batches) {
    for (const block of batch.blocks) {
      if (block.checkpoint <= safe) anchors.set(block.source, block)
      else positions.push(block)
    }
  }
  return [...anchors.values(), ...positions]
}

/** Neighbouring batches that collapse do so together; of the others each checkpoint stands alone. */
function* slicesOf(batches: readonly StagedBatch[], logs: Logs): Generator<Slice> {
  let together: StagedBatch[] = []
  for (const batch of batches) {
    if (batch.collapses) {
      together.push(batch)
      continue
    }
    if (together.length > 0) yield collapsed(together, logs)
    together = []
    yield* byCheckpoint(batch, logs)
  }
  if (together.length > 0) yield collapsed(together, logs)
}

// ── at or below the safe checkpoint ─────────────────────────────────────────────────────────────────────────

function collapsed(batches: readonly StagedBatch[], logs: Logs): Slice {
  const tables: TableGroup[] = []
  for (const log of logs.values()) {
    const table = new TableChanges(log)
    const seen = batches.length > 1 ? new Set<Entry>() : undefined
    for (const batch of batches) {
      for (const entry of batch.touched.get(log.model.name) ?? []) {
        if (seen?.has(entry) === true) continue
        seen?.add(entry)
        const range = versionsOf(entry, batches)
        if (range !== undefined) table.add(entry, range.first, range.newest)
      }
    }
    if (!table.isEmpty) tables.push(table.group)
  }
  return { checkpoint: null, tables }
}

/** The entry's first and newest version among neighbouring batches; undefined: a fork has taken them back. */
function versionsOf(
  entry: Entry,
  batches: readonly StagedBatch[],
): { readonly first: Version; readonly newest: Version } | undefined {
  const from = batches[0]!.order
  const upTo = batches[batches.length - 1]!.order
  let newest = entry.newest
  while (newest !== undefined && newest.batch.order > upTo) newest = newest.older
  if (newest === undefined || newest.batch.order < from) return undefined
  let first = newest
  while (first.older !== undefined && first.older.batch.order >= from) first = first.older
  return { first, newest }
}

// ── above it ────────────────────────────────────────────────────────────────────────────────────────────────

function byCheckpoint(batch: StagedBatch, logs: Logs): Slice[] {
  const slices = batch.blocks.map(({ checkpoint }) => ({ checkpoint, tables: [] as TableGroup[] }))
  for (const log of logs.values()) {
    const changes = new Map<number, TableChanges>()
    for (const entry of batch.touched.get(log.model.name) ?? []) {
      let version = entry.newest
      while (version !== undefined && version.batch.order > batch.order) version = version.older
      for (; version !== undefined && version.batch === batch; version = version.older) {
        let table = changes.get(version.checkpoint)
        if (table === undefined) changes.set(version.checkpoint, (table = new TableChanges(log)))
        table.add(entry, version, version)
      }
    }
    for (const slice of slices) {
      const table = changes.get(slice.checkpoint)
      if (table !== undefined) slice.tables.push(table.group)
    }
  }
  return slices
}

class TableChanges {
  readonly #log: TableLog
  readonly #inserts: Row[] = []
  readonly #origins: Version[] = []
  readonly #upserts: Row[] = []
  readonly #deletes: Row[] = []

  constructor(log: TableLog) {
    this.#log = log
  }

  add(entry: Entry, first: Version, newest: Version): void {
    if (first.inserted !== null) {
      this.#inserts.push(newest.row ?? first.inserted)
      this.#origins.push(first)
    } else if (newest.row !== null) {
      this.#upserts.push(newest.row)
    }
    if (newest.row === null) this.#deletes.push(entry.key)
  }

  get isEmpty(): boolean {
    return this.#inserts.length + this.#upserts.length + this.#deletes.length === 0
  }

  get group(): TableGroup {
    return {
      model: this.#log.model,
      inserts: this.#inserts,
      origins: this.#origins,
      upserts: this.#upserts,
      deletes: this.#deletes,
    }
  }
}
