/** The server crashes in the middle of a run and stays away for a minute. */
import { playOutage } from '../crash/rig/outage.ts'
import { ownServer } from '../crash/rig/server.ts'

const usualSeconds = 60

/** @param seconds how long it stays away @returns how many runs did not outlive it */
export async function soakOutage(seconds: number): Promise<number> {
  const outageMs = (seconds === Infinity ? usualSeconds : seconds) * 1_000
  await using server = await ownServer()
  let differences = 0
  for (const reads of [true, false]) {
    const { connectionString, drop } = await server.createDatabase()
    const began = performance.now()
    try {
      await playOutage({
        connectionString,
        begin: () => server.crash(),
        end: () => server.start(),
        forMs: outageMs,
        reads,
      })
    } catch (error) {
      differences++
      console.log(`DIFFERS  ${String(error)}`)
    }
    const took = ((performance.now() - began) / 1_000).toFixed(1)
    console.log(
      `${reads ? 'reads' : 'commits'}: away for ${outageMs / 1_000} s, the whole run took ${took} s`,
    )
    await drop()
  }
  console.log(`differences ${differences}`)
  return differences
}
