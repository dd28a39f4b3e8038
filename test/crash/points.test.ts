/** I8, I9, I10: whatever happens at whatever named point of whatever exchange, the tables end as those of one sequential run. */
import { expect, test } from 'vitest'
import { createDatabase } from '../support/postgres.ts'
import { nameOf, places, type ExchangeKind } from './rig/exchanges.ts'
import { playRound, Processes, Tally, type Fault, type RigServer } from './rig/round.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))

const server: RigServer = {
  createDatabase,
  restart: () => Promise.reject(new Error('others use this server, too')),
}

test('I8, I10, H37: cut at each named point of each exchange', async () => {
  console.log(`crash/points: SEED=${seed}`)
  await using processes = new Processes()
  const tally = new Tally()
  const cuts = ['reset', 'hang up', 'late'] as const
  // those that end a run first: a run that goes on must not be at its end too early
  const order: readonly ExchangeKind[] = ['take', 'release', 'resolve', 'commit', 'restore']
  const faults: Fault[] = places
    .toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind))
    .map((place, index) => ({ ...place, action: cuts[(seed + index) % cuts.length]! }))
  await playRound(
    {
      chain: { blocks: 280, itemsPerBlock: 3, seed, every: 6, depth: 2 },
      batchItems: 3,
      seed,
      faults,
      standbys: 0,
    },
    server,
    processes,
    tally,
  )
  for (const place of places) expect(tally.hits.get(nameOf(place)), nameOf(place)).toBe(1)
  // what became of commits that were cut: some had landed, some had not, and nobody was wrong about it
  expect(tally.cuts.landed).toBeGreaterThan(0)
  expect(tally.cuts.notLanded).toBeGreaterThan(0)
}, 60_000)
