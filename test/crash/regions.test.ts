/**
 * kill -9 between a commit and the delivery of what it holds, on a real Postgres and a real Redis, round after round: what is
 * committed arrives, once, and readers never see something older again.
 */
import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { dice } from '../support/dice.ts'
import { createDatabase } from '../support/postgres.ts'
import { sharedRedis } from '../support/redis-shared.ts'
import { points, type Point } from './regions-child.ts'
import { Children, playLife, RegionsTally } from './regions-rig.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const redis = await sharedRedis()
if (typeof redis === 'string') console.log(`skipped: ${redis}`)

/** Some of them, in an order of the seed; `npm run soak -- regions` plays them all, again and again. */
const order = (() => {
  const random = dice(seed)
  const drawn = points.map((point) => ({ point, at: random() })).toSorted((a, b) => a.at - b.at)
  return drawn.map(({ point }) => point)
})()
const rounds = 3

test.skipIf(typeof redis === 'string').each([
  ['newest', order.slice(0, rounds)],
  ['every', order.slice(rounds, 2 * rounds)],
] as const)(
  'I8, I13, I14, H51, H58, H59, H75: killed between commit and delivery, where %s counts',
  async (deliver: 'newest' | 'every', at: readonly Point[]) => {
    if (typeof redis === 'string') return
    console.log(`crash/regions: SEED=${seed}`)
    const tally = new RegionsTally()
    await using children = new Children()
    await using database = await createDatabase()
    const prefix = `crash-regions-${randomBytes(6).toString('hex')}`
    const servers = { connectionString: database.connectionString, redisUrl: redis.url, prefix }
    await playLife({ seed, deliver, points: at }, servers, children, tally)
    expect([...tally.kills.keys()], `killed there; replay with SEED=${seed}`).toEqual(at)
  },
  60_000,
)
