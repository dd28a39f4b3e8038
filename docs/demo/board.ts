/** How the regions stand, from the indexer's own events and status. */
import type { Indexer, Outcome, RegionSettled, RegionStatus } from 'tailrace'
import { bytes, count, dim, fact, green, red, say, yellow } from './terminal.ts'

const statuses = [
  'persisted',
  'duplicate',
  'replayed',
  'stale',
  'failed',
] as const satisfies readonly RegionSettled['status'][]

interface Told {
  readonly counts: Record<RegionSettled['status'], number>
  /** Of the last one delivered. */
  bytes: number
}

const paints = { ok: green, stale: yellow, empty: yellow, quarantined: red } as const satisfies Record<
  RegionStatus['health'],
  unknown
>

export class Board {
  readonly #told = new Map<string, Told>()

  follow(indexer: Indexer): void {
    indexer.on('region.settled', ({ region, status, bytes: size }) => {
      const told = this.#told.get(region) ?? {
        counts: { persisted: 0, duplicate: 0, replayed: 0, stale: 0, failed: 0 },
        bytes: 0,
      }
      this.#told.set(region, told)
      told.counts[status]++
      if (size > 0) told.bytes = size
    })
  }

  /** One line a region. */
  print({ regions }: Outcome): void {
    const entries = Object.entries(regions).sort(([a], [b]) => (a < b ? -1 : 1))
    if (entries.length === 0) return
    const seen = statuses.filter((status) =>
      [...this.#told.values()].some(({ counts }) => counts[status] > 0),
    )
    const headings = ['checkpoint', 'age', 'size', ...seen, 'undelivered']
    const line = (region: string, health: string, cells: readonly string[]) => {
      const columns = cells.map((cell, at) => cell.padStart(Math.max(5, headings[at]?.length ?? 0) + 3))
      return `  ${''.padEnd(10)}${region.padEnd(10)}${health}${columns.join('')}`
    }
    say()
    fact('regions', `${entries.length}, each delivered behind the commit that holds it:`)
    say()
    say(dim(line('', 'health'.padEnd(12), headings)))
    for (const [region, { health, delivered, ageMs, undelivered, error }] of entries) {
      const told = this.#told.get(region)
      say(
        line(region, paints[health](health.padEnd(12)), [
          delivered === undefined ? '–' : count(Number(delivered)),
          ageMs === undefined ? '–' : `${(ageMs / 1_000).toFixed(1)} s`,
          told === undefined ? '–' : told.bytes < 1_000 ? `${told.bytes} B` : bytes(told.bytes),
          ...seen.map((status) => count(told?.counts[status] ?? 0)),
          count(undelivered),
        ]),
      )
      if (error !== undefined) say(`  ${''.padEnd(12)}${red(error.code)}: ${error.message}`)
    }
  }
}
