/**
 * From batches to one group: each key once, with its last value in the group. Whether a key must be new is decided
 * by its *first* change in the group: an insert that the database contradicts fails the commit even when a later
 * change would hide it (H13).
 */
import { isFinal, type BlockRef } from '../block.ts'
import type { Group, StagedBatch, TableGroup } from './batch.ts'
import type { Entry, Version } from './entry.ts'
import type { Row } from './table.ts'
import type { TableLog } from './table-log.ts'

export function collect(batches: readonly StagedBatch[], logs: ReadonlyMap<string, TableLog>): Group {
  const last = batches[batches.length - 1]
  if (last === undefined) throw new Error('an empty group')
  const tables: TableGroup[] = []
  let rows = 0
  for (const log of logs.values()) {
    const table = collectTable(batches, log, last.order)
    const count = table.inserts.length + table.upserts.length + table.deletes.length
    if (count > 0) tables.push(table)
    rows += count
  }
  const cursors = new Map<string, BlockRef>()
  let bytes = 0
  for (const batch of batches) {
    bytes += batch.bytes
    for (const block of batch.blocks) cursors.set(block.source, block)
  }
  const positions = positionsOf(batches)
  return { batches, upTo: last.upTo, tables, rows, bytes, cursors: [...cursors.values()], positions }
}

/** Of each source that forks: every block above its final height, and the newest at or below it. */
function positionsOf(batches: readonly StagedBatch[]): BlockRef[] {
  const positions: BlockRef[] = []
  const anchors = new Map<string, BlockRef>()
  for (const batch of batches) {
    for (const block of batch.blocks) {
      if (block.finalBelow === undefined) continue
      if (isFinal(block)) anchors.set(block.source, block)
      else positions.push(block)
    }
  }
  return [...anchors.values(), ...positions]
}

function collectTable(batches: readonly StagedBatch[], log: TableLog, lastOrder: number): TableGroup {
  const inserts: Row[] = []
  const origins: Version[] = []
  const upserts: Row[] = []
  const deletes: Row[] = []
  const seen = batches.length > 1 ? new Set<Entry>() : undefined
  for (const batch of batches) {
    for (const entry of batch.touched.get(log.model.name) ?? []) {
      if (seen?.has(entry) === true) continue
      seen?.add(entry)
      let newest = entry.newest
      while (newest !== undefined && newest.batch.order > lastOrder) newest = newest.older
      if (newest === undefined || newest.batch.landed) continue
      let first = newest
      while (first.older !== undefined && !first.older.batch.landed) first = first.older
      if (first.inserted !== null) {
        inserts.push(newest.row ?? first.inserted)
        origins.push(first)
      } else if (newest.row !== null) {
        upserts.push(newest.row)
      }
      if (newest.row === null) deletes.push(entry.key)
    }
  }
  return { model: log.model, inserts, origins, upserts, deletes }
}
