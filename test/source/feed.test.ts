/** Pumps and the feed: read-ahead bounded in bytes, batches of whole blocks, several sources, closing. */
import { describe, expect, test } from 'vitest'
import { memorySource } from '../../src/index.ts'
import type { Position, Source, SourceMessage } from '../../src/index.ts'
import { simulatedChain } from '../../src/testing/index.ts'
import { deferred } from '../support/indexers.ts'
import { all, blocks, checkpoints, feedOf, fresh, numbers } from './feeding.ts'

describe('batches', () => {
  test('cut by items; a block is never split, and one that is larger passes alone', async () => {
    const given = [...blocks(3, 2), ...blocks(1, 9, 4), ...blocks(3, 1, 5)]
    const { feed, until } = feedOf(memorySource({ id: 'm', blocks: given }), { batchItems: 4 })
    feed.open()
    await until('source.ended')
    const batches = await all(feed)
    expect(batches.map(numbers)).toEqual([[1, 2], [3], [4], [5, 6, 7]])
    expect(batches.map(({ items }) => items)).toEqual([4, 2, 9, 3])
    expect(batches.flatMap((batch) => checkpoints(batch)!)).toEqual([1, 2, 3, 4, 5, 6, 7])
  })

  test('cut by bytes', async () => {
    const given = [1, 2, 3].map((number) => ({ number, items: ['x'.repeat(10_000)] }))
    const { feed, until } = feedOf(memorySource({ id: 'm', blocks: given }), { batchBytes: 21_000 })
    feed.open()
    await until('source.ended')
    expect((await all(feed)).map(numbers)).toEqual([[1, 2], [3]])
  })

  test('I15: never blocks that can still fork beside some that cannot', async () => {
    const chain = simulatedChain<string>({ id: 'c', historyDepth: 3 })
    chain.append(blocks(10))
    chain.end()
    const { feed, until } = feedOf(chain.source)
    feed.open()
    await until('source.ended')
    const batches = await all(feed)
    expect(batches.map(numbers)).toEqual([
      [1, 2, 3, 4, 5, 6, 7],
      [8, 9, 10],
    ])
  })

  test('I12: ids go on above the counter, and are not given again after a rewind', async () => {
    const chain = simulatedChain<string>({ id: 'c', historyDepth: 5 })
    chain.append(blocks(3))
    const { feed, until } = feedOf(chain.source, {}, { ...fresh, counter: 40 })
    feed.open()
    expect(checkpoints(await feed.pull())).toEqual([41, 42, 43])
    chain.fork({ above: 1, blocks: blocks(2, 1, 2) })
    expect(await until('source.fork')).toEqual({ type: 'source.fork', source: 'c', target: 41 })
    await feed.close()
    feed.rewind(41)
    feed.open()
    const again = await feed.pull()
    expect(numbers(again)).toEqual([2, 3])
    expect(checkpoints(again)).toEqual([44, 45])
    await feed.close()
  })

  test('H21: a fork goes back to a checkpoint that was kept, never to one of a batch that was given up', async () => {
    const chain = simulatedChain<string>({ id: 'c', historyDepth: 100 })
    chain.append(blocks(2))
    const { feed, until } = feedOf(chain.source, { batchItems: 2 })
    feed.open()
    expect(checkpoints(await feed.pull())).toEqual([1, 2])
    chain.append(blocks(2, 1, 3))
    // pulled, and given up: its numbers are not given again
    expect(checkpoints(await feed.pull())).toEqual([3, 4])
    await feed.close()
    feed.rewind(2)
    feed.open()
    expect(checkpoints(await feed.pull())).toEqual([5, 6])
    chain.fork({ above: 2, blocks: [] })
    expect(await until('source.fork')).toMatchObject({ target: 2 })
    await feed.close()
  })

  test('whoever waits gets the next block at once; whoever waits no longer takes none', async () => {
    const chain = simulatedChain<string>({ id: 'c' })
    const { feed } = feedOf(chain.source)
    feed.open()
    void feed.pull()
    feed.cancelPull()
    const pulling = feed.pull()
    chain.append(blocks(1))
    expect(numbers(await pulling)).toEqual([1])
    const last = feed.pull()
    chain.end()
    expect(await last).toBeUndefined()
  })
})

describe('read-ahead', () => {
  test('bounded in bytes: full, and room again at half', async () => {
    let given = 0
    const source: Source<string> = {
      id: 'm',
      async *open() {
        for (const block of blocks(50)) {
          given++
          yield await Promise.resolve({ type: 'blocks' as const, blocks: [block] })
        }
        yield { type: 'end' }
      },
    }
    const { feed, said, until } = feedOf(source, { readAheadBytes: 1_500, batchItems: 1 })
    feed.open()
    await until('source.full')
    const ahead = given
    expect(ahead).toBeLessThan(10)
    expect(feed.bufferedBytes).toBeGreaterThanOrEqual(1_500)
    expect(feed.bufferedBytes).toBeLessThan(2_000)
    await feed.pull()
    expect(said.map(({ type }) => type)).toEqual(['source.full'])
    await feed.pull()
    await feed.pull()
    await until('source.room')
    expect(await all(feed)).toHaveLength(47)
    expect(given).toBe(50)
    expect(said.at(-1)).toEqual({ type: 'source.ended' })
    expect(feed.bufferedBytes).toBe(0)
  })

  test('one message larger than the budget passes', async () => {
    const { feed, until } = feedOf(memorySource({ id: 'm', blocks: blocks(300) }), {
      readAheadBytes: 1,
      batchItems: 100,
    })
    feed.open()
    await until('source.full')
    expect((await all(feed)).map(({ items }) => items)).toEqual([100, 100, 56, 44])
  })

  test('a fork overtakes what is buffered', async () => {
    const chain = simulatedChain<string>({ id: 'c', historyDepth: 100 })
    chain.append(blocks(5))
    const { feed, until } = feedOf(chain.source, { batchItems: 2 })
    feed.open()
    expect(numbers(await feed.pull())).toEqual([1, 2])
    chain.fork({ above: 3, blocks: blocks(4, 1, 4) })
    // nothing that was handed out is orphaned: nothing is lost above 2
    expect(await until('source.fork')).toMatchObject({ target: 2 })
    expect(feed.bufferedBytes).toBe(0)
    await feed.close()
    feed.rewind(2)
    feed.open()
    expect(numbers(await feed.pull())).toEqual([3, 4])
    await feed.close()
  })
})

describe('several sources', () => {
  test('oldest first where all tell their time', async () => {
    const timed = (id: string, times: number[]) =>
      memorySource({
        id,
        blocks: times.map((timestamp, at) => ({ number: at + 1, timestamp, items: [`${id}${timestamp}`] })),
      })
    const { feed, until } = feedOf([timed('a', [1, 4, 5]), timed('b', [2, 3, 6])])
    feed.open()
    await until('source.ended')
    expect(
      (await all(feed)).flatMap((batch) =>
        batch.blocks.map(({ ref, block }) => `${ref.source}${block.timestamp}`),
      ),
    ).toEqual(['a1', 'b2', 'b3', 'a4', 'a5', 'b6'])
  })

  test('H25: a fork of one takes the others back to their own position there, also one that never forks', async () => {
    const forking = simulatedChain<string>({ id: 'f', historyDepth: 10 })
    const opened: (Position | undefined)[] = []
    const ledger = memorySource<string>({
      id: 'l',
      async *blocks(from) {
        opened.push(from)
        for (const block of blocks(6))
          if (block.number > (from?.number ?? 0)) yield await Promise.resolve(block)
      },
    })
    const { feed, until } = feedOf([forking.source, ledger], { batchItems: 1 })
    feed.open()
    const first = [await feed.pull(), await feed.pull(), await feed.pull()].flatMap((batch) => batch!.blocks)
    forking.append(blocks(1))
    const rest = [await feed.pull(), await feed.pull(), await feed.pull()].flatMap((batch) => batch!.blocks)
    const handed = [...first, ...rest].map(({ ref }) => ref)
    forking.fork({ above: 0, blocks: blocks(1) })
    const fork = await until('source.fork')
    const target = handed.find((ref) => ref.source === 'f')!.checkpoint - 1
    expect(fork).toEqual({ type: 'source.fork', source: 'f', target })
    await feed.close()
    feed.rewind(target)
    feed.open()
    const own = handed.findLast((ref) => ref.source === 'l' && ref.checkpoint <= target)
    const next = deferred<number>()
    void (async () => {
      for (;;) {
        const batch = await feed.pull()
        const block = batch?.blocks.find(({ ref }) => ref.source === 'l')
        if (block !== undefined) return next.resolve(block.ref.number)
      }
    })()
    expect(await next.promise).toBe((own?.number ?? 0) + 1)
    expect(opened.at(-1)?.number).toBe(own?.number)
    await feed.close()
  })

  test('positions needed no more are forgotten: only what is durable and final goes', async () => {
    const asked: (readonly Position[])[] = []
    const chain = simulatedChain<string>({ id: 'c', historyDepth: 2 })
    const source: Source<string> = {
      ...chain.source,
      open(request) {
        asked.push(request.recent)
        return chain.source.open(request)
      },
    }
    chain.append(blocks(10))
    const { feed } = feedOf(source, { batchItems: 1 })
    feed.open()
    for (let n = 1; n <= 10; n++) await feed.pull()
    await feed.close()
    const reopened = async () => {
      feed.open()
      await feed.close()
      return asked.at(-1)!.map(({ number }) => number)
    }
    expect(await reopened()).toEqual([10, 9, 8, 7, 6, 5, 4, 3, 2, 1])
    feed.landed(4)
    expect(await reopened()).toEqual([10, 9, 8, 7, 6, 5, 4])
    feed.landed(10)
    expect(await reopened()).toEqual([10, 9, 8])
  })

  test('ended when all have ended; caughtUp names its source', async () => {
    const chain = simulatedChain<string>({ id: 'c' })
    chain.append(blocks(1))
    const { feed, said, caughtUp } = feedOf([chain.source, memorySource({ id: 'm', blocks: blocks(2) })])
    feed.open()
    let pulled = 0
    while (pulled < 3) pulled += (await feed.pull())!.blocks.length
    const last = feed.pull()
    expect(said).toEqual([])
    chain.end()
    expect(await last).toBeUndefined()
    expect(said).toEqual([{ type: 'source.ended' }])
    expect(caughtUp).toEqual(['c'])
  })
})

describe('closing', () => {
  test('returns the iterator and waits for it; what it still gives is not heard', async () => {
    const cleaned: string[] = []
    const source: Source<string> = {
      id: 'm',
      async *open({ signal }) {
        try {
          yield { type: 'blocks', blocks: blocks(1) }
          await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
          yield { type: 'blocks', blocks: blocks(1, 1, 2) }
        } finally {
          await Promise.resolve()
          cleaned.push('cleaned')
        }
      },
    }
    const { feed, said } = feedOf(source)
    feed.open()
    expect(numbers(await feed.pull())).toEqual([1])
    await feed.close()
    expect(cleaned).toEqual(['cleaned'])
    expect(said).toEqual([])
    expect(feed.bufferedBytes).toBe(0)
    // twice is once
    await feed.close()
  })

  test('closed while full', async () => {
    const { feed, until } = feedOf(memorySource({ id: 'm', blocks: blocks(1_000) }), { readAheadBytes: 1 })
    feed.open()
    await until('source.full')
    await feed.close()
    feed.open()
    expect(numbers(await feed.pull())).toHaveLength(256)
    await feed.close()
  })

  test('an error after the closing is nobody’s', async () => {
    const source: Source<string> = {
      id: 'm',
      open: ({ signal }) => ({
        [Symbol.asyncIterator]: () => ({
          async next(): Promise<IteratorResult<SourceMessage<string>>> {
            await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
            throw new Error('late')
          },
        }),
      }),
    }
    const { feed, said } = feedOf(source)
    feed.open()
    await feed.close()
    expect(said).toEqual([])
  })
})
