/**
 * Which of several sources gives the next block. `timestamp`: the same blocks come in the same order, whichever is
 * there first. `arrival`: as they come; nobody waits for ever.
 */
import type { Block } from './port.ts'

export type Ordering = 'arrival' | 'timestamp'

/** What is read of one source. */
export interface Lane {
  readonly source: { readonly id: string }
  /** Nothing will follow what is buffered. */
  readonly ended: boolean
  peek(): { readonly block: Block } | undefined
}

export class Merge<L extends Lane> {
  readonly #ordering: Ordering
  /** `timestamp`: by id. `arrival`: whoever gave a block longest ago comes first. */
  readonly #lanes: L[]

  constructor(lanes: readonly L[], ordering: Ordering) {
    this.#ordering = ordering
    this.#lanes = ordering === 'timestamp' ? lanes.toSorted(byId) : [...lanes]
  }

  /** Whose block is next; undefined: there is none, or it is not known yet. */
  next(): L | undefined {
    let first: L | undefined
    let oldest: L | undefined
    let oldestTime = Infinity
    let allTimed = true
    for (const lane of this.#lanes) {
      const block = lane.peek()?.block
      if (block === undefined) {
        // what it gives next may be older
        if (this.#ordering === 'timestamp' && !lane.ended) return undefined
        continue
      }
      first ??= lane
      if (block.timestamp === undefined) allTimed = false
      else if (block.timestamp < oldestTime) {
        oldest = lane
        oldestTime = block.timestamp
      }
    }
    return allTimed ? oldest : first
  }

  /** Its block was given out. */
  took(lane: L): void {
    if (this.#ordering === 'timestamp') return
    this.#lanes.push(...this.#lanes.splice(this.#lanes.indexOf(lane), 1))
  }
}

/** By code units: the same everywhere. */
function byId({ source: { id: a } }: Lane, { source: { id: b } }: Lane): number {
  return a < b ? -1 : 1
}
