/**
 * Replay: paths of the chart's walk on the real indexer. The walk here is the one of test/machines/indexer-walk.test.ts,
 * without what the workers of this version cannot be made to say (test/support/replay-model.ts names each reason). Every
 * path is the shortest to a state or through a transition; what the chart hears, where it stands, what it knows, what it
 * tells the host and what is stored is compared after every step. Here a sample; `npm run soak -- replay` takes them all.
 */
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Bounds } from '../support/model-indexer.ts'
import { HeldTimers } from '../support/held-timers.ts'
import { walk, type Walk, type Way } from '../support/model.ts'
import { createDatabase } from '../support/postgres.ts'
import { replayModel, type ReplayWorld } from '../support/replay-model.ts'
import { dice } from '../support/dice.ts'
import { coveringWays, pathOf, randomPath } from '../support/replay-paths.ts'
import { replayedInMemory, ReplayDatabase } from '../support/replay-stores.ts'
import { replayPath, type Step } from '../support/replay-world.ts'

const seed = Number(process.env['SEED'] ?? 1)
const inMemory = Number(process.env['PATHS'] ?? 200)
const onPostgres = Number(process.env['PATHS'] ?? 16)
const atRandom = 60

/** Two staged batches, a fork, a failure, stop and abort anywhere, prefixes that land, doubt. */
const bounds: Bounds = {
  budget: 2,
  forks: 1,
  failures: 1,
  undelivered: 0,
  partial: true,
  readAhead: false,
  crashes: true,
}
const model = replayModel(bounds)
const timers = new HeldTimers()
let walked: Walk<ReplayWorld>
let ways: Way[]

beforeAll(() => {
  walked = walk(model)
  ways = coveringWays(walked)
}, 60_000)
beforeEach(() => timers.install())
afterEach(() => timers.restore())

function sample(count: number, from: number): { readonly path: Step[]; readonly variant: number }[] {
  const random = dice(from)
  const chosen = new Set<number>()
  while (chosen.size < Math.min(count, ways.length)) chosen.add(Math.floor(random() * ways.length))
  return [...chosen].map((variant) => ({ path: pathOf(model, walked, ways[variant]!), variant }))
}

function countTransitions(paths: readonly { readonly path: readonly Step[] }[]): number {
  return new Set(
    paths.flatMap(({ path }) =>
      path.map(({ before, event }) => `${model.key(before)} ${JSON.stringify(event)}`),
    ),
  ).size
}

test('I1 I2 I3 I5 I6 I7 I10 I16: shortest paths, in memory', { timeout: 300_000 }, async () => {
  const paths = sample(inMemory, seed)
  for (const { path, variant } of paths) {
    await replayPath(path, replayedInMemory(), timers, bounds.budget, variant)
  }
  const transitions = countTransitions(paths)
  console.log(
    `replayed in memory: ${paths.length} of ${ways.length} paths, ${transitions} of ${walked.ways.length} transitions, SEED=${seed}`,
  )
  expect(transitions).toBeGreaterThan(paths.length)
})

test('I2 I5 I12: random paths with three forks, in memory', { timeout: 300_000 }, async () => {
  const random = dice(seed)
  const wide = replayModel({ ...bounds, budget: 3, forks: 3 })
  let steps = 0
  for (let variant = 0; variant < atRandom; variant++) {
    const path = randomPath(wide, random, 60)
    steps += path.length
    await replayPath(path, replayedInMemory(), timers, 3, variant)
  }
  console.log(`replayed in memory: ${atRandom} random paths, ${steps} steps, SEED=${seed}`)
})

test('I2 I5 I6 I7 I9 I10: shortest paths, on Postgres', { timeout: 300_000 }, async () => {
  await using created = await createDatabase()
  await using database = new ReplayDatabase(created.connectionString)
  await database.connect()
  const paths = sample(onPostgres, seed + 1)
  for (const { path, variant } of paths) {
    await replayPath(path, await database.emptied(), timers, bounds.budget, variant)
  }
  console.log(`replayed on Postgres: ${paths.length} of ${ways.length} paths`)
})
