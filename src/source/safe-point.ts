/**
 * The pipeline's safe checkpoint: the newest one that no source can take back any more. Several sources share rows, so
 * it is one for all: a source far behind its head keeps history, too, while another is at its own (H70).
 *
 * Maintained invariants: it never decreases (I15); at and below it no checkpoint is of a block that its source can
 * still orphan.
 */

interface Height {
  readonly checkpoint: number
  readonly number: number
}

export class SafePoint {
  #checkpoint: number
  /** Of each source that forks: blocks it can still orphan, oldest first. */
  readonly #unfinal = new Map<string, Height[]>()

  /**
   * @param restorableFrom where the run before had it
   * @param stored positions of a source, oldest first: whether they are final is not known before it speaks
   */
  constructor(
    forking: readonly string[],
    restorableFrom: number,
    stored: (source: string) => readonly Height[],
  ) {
    this.#checkpoint = restorableFrom
    for (const source of forking) {
      this.#unfinal.set(
        source,
        stored(source).filter(({ checkpoint }) => checkpoint > restorableFrom),
      )
    }
  }

  get checkpoint(): number {
    return this.#checkpoint
  }

  /** No source ever forks: then nothing keeps history, and there is nothing to be told. */
  get isTrivial(): boolean {
    return this.#unfinal.size === 0
  }

  /** Moves on to what is known when `block` is about to be given out. @param finalBelow a height; undefined: never forks */
  advance(source: string, block: Height, finalBelow: number | undefined): number {
    const own = this.#unfinal.get(source)
    if (own !== undefined && finalBelow !== undefined) {
      const firstUnfinal = own.findIndex(({ number }) => number > finalBelow)
      own.splice(0, firstUnfinal === -1 ? own.length : firstUnfinal)
    }
    let lowest = isFinal(block, finalBelow) ? block.checkpoint + 1 : block.checkpoint
    for (const [oldest] of this.#unfinal.values()) lowest = Math.min(lowest, oldest?.checkpoint ?? Infinity)
    this.#checkpoint = Math.max(this.#checkpoint, lowest - 1)
    return Math.min(this.#checkpoint, block.checkpoint)
  }

  /** The block is given out. */
  add(source: string, block: Height, finalBelow: number | undefined): void {
    if (!isFinal(block, finalBelow)) this.#unfinal.get(source)?.push(block)
  }

  /** Checkpoints above `target` are gone. */
  rewind(target: number): void {
    for (const [source, heights] of this.#unfinal) {
      this.#unfinal.set(
        source,
        heights.filter(({ checkpoint }) => checkpoint <= target),
      )
    }
  }
}

function isFinal({ number }: Height, finalBelow: number | undefined): boolean {
  return finalBelow === undefined || number <= finalBelow
}
