/** Rounds of kill -9 between a commit and the delivery of what it holds, until each point was hit as often as the others. */
import { randomInt } from 'node:crypto'
import { points, type Point } from '../crash/regions-child.ts'
import { Children, playLife, RegionsTally } from '../crash/regions-rig.ts'
import { ownServer } from '../crash/rig/server.ts'
import { dice } from '../support/dice.ts'
import { findRedis, startRedis } from '../support/redis.ts'

/** Then its chain is through, and the next pipeline begins. */
const roundsOfLife = 5

/** Those hit least so far, in a random order. */
function drawPoints(random: () => number, tally: RegionsTally, count: number): Point[] {
  return points
    .map((point) => ({ point, order: (tally.kills.get(point) ?? 0) + random() }))
    .toSorted((a, b) => a.order - b.order)
    .slice(0, count)
    .map(({ point }) => point)
}

/** @returns how many lives differed, and how many points were never hit */
export async function soakRegions(
  seconds: number,
  firstSeed: number | undefined,
  rounds: number,
): Promise<number> {
  const binary = await findRedis()
  if (typeof binary === 'string') {
    console.log(`cannot: ${binary}`)
    return 1
  }
  const began = performance.now()
  const seed = firstSeed ?? randomInt(2 ** 31)
  console.log(`SEED=${seed}`)
  const random = dice(seed)
  await using server = await ownServer()
  await using redis = await startRedis(binary)
  await using children = new Children()
  const tally = new RegionsTally()
  let lives = 0
  let differences = 0
  while (tally.rounds < rounds && differences < 5 && performance.now() - began < seconds * 1_000) {
    const plan = {
      seed: Math.floor(random() * 2 ** 31),
      deliver: lives % 2 === 0 ? ('newest' as const) : ('every' as const),
      points: drawPoints(random, tally, Math.min(roundsOfLife, rounds - tally.rounds)),
    }
    const { connectionString, drop } = await server.createDatabase()
    const servers = { connectionString, redisUrl: redis.url, prefix: `life-${++lives}` }
    try {
      await playLife(plan, servers, children, tally)
    } catch (error) {
      differences++
      console.log(`DIFFERS  SEED=${seed}, life ${lives}, which was ${JSON.stringify(plan)}\n${String(error)}`)
    }
    await drop()
  }
  const took = (performance.now() - began) / 1_000
  console.log(
    `rounds ${tally.rounds}, ${(took / Math.max(1, tally.rounds)).toFixed(2)} s each, in ${lives} lives; differences ${differences}`,
  )
  console.log(
    `runs that ended well and were compared ${tally.compared}; notifications ${tally.notifications}`,
  )
  for (const point of points) console.log(`  ${point.padEnd(44)} ${tally.kills.get(point) ?? 0}`)
  const missed = points.filter((point) => !tally.kills.has(point))
  return differences + (tally.rounds >= 2 * points.length ? missed.length : 0)
}
