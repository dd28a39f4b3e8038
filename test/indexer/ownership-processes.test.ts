/**
 * I9, H72: processes that share a pipeline. Real time is the subject: how long an owner may be silent, and what is no
 * silence. Nothing here waits for a clock where there is something to be heard of.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, expect, test } from 'vitest'
import { Processes, type RigServer } from '../crash/rig/round.ts'
import { endedWell, freezeRound, headChain, name, Scene, staleMs } from '../crash/rig/standby.ts'
import { createDatabase } from '../support/postgres.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

const server: Pick<RigServer, 'createDatabase'> = { createDatabase }
const processes = new Processes()
afterAll(() => processes[Symbol.asyncDispose]())

/** Silent for longer than this, an owner would have been succeeded. */
const longMs = 3 * staleMs + 1_500
const oneRun = { ...headChain, stays: false }

test('I9, H39: frozen idle at its head, past its staleness: superseded, 75, and its successor keeps the pipeline', () =>
  freezeRound(undefined, server, processes))

test.each(['in the middle of the rows', 'between fence and Sync'] as const)(
  'I9, H39: frozen in its commit, %s, with the locks that it has by then',
  (point) => freezeRound({ kind: 'commit', point }, server, processes),
)

test('H72: one stale owner, two standbys: one wins, the other goes on waiting; a stop hands over at once', async () => {
  await using database = await createDatabase()
  await using scene = new Scene(database.connectionString, processes)
  // what a process needs of a processor to speak up, while others start beside it
  const patient = { staleMs: 3 * staleMs }
  const owner = await scene.owner(patient)
  const standbys = [await scene.standby(patient), await scene.standby(patient)]
  const { epoch } = await scene.row()
  const taken = standbys.map(({ process }, index) => process.until('taken').then(() => index))
  owner.process.freeze()
  const winner = await Promise.race(taken)
  expect((await scene.row()).epoch).toBe(epoch + 1)
  owner.process.thaw()
  endedWell(await owner.ended, 'superseded')
  const [won, waits] = [standbys[winner]!, standbys[1 - winner]!]
  expect(await scene.row()).toMatchObject({ epoch: epoch + 1, pid: won.process.pid })

  const began = performance.now()
  won.process.stop()
  await waits.process.until('taken')
  // a look every 200 ms, not a silence
  expect(performance.now() - began).toBeLessThan(patient.staleMs)
  endedWell(await won.ended, 'stopped')
  expect(await scene.row()).toMatchObject({ epoch: epoch + 2, pid: waits.process.pid })
  waits.process.stop()
  endedWell(await waits.ended, 'stopped')
  await scene.checkTables()
})

test('H72: a synchronous handler that takes three times as long is no silence', async () => {
  await using database = await createDatabase()
  await using scene = new Scene(database.connectionString, processes)
  const owner = scene.begin({ busyMs: longMs, chain: oneRun })
  await owner.process.until('taken')
  const standby = await scene.standby({ chain: oneRun })
  const { token } = await scene.row()
  const taken = standby.process.until('taken')
  endedWell(await owner.ended, 'finished')
  await taken
  // it came after, not in between
  expect(await scene.row()).toMatchObject({ epoch: 2 })
  expect(token).not.toBeNull()
  endedWell(await standby.ended, 'finished')
  await scene.checkTables()
})

test('H72: a commit behind a lock for three times as long is no silence', async () => {
  await using database = await createDatabase()
  await using scene = new Scene(database.connectionString, processes)
  const first = scene.begin({ chain: { ...oneRun, blocks: 6, depth: 0 } })
  endedWell(await first.ended, 'finished')
  await using lock = await scene.lock('transfer')
  const owner = scene.begin({ chain: oneRun })
  await owner.process.until('taken')
  const standby = await scene.standby({ chain: oneRun })
  const { epoch } = await scene.row()
  await lock.isWaitedFor(longMs)
  expect(await scene.row()).toMatchObject({ epoch, pid: owner.process.pid })
  await lock.release()
  endedWell(await owner.ended, 'finished')
  endedWell(await standby.ended, 'finished')
  await scene.checkTables()
})

test('H72: a slow network is no silence', async () => {
  await using database = await createDatabase()
  const { hostname, port } = new URL(database.connectionString)
  const target = { host: hostname, port: Number(port) }
  await using proxy = await startTcpProxy({ target, delayMs: { up: 25, down: 25 } })
  await using scene = new Scene(database.connectionString, processes)
  const owner = await scene.owner({ connectionString: proxy.through(database.connectionString) })
  const standby = await scene.standby()
  const { epoch } = await scene.row()
  await pause(longMs)
  expect(await scene.row()).toMatchObject({ epoch, pid: owner.process.pid })
  const taken = standby.process.until('taken')
  owner.process.stop()
  endedWell(await owner.ended, 'stopped')
  await taken
  standby.process.stop()
  endedWell(await standby.ended, 'stopped')
})

test('an idle owner whose connection was ended beats on, and is not succeeded', async () => {
  await using database = await createDatabase()
  await using scene = new Scene(database.connectionString, processes)
  const owner = await scene.owner()
  const standby = await scene.standby()
  const { epoch } = await scene.row()
  await scene.query(`SELECT pg_terminate_backend(backend_pid) FROM tailrace.pipelines WHERE name = '${name}'`)
  await pause(longMs)
  expect(await scene.row()).toMatchObject({ epoch, pid: owner.process.pid })
  owner.process.stop()
  endedWell(await owner.ended, 'stopped')
  standby.process.stop()
  endedWell(await standby.ended, 'stopped')
})
