/** Draws the two lanes as they were: when handlers ran, and when a commit was on its way to Postgres. */
import type { Indexer } from 'tailrace'
import { cyan, dim, green, say } from './terminal.ts'

interface Stretch {
  readonly from: number
  readonly to: number
}

const cells = 72
const cellMs = 8

export class Lanes {
  #offs: readonly (() => void)[] = []
  readonly #handled: Stretch[] = []
  readonly #committed: Stretch[] = []

  follow(indexer: Indexer): void {
    this.#offs = [
      indexer.on('batch.processed', ({ preloadMs, handleMs }) => {
        const to = performance.now()
        this.#handled.push({ from: to - preloadMs - handleMs, to })
      }),
      indexer.on('batch.committed', ({ commitMs }) => {
        const to = performance.now()
        this.#committed.push({ from: to - commitMs, to })
      }),
    ]
  }

  end(): void {
    for (const off of this.#offs) off()
  }

  /** A piece from the middle of the run. */
  print(): void {
    const middle = this.#handled[Math.floor(this.#handled.length / 2)]
    if (middle === undefined) return
    const from = middle.to - (cells * cellMs) / 2
    say()
    say(
      `  ${dim(`${cells * cellMs} ms from the middle of the run; every change of shade is another batch or commit`)}`,
    )
    say()
    say(`  ${'handlers'.padEnd(10)}${cyan(strip(this.#handled, from))}`)
    say(`  ${'commits'.padEnd(10)}${green(strip(this.#committed, from))}`)
  }
}

const shades = ['█', '▒'] as const

function strip(stretches: readonly Stretch[], from: number): string {
  let line = ''
  for (let cell = 0; cell < cells; cell++) {
    const at = from + (cell + 0.5) * cellMs
    const found = stretches.findIndex((stretch) => stretch.from <= at && at < stretch.to)
    line += found === -1 ? ' ' : (shades[found % 2] ?? '')
  }
  return line
}
