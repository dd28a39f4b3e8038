/**
 * What has landed in the store of a case, commit by commit and rollback by rollback, and whether the tables are each time
 * those of a sequential run over the blocks that survive.
 */
import type { BlockRef } from '../block.ts'
import type { Group } from '../staging/batch.ts'
import type { TableModel } from '../staging/table.ts'
import { TableComparison, type Difference } from './difference.ts'
import type { State, States } from './expected.ts'
import type { MemoryStore } from './memory-store.ts'

/** After which of the source's blocks the tables were looked at; null: before the first. */
export type Found = Difference & { readonly after: number | null }

export interface LedgerParts {
  readonly store: MemoryStore
  readonly models: readonly TableModel[]
  readonly states: States
  readonly empty: State
}

export class Ledger {
  readonly #parts: LedgerParts
  readonly #comparisons: ReadonlyMap<string, TableComparison>
  /** Committed, and not taken back. */
  #survivors: readonly BlockRef[] = []
  /** How often something landed. */
  landings = 0
  /** The first thing that is not as it must be. */
  found: Found | undefined

  constructor(parts: LedgerParts) {
    this.#parts = parts
    this.#comparisons = new Map(parts.models.map((model) => [model.name, new TableComparison(model)]))
  }

  landed({ batches }: Group): void {
    this.landings++
    this.#survivors = [...this.#survivors, ...batches.flatMap(({ blocks }) => blocks)]
    this.compare()
  }

  /** @returns the height that the tables are at; null: nothing is left */
  restored(target: number): number | null {
    this.landings++
    this.#survivors = this.#survivors.filter(({ checkpoint }) => checkpoint <= target)
    this.compare()
    return this.#survivors.at(-1)?.number ?? null
  }

  compare(): void {
    const { store, models, states, empty } = this.#parts
    const last = this.#survivors.at(-1)
    const state = last === undefined ? empty : states.get(last.hash)
    // a block that the reference could not get through: the run is about to say so
    if (state === undefined || this.found !== undefined) return
    for (const { name } of models) {
      const difference = this.#comparisons.get(name)!.compare(store.rows(name), state.tables.get(name)!)
      if (difference === undefined) continue
      this.found = { ...difference, after: last?.number ?? null }
      return
    }
  }
}
