/** The progress line of an indexing run, and its totals, from the indexer's own events and status. */
import type { Indexer, Stalls } from 'tailrace'
import { bar, bytes, count, dim, green, liveLine, percent, yellow } from './terminal.ts'

export interface Totals {
  readonly items: number
  readonly batches: number
  readonly commits: number
  readonly rows: number
  readonly stalls: Stalls
}

export class Progress {
  /** What goes on, where that is more than going forward. */
  note: string | undefined
  #items = 0
  #batches = 0
  #commits = 0
  #rows = 0
  readonly #from: number
  readonly #total: number
  /** Blocks that handlers have been through. */
  #handled = 0
  #line: ReturnType<typeof liveLine> | undefined

  /** @param from first block of the run @param to last one */
  constructor(from: number, to: number) {
    this.#from = from
    this.#total = to - from + 1
  }

  reached(block: number): void {
    this.#handled = block - this.#from + 1
  }

  follow(indexer: Indexer): void {
    indexer.on('batch.processed', ({ items }) => {
      this.#items += items
      this.#batches++
    })
    indexer.on('batch.committed', ({ rows }) => {
      this.#rows += rows
      this.#commits++
    })
    const began = performance.now()
    this.#line = liveLine(() => this.#draw(indexer, performance.now() - began))
  }

  totals(indexer: Indexer): Totals {
    const [items, batches, commits, rows] = [this.#items, this.#batches, this.#commits, this.#rows]
    return { items, batches, commits, rows, stalls: indexer.status().stalls }
  }

  end(): void {
    this.#line?.end('keep')
  }

  #draw(indexer: Indexer, elapsedMs: number): string {
    const { processed, committed, stagedBytes, stalls, regions } = indexer.status()
    // a checkpoint a block: what lies between the two frontiers is handled and not yet durable
    const staged = Math.min(this.#handled, Number(processed - committed))
    const frontiers = [
      { value: this.#handled - staged, paint: green },
      { value: staged, paint: yellow },
    ]
    const done = this.#handled / this.#total
    const leftMs = (elapsedMs * (1 - done)) / done
    const left = done === 1 ? 'all handled' : done < 0.05 ? '… left' : `${(leftMs / 1_000).toFixed(1)} s left`
    return [
      `  ${bar(frontiers, this.#total)} ${count(this.#handled)}/${count(this.#total)} blocks`,
      `${count((this.#items / elapsedMs) * 1_000)} items/s`,
      `overlap ${percent(stalls.overlapRatio)}`,
      `staged ${bytes(stagedBytes)}`,
      `regions ${Object.values(regions).filter(({ health }) => health === 'ok').length} ok`,
      this.note ?? left,
    ].join(dim(' · '))
  }
}
