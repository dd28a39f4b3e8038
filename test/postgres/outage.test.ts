/**
 * H34, H72: two seconds without a database, in the middle of a run (`npm run soak -- outage` makes it a minute); a server
 * that crashes below two processes.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { playOutage } from '../crash/rig/outage.ts'
import { Processes } from '../crash/rig/round.ts'
import { ownServer } from '../crash/rig/server.ts'
import { headChain, name, Scene, type Member } from '../crash/rig/standby.ts'
import { WireProxy } from '../crash/rig/wire-proxy.ts'
import { createWorld } from '../support/indexers.ts'

test.each([false, true])(
  'H34, H41: the database is away: work goes on, waits, and goes on by itself (reads: %s)',
  async (reads) => {
    await using world = await createWorld()
    await using proxy = await new WireProxy(world.connectionString).listen()
    await playOutage({
      connectionString: proxy.through(world.connectionString),
      begin: () => proxy.down(),
      end: () => proxy.up(),
      forMs: 2_000,
      reads,
    })
    expect(await world.query('SELECT count(*)::int AS n, min(id) = min(value) AS same FROM "row"')).toEqual([
      { n: 400, same: true },
    ])
  },
)

test('H72: two supervised processes and a server that crashes: at most one change of owner, then it is stable', async () => {
  await using server = await ownServer()
  await using processes = new Processes()
  const { connectionString } = await server.createDatabase()
  await using scene = new Scene(connectionString, processes)
  let isOver = false
  /** Runs it again whenever it ends, as a supervisor does. */
  const supervised = async ({ process, ended }: Member) => {
    const task = { connectionString, name, chain: headChain, batchItems: 8, staleMs: 1_000, standby: true }
    for (let end = await ended; !isOver; end = await process.run(task)) {
      expect(end).toMatchObject({ left: [] })
      await pause(100)
    }
  }
  const members = [await scene.owner({ staleMs: 1_000 }), await scene.standby({ staleMs: 1_000 })]
  const running = members.map(supervised)
  const owners: number[] = [(await scene.row()).pid]
  const look = async () => {
    const { pid } = await scene.row()
    if (pid !== owners.at(-1)) owners.push(pid)
  }
  await server.restart()
  // real time is the subject: several times what a silence takes
  for (const until = performance.now() + 4_000; performance.now() < until; await pause(50)) await look()
  expect(owners.length).toBeLessThanOrEqual(2)
  const { token } = await scene.row()
  await pause(1_500)
  expect(await scene.row()).toMatchObject({ token, pid: owners.at(-1) })
  isOver = true
  for (const { process } of members) process.stopAlways(true)
  await Promise.all(running)
  await scene.checkTables()
}, 60_000)
