/**
 * The entries of one table that hold versions: what every `find` must overlay. One that asks for certain values of a
 * column is shown the entries that have had one of them, by an index that is made at a batch's first such question.
 *
 * Maintained invariant: between two releases entries are only added, and an index only grows; a release drops it.
 */
import type { Entry } from './entry.ts'
import type { ColumnModel, KeyId, Row } from './table.ts'
import type { Predicate } from './where.ts'

/** Fewer than these are looked through sooner than indexed. */
const worthAnIndex = 32

export interface Concerned {
  readonly entries: Iterable<Entry>
  /** Beside them: entries whose row in the database nobody has seen, so that it may be anything. */
  readonly unseen: number
}

export class HeldEntries {
  /** In no order; each entry knows its place, so that adding and removing need no look-up. */
  readonly #entries: Entry[] = []
  readonly #indexes = new Map<ColumnModel, ColumnIndex>()

  get size(): number {
    return this.#entries.length
  }

  /** The entry has a new value; perhaps its first. */
  add(entry: Entry): void {
    const isNew = entry.heldAt < 0
    if (isNew) entry.heldAt = this.#entries.push(entry) - 1
    for (const index of this.#indexes.values()) {
      if (isNew) index.add(entry)
      else index.addValue(entry, entry.row)
    }
  }

  delete(entry: Entry): void {
    if (entry.heldAt < 0) return
    const last = this.#entries.pop()!
    if (last !== entry) {
      this.#entries[entry.heldAt] = last
      last.heldAt = entry.heldAt
    }
    entry.heldAt = -1
    if (this.#indexes.size > 0) this.#indexes.clear()
  }

  /** At least the entries whose value now, or in the database until they are committed, may match. */
  concernedBy(predicate: Predicate): Concerned {
    const sought = this.#entries.length < worthAnIndex ? undefined : soughtBy(predicate)
    if (sought === undefined) return { entries: this.#entries, unseen: 0 }
    let index = this.#indexes.get(sought.column)
    if (index === undefined) {
      index = new ColumnIndex(sought.column)
      for (const entry of this.#entries) index.add(entry)
      this.#indexes.set(sought.column, index)
    }
    return { entries: index.having(sought.values), unseen: index.unseen }
  }
}

/** One column of the held entries: value → every entry that has it now, had it, or has it in the database. */
class ColumnIndex {
  readonly #column: ColumnModel
  readonly #having = new Map<KeyId, Set<Entry>>()
  unseen = 0

  constructor(column: ColumnModel) {
    this.#column = column
  }

  add(entry: Entry): void {
    this.addValue(entry, entry.base)
    let version = entry.newest
    while (version !== undefined) {
      this.addValue(entry, version.row)
      if (version.older === undefined && version.inserted === null && entry.base === undefined) this.unseen++
      version = version.older
    }
  }

  addValue(entry: Entry, row: Row | null | undefined): void {
    const value = row?.[this.#column.property] ?? null
    // NULL equals nothing
    if (value === null) return
    const id = this.#column.codec.identity(value)
    const entries = this.#having.get(id)
    if (entries === undefined) this.#having.set(id, new Set([entry]))
    else entries.add(entry)
  }

  having(values: readonly unknown[]): Iterable<Entry> {
    const found = values.map((value) => this.#having.get(this.#column.codec.identity(value)) ?? [])
    return found.length === 1 ? found[0]! : new Set(found.flatMap((entries) => [...entries]))
  }
}

/** A column and the values one of which it must have, if the predicate says so much. */
function soughtBy(
  predicate: Predicate,
): { readonly column: ColumnModel; readonly values: readonly unknown[] } | undefined {
  switch (predicate.kind) {
    case 'compare':
      if (predicate.op !== 'eq' || !predicate.column.codec.keyable) return undefined
      return { column: predicate.column, values: [predicate.value] }
    case 'in':
      return predicate.column.codec.keyable ? predicate : undefined
    case 'and':
      for (const part of predicate.parts) {
        const sought = soughtBy(part)
        if (sought !== undefined) return sought
      }
      return undefined
    case 'or':
    case 'not':
    case 'isNull':
      return undefined
    default:
      throw new Error(`unreachable: ${String(predicate satisfies never)}`)
  }
}
