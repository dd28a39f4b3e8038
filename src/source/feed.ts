/**
 * All sources of a run as one sequence of batches. Blocks get their checkpoints here, from one counter that is never
 * reused (I12). A batch holds whole blocks, and never some that can still be taken back beside some that cannot (I15).
 */
import type { SourceEvent } from '../../machines/events.ts'
import type { BlockRef } from '../block.ts'
import { isSafe } from '../block.ts'
import { Merge, type Ordering } from './merge.ts'
import { Pump, type ReadBlock } from './pump.ts'
import { Positions, type StoredPosition } from './positions.ts'
import { SafePoint } from './safe-point.ts'
import { positionOf, type Block, type Position, type Source } from './port.ts'

export interface FeedLimits {
  readonly readAheadBytes: number
  readonly batchItems: number
  readonly batchBytes: number
}

export interface FeedOptions {
  readonly sources: readonly Source[]
  readonly ordering: Ordering
  readonly limits: FeedLimits
}

export interface FeedStart {
  readonly counter: number
  /** Nothing at or below it can be taken back. */
  readonly restorableFrom: number
  /** Newest first. */
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
  /** Its orphaned blocks, among those that were handed out. */
  readonly depth: number
  readonly target: number
}

export class Feed {
  readonly #limits: FeedLimits
  readonly #sorted: boolean
  readonly #events: FeedEvents
  readonly #pumps: readonly Pump[]
  readonly #merge: Merge<Pump>
  readonly #positions: Positions
  readonly #safePoint: SafePoint
  #counter: number
  #opened = false
  #fullPumps = 0
  #waiting: { resolve(batch: PulledBatch | undefined): void } | undefined
  #saidEnded = false
  /** A block came too late for its place; nothing is given out before the pipeline has gone back. */
  #isMisplaced = false

  constructor({ sources, ordering, limits }: FeedOptions, start: FeedStart, events: FeedEvents) {
    const { restorableFrom } = start
    // the blocks of one source come in its own order, whatever their time
    this.#sorted = ordering === 'timestamp' && sources.length > 1
    this.#limits = limits
    this.#events = events
    this.#counter = start.counter
    this.#positions = new Positions(
      sources.map(({ id }) => id),
      start.positions,
      restorableFrom,
    )
    this.#pumps = sources.map((source) => this.#pump(source, limits.readAheadBytes / sources.length))
    this.#merge = new Merge(this.#pumps, this.#sorted ? 'timestamp' : 'arrival')
    const sorted = this.#sorted
    this.#safePoint = new SafePoint(this.#pumps, this.#positions.all, { restorableFrom, sorted })
  }

  get bufferedBytes(): number {
    return this.#pumps.reduce((bytes, pump) => bytes + pump.bufferedBytes, 0)
  }

  open(): void {
    this.#opened = true
    this.#fullPumps = 0
    this.#saidEnded = false
    for (const pump of this.#pumps) {
      const recent = this.#positions.recent(pump.source.id)
      pump.open(recent[0], recent)
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
    return this.#positions.countAbove(target)
  }

  /** Forgets positions above `target`: sources go on from there. */
  rewind(target: number): void {
    this.#isMisplaced = false
    this.#positions.rewind(target)
    this.#safePoint.rewind(target)
  }

  /** Durable up to here. */
  landed(committed: number): void {
    this.#positions.landed(committed)
  }

  // ── below: checkpoints ────────────────────────────────────────────────────────────────────────────────────

  #cut(): PulledBatch | undefined {
    // before what is final is heeded: a block may be final and too late
    if (this.#sorted) this.#makeRoom()
    if (this.#isMisplaced) return undefined
    this.#safePoint.settle()
    const blocks: NumberedBlock[] = []
    let items = 0
    let bytes = 0
    let safe: boolean | undefined
    for (;;) {
      const pump = this.#merge.next()
      const next = pump?.peek()
      if (pump === undefined || next === undefined) break
      const ref = this.#refOf(pump.source.id, next, this.#counter + 1)
      safe ??= isSafe(ref)
      if (blocks.length > 0) {
        const tooMany = items + next.block.items.length > this.#limits.batchItems
        if (tooMany || bytes + next.bytes > this.#limits.batchBytes || isSafe(ref) !== safe) break
      }
      pump.take()
      this.#merge.took(pump)
      this.#counter++
      this.#safePoint.add(ref.source, ref)
      this.#positions.add(ref)
      blocks.push({ ref, block: next.block })
      items += next.block.items.length
      bytes += next.bytes
    }
    return blocks.length === 0 ? undefined : { blocks, items }
  }

  #refOf(source: string, { block }: ReadBlock, checkpoint: number): BlockRef {
    const { timestamp } = block
    const position = { ...positionOf(block), ...(timestamp === undefined ? {} : { timestamp }) }
    if (this.#safePoint.isTrivial) return { ...position, source, checkpoint }
    const safe = this.#safePoint.with(source, { checkpoint, number: position.number })
    return { ...position, source, checkpoint, safe }
  }

  /**
   * A block whose place is before one that was given out stands for another, which was read ahead, seen by the merge, and
   * orphaned before anybody had it: its source has nothing to take back and says nothing. The pipeline goes back to that
   * source's own newest block. What was final before keeps its place, and the late one comes after it.
   */
  #makeRoom(): void {
    const { newest } = this.#positions
    if (this.#isMisplaced || newest?.timestamp === undefined) return
    for (const { pump, timestamp } of this.#nextTimes()) {
      const source = pump.source.id
      const isLate =
        timestamp < newest.timestamp || (timestamp === newest.timestamp && source < newest.source)
      const target = Math.max(this.#positions.ownNewest(source), this.#safePoint.checkpoint)
      if (!isLate || target >= newest.checkpoint) continue
      this.#isMisplaced = true
      const validTo = this.#positions.recent(source)[0]?.number ?? null
      this.#events.forked({ source, validTo, depth: 0, target })
      this.#events.say({ type: 'source.fork', source, target })
      return
    }
  }

  #nextTimes(): readonly { readonly pump: Pump; readonly timestamp: number }[] {
    return this.#pumps.flatMap((pump) => {
      const timestamp = pump.peek()?.block.timestamp
      return timestamp === undefined ? [] : [{ pump, timestamp }]
    })
  }

  #targetOf(source: string, validTo: Position | null): number {
    const target = this.#positions.below(source, validTo)
    if (!this.#sorted) return target
    // what comes in the place of the orphaned may belong before blocks of other sources, but never before these
    const own = this.#positions.ownBelow(source, validTo)
    return Math.min(target, Math.max(own, this.#safePoint.checkpoint))
  }

  #isExhausted(): boolean {
    return this.#pumps.every((pump) => pump.ended && pump.peek() === undefined)
  }

  // ── below: what the pumps say ─────────────────────────────────────────────────────────────────────────────

  #pump(source: Source, budgetBytes: number): Pump {
    const options = { budgetBytes, timed: this.#sorted }
    return new Pump(source, options, {
      changed: () => this.#changed(),
      full: (isFull) => this.#full(isFull),
      fork: (validTo) => this.#forked(source.id, validTo),
      caughtUp: () => this.#events.caughtUp(source.id),
      failed: (error) => this.#events.say({ type: 'source.failed', error }),
    })
  }

  #forked(source: string, validTo: Position | null): void {
    const target = this.#targetOf(source, validTo)
    const depth = this.#positions.orphans(source, validTo)
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
