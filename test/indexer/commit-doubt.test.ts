/** I10, H62: what a commit's fate is told by, what tells nothing, and messages that come when nobody waits for them any more. */
import { expect, test } from 'vitest'
import { createIndexer } from '../../src/index.ts'
import { simulatedChain } from '../../src/testing/index.ts'
import { WireProxy } from '../crash/rig/wire-proxy.ts'
import { createWorld, numbered, row, setRow, watch, type World } from '../support/indexers.ts'
import { handlesBefore } from '../support/leaks.ts'

function throughProxy(world: World, proxy: WireProxy) {
  const chain = simulatedChain<number>({ id: 'm' })
  const indexer = createIndexer({
    name: 'doubt',
    source: chain.source,
    tables: { row },
    handle: setRow,
    store: world.plainStore({ connectionString: proxy.through(world.connectionString) }),
  })
  return { chain, indexer, events: watch(indexer) }
}

test('H62: after a lost connection a plain SELECT would have been wrong; taking the row again is not', async () => {
  await using world = await createWorld()
  await using proxy = await new WireProxy(world.connectionString).listen()
  const { chain, indexer, events } = throughProxy(world, proxy)
  const sent = proxy.traps.arm({ kind: 'commit', point: 'after Sync' })
  const running = indexer.run()
  await events.until('ownership')
  const lock = world.lock('row')
  await lock.taken
  chain.append(numbered(1))
  chain.end()
  const commit = await sent
  await world.blocked(1)
  // the client is cut off; the server has all of the commit, and knows nothing of that
  proxy.refuse()
  commit.cutClient()
  await events.until('commit.retrying')
  // asked now, the row says that it has not landed …
  expect((await world.pipeline('doubt')).commitNumber).toBe(0)
  await lock.release()
  // … and then it lands
  while ((await world.pipeline('doubt')).commitNumber === 0);
  proxy.up()
  commit.letGo()
  expect(await running).toMatchObject({ status: 'finished', committed: 1n })
  // applied once: resolved, not sent again
  expect((await world.pipeline('doubt')).commitNumber).toBe(1)
  expect(events.of('batch.committed')).toHaveLength(1)
})

test('I10: a resolution that was given up for lost comes late, and raises the epoch: the run is not its own rival', async () => {
  await using world = await createWorld()
  await using proxy = await new WireProxy(world.connectionString).listen()
  const { chain, indexer, events } = throughProxy(world, proxy)
  const sent = proxy.traps.arm({ kind: 'commit', point: 'between fence and Sync' })
  const asked = proxy.traps.arm({ kind: 'resolve', point: 'before the first byte' })
  const running = indexer.run()
  chain.append(numbered(1))
  const commit = await sent
  commit.cut('reset')
  const question = await asked
  question.cutClient()
  // asked again on another connection, and sent again
  await events.until('batch.committed')
  const { epoch } = await world.pipeline('doubt')
  question.letGo()
  while ((await world.pipeline('doubt')).epoch === epoch);
  chain.append(numbered(1, 2))
  chain.end()
  const outcome = await running
  expect(outcome).toMatchObject({ status: 'finished', committed: 2n })
  expect(await world.query('SELECT id FROM "row" ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }])
  expect((await world.pipeline('doubt')).epoch).toBe(epoch + 2)
})

test('I10: the answer to the take-over is lost: found to be ours, under one more epoch', async () => {
  await using world = await createWorld()
  await using proxy = await new WireProxy(world.connectionString).listen()
  const { chain, indexer, events } = throughProxy(world, proxy)
  const asked = proxy.traps.arm({ kind: 'take', point: 'before the answer' })
  chain.append(numbered(2))
  chain.end()
  const running = indexer.run()
  const take = await asked
  take.cut('reset')
  expect(await running).toMatchObject({ status: 'finished', committed: 2n })
  expect(events.of('ownership').map(({ state, epoch }) => [state, epoch])).toEqual([['taken', 2n]])
  expect((await world.pipeline('doubt')).token).toBeNull()
})

test('I10: the answer to the release is lost: said again, and the pipeline is free', async () => {
  await using world = await createWorld()
  await using proxy = await new WireProxy(world.connectionString).listen()
  const { chain, indexer } = throughProxy(world, proxy)
  const asked = proxy.traps.arm({ kind: 'release', point: 'between fence and Sync' })
  chain.append(numbered(2))
  chain.end()
  const handles = handlesBefore()
  const running = indexer.run()
  const release = await asked
  release.cut('reset')
  expect(await running).toMatchObject({ status: 'finished', committed: 2n })
  expect(await world.pipeline('doubt')).toMatchObject({ token: null, backendPid: null })
  expect((await handles.left())['Thread']).toBeUndefined()
})
