/**
 * What a memory store holds: tables, the history behind them, positions, the frontier. It keeps the contract of the real
 * one: a group or a rollback lands whole or not at all; before-images are kept per row and checkpoint above the safe
 * checkpoint; the counter of checkpoints never goes back (I12).
 */
import { duplicateKey } from '../commit/refusal.ts'
import type { Resume } from '../commit/store.ts'
import type { Group, TableGroup } from '../staging/batch.ts'
import { comparator, parseOrder } from '../staging/order.ts'
import type { Reader } from '../staging/reader.ts'
import { keyIdOfRow } from '../staging/table-row.ts'
import type { KeyId, Row, TableModel } from '../staging/table.ts'
import { evaluate } from '../staging/where.ts'
import type { Deliver } from '../staging/snapshots.ts'
import { memoryIncarnation, MemoryRegionRows } from './memory-region-rows.ts'
import type { Position } from '../source/port.ts'

/** A row as it was before a change; null: absent. */
interface Change {
  readonly table: string
  readonly id: KeyId
  readonly before: Row | null
  /** Null: it keeps no history. */
  readonly checkpoint: number | null
}

type StoredPosition = Position & { readonly checkpoint: number; readonly timestamp?: number }

export class MemoryDatabase {
  readonly #tables = new Map<string, Map<KeyId, Row>>()
  readonly #models = new Map<string, TableModel>()
  /** Of each source, newest first; the first is its cursor. */
  readonly #positions = new Map<string, StoredPosition[]>()
  /** Oldest first; of each row and checkpoint the first image only. */
  #history: (Change & { readonly checkpoint: number })[] = []
  readonly regions = new MemoryRegionRows()
  epoch = 0
  commitNumber = 0
  committed = 0
  counter = 0
  restorableFrom = 0

  declare(models: readonly TableModel[]): void {
    for (const model of models) {
      this.#models.set(model.name, model)
      if (!this.#tables.has(model.name)) this.#tables.set(model.name, new Map())
    }
  }

  rows(name: string): Row[] {
    if (this.#models.size === 0) return []
    const model = this.#models.get(name)
    const table = this.#tables.get(name)
    if (model === undefined || table === undefined) throw new Error(`there is no table '${name}'`)
    return [...table.values()].toSorted(comparator(parseOrder(model, undefined)))
  }

  get resume(): Resume {
    const { epoch, committed, counter, restorableFrom } = this
    const positions = new Map([...this.#positions].map(([source, stored]) => [source, [...stored]]))
    return { epoch, committed, counter, restorableFrom, incarnation: memoryIncarnation, positions }
  }

  readonly reader: Reader = {
    byKeys: (model, keys) => {
      const table = this.#tables.get(model.name)!
      const rows = keys.map((key) => table.get(keyIdOfRow(model, key)))
      return Promise.resolve(rows.filter((row) => row !== undefined))
    },
    find: (model, { predicate, order, limit }) => {
      const rows = [...this.#tables.get(model.name)!.values()].filter(
        (row) => evaluate(predicate, row) === true,
      )
      return Promise.resolve(rows.toSorted(comparator(order)).slice(0, limit))
    },
  }

  /** @throws FatalError `DUPLICATE_KEY`; then nothing has changed */
  apply(group: Group, deliver: Deliver): void {
    const changes = this.#write(group)
    const { upTo, safe = upTo } = group
    this.commitNumber++
    this.regions.apply(group, this.epoch, this.commitNumber)
    if (group.batches.length === 0) return
    this.committed = upTo
    this.counter = Math.max(this.counter, upTo)
    this.restorableFrom = Math.max(this.restorableFrom, Math.min(safe, upTo))
    this.#remember(changes)
    for (const ref of group.safe === undefined ? group.cursors : group.positions) {
      const { source, checkpoint, number, hash, cursor, timestamp } = ref
      const position = {
        checkpoint,
        number,
        hash,
        ...(cursor === undefined ? {} : { cursor }),
        ...(timestamp === undefined ? {} : { timestamp }),
      }
      this.#positions.set(source, [position, ...(this.#positions.get(source) ?? [])])
    }
    this.#prune()
    this.regions.prune(this.restorableFrom, deliver)
  }

  /** @returns how many rows were put back or removed */
  restore(target: number): number {
    let rows = 0
    const settled = new Set<string>()
    for (const { table: name, id, before, checkpoint } of this.#history) {
      const row = `${name} ${typeof id} ${String(id)}`
      if (checkpoint <= target || settled.has(row)) continue
      settled.add(row)
      const table = this.#tables.get(name)!
      if (before !== null || table.has(id)) rows++
      put(table, id, before)
    }
    this.#history = this.#history.filter(({ checkpoint }) => checkpoint <= target)
    for (const [source, stored] of this.#positions) {
      const kept = stored.filter(({ checkpoint }) => checkpoint <= target)
      if (kept.length > 0) this.#positions.set(source, kept)
      else this.#positions.delete(source)
    }
    this.committed = target
    this.commitNumber++
    this.regions.restore(target, this.epoch, this.commitNumber)
    return rows
  }

  /** @returns every change, in order; when one is refused, those before it are taken back */
  #write(group: Group): Change[] {
    const changes: Change[] = []
    try {
      for (const { checkpoint, tables } of group.slices) {
        for (const table of tables) this.#refuseDuplicates(table, group)
        for (const table of tables) this.#writeTable(table, checkpoint, changes)
      }
    } catch (error) {
      for (const { table, id, before } of changes.toReversed()) put(this.#tables.get(table)!, id, before)
      throw error
    }
    return changes
  }

  #writeTable(
    { model, inserts, upserts, deletes }: TableGroup,
    checkpoint: number | null,
    changes: Change[],
  ): void {
    const table = this.#tables.get(model.name)!
    const change = (key: Row, row: Row | null) => {
      const id = keyIdOfRow(model, key)
      changes.push({ table: model.name, id, before: table.get(id) ?? null, checkpoint })
      put(table, id, row)
    }
    for (const row of inserts) change(row, row)
    for (const row of upserts) change(row, row)
    for (const key of deletes) change(key, null)
  }

  #refuseDuplicates(table: TableGroup, group: Group): void {
    const { model, inserts } = table
    const index = inserts.findIndex((row) => this.#tables.get(model.name)!.has(keyIdOfRow(model, row)))
    if (index !== -1) throw duplicateKey(table, index, group, { phase: 'commit' })
  }

  #remember(changes: readonly Change[]): void {
    for (const change of changes) {
      const { checkpoint } = change
      if (checkpoint !== null) this.#history.push({ ...change, checkpoint })
    }
  }

  /** What no rollback needs any more: history it cannot reach, positions below each source's anchor (H22). */
  #prune(): void {
    const { restorableFrom } = this
    this.#history = this.#history.filter(({ checkpoint }) => checkpoint > restorableFrom)
    for (const [source, stored] of this.#positions) {
      const anchor = stored.findIndex(({ checkpoint }) => checkpoint <= restorableFrom)
      if (anchor !== -1) this.#positions.set(source, stored.slice(0, anchor + 1))
    }
  }
}

function put(table: Map<KeyId, Row>, id: KeyId, row: Row | null): void {
  if (row === null) table.delete(id)
  else table.set(id, row)
}
