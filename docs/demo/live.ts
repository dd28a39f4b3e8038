/**
 * The chain goes on while it is indexed: its head grows, and the newest blocks are replaced by others, which hold other
 * transfers. Step by step, each waiting for what the indexer says; nothing depends on time.
 */
import type { Block, Indexer, IndexerEventName, IndexerEvents, Outcome } from 'tailrace'
import type { Header, LiveTraffic } from '../../test/support/live-traffic.ts'

const depths = [1, 3, 8] as const
/** A reorg replaces what was added for it; at the end a last block shows that the chain goes on. */
export const liveBlocks = depths.reduce<number>((sum, depth) => sum + depth, 1)
/** Far more than any step takes: past it something is broken. */
const patienceMs = 30_000

export interface Reorg {
  /** Blocks replaced. */
  readonly depth: number
  /** Those of them that were in Postgres when it came to the rollback, and the rows that it put back or removed. */
  readonly committedBlocks: number
  readonly restoredRows: number | undefined
  /** Batches that were staged, and never sent. */
  readonly droppedBatches: number
  readonly rollbackMs: number
}

export interface LiveParts {
  readonly traffic: LiveTraffic
  readonly indexer: Indexer
  /** Makes commits wait, and handlers not, until it is disposed of. */
  holdCommits(): Promise<AsyncDisposable>
  /** Told what goes on; `undefined`: nothing more. */
  note(what: string | undefined): void
  /** Aborted: no more reorgs. */
  readonly signal: AbortSignal
}

export class Live {
  readonly reorgs: Reorg[] = []
  readonly #parts: LiveParts
  readonly #checkpoints = new Map<string, bigint>()
  #ended: Promise<never> = new Promise(() => undefined)
  #reorg: Promise<void> = Promise.resolve()

  constructor(parts: LiveParts) {
    this.#parts = parts
  }

  /** To be told of every block that handlers have been through. */
  handled({ hash }: Block, checkpoint: bigint): void {
    if (hash !== undefined) this.#checkpoints.set(hash, checkpoint)
  }

  /** Resolves when everything that is there at the beginning is durable, or the run is over. */
  backlog(running: Promise<Outcome>): Promise<void> {
    this.#ended = running.then(() => Promise.reject(new RunEnded()))
    this.#ended.catch(() => undefined)
    return this.#orEnded(async () => void (await this.#durable(await this.#parts.traffic.head())))
  }

  /** All reorgs, and the last block; or until the run is over, or `signal` is aborted. */
  follow(): Promise<void> {
    const { note, signal, traffic } = this.#parts
    return this.#orEnded(async () => {
      for (const depth of depths) {
        if (signal.aborted) return
        note(`reorg, ${depth} deep`)
        await (this.#reorg = this.#replace(depth))
      }
      note('last block')
      await this.#durable(await traffic.grow())
      note(undefined)
    })
  }

  /** Resolves when the tables stand on the chain that there is, not on one that was just replaced. */
  settled(): Promise<void> {
    return this.#reorg.catch(() => undefined)
  }

  /** Blocks are added and handled; a third of them is committed, one is on the wire. Then all of them are replaced. */
  async #replace(depth: number): Promise<void> {
    const { holdCommits, indexer, traffic } = this.#parts
    const landed = Math.floor(depth / 3)
    const doomed: bigint[] = []
    while (doomed.length < landed) doomed.push(await this.#durable(await traffic.grow()))
    let committed = 0n
    const off = indexer.on('rollback.started', () => {
      committed = indexer.status().committed
    })
    const rolledBack = this.#next('rollback.committed')
    let head: Header
    {
      await using _held = await holdCommits()
      while (doomed.length < depth) doomed.push(await this.#handled(await traffic.grow()))
      const fork = this.#next('fork')
      head = await traffic.reorg(depth)
      await fork
    }
    const { restoredRows, droppedBatches, ms } = await rolledBack
    off()
    await this.#durable(head)
    const committedBlocks = doomed.filter((checkpoint) => checkpoint <= committed).length
    this.reorgs.push({ depth, committedBlocks, restoredRows, droppedBatches, rollbackMs: ms })
  }

  // ── what the indexer says ─────────────────────────────────────────────────────────────────────────────────

  async #handled({ number, hash }: Header): Promise<bigint> {
    for (;;) {
      const checkpoint = this.#checkpoints.get(hash)
      if (checkpoint !== undefined && checkpoint <= this.#parts.indexer.status().processed) return checkpoint
      await this.#next('batch.processed', `block ${number} to be handled`)
    }
  }

  async #durable(header: Header): Promise<bigint> {
    const checkpoint = await this.#handled(header)
    await this.#orLate(`block ${header.number} to be durable`, this.#parts.indexer.durable(checkpoint))
    return checkpoint
  }

  #next<N extends IndexerEventName>(name: N, what = `event ${name}`): Promise<IndexerEvents[N]> {
    let off: () => void = () => undefined
    const next = new Promise<IndexerEvents[N]>((resolve) => {
      off = this.#parts.indexer.on(name, resolve)
    })
    const heard = this.#orLate(what, next).finally(() => off())
    // it may be given up before somebody waits for it
    heard.catch(() => undefined)
    return heard
  }

  async #orLate<T>(what: string, expected: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const give = () => reject(new Error(`waited ${patienceMs / 1_000} s for ${what}, in vain`))
      timer = setTimeout(give, patienceMs)
    })
    try {
      return await Promise.race([expected, this.#ended, late])
    } finally {
      clearTimeout(timer)
    }
  }

  /** The run's outcome says how it ended; anything else that goes wrong here ends the run. */
  async #orEnded(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof RunEnded)) await this.#parts.indexer.abort(error)
    }
  }
}

class RunEnded extends Error {}
