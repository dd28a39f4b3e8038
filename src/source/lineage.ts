/** Which of the positions known of a source stand under its next block. */
import { positionOf, type Block, type Position } from './port.ts'

/**
 * How many of `known`, oldest first, the block leaves standing; all of them: it follows the newest.
 *
 * A block names what it stands on by its `parentHash`, or, without that, by its number. A parent that is not among
 * those known may have been left out above the newest, when there is a gap; otherwise it took the place of one of them.
 */
export function standingUnder(block: Block, known: readonly Position[]): number {
  const last = known.at(-1)
  if (last === undefined) return 0
  const { number } = block
  // a hash by default says nothing of a parent
  const parentHash = block.hash === undefined ? undefined : block.parentHash
  const follows = number > last.number
  if (follows && (parentHash === undefined || parentHash === last.hash)) return known.length
  const parent = parentHash === undefined ? -1 : known.findLastIndex(({ hash }) => hash === parentHash)
  if (parent !== -1) return parent + 1
  if (follows && number > last.number + 1) return known.length
  const highest = parentHash === undefined ? number - 1 : number - 2
  return known.findLastIndex((position) => position.number <= highest) + 1
}

/** The very block that is known already: nothing forked, it only comes again. */
export function isRepeated(block: Block, known: readonly Position[]): boolean {
  const { number, hash } = positionOf(block)
  const same = known.findLast((position) => position.number <= number)
  return same?.number === number && same.hash === hash
}

/**
 * Compares stored positions with blocks that come again, in their order. What is stored must be among them, if it is
 * not older than the first of them.
 */
export class Comparison {
  readonly #stored: readonly Position[]
  #compared = 0
  #first: number | undefined

  /** @param stored oldest first */
  constructor(stored: readonly Position[]) {
    this.#stored = stored
  }

  /** The newest position that stands when this block shows that the next does not; undefined: it shows nothing. */
  refutedBy(block: Block): { readonly validTo: Position | null } | undefined {
    const { number, hash } = positionOf(block)
    this.#first ??= number
    for (let next = this.#next; next !== undefined && next.number <= number; next = this.#next) {
      const isThere = next.number === number ? next.hash === hash : next.number < this.#first
      if (!isThere) return this.#refuted()
      this.#compared++
    }
    return undefined
  }

  /** The same, when no block is left. */
  refutedByEnd(): { readonly validTo: Position | null } | undefined {
    const isMissing = this.#first !== undefined && this.#next !== undefined
    return isMissing ? this.#refuted() : undefined
  }

  get #next(): Position | undefined {
    return this.#stored[this.#compared]
  }

  #refuted(): { readonly validTo: Position | null } {
    return { validTo: this.#stored[this.#compared - 1] ?? null }
  }
}
