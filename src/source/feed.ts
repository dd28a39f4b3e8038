/**
 * All sources of a run as one sequence of batches. Blocks get their checkpoints here, from one counter that is never
 * reused (I12). A batch holds whole blocks, and never some that can still be taken back beside some that cannot (I15).
 */
import type { SourceEvent } from '../../machines/events.ts'
import type { BlockRef } from '../block.ts'
import { isSafe } from '../block.ts'
import { Pump, type ReadBlock } from './pump.ts'
import { SafePoint } from './safe-point.ts'
import { positionOf, type Block, type Position, type Source } from './port.ts'

export interface FeedLimits {
  readonly readAheadBytes: number
  readonly batchItems: number
  readonly batchBytes: number
}

export type StoredPosition = Position & { readonly checkpoint: number }

export interface FeedStart {
  readonly counter: number
  /** Nothing at or below it can be taken back. */
  readonly restorableFrom: number
  readonly positions: ReadonlyMap<string, readonly StoredPosition[]>
}

export interface NumberedBlock {
  readonly ref: BlockRef
  readonly block: Block
}

export interface PulledBatch {
  readonly blocks: readonly NumberedBlock[]
  readonly items: number
}

/** Who a feed speaks to. */
export interface FeedEvents {
  say(event: SourceEvent): void
  caughtUp(source: string): void
  forked(fork: FeedFork): void
}

/** A source says that blocks it gave are orphaned. */
export interface FeedFork {
  readonly source: string
  readonly validTo: number | null
  /** Its orphaned blocks. */
  readonly depth: number
  readonly target: number
}

export class Feed {
  readonly #limits: FeedLimits
  readonly #pumps: readonly Pump[]
  /**
   * Known positions of each source, oldest first: stored ones, and those handed out since. Never cut above the
   * committed frontier: a fork of *another* source takes this one back there, too (H25).
   */
  readonly #positions = new Map<string, StoredPosition[]>()
  readonly #events: FeedEvents
  readonly #safePoint: SafePoint
  #counter: number
  /** Up to here some positions are not known any more, or are not stored. */
  #forgottenUpTo = 0
  #opened = false
  #fullPumps = 0
  #waiting: { resolve(batch: PulledBatch | undefined): void } | undefined
  #saidEnded = false

  constructor(
    sources: readonly Source[],
    limits: FeedLimits,
    start: FeedStart,
    events: FeedEvents,
  ) {
    this.#limits = limits
    this.#counter = start.counter
    this.#events = events
    for (const source of sources) {
      const positions = (start.positions.get(source.id) ?? []).toReversed()
      this.#positions.set(source.id, positions)
      this.#forgottenUpTo = Math.max(this.#forgottenUpTo, (positions[0]?.checkpoint ?? 1) - 1)
    }
    const forking = sources.filter((source) => (source.historyDepth ?? 0) > 0).map(({ id }) => id)
    this.#safePoint = new SafePoint(
      forking,
      start.restorableFrom,
      (source) => this.#positions.get(source) ?? [],
    )
    this.#pumps = sources.map((source) => this.#pump(source, limits.readAheadBytes / sources.length))
  }

  get bufferedBytes(): number {
    return this.#pumps.reduce((bytes, pump) => bytes + pump.bufferedBytes, 0)
  }

  head(source: string): number | undefined {
    return this.#pumps.find((pump) => pump.source.id === source)?.head
  }

  open(): void {
    this.#opened = true
    this.#fullPumps = 0
    this.#saidEnded = false
    for (const pump of this.#pumps) {
      const recent = this.#positions.get(pump.source.id)!.toReversed()
      const [from] = recent
      pump.open(from && plain(from), recent.map(plain))
    }
  }

  /** Opened, and neither closed nor ended since. */
  get isOpen(): boolean {
    return this.#opened
  }

  /** Resolves once every iterator is returned. */
  async close(): Promise<void> {
    this.#opened = false
    await Promise.all(this.#pumps.map((pump) => pump.close()))
  }

  /** The next batch, as soon as there is a block; undefined when every source ended and nothing is buffered. */
  pull(): Promise<PulledBatch | undefined> {
    const batch = this.#cut()
    if (batch !== undefined) return Promise.resolve(batch)
    if (this.#isExhausted()) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      this.#waiting = { resolve }
    })
  }

  /** Whoever waits in `pull` is no longer interested; no block is taken for them. */
  cancelPull(): void {
    this.#waiting = undefined
  }

  /** Blocks, of all sources, that a rollback to `target` takes back. */
  depthOf(target: number): number {
    let depth = 0
    for (const positions of this.#positions.values()) {
      depth += positions.filter((position) => position.checkpoint > target).length
    }
    return depth
  }

  /** Forgets positions above `target`: sources go on from there. */
  rewind(target: number): void {
    for (const [source, positions] of this.#positions) {
      this.#positions.set(
        source,
        positions.filter((position) => position.checkpoint <= target),
      )
    }
    this.#safePoint.rewind(target)
  }

  /** Durable up to here. Positions below the newest that is durable *and* safe are needed no more. */
  landed(committed: number): void {
    const { isTrivial, checkpoint: safe } = this.#safePoint
    const upTo = isTrivial ? committed : Math.min(committed, safe)
    for (const positions of this.#positions.values()) {
      const anchor = positions.findLastIndex((position) => position.checkpoint <= upTo)
      for (const { checkpoint } of positions.splice(0, Math.max(0, anchor))) {
        this.#forgottenUpTo = Math.max(this.#forgottenUpTo, checkpoint)
      }
    }
  }

  // ── below: checkpoints ────────────────────────────────────────────────────────────────────────────────────

  /**
   * The checkpoint a fork of `source` goes back to: the newest one, of any source, below the first one above `validTo`.
   * Numbers of batches that were given up lie between, and are nobody's frontier.
   */
  #targetOf(source: string, validTo: Position | null): number {
    const positions = this.#positions.get(source)!
    const lowest = positions.find((position) => validTo === null || position.number > validTo.number)
    const below = lowest?.checkpoint ?? Infinity
    let target = Math.min(below - 1, this.#forgottenUpTo)
    for (const known of this.#positions.values()) {
      const newest = known.findLast((position) => position.checkpoint < below)
      target = Math.max(target, newest?.checkpoint ?? 0)
    }
    return target
  }

  #cut(): PulledBatch | undefined {
    const blocks: NumberedBlock[] = []
    let items = 0
    let bytes = 0
    let safe: boolean | undefined
    for (;;) {
      const pump = this.#next()
      const next = pump?.peek()
      if (pump === undefined || next === undefined) break
      const ref = this.#refOf(pump.source.id, next, this.#counter + 1)
      safe ??= isSafe(ref)
      if (blocks.length > 0) {
        const tooMany = items + next.block.items.length > this.#limits.batchItems
        if (tooMany || bytes + next.bytes > this.#limits.batchBytes || isSafe(ref) !== safe) break
      }
      pump.take()
      this.#counter++
      this.#positions.get(ref.source)!.push({ ...plain(ref), checkpoint: ref.checkpoint })
      this.#safePoint.add(ref.source, ref, next.finalBelow)
      blocks.push({ ref, block: next.block })
      items += next.block.items.length
      bytes += next.bytes
    }
    return blocks.length === 0 ? undefined : { blocks, items }
  }

  /** Oldest block first where all tell their time; otherwise as they come. */
  #next(): Pump | undefined {
    let oldest: Pump | undefined
    for (const pump of this.#pumps) {
      const block = pump.peek()?.block
      if (block === undefined) continue
      const time = block.timestamp ?? -1
      if (oldest === undefined || time < (oldest.peek()!.block.timestamp ?? -1)) oldest = pump
    }
    return oldest
  }

  #refOf(source: string, read: ReadBlock, checkpoint: number): BlockRef {
    const position = positionOf(read.block)
    if (this.#safePoint.isTrivial) return { ...position, source, checkpoint }
    const { number } = position
    const safe = this.#safePoint.advance(source, { checkpoint, number }, read.finalBelow)
    return { ...position, source, checkpoint, safe }
  }

  #isExhausted(): boolean {
    return this.#pumps.every((pump) => pump.ended && pump.peek() === undefined)
  }

  #pump(source: Source, budgetBytes: number): Pump {
    return new Pump(source, budgetBytes, {
      changed: () => this.#changed(),
      full: (isFull) => this.#full(isFull),
      fork: (validTo) => this.#forked(source.id, validTo),
      caughtUp: () => this.#events.caughtUp(source.id),
      failed: (error) => this.#events.say({ type: 'source.failed', error }),
    })
  }

  #forked(source: string, validTo: Position | null): void {
    const target = this.#targetOf(source, validTo)
    const depth = this.#positions
      .get(source)!
      .filter(({ number }) => validTo === null || number > validTo.number).length
    this.#events.forked({ source, validTo: validTo?.number ?? null, depth, target })
    this.#events.say({ type: 'source.fork', source, target })
  }

  #full(isFull: boolean): void {
    this.#fullPumps += isFull ? 1 : -1
    if (isFull && this.#fullPumps === 1) this.#events.say({ type: 'source.full' })
    if (!isFull && this.#fullPumps === 0) this.#events.say({ type: 'source.room' })
  }

  #changed(): void {
    const waiting = this.#waiting
    if (waiting !== undefined) {
      const batch = this.#cut()
      if (batch !== undefined || this.#isExhausted()) {
        this.#waiting = undefined
        waiting.resolve(batch)
      }
    }
    if (!this.#saidEnded && this.#opened && this.#pumps.every((pump) => pump.ended)) {
      this.#saidEnded = true
      this.#opened = false
      this.#events.say({ type: 'source.ended' })
    }
  }
}

function plain({ number, hash, cursor }: Position): Position {
  return { number, hash, ...(cursor === undefined ? {} : { cursor }) }
}
