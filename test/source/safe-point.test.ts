/** The pipeline's safe checkpoint, as the blocks that are handed out carry it; and where forks go back to. */
import { describe, expect, test } from 'vitest'
import { isSafe } from '../../src/block.ts'
import type { Position, Source } from '../../src/index.ts'
import type { FeedStart, PulledBatch } from '../../src/source/feed.ts'
import { simulatedChain } from '../../src/testing/index.ts'
import { deferred } from '../support/indexers.ts'
import { all, blocks, feedOf, names, rollBack, spoken } from './feeding.ts'

const refs = (...batches: (PulledBatch | undefined)[]) =>
  batches.flatMap((batch) => batch!.blocks.map(({ ref }) => ref))
const safeOf = (...batches: (PulledBatch | undefined)[]) => refs(...batches).map(({ safe }) => safe)
const at = (checkpoint: number, number: number, source: string) => ({
  checkpoint,
  number,
  hash: `${source}-0-${number}`,
})

describe('the safe checkpoint', () => {
  test('I15: grows with the blocks that are final, and stays below those that are not', async () => {
    const chain = simulatedChain<string>({ id: 'c', historyDepth: 3 })
    chain.append(blocks(10))
    const { feed } = feedOf(chain.source)
    feed.open()
    const batches = [await feed.pull(), await feed.pull()]
    expect(safeOf(...batches)).toEqual([1, 2, 3, 4, 5, 6, 7, 7, 7, 7])
    chain.finalize(9)
    chain.append(blocks(2, 1, 11))
    expect(safeOf(await feed.pull())).toEqual([9, 9])
    await feed.close()
  })

  test('undefined where no source ever forks', async () => {
    const chain = simulatedChain<string>({ id: 'c' })
    chain.append(blocks(2))
    const { feed } = feedOf(chain.source)
    feed.open()
    const batch = await feed.pull()
    expect(safeOf(batch)).toEqual([undefined, undefined])
    expect(refs(batch).every(isSafe)).toBe(true)
    await feed.close()
  })

  test('H70: blocks of a source far behind are not safe above one that another at its head can take back', async () => {
    const far = simulatedChain<string>({ id: 'far', historyDepth: 5 })
    const near = simulatedChain<string>({ id: 'near', historyDepth: 5 })
    far.append(blocks(100))
    near.append(blocks(6))
    const { feed, untilCaughtUp } = feedOf([far.source, near.source], { batchItems: 1 })
    feed.open()
    await untilCaughtUp('far', 'near')
    const given = []
    for (let n = 0; n < 30; n++) given.push(await feed.pull())
    const firstOpen = refs(...given).find(({ source, number }) => source === 'near' && number === 2)!
    const above = refs(...given).filter(({ checkpoint }) => checkpoint >= firstOpen.checkpoint)
    // of `far` all of them are final
    expect(above.filter(({ source }) => source === 'far').every(({ number }) => number <= 95)).toBe(true)
    expect(above.some(isSafe)).toBe(false)
    expect(new Set(above.map(({ safe }) => safe))).toEqual(new Set([firstOpen.checkpoint - 1]))
    // told without a block of its own
    near.finalize(6)
    await spoken()
    const [next] = refs(await feed.pull())
    expect(next!.safe).toBe(next!.checkpoint)
    await feed.close()
  })

  test('is not moved by a block that was looked at and left for the next batch', async () => {
    const a = simulatedChain<string>({ id: 'a', historyDepth: 1 })
    const b = simulatedChain<string>({ id: 'b', historyDepth: 1 })
    a.append(blocks(3))
    const { feed } = feedOf([a.source, b.source], { batchItems: 1 })
    feed.open()
    expect(names([await feed.pull()])).toEqual(['a:1'])
    b.append(blocks(1))
    await spoken()
    // the number that final a:2 would have got
    const batch = await feed.pull()
    expect(names([batch])).toEqual(['b:1'])
    expect(safeOf(batch)).toEqual([1])
    await feed.close()
  })

  test('H21: is a block’s, never a number that was given up', async () => {
    const chain = simulatedChain<string>({ id: 'c', historyDepth: 2 })
    chain.append(blocks(5))
    const { feed, until, forks } = feedOf(chain.source)
    feed.open()
    expect(safeOf(await feed.pull(), await feed.pull())).toEqual([1, 2, 3, 3, 3])
    chain.fork({ above: 3, blocks: blocks(1, 1, 4) })
    await until('source.fork')
    await rollBack(feed, 3)
    // 4 and 5 are gone
    const again = await feed.pull()
    expect(refs(again)).toMatchObject([{ checkpoint: 6, number: 4, safe: 3 }])
    chain.fork({ above: 3, blocks: [] })
    await until('source.fork', 2)
    expect(forks).toMatchObject([
      { validTo: 3, depth: 2, target: 3 },
      { validTo: 3, depth: 1, target: 3 },
    ])
    await feed.close()
  })

  test('H21: final blocks that were given up, too', async () => {
    const a = simulatedChain<string>({ id: 'a', historyDepth: 1 })
    const b = simulatedChain<string>({ id: 'b', historyDepth: 1 })
    a.append(blocks(3))
    const { feed } = feedOf([a.source, b.source], { batchItems: 1 })
    feed.open()
    expect(safeOf(await feed.pull(), await feed.pull())).toEqual([1, 2])
    b.append(blocks(1))
    await rollBack(feed, 1)
    await spoken()
    const again = [await feed.pull(), await feed.pull()]
    expect(names(again)).toEqual(['b:1', 'a:2'])
    expect(safeOf(...again)).toEqual([1, 1])
    await feed.close()
  })

  test('H33: what a source takes back although it called it final is not final', async () => {
    const chain = simulatedChain<string>({ id: 'c', historyDepth: 2 })
    chain.append(blocks(10))
    const { feed, until } = feedOf(chain.source)
    feed.open()
    expect(safeOf(await feed.pull()).at(-1)).toBe(8)
    chain.fork({ above: 4, blocks: blocks(4, 1, 5) })
    expect(await until('source.fork')).toMatchObject({ target: 4 })
    await rollBack(feed, 4)
    // two of the four are final by the new head
    expect(safeOf(await feed.pull(), await feed.pull())).toEqual([9, 10, 10, 10])
    await feed.close()
  })
})

describe('resumed', () => {
  const start = (restorableFrom: number): FeedStart => ({
    counter: 9,
    restorableFrom,
    positions: new Map([
      ['a', [at(8, 4, 'a'), at(6, 3, 'a'), at(4, 2, 'a')]],
      ['b', [at(7, 3, 'b'), at(5, 2, 'b')]],
    ]),
  })

  test('I15, H70: stored blocks of a source that has not spoken yet can still be taken back', async () => {
    const a = simulatedChain<string>({ id: 'a', historyDepth: 1 })
    const b = simulatedChain<string>({ id: 'b' })
    b.append(blocks(5))
    const silent = deferred()
    const source: Source<string> = {
      ...a.source,
      async *open(request) {
        await silent.promise
        yield* a.source.open(request)
      },
    }
    const { feed, untilCaughtUp } = feedOf([source, b.source], { batchItems: 1 }, start(5))
    feed.open()
    const first = await feed.pull()
    expect(refs(first)).toMatchObject([{ source: 'b', number: 4, checkpoint: 10, safe: 5 }])
    a.append(blocks(6))
    silent.resolve()
    await untilCaughtUp('a')
    // all that is stored is final by a's head
    expect(safeOf(await feed.pull(), await feed.pull(), await feed.pull())).toEqual([11, 12, 12])
    await feed.close()
  })

  test('I15: it begins where the run before had it, whatever depth the sources have now', async () => {
    const a = simulatedChain<string>({ id: 'a', historyDepth: 100 })
    const b = simulatedChain<string>({ id: 'b', historyDepth: 100 })
    a.append(blocks(5))
    b.append(blocks(3))
    const { feed } = feedOf([a.source, b.source], {}, start(7))
    feed.open()
    expect(refs(await feed.pull())).toMatchObject([{ source: 'a', number: 5, safe: 7 }])
    await feed.close()
  })

  test('a fork while nobody ran goes back to the newest checkpoint below the first that is orphaned', async () => {
    const a = simulatedChain<string>({ id: 'a', historyDepth: 5 })
    const b = simulatedChain<string>({ id: 'b' })
    a.append(blocks(4))
    b.append(blocks(3))
    a.fork({ above: 3, blocks: blocks(1, 1, 4) })
    const { feed, until, forks } = feedOf([a.source, b.source], {}, start(5))
    feed.open()
    expect(await until('source.fork')).toEqual({ type: 'source.fork', source: 'a', target: 7 })
    expect(forks).toEqual([{ source: 'a', validTo: 3, depth: 1, target: 7 }])
    expect(feed.depthOf(7)).toBe(1)
    await feed.close()
  })

  test('H33: one below all that is stored goes below what can be restored', async () => {
    const a = simulatedChain<string>({ id: 'a', historyDepth: 5 })
    const b = simulatedChain<string>({ id: 'b' })
    a.append(blocks(1))
    b.append(blocks(3))
    const { feed, until, forks } = feedOf([a.source, b.source], {}, start(5))
    feed.open()
    expect((await until('source.fork')).target).toBeLessThan(5)
    expect(forks).toMatchObject([{ validTo: null, depth: 3 }])
    await feed.close()
  })
})

describe('forks', () => {
  async function two() {
    const a = simulatedChain<string>({ id: 'a', historyDepth: 10 })
    const b = simulatedChain<string>({ id: 'b', historyDepth: 10 })
    const at = feedOf([a.source, b.source])
    at.feed.open()
    b.append(blocks(2))
    const first = await at.feed.pull()
    a.append(blocks(2))
    const second = await at.feed.pull()
    b.append(blocks(1, 1, 3))
    const third = await at.feed.pull()
    expect(names([first, second, third])).toEqual(['b:1', 'b:2', 'a:1', 'a:2', 'b:3'])
    return { a, b, ...at }
  }

  test('H25: of nothing left go below the source’s first block, whatever others have above', async () => {
    const { a, feed, until, forks } = await two()
    a.fork({ above: 0, blocks: [] })
    expect(await until('source.fork')).toMatchObject({ target: 2 })
    expect(forks).toEqual([{ source: 'a', validTo: null, depth: 2, target: 2 }])
    await feed.close()
  })

  test('H25: of the first source go below its own blocks, of nobody’s others', async () => {
    const { b, feed, until, forks } = await two()
    b.fork({ above: 1, blocks: blocks(1, 1, 2) })
    expect(await until('source.fork')).toMatchObject({ target: 1 })
    expect(forks).toEqual([{ source: 'b', validTo: 1, depth: 2, target: 1 }])
    expect(feed.depthOf(1)).toBe(4)
    await feed.close()
  })

  test('of blocks that nobody was given take nothing back', async () => {
    const { b, feed, until, forks } = await two()
    b.append(blocks(3, 1, 4))
    await spoken()
    b.fork({ above: 3, blocks: [] })
    expect(await until('source.fork')).toMatchObject({ target: 5 })
    expect(forks).toEqual([{ source: 'b', validTo: 3, depth: 0, target: 5 }])
    await feed.close()
  })

  test('a position with another hash than the one that was given does not stand', async () => {
    const source: Source<string> = {
      id: 's',
      historyDepth: 5,
      async *open() {
        yield { type: 'blocks', blocks: blocks(3).map((block) => ({ ...block, hash: `a${block.number}` })) }
        yield await Promise.resolve({ type: 'fork' as const, validTo: { number: 2, hash: 'b2' } })
      },
    }
    const { feed, until, forks } = feedOf(source)
    feed.open()
    await feed.pull()
    expect(await until('source.fork')).toMatchObject({ target: 1 })
    expect(forks).toMatchObject([{ depth: 2 }])
    await feed.close()
  })
})

test('H22: of each source the newest position that is durable and safe is kept, and all above it', async () => {
  const a = simulatedChain<string>({ id: 'a', historyDepth: 2 })
  const b = simulatedChain<string>({ id: 'b', historyDepth: 2 })
  const asked = new Map<string, readonly Position[]>()
  const asking = (source: Source<string>): Source<string> => ({
    ...source,
    open(request) {
      asked.set(source.id, request.recent)
      return source.open(request)
    },
  })
  const { feed, untilCaughtUp } = feedOf([asking(a.source), asking(b.source)])
  a.append(blocks(6))
  b.append(blocks(4))
  feed.open()
  await untilCaughtUp('a', 'b')
  // a:1 b:1 a:2 b:2 a:3 b:3 a:4 b:4 a:5 a:6
  expect(safeOf(await feed.pull(), await feed.pull())).toEqual([1, 2, 3, 4, 5, 5, 5, 5, 5, 5])
  const kept = async () => {
    await feed.close()
    feed.open()
    return Object.fromEntries(
      [...asked].map(([source, recent]) => [source, recent.map(({ number }) => number)]),
    )
  }
  feed.landed(3)
  expect(await kept()).toEqual({ a: [6, 5, 4, 3, 2], b: [4, 3, 2, 1] })
  feed.landed(10)
  expect(await kept()).toEqual({ a: [6, 5, 4, 3], b: [4, 3, 2] })
  // by now everything is final, but no commit has said so
  a.finalize(6)
  b.finalize(4)
  a.append(blocks(1, 1, 7))
  await feed.pull()
  feed.landed(10)
  expect(await kept()).toEqual({ a: [7, 6, 5, 4, 3], b: [4, 3, 2] })
  await feed.close()
})

test('a source that never forks moves on with one that does', async () => {
  const chain = simulatedChain<string>({ id: 'c', historyDepth: 1 })
  const ledger = simulatedChain<string>({ id: 'l' })
  chain.append(blocks(2))
  ledger.append(blocks(3))
  chain.end()
  ledger.end()
  const { feed, until } = feedOf([chain.source, ledger.source])
  feed.open()
  await until('source.ended')
  const batches = await all(feed)
  expect(names(batches)).toEqual(['c:1', 'l:1', 'c:2', 'l:2', 'l:3'])
  expect(safeOf(...batches)).toEqual([1, 2, 2, 2, 2])
})
