/**
 * The pipeline's safe checkpoint: the newest one that no source can take back any more. Several sources share rows, so
 * it is one for all: a source far behind its head keeps history, too, while another is at its own (H70).
 *
 * Maintained invariants: it never decreases, but for checkpoints that are gone themselves (I15); it is a block's, never
 * a number that was given up; no fork of what can still be orphaned goes back below it.
 */
import { Queue } from './queue.ts'

interface Given {
  readonly checkpoint: number
  readonly number: number
}

/** A block that its source can still orphan. */
interface Open extends Given {
  /** The checkpoint where that fork would go back to. */
  readonly below: number
}

/** What is read of one source. */
export interface FinalityLane {
  readonly source: { readonly id: string }
  /** Heights at and below it are final; -1: none, or it has not spoken yet; undefined: it never forks. */
  readonly finalBelow: number | undefined
  readonly ended: boolean
  peek(): { readonly block: { readonly number: number } } | undefined
}

interface Forking {
  readonly lane: FinalityLane
  readonly open: Queue<Open>
}

/** Every block of a source that is given out and not taken back, oldest first; they may begin anywhere below. */
export type GivenBlocks = ReadonlyMap<string, readonly Given[]>

export class SafePoint {
  readonly #given: GivenBlocks
  readonly #floor: number
  readonly #sorted: boolean
  readonly #forking = new Map<string, Forking>()
  #checkpoint: number

  /**
   * @param given is read whenever it matters; at first it is what is stored
   * @param restorableFrom where the run before had the safe checkpoint
   * @param sorted blocks come in the order of their time: one in the place of another may belong before blocks of other
   * sources, so a fork goes back to the newest block of its *own* source
   */
  constructor(
    lanes: readonly FinalityLane[],
    given: GivenBlocks,
    { restorableFrom, sorted }: { readonly restorableFrom: number; readonly sorted: boolean },
  ) {
    this.#given = given
    this.#floor = restorableFrom
    this.#checkpoint = restorableFrom
    this.#sorted = sorted
    for (const lane of lanes) {
      if (lane.finalBelow !== undefined) this.#forking.set(lane.source.id, { lane, open: new Queue() })
    }
    this.#openStored()
  }

  get checkpoint(): number {
    return this.#checkpoint
  }

  /** No source ever forks: then nothing keeps history, and there is nothing to be told. */
  get isTrivial(): boolean {
    return this.#forking.size === 0
  }

  /** Heeds what the sources have said of their finality since. */
  settle(): void {
    let safe = this.#newest()
    for (const [source, { lane, open }] of this.#forking) {
      while (open.first !== undefined && isFinal(lane, open.first.number)) open.shift()
      safe = Math.min(safe, open.first?.below ?? Infinity)
      if (this.#isNextOpen(source)) safe = Math.min(safe, this.#ownNewest(source))
    }
    this.#checkpoint = Math.max(this.#checkpoint, safe)
  }

  /** Where it will be once `block` is given out: at most the block's own checkpoint, which then is safe at once. */
  with(source: string, { checkpoint, number }: Given): number {
    if (!this.#isFinal(source, number)) return this.#checkpoint
    for (const [other, { open }] of this.#forking) {
      if (open.length > 0 || (other !== source && this.#isNextOpen(other))) return this.#checkpoint
    }
    return checkpoint
  }

  /** To be called before the block is among those given. */
  add(source: string, { checkpoint, number }: Given): void {
    this.#checkpoint = this.with(source, { checkpoint, number })
    if (this.#isFinal(source, number)) return
    const below = this.#sorted ? this.#ownNewest(source) : this.#newest()
    this.#forking.get(source)?.open.push({ checkpoint, number, below })
  }

  /** Checkpoints above `target` are gone, from the blocks given, too. */
  rewind(target: number): void {
    for (const { open } of this.#forking.values()) open.dropLast(({ checkpoint }) => checkpoint > target)
    this.#checkpoint = Math.max(this.#floor, Math.min(this.#checkpoint, this.#newest()))
  }

  #openStored(): void {
    const stored = [...this.#given].flatMap(([source, blocks]) =>
      blocks.map((block) => ({ source, ...block })),
    )
    let newest = this.#floor
    const newestOf = new Map<string, number>()
    for (const { source, checkpoint, number } of stored.toSorted((a, b) => a.checkpoint - b.checkpoint)) {
      if (checkpoint > this.#floor) {
        const below = Math.max(this.#floor, this.#sorted ? (newestOf.get(source) ?? 0) : newest)
        this.#forking.get(source)?.open.push({ checkpoint, number, below })
      }
      newest = Math.max(newest, checkpoint)
      newestOf.set(source, checkpoint)
    }
  }

  #isFinal(source: string, number: number): boolean {
    const forking = this.#forking.get(source)
    return forking === undefined || isFinal(forking.lane, number)
  }

  /**
   * What has been given out since the source's newest block has its place because the source's next one comes later;
   * that one, perhaps not known yet, can still be another.
   */
  #isNextOpen(source: string): boolean {
    const forking = this.#forking.get(source)
    if (!this.#sorted || forking === undefined) return false
    const { lane } = forking
    const next = lane.peek()
    return next === undefined ? !lane.ended : !isFinal(lane, next.block.number)
  }

  #newest(): number {
    let newest = this.#floor
    for (const source of this.#given.keys()) newest = Math.max(newest, this.#last(source) ?? 0)
    return newest
  }

  /** A fork of the source's next block goes back to here. */
  #ownNewest(source: string): number {
    return Math.max(this.#last(source) ?? 0, this.#checkpoint)
  }

  #last(source: string): number | undefined {
    const own = this.#given.get(source)
    return own?.[own.length - 1]?.checkpoint
  }
}

function isFinal({ finalBelow }: FinalityLane, number: number): boolean {
  return number <= (finalBelow ?? Infinity)
}
