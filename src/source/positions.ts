/**
 * Where each source has been: the positions that are stored, and those of blocks given out since. A fork goes back to
 * one of them, and so does every other source then (H25). Of each source the newest that is durable and safe is kept,
 * and everything above it: what the database keeps, too.
 */
import type { BlockRef } from '../block.ts'
import { positionOf, type Position } from './port.ts'

export type StoredPosition = Position & {
  readonly checkpoint: number
  /** Unix seconds, where the source tells. */
  readonly timestamp?: number | undefined
}
type KnownPosition = StoredPosition & { readonly safe?: number | undefined }

export class Positions {
  /** Oldest first. */
  readonly #known = new Map<string, KnownPosition[]>()
  /** Above it every position is known. */
  #completeFrom: number
  /** The safe checkpoint that is durable. */
  #safe: number

  /** @param stored newest first */
  constructor(
    sources: readonly string[],
    stored: ReadonlyMap<string, readonly StoredPosition[]>,
    restorableFrom: number,
  ) {
    this.#completeFrom = restorableFrom
    this.#safe = restorableFrom
    for (const source of sources) this.#known.set(source, (stored.get(source) ?? []).toReversed())
  }

  /** Of every source, oldest first. */
  get all(): ReadonlyMap<string, readonly StoredPosition[]> {
    return this.#known
  }

  /** Of one source, newest first, as it is told. */
  recent(source: string): Position[] {
    return this.#of(source).map(positionOf).toReversed()
  }

  add(ref: BlockRef): void {
    const { checkpoint, timestamp, safe } = ref
    this.#of(ref.source).push({
      ...positionOf(ref),
      checkpoint,
      ...(timestamp === undefined ? {} : { timestamp }),
      ...(safe === undefined ? {} : { safe }),
    })
  }

  /** Forgets those above `target`. */
  rewind(target: number): void {
    for (const known of this.#known.values()) known.length = countUpTo(known, target)
  }

  /** Everything up to `committed` is durable, and with it where the safe checkpoint was then. */
  landed(committed: number): void {
    for (const known of this.#known.values()) {
      const newest = known[countUpTo(known, committed) - 1]
      if (newest?.checkpoint === committed) this.#safe = Math.max(this.#safe, newest.safe ?? committed)
    }
    for (const known of this.#known.values()) {
      const anchor = countUpTo(known, this.#safe) - 1
      const forgotten = known[anchor - 1]
      if (forgotten === undefined) continue
      known.splice(0, anchor)
      this.#completeFrom = Math.max(this.#completeFrom, forgotten.checkpoint)
    }
  }

  /** Blocks of the source that a fork orphans. */
  orphans(source: string, validTo: Position | null): number {
    const known = this.#of(source)
    return known.length - standing(known, validTo)
  }

  /**
   * The checkpoint a fork goes back to: the newest one, of any source, below the first that is orphaned. Numbers of
   * batches that were given up lie between, and are nobody's frontier.
   */
  below(source: string, validTo: Position | null): number {
    const own = this.#of(source)
    const first = own[standing(own, validTo)]?.checkpoint ?? Infinity
    let target = Math.min(first - 1, this.#completeFrom)
    for (const known of this.#known.values()) {
      target = Math.max(target, known[countUpTo(known, first - 1) - 1]?.checkpoint ?? 0)
    }
    return target
  }

  /** The source's own newest checkpoint that a fork leaves; 0: none. */
  ownBelow(source: string, validTo: Position | null): number {
    const own = this.#of(source)
    return own[standing(own, validTo) - 1]?.checkpoint ?? 0
  }

  /** The block given out last; undefined: none that is known. */
  get newest(): (StoredPosition & { readonly source: string }) | undefined {
    let newest: (StoredPosition & { readonly source: string }) | undefined
    for (const [source, known] of this.#known) {
      const own = known.at(-1)
      if (own !== undefined && own.checkpoint > (newest?.checkpoint ?? 0)) newest = { ...own, source }
    }
    return newest
  }

  /** The source's own newest checkpoint; 0: none. */
  ownNewest(source: string): number {
    return this.#of(source).at(-1)?.checkpoint ?? 0
  }

  /** Blocks, of all sources, above `target`. */
  countAbove(target: number): number {
    let count = 0
    for (const known of this.#known.values()) count += known.length - countUpTo(known, target)
    return count
  }

  #of(source: string): KnownPosition[] {
    return this.#known.get(source)!
  }
}

/** How many survive a fork: those up to `validTo`, unless that is another block than the one known. */
function standing(known: readonly StoredPosition[], validTo: Position | null): number {
  if (validTo === null) return 0
  const first = known.findLastIndex(({ number }) => number <= validTo.number)
  const newest = known[first]
  if (newest?.number === validTo.number && newest.hash !== positionOf(validTo).hash) return first
  return first + 1
}

/** How many have a checkpoint of at most `upTo`. */
function countUpTo(known: readonly StoredPosition[], upTo: number): number {
  let count = 0
  let above = known.length
  while (count < above) {
    const middle = (count + above) >> 1
    if (known[middle]!.checkpoint <= upTo) count = middle + 1
    else above = middle
  }
  return count
}
