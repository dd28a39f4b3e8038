/** Rounds of the crash rig: random faults at the named points that were hit least, until each was hit often enough. */
import { randomInt } from 'node:crypto'
import { nameOf, places, type Place } from '../crash/rig/exchanges.ts'
import { actions, playRound, Processes, Tally, type Action, type Fault } from '../crash/rig/round.ts'
import { ownServer } from '../crash/rig/server.ts'
import { dice } from '../support/dice.ts'

const leastHits = 3
const faultsPerRound = 5
/** Of a hundred; the others are equally likely. */
const rare: Partial<Record<Action, number>> = { restart: 2, freeze: 8, kill: 14 }

function drawAction(random: () => number): Action {
  let share = 100 * random()
  for (const [action, percent] of Object.entries(rare) as [Action, number][]) {
    if (share < percent) return action
    share -= percent
  }
  const common = actions.filter((action) => rare[action] === undefined)
  return common[Math.floor(random() * common.length)]!
}

/** Those hit least so far, in a random order. */
function drawFaults(random: () => number, tally: Tally): Fault[] {
  const hits = (place: Place) => tally.hits.get(nameOf(place)) ?? 0
  return places
    .map((place) => ({ place, order: hits(place) + random() }))
    .toSorted((a, b) => a.order - b.order)
    .slice(0, faultsPerRound)
    .map(({ place }) => ({ ...place, action: drawAction(random) }))
}

/** @returns how many rounds differed, and how many points were hit too seldom */
export async function soakCrash(
  seconds: number,
  firstSeed: number | undefined,
  rounds: number,
): Promise<number> {
  const began = performance.now()
  await using server = await ownServer()
  await using processes = new Processes()
  const tally = new Tally()
  let played = 0
  let differences = 0
  while (played < rounds && performance.now() - began < seconds * 1_000) {
    const seed = firstSeed ?? randomInt(2 ** 31)
    const random = dice(seed)
    processes.warm(2)
    const chain = { blocks: 48, itemsPerBlock: 4, seed: 1 + (seed % 7), every: 6, depth: 2 }
    const plan = {
      chain,
      batchItems: 4 + 4 * Math.floor(3 * random()),
      seed,
      standbys: Math.floor(3 * random() ** 2),
      faults: drawFaults(random, tally),
    }
    try {
      await playRound(plan, server, processes, tally)
    } catch (error) {
      differences++
      console.log(`DIFFERS  SEED=${seed}\n${String(error)}`)
    }
    played++
    if (firstSeed !== undefined) break
  }
  const took = (performance.now() - began) / 1_000
  console.log(
    `rounds ${played}, ${(took / Math.max(1, played)).toFixed(2)} s each; differences ${differences}`,
  )
  const tooFew = places.filter((place) => (tally.hits.get(nameOf(place)) ?? 0) < leastHits)
  for (const place of places)
    console.log(`  ${nameOf(place).padEnd(42)} ${tally.hits.get(nameOf(place)) ?? 0}`)
  console.log('what was done at them')
  for (const action of actions) console.log(`  ${action.padEnd(42)} ${tally.actions.get(action) ?? 0}`)
  console.log('how runs ended')
  for (const [end, count] of tally.ends) console.log(`  ${end.padEnd(42)} ${count}`)
  const { landed, notLanded, withoutSync } = tally.cuts
  console.log(`commits cut off: ${landed} landed, ${notLanded} not landed`)
  console.log(`  of those cut before the Sync: ${withoutSync.landed} landed (held bytes arrived late)`)
  return differences + (played >= 100 ? tooFew.length + (landed === 0 || notLanded === 0 ? 1 : 0) : 0)
}
