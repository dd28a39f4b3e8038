/** Forks and faults: commits that are retried or refused when a fork comes, and rollbacks that go wrong themselves. */
import pg from 'pg'
import { expect, test } from 'vitest'
import { gatedStore, simulatedChain } from '../../src/testing/index.ts'
import {
  addUp,
  branch,
  committedOf,
  drains,
  expectBookkeeping,
  expectSurvivors,
  forking,
  numbers,
  rollbacks,
  summing,
  sums,
  sumsOf,
} from '../support/forks.ts'
import { createWorld, type World } from '../support/indexers.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

// ── a commit that is retried or refused ─────────────────────────────────────────────────────────────────────

const bad = 666

/** Blocks 1–8, the sixth of which Postgres will not take. */
function spoilt() {
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 20 })
  chain.append([...numbers(5), { number: 6, items: [bad] }, ...numbers(2, 7)])
  return chain
}

/** After the tables were checked: user triggers are refused at start. */
async function refuse(world: World, sqlState: string): Promise<void> {
  await world.query(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.id = ${bad} THEN RAISE EXCEPTION 'not this one' USING ERRCODE = '${sqlState}'; END IF; RETURN NEW; END $$`)
  await world.query('CREATE TRIGGER refuse BEFORE INSERT ON "row" FOR EACH ROW EXECUTE FUNCTION refuse()')
}

test.each([{ above: 3 }, { above: 5 }, { above: 1 }])(
  'H31, H73: a group that is deferred while a fork above $above waits is recalled, cut, and not sent as it was',
  async ({ above }) => {
    await using world = await createWorld()
    const chain = spoilt()
    const { indexer, events } = summing(world, [chain.source], { limits: { groupLatencyMs: 1_000_000 } })
    world.gates.write.hold()
    const running = indexer.run()
    await events.until('batch.processed', ({ checkpoint }) => checkpoint === 8n)
    await refuse(world, '40001')
    for (const checkpoint of [1n, 3n]) {
      await world.gates.write.arrived()
      world.gates.write.releaseOne()
      await events.until('batch.committed', (committed) => committed.checkpoint === checkpoint)
    }
    await world.gates.write.arrived()
    // 4–7 are on the wire, and would never land
    chain.fork({ above, blocks: numbers(4, above + 1, 100) })
    await drains(events)
    world.gates.write.release()
    await events.until('rollback.committed')
    chain.end()
    expect(await running).toMatchObject({ status: 'finished' })
    expect(events.of('commit.retrying')).toMatchObject([{ attempt: 1, error: { cause: { code: '40001' } } }])
    expect(rollbacks(events)).toMatchObject([
      { target: BigInt(above), depth: 8 - above, droppedBatches: 8 - Math.max(above, 3) },
    ])
    expect(world.gates.restore.passed).toBe(above < 3 ? 1 : 0)
    expect(await sums(world)).toEqual(sumsOf(chain.blocks))
    await expectBookkeeping(world, [chain])
    expect((await world.pipeline('fork')).epoch).toBe(1)
  },
)

test.each([
  // the half on the wire is sound, and lands; then it is below, cut by, and above the fork
  { above: 5, half: 'lands', committed: 5n },
  { above: 4, half: 'lands', committed: 5n },
  { above: 3, half: 'lands', committed: 5n },
  { above: 2, half: 'lands', committed: 5n },
  { above: 5, half: 'is lost', committed: 3n },
  { above: 4, half: 'is lost', committed: 3n },
  { above: 2, half: 'is lost', committed: 3n },
])(
  'I5, H44: a fork above $above while a refused group is bisected, and the half on the wire $half',
  async ({ above, half, committed }) => {
    await using world = await createWorld()
    const chain = spoilt()
    const { indexer, events } = summing(world, [chain.source], { limits: { groupLatencyMs: 1_000_000 } })
    world.gates.write.hold()
    const running = indexer.run()
    await events.until('batch.processed', ({ checkpoint }) => checkpoint === 8n)
    await refuse(world, '23514')
    for (const checkpoint of [1n, 3n]) {
      await world.gates.write.arrived()
      world.gates.write.releaseOne()
      await events.until('batch.committed', (landed) => landed.checkpoint === checkpoint)
    }
    // 4–7 are refused; 4–5 go by themselves
    await world.gates.write.arrived()
    world.gates.write.releaseOne()
    await world.gates.write.arrived()
    chain.fork({ above, blocks: numbers(4, above + 1, 100) })
    await drains(events)
    if (half === 'is lost') world.gates.write.fail(new Error('cut'))
    world.gates.write.release()
    await events.until('rollback.committed')
    chain.end()
    expect(await running).toMatchObject({ status: 'finished' })
    expect(rollbacks(events)).toMatchObject([
      {
        target: BigInt(above),
        depth: 8 - above,
        droppedBatches: 8 - Math.max(above, Number(committed)),
      },
    ])
    expect(world.gates.restore.passed).toBe(above < committed ? 1 : 0)
    expect(await sums(world)).toEqual(sumsOf(chain.blocks))
    await expectBookkeeping(world, [chain])
  },
)

test.each([
  { groupLatencyMs: 0, landed: [1n, 2n, 3n, 4n, 5n], what: 'alone' },
  { groupLatencyMs: 1_000_000, landed: [1n, 3n], what: 'with others' },
])(
  'I5, H73: what Postgres refuses $what is orphaned before that is believed: the run goes on without it',
  async ({ groupLatencyMs, landed }) => {
    await using world = await createWorld()
    const chain = spoilt()
    const { indexer, events } = summing(world, [chain.source], { limits: { groupLatencyMs } })
    world.gates.write.hold()
    const running = indexer.run()
    await events.until('batch.processed', ({ checkpoint }) => checkpoint === 8n)
    await refuse(world, '23514')
    for (const checkpoint of landed) {
      await world.gates.write.arrived()
      world.gates.write.releaseOne()
      await events.until('batch.committed', (committed) => committed.checkpoint === checkpoint)
    }
    await world.gates.write.arrived()
    world.gates.resolve.hold()
    world.gates.write.releaseOne()
    await world.gates.resolve.arrived()
    chain.fork({ above: 5, blocks: numbers(4, 6, 100) })
    await drains(events)
    const sent = world.gates.write.passed
    world.gates.resolve.release()
    await events.until('rollback.committed')
    // nothing of it went out once more
    expect(world.gates.write.passed).toBe(sent)
    world.gates.write.release()
    chain.end()
    expect(await running).toMatchObject({ status: 'finished' })
    expect(rollbacks(events)).toEqual([{ target: 5n, depth: 3, droppedBatches: 3, restoredRows: 0 }])
    expect(await sums(world)).toEqual(sumsOf(chain.blocks))
    await expectBookkeeping(world, [chain])
  },
)

test('H36, I7: what is refused below the fork fails the run, when it is sent again, with its own cause', async () => {
  await using world = await createWorld()
  const chain = spoilt()
  const { indexer, events } = summing(world, [chain.source], { limits: { groupLatencyMs: 1_000_000 } })
  world.gates.write.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 8n)
  await refuse(world, '23514')
  await world.gates.write.arrived()
  world.gates.write.releaseOne()
  await events.until('batch.committed')
  await world.gates.write.arrived()
  chain.fork({ above: 7, blocks: numbers(2, 8, 100) })
  await drains(events)
  world.gates.write.release()
  const outcome = await running
  expect(outcome).toMatchObject({ status: 'failed', committed: 5n, error: { batch: { from: 6n, upTo: 6n } } })
  expect(await sums(world)).toEqual(sumsOf(numbers(5)))
  // the next run goes on from there, once it is mended
  await world.query('DROP TRIGGER refuse ON "row"')
  chain.end()
  expect(await indexer.run()).toMatchObject({ status: 'finished' })
  expect(await sums(world)).toEqual(sumsOf(chain.blocks))
  await expectBookkeeping(world, [chain])
})

// ── a rollback that goes wrong ──────────────────────────────────────────────────────────────────────────────

test('I10, H37: the answer to a rollback is lost: the row tells that it landed, and it is applied once', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world)
  const { running } = await committedOf({ chain, indexer, events })
  const before = await world.pipeline('fork')
  world.gates.restored.hold()
  chain.fork({ above: 4, blocks: branch(3, 5, 'b', 2) })
  await world.gates.restored.arrived()
  world.gates.write.hold()
  world.gates.restored.fail(new Error('cut'))
  await world.gates.write.arrived()
  expect(await world.pipeline('fork')).toMatchObject({
    epoch: before.epoch + 1,
    commitNumber: before.commitNumber + 1,
    committed: 4,
    counter: 8,
  })
  expect(world.gates.restore.passed).toBe(1)
  // that it landed is known, and no more
  expect(rollbacks(events)).toEqual([{ target: 4n, depth: 4, droppedBatches: 0, restoredRows: undefined }])
  world.gates.write.release()
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 11n })
  expect(events.of('commit.retrying')).toHaveLength(1)
  await expectSurvivors(world, { chain }, events)
})

test('I10: the real thing: the connection is reset while the rollback’s answer is on its way', async () => {
  await using world = await createWorld()
  const { hostname, port } = new URL(world.connectionString)
  await using proxy = await startTcpProxy({ target: { host: hostname, port: Number(port) } })
  const { store, gates } = gatedStore(
    world.plainStore({ connectionString: proxy.through(world.connectionString) }),
  )
  const { chain, indexer, events } = forking(world, { store })
  const { running } = await committedOf({ chain, indexer, events })
  const { commitNumber } = await world.pipeline('fork')
  gates.restore.hold()
  chain.fork({ above: 4, blocks: branch(3, 5, 'b', 2) })
  await gates.restore.arrived()
  await proxy.pause('down')
  gates.restore.release()
  while ((await world.pipeline('fork')).commitNumber === commitNumber);
  await proxy.kill()
  await proxy.resume('down')
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 11n })
  expect(gates.restore.passed).toBe(1)
  expect(rollbacks(events)).toMatchObject([{ target: 4n, depth: 4, restoredRows: undefined }])
  await expectSurvivors(world, { chain }, events)
})

test('I10: the connection goes before a rollback was sent: it is sent again, told once', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world)
  const { running } = await committedOf({ chain, indexer, events })
  const { commitNumber } = await world.pipeline('fork')
  world.gates.restore.fail(new Error('cut'))
  world.gates.restore.fail(new Error('cut'))
  // nor can the row be asked at first
  world.gates.resolve.fail(new Error('refused'))
  chain.fork({ above: 4, blocks: branch(3, 5, 'b', 2) })
  await events.until('rollback.committed')
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 11n })
  expect(world.gates.restore.passed).toBe(3)
  expect(events.of('commit.retrying')).toHaveLength(3)
  expect(events.of('rollback.started')).toEqual([{ target: 4n, depth: 4 }])
  expect(rollbacks(events)).toMatchObject([{ target: 4n, depth: 4, droppedBatches: 0 }])
  expect((await world.pipeline('fork')).commitNumber).toBe(events.of('batch.committed').length + 1)
  expect(commitNumber).toBeLessThan(events.of('batch.committed').length)
  await expectSurvivors(world, { chain }, events)
})

test('I10, H62: the backend is killed while the rollback waits behind a lock', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world)
  const { running } = await committedOf({ chain, indexer, events })
  const { backendPid } = await world.pipeline('fork')
  const lock = world.lock('transfer')
  await lock.taken
  chain.fork({ above: 4, blocks: branch(3, 5, 'b', 2) })
  await world.blocked(1)
  await world.query('SELECT pg_terminate_backend($1, 5000)', [backendPid])
  // it is sent again, on another connection, and waits again
  await events.until('commit.retrying')
  await world.blocked(1)
  expect(await world.pipeline('fork')).toMatchObject({ epoch: 2, committed: 8 })
  await lock.release()
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 11n })
  expect(rollbacks(events)).toMatchObject([{ target: 4n, depth: 4 }])
  expect((await world.pipeline('fork')).commitNumber).toBe(events.of('batch.committed').length + 1)
  await expectSurvivors(world, { chain }, events)
})

test('H34: a rollback that is the victim of a deadlock is sent again, under the same epoch', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world)
  const { running } = await committedOf({ chain, indexer, events })
  const other = new pg.Client({ connectionString: world.connectionString })
  await other.connect()
  try {
    // this one never looks for a deadlock: whoever waits first finds it
    await other.query(`SET deadlock_timeout = '1h'; BEGIN; LOCK TABLE "transfer" IN SHARE MODE`)
    chain.fork({ above: 4, blocks: branch(3, 5, 'b', 2) })
    await world.blocked(1)
    await other.query('LOCK TABLE "account" IN SHARE MODE')
    await other.query('ROLLBACK')
  } finally {
    await other.end()
  }
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 11n })
  expect(events.of('commit.retrying')).toMatchObject([{ error: { cause: { code: '40P01' } } }])
  expect(rollbacks(events)).toMatchObject([{ target: 4n, depth: 4 }])
  expect(await world.pipeline('fork')).toMatchObject({
    epoch: 1,
    commitNumber: events.of('batch.committed').length + 1,
  })
  await expectSurvivors(world, { chain }, events)
})

test('H36: a rollback that Postgres refuses fails the run with its cause, and changes nothing', async () => {
  await using world = await createWorld()
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 20 })
  chain.append(numbers(8))
  const { indexer, events } = summing(world, [chain.source], { handle: addUp })
  const { running } = await committedOf({ chain, indexer, events })
  await world.query(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'nothing is deleted here' USING ERRCODE = '23514'; END $$`)
  await world.query('CREATE TRIGGER refuse BEFORE DELETE ON "row" FOR EACH ROW EXECUTE FUNCTION refuse()')
  chain.fork({ above: 4, blocks: numbers(2, 5, 100) })
  const outcome = await running
  expect(outcome).toMatchObject({ status: 'failed', committed: 8n, error: { phase: 'rollback' } })
  expect(outcome).not.toHaveProperty('inDoubt')
  if (outcome.status === 'failed') expect(outcome.error.message).toContain('nothing is deleted here')
  expect(await sums(world)).toEqual(sumsOf(numbers(8)))
  await world.query('DROP TRIGGER refuse ON "row"')
  chain.end()
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 10n })
  expect(await sums(world)).toEqual(sumsOf(chain.blocks))
  await expectBookkeeping(world, [chain])
})
