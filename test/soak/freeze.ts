/** Owners that are frozen past their staleness and thaw: idle at their head, and at every named point of their exchanges. */
import { randomInt } from 'node:crypto'
import { nameOf, places } from '../crash/rig/exchanges.ts'
import { Processes } from '../crash/rig/round.ts'
import { ownServer } from '../crash/rig/server.ts'
import { freezeRound } from '../crash/rig/standby.ts'

/** Exchanges of one that owns the pipeline, and goes on owning it; the last of the points is as good as idle. */
export const freezable = places.filter(({ kind }) => kind === 'commit' || kind === 'restore')

/** @returns how many rounds differed */
export async function soakFreeze(
  seconds: number,
  firstSeed: number | undefined,
  rounds: number,
): Promise<number> {
  const began = performance.now()
  await using server = await ownServer()
  await using processes = new Processes()
  const starts = [undefined, ...freezable]
  const first = firstSeed ?? randomInt(starts.length)
  let played = 0
  let differences = 0
  while (played < rounds && performance.now() - began < seconds * 1_000) {
    const place = starts[(first + played) % starts.length]
    processes.warm(2)
    try {
      await freezeRound(place, server, processes)
    } catch (error) {
      differences++
      console.log(`DIFFERS  ${place === undefined ? 'idle' : nameOf(place)}: ${String(error)}`)
    }
    played++
    if (played % 10 === 0) console.log(`${played} rounds`)
  }
  const took = (performance.now() - began) / 1_000
  console.log(
    `rounds ${played}, ${(took / Math.max(1, played)).toFixed(2)} s each; differences ${differences}`,
  )
  console.log(`frozen idle, and at ${freezable.length} points of commits and rollbacks`)
  return differences
}
