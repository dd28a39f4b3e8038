/** Several sources, one pipeline: a fork of one takes back what the others did above it, and nothing else. */
import { expect, test } from 'vitest'
import { memorySource } from '../../src/index.ts'
import type { Position, Source } from '../../src/index.ts'
import { simulatedChain } from '../../src/testing/index.ts'
import {
  expectBookkeeping,
  expectGrowingIds,
  numbers,
  rollbacks,
  summing,
  sums,
  sumsOf,
} from '../support/forks.ts'
import { createWorld, deferred, type Watch, type World } from '../support/indexers.ts'

const chainOf = (id: string, historyDepth = 20) => simulatedChain<number>({ id, historyDepth })
const committed = (events: Watch, checkpoint: number) =>
  events.until('batch.committed', (event) => event.checkpoint === BigInt(checkpoint))

/** Where it was opened, each time. */
function recording<Item>(source: Source<Item>): {
  readonly source: Source<Item>
  readonly froms: (Position | undefined)[]
} {
  const froms: (Position | undefined)[] = []
  return {
    froms,
    source: {
      ...source,
      open(request) {
        froms.push(request.from)
        return source.open(request)
      },
    },
  }
}

const versions = async (world: World) =>
  new Map(
    (await world.query('SELECT source, xmin::text AS version FROM tailrace.cursors')).map(
      ({ source, version }) => [source as string, version as string],
    ),
  )

test('H25: a source without changes above the fork stays where it is; its cursor’s row is not touched', async () => {
  await using world = await createWorld()
  const [a, b] = [chainOf('a'), chainOf('b')]
  const recorded = recording(a.source)
  const { indexer, events } = summing(world, [recorded.source, b.source])
  a.append(numbers(4, 1, 1_000))
  const running = indexer.run()
  await committed(events, 4)
  b.append(numbers(4, 1, 2_000))
  await committed(events, 8)
  const before = await versions(world)
  world.gates.write.hold()
  b.fork({ above: 2, blocks: numbers(2, 3, 2_100) })
  await world.gates.write.arrived()
  const after = await versions(world)
  expect(after.get('a')).toBe(before.get('a'))
  expect(after.get('b')).not.toBe(before.get('b'))
  expect(await sums(world)).toEqual(sumsOf(a.blocks, b.blocks.slice(0, 2)))
  world.gates.write.release()
  await committed(events, 10)
  a.append(numbers(1, 5, 1_000))
  a.end()
  b.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 11n })
  expect(events.of('fork')).toEqual([{ source: 'b', validTo: 2, depth: 2, target: 6n }])
  expect(rollbacks(events)).toEqual([{ target: 6n, depth: 2, droppedBatches: 0, restoredRows: 3 }])
  expect(recorded.froms.map((from) => from?.number)).toEqual([undefined, 4])
  expect(await sums(world)).toEqual(sumsOf(a.blocks, b.blocks))
  await expectBookkeeping(world, [a, b])
  expectGrowingIds(events)
})

test('H25: a source with changes above the fork rewinds exactly as far, and its rows come again', async () => {
  await using world = await createWorld()
  const [a, b] = [chainOf('a'), chainOf('b')]
  const recorded = recording(a.source)
  const { indexer, events } = summing(world, [recorded.source, b.source])
  const running = indexer.run()
  // a: 1, 3, 5, 7; b: 2, 4, 6, 8
  for (let round = 1; round <= 4; round++) {
    a.append(numbers(1, round, 1_000))
    await committed(events, 2 * round - 1)
    b.append(numbers(1, round, 2_000))
    await committed(events, 2 * round)
  }
  world.gates.write.hold()
  b.fork({ above: 2, blocks: numbers(1, 3, 2_100) })
  await world.gates.write.arrived()
  expect(await sums(world)).toEqual(sumsOf(a.blocks.slice(0, 3), b.blocks.slice(0, 2)))
  await expectBookkeeping(world, [
    { source: a.source, blocks: a.blocks.slice(0, 3) },
    { source: b.source, blocks: b.blocks.slice(0, 2) },
  ])
  world.gates.write.release()
  a.end()
  b.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 10n })
  expect(events.of('fork')).toEqual([{ source: 'b', validTo: 2, depth: 2, target: 5n }])
  // a's block 4 as well
  expect(rollbacks(events)).toEqual([{ target: 5n, depth: 3, droppedBatches: 0, restoredRows: 4 }])
  expect(recorded.froms.map((from) => from?.number)).toEqual([undefined, 3])
  expect(await sums(world)).toEqual(sumsOf(a.blocks, b.blocks))
  await expectBookkeeping(world, [a, b])
  expectGrowingIds(events)
})

test('H24: two sources fork at once: all of both is taken back, whichever is heard first', async () => {
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    await using world = await createWorld()
    const chains = [chainOf('a'), chainOf('b')]
    const { indexer, events } = summing(
      world,
      chains.map(({ source }) => source),
    )
    const running = indexer.run()
    for (let round = 1; round <= 4; round++) {
      for (const [at, chain] of chains.entries()) {
        chain.append(numbers(1, round, 1_000 * (at + 1)))
        await committed(events, 2 * round - 1 + at)
      }
    }
    // a above 3 is checkpoint 6, b above 1 is checkpoint 3
    const above = [3, 1]
    for (const at of order)
      chains[at]!.fork({ above: above[at]!, blocks: numbers(2, above[at]! + 1, 100 * (at + 1)) })
    await events.until('rollback.committed', ({ target }) => target <= 3n)
    for (const chain of chains) chain.end()
    expect(await running).toMatchObject({ status: 'finished' })
    expect(rollbacks(events).at(-1)).toMatchObject({ target: 3n })
    expect(await sums(world)).toEqual(sumsOf(...chains.map(({ blocks }) => blocks)))
    await expectBookkeeping(world, chains)
    expectGrowingIds(events)
  }
})

test('H24, I5: two forks in one turn, whether or not the second is heard before the sources close', async () => {
  await using world = await createWorld()
  const a = chainOf('a')
  const forked = deferred()
  /** Tells a fork whatever it is asked, once. */
  const b: Source<number> = {
    id: 'b',
    historyDepth: 20,
    async *open({ from, signal }) {
      if (from === undefined) {
        yield { type: 'blocks', blocks: numbers(2, 1, 2_000) }
        await forked.promise
        yield { type: 'fork', validTo: { number: 1, hash: '1' } }
        return
      }
      expect(signal.aborted).toBe(false)
      yield { type: 'blocks', blocks: [{ number: 2, hash: 'other', items: [2_102] }] }
      yield { type: 'end' }
    },
  }
  const { indexer, events } = summing(world, [a.source, b])
  const running = indexer.run()
  await committed(events, 2)
  a.append(numbers(2, 1, 1_000))
  await committed(events, 4)
  // both in one turn
  a.fork({ above: 1, blocks: numbers(1, 2, 1_100) })
  forked.resolve()
  await events.until('rollback.committed', ({ target }) => target === 1n)
  a.end()
  expect(await running).toMatchObject({ status: 'finished' })
  const last = [...numbers(1, 1, 2_000), { number: 2, hash: 'other', items: [2_102] }]
  expect(await sums(world)).toEqual(sumsOf(a.blocks, last))
  await expectBookkeeping(world, [a, { source: b, blocks: last }])
  expectGrowingIds(events)
})

test('H70: a source far behind its head beside one at its own: its rows go back, too, and keep history for that', async () => {
  await using world = await createWorld()
  const [near, far] = [chainOf('near', 5), chainOf('far', 3)]
  // all of it is final but the last three, long before it is read
  far.append(numbers(200, 1, 10_000))
  const { indexer, events } = summing(world, [near.source, far.source], { limits: { groupLatencyMs: 50 } })
  const goOn = deferred()
  indexer.on('batch.processed', () => {
    // the near one grows while the far one is in its past
    const height = near.blocks.length
    if (height < 10) near.append(numbers(1, height + 1))
    else goOn.resolve()
  })
  const running = indexer.run()
  await goOn.promise
  await events.until('batch.processed', ({ checkpoint }) => checkpoint >= 30n)
  near.fork({ above: 6, blocks: numbers(5, 7, 500) })
  await events.until('rollback.committed')
  near.end()
  far.end()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(events.of('fork')).toMatchObject([{ source: 'near', validTo: 6, depth: 4 }])
  const [rollback] = rollbacks(events)
  expect(rollback!.depth).toBeGreaterThan(4)
  expect(await sums(world)).toEqual(sumsOf(near.blocks, far.blocks))
  await expectBookkeeping(world, [near, far])
  expectGrowingIds(events)
})

test('H70: with everything committed: final blocks of one source go back behind the other’s fork', async () => {
  await using world = await createWorld()
  const near = chainOf('near', 5)
  const late = deferred()
  const far = memorySource<number>({
    id: 'far',
    async *blocks(from) {
      for (let number = (from?.number ?? 0) + 1; number <= 6; number++) {
        if (number === 4) await late.promise
        yield { number, items: [10_000 + number] }
      }
    },
  })
  const { indexer, events } = summing(world, [near.source, far])
  const running = indexer.run()
  await committed(events, 3)
  near.append(numbers(2))
  await committed(events, 5)
  late.resolve()
  await committed(events, 8)
  near.fork({ above: 1, blocks: numbers(1, 2, 500) })
  await events.until('rollback.committed')
  near.end()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(rollbacks(events)).toEqual([{ target: 4n, depth: 4, droppedBatches: 0, restoredRows: 5 }])
  const farBlocks = numbers(6, 1, 10_000)
  expect(await sums(world)).toEqual(sumsOf(near.blocks, farBlocks))
  await expectBookkeeping(world, [near, { source: far, blocks: farBlocks }])
  expectGrowingIds(events)
})

test.each(['everything', 'nothing'])(
  'H71: with %s committed, a source that had ended is opened again, and must end again',
  async (what) => {
    await using world = await createWorld()
    const [chain, other] = [chainOf('chain'), chainOf('other', 0)]
    const recorded = recording(other.source)
    const { indexer, events } = summing(world, [chain.source, recorded.source])
    chain.append(numbers(1))
    if (what === 'nothing') world.gates.write.hold()
    const running = indexer.run()
    await events.until('batch.processed', ({ checkpoint }) => checkpoint === 1n)
    chain.append(numbers(1, 2))
    await events.until('batch.processed', ({ checkpoint }) => checkpoint === 2n)
    other.append(numbers(3, 1, 1_000))
    other.end()
    await events.until('batch.processed', ({ checkpoint }) => checkpoint === 5n)
    if (what === 'everything') await committed(events, 5)
    chain.fork({ above: 1, blocks: numbers(2, 2, 500) })
    if (what === 'nothing') world.gates.write.fail(new Error('cut'))
    world.gates.write.release()
    await events.until('rollback.committed')
    chain.end()
    expect(await running).toMatchObject({ status: 'finished' })
    expect(rollbacks(events)).toMatchObject([{ target: 1n, depth: 4 }])
    expect(recorded.froms).toEqual([undefined, undefined])
    expect(await sums(world)).toEqual(sumsOf(chain.blocks, other.blocks))
    await expectBookkeeping(world, [chain, other])
    expectGrowingIds(events)
  },
)

test('I8, H25: both were orphaned while nobody ran: seen one after the other, before anything is written', async () => {
  await using world = await createWorld()
  const chains = [chainOf('a'), chainOf('b')]
  const { indexer, events } = summing(
    world,
    chains.map(({ source }) => source),
  )
  const running = indexer.run()
  for (let round = 1; round <= 3; round++) {
    for (const [at, chain] of chains.entries()) {
      chain.append(numbers(1, round, 1_000 * (at + 1)))
      await committed(events, 2 * round - 1 + at)
    }
  }
  await indexer.stop()
  expect(await running).toMatchObject({ status: 'stopped', committed: 6n })
  chains[0]!.fork({ above: 2, blocks: numbers(2, 3, 100) })
  chains[1]!.fork({ above: 1, blocks: numbers(2, 2, 200) })
  for (const chain of chains) chain.end()
  expect(await indexer.run()).toMatchObject({ status: 'finished' })
  expect(rollbacks(events).at(-1)).toMatchObject({ target: 3n })
  expect(await sums(world)).toEqual(sumsOf(...chains.map(({ blocks }) => blocks)))
  await expectBookkeeping(world, chains)
  expectGrowingIds(events)
})
