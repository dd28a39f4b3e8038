/** `tailrace release`: whoever had the pipeline has it no more, and nothing of theirs lands. */
import { hostname } from 'node:os'
import { expect, test, vi } from 'vitest'
import { createIndexer, exitCode, memorySource } from '../../src/index.ts'
import { simulatedChain } from '../../src/testing/index.ts'
import { createWorld, numbered, row, setRow, watch, type World } from '../support/indexers.ts'
import { abandon } from './abandoned.ts'
import { atTerminal, hasTerminal, tailrace } from './command.ts'

// each command is a process that compiles itself: half a second of a processor that others use, too
vi.setConfig({ testTimeout: 120_000 })

const blocks = numbered(5)

function pipeline(world: World) {
  return createIndexer({
    name: 'held',
    source: memorySource({ id: 'm', blocks }),
    tables: { row },
    handle: setRow,
    store: world.store,
    limits: { batchItems: 1, groupLatencyMs: 0 },
  })
}

/** One commit has landed, the next one stands at the gate. */
async function held(world: World) {
  world.gates.write.hold()
  const indexer = pipeline(world)
  const committed = watch(indexer).until('batch.committed')
  const running = indexer.run()
  await world.gates.write.arrived()
  world.gates.write.releaseOne()
  await committed
  await world.gates.write.arrived()
  return { running }
}

const finishes = (world: World) =>
  expect(pipeline(world).run()).resolves.toMatchObject({ status: 'finished', committed: 5n })

test('I9: a live owner is not disturbed without --yes; with it, its run ends superseded, and the next one goes on', async () => {
  await using world = await createWorld()
  const env = { DATABASE_URL: world.connectionString }
  const { running } = await held(world)
  const before = await world.pipeline('held')

  const refused = await tailrace(['release', 'held'], env)
  expect(refused).toMatchObject({ code: 1, stdout: '' })
  expect(refused.stderr).toMatch(
    new RegExp(
      `^tailrace: Pipeline 'held' is held by process ${process.pid} on ${hostname()}, which was heard of [\\d.]+ s ago\\. Stop that process, or give --yes to take the pipeline from it\\. Nothing was changed\\.\n$`,
    ),
  )
  expect(await world.pipeline('held')).toEqual(before)

  const released = await tailrace(['release', 'held', '--yes'], env)
  expect(released).toMatchObject({ code: 0, stderr: '' })
  expect(released.stdout).toMatch(/^ {2}held {6}released$/m)
  expect(released.stdout).toMatch(
    new RegExp(`^ {2}was held {2}process ${process.pid} on ${hostname()} · for `, 'm'),
  )
  expect(released.stdout).toContain('free, epoch 2 · nothing of the old owner lands any more')
  expect(released.stdout).toContain('its connection was ended')
  expect(await world.pipeline('held')).toEqual({ ...before, epoch: 2, token: null, backendPid: null })

  world.gates.write.release()
  const outcome = await running
  expect(outcome).toMatchObject({ status: 'superseded', committed: 1n, owner: undefined })
  expect(exitCode(outcome)).toBe(75)
  expect(await world.query('SELECT id FROM "row"')).toEqual([{ id: 1 }])
  await finishes(world)
})

test('an owner that has nothing to commit hears of it by its heartbeat', { timeout: 30_000 }, async () => {
  await using world = await createWorld()
  const chain = simulatedChain<number>({ id: 'chain' })
  chain.append(blocks)
  const indexer = createIndexer({
    name: 'held',
    source: chain.source,
    tables: { row },
    handle: setRow,
    store: world.store,
    ownership: { staleMs: 500 },
  })
  const caughtUp = watch(indexer).until('batch.committed', ({ checkpoint }) => checkpoint === 5n)
  const running = indexer.run()
  await caughtUp
  expect(
    await tailrace(['release', 'held', '--yes'], { DATABASE_URL: world.connectionString }),
  ).toMatchObject({
    code: 0,
  })
  expect(await running).toMatchObject({ status: 'superseded', committed: 5n })
})

test('twice is once; --json says what was done', async () => {
  await using world = await createWorld()
  const env = { DATABASE_URL: world.connectionString }
  const { running } = await held(world)
  const first = await tailrace(['release', 'held', '--yes', '--json'], env)
  expect(JSON.parse(first.stdout)).toEqual({
    pipeline: 'held',
    released: true,
    epoch: '2',
    connectionEnded: true,
    wasState: 'running',
    heldBy: { host: hostname(), pid: process.pid, since: expect.stringMatching(/Z$/) as string },
  })
  const second = await tailrace(['release', 'held', '--yes', '--json'], env)
  expect(second.code).toBe(0)
  expect(JSON.parse(second.stdout)).toMatchObject({
    released: false,
    epoch: '2',
    wasState: 'free',
    heldBy: null,
  })
  const third = await tailrace(['release', 'held'], env)
  expect(third.code).toBe(0)
  expect(third.stdout).toContain('nobody holds it; nothing to do · epoch 2')
  world.gates.write.release()
  expect(await running).toMatchObject({ status: 'superseded' })
})

test('an owner that is gone needs no --yes', async () => {
  await using world = await createWorld()
  await pipeline(world).run()
  await abandon(world, 'held')
  const released = await tailrace(['release', 'held'], { DATABASE_URL: world.connectionString })
  expect(released).toMatchObject({ code: 0, stderr: '' })
  expect(released.stdout).toContain('process 42 on elsewhere')
  expect(released.stdout).not.toContain('superseded')
  expect(await world.pipeline('held')).toMatchObject({ epoch: 2, token: null })
  await finishes(world)
})

test.skipIf(!hasTerminal)('at a terminal it asks; the owner may change until the answer comes', async () => {
  await using world = await createWorld()
  const env = { DATABASE_URL: world.connectionString }
  const { running } = await held(world)
  const before = await world.pipeline('held')
  const to = 'Release? [y/N]'
  const no = await atTerminal(['release', 'held'], env, [{ to, type: '\r' }])
  expect(no).toMatchObject({ code: 1, screen: expect.stringContaining('Nothing was changed.') as string })
  expect(no.screen).toContain(`process ${process.pid} on ${hostname()}`)
  const left = await atTerminal(['release', 'held'], env, [{ to, type: '\u0003' }])
  expect(left).toMatchObject({ code: 1, screen: expect.stringContaining('Nothing was changed.') as string })
  expect(await world.pipeline('held')).toEqual(before)

  const yes = await atTerminal(['release', 'held'], env, [{ to, type: 'y\r' }])
  expect(yes).toMatchObject({ code: 0, screen: expect.stringContaining('released') as string })
  expect(await world.pipeline('held')).toMatchObject({ epoch: 2, token: null })
  world.gates.write.release()
  expect(await running).toMatchObject({ status: 'superseded' })
})
