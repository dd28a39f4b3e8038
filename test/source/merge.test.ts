/** The order of several sources: `arrival` lets none starve, `timestamp` is one order whatever arrives first. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createIndexer, memorySource } from '../../src/index.ts'
import type { Block, Source } from '../../src/index.ts'
import { memoryStore, simulatedChain } from '../../src/testing/index.ts'
import { row, tables } from '../support/indexers.ts'
import { all, blocks, feedOf, names, rollBack, spoken } from './feeding.ts'

const timed = (...times: readonly (number | undefined)[]): Block<string>[] =>
  times.map((timestamp, at) => ({ number: at + 1, timestamp, items: [`${at + 1}`] }))

describe('arrival', () => {
  test('takes turns where blocks have no time: no source starves another', async () => {
    const sources = ['a', 'b', 'c'].map((id) => memorySource({ id, blocks: blocks(3) }))
    const { feed, until } = feedOf(sources, { batchItems: 2 })
    feed.open()
    await until('source.ended')
    expect(names(await all(feed))).toEqual(['a:1', 'b:1', 'c:1', 'a:2', 'b:2', 'c:2', 'a:3', 'b:3', 'c:3'])
  })

  test('takes turns where times are equal, or some have none', async () => {
    const sources = [
      memorySource({ id: 'a', blocks: timed(5, 5, 5) }),
      memorySource({ id: 'b', blocks: timed(5, 5) }),
      memorySource({ id: 'c', blocks: timed(undefined, 1, 1) }),
    ]
    const { feed, until } = feedOf(sources)
    feed.open()
    await until('source.ended')
    expect(names(await all(feed))).toEqual(['a:1', 'b:1', 'c:1', 'c:2', 'c:3', 'a:2', 'b:2', 'a:3'])
  })

  test('waits for nobody', async () => {
    const silent = simulatedChain<string>({ id: 'a' })
    const { feed } = feedOf([silent.source, memorySource({ id: 'b', blocks: timed(1, 2) })])
    feed.open()
    expect(names([await feed.pull()])).toEqual(['b:1', 'b:2'])
    await feed.close()
  })
})

describe('timestamp', () => {
  const ordering = 'timestamp'

  test('the oldest first, ties by id and not by place in the array', async () => {
    const given = { b: timed(1, 3, 3), a: timed(1, 2, 3), B: timed(3) }
    const sources = Object.entries(given).map(([id, blocks]) => memorySource({ id, blocks }))
    for (const order of [sources, sources.toReversed()]) {
      const { feed } = feedOf(order, { ordering, batchItems: 1 })
      feed.open()
      expect(names(await all(feed))).toEqual(['a:1', 'b:1', 'a:2', 'B:1', 'a:3', 'b:2', 'b:3'])
    }
  })

  test('a source without a new block holds the others up, until it has one or has ended', async () => {
    const [a, b] = ['a', 'b'].map((id) => simulatedChain<string>({ id }))
    const { feed, until } = feedOf([a!.source, b!.source], { ordering })
    feed.open()
    b!.append(timed(1, 5))
    await spoken()
    const pulling = feed.pull()
    a!.append(timed(3))
    expect(names([await pulling])).toEqual(['b:1', 'a:1'])
    const next = feed.pull()
    a!.end()
    expect(names([await next])).toEqual(['b:2'])
    b!.end()
    await until('source.ended')
  })

  test('I8: the same order, whatever arrives first, in whatever pieces', async () => {
    const times = fc.array(fc.nat(3), { maxLength: 12 })
    const given = fc.record({
      gaps: fc.array(times, { minLength: 2, maxLength: 3 }),
      arrivals: fc.array(fc.nat(2), { maxLength: 40 }),
      batchItems: fc.integer({ min: 1, max: 5 }),
      readAheadBytes: fc.constantFrom(1, 1_000, 1e9),
    })
    await fc.assert(
      fc.asyncProperty(given, async ({ gaps, arrivals, ...limits }) => {
        const chains = gaps.map((steps, at) => {
          let now = 0
          const waiting = timed(...steps.map((step) => (now += step)))
          return { chain: simulatedChain<string>({ id: 'cab'[at]! }), blocks: waiting.slice(), waiting }
        })
        const { feed } = feedOf(
          chains.map(({ chain }) => chain.source),
          { ordering, ...limits },
        )
        feed.open()
        const given = all(feed)
        for (const which of arrivals) {
          const { chain, waiting } = chains[which % chains.length]!
          chain.append(waiting.splice(0, 1))
          await spoken()
        }
        for (const { chain, waiting } of chains) {
          chain.append(waiting)
          chain.end()
        }
        const sorted = chains
          .flatMap(({ chain, blocks }) => blocks.map((block) => ({ ...block, id: chain.source.id })))
          .toSorted((a, b) => a.timestamp! - b.timestamp! || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))
        expect(names(await given)).toEqual(sorted.map(({ id, number }) => `${id}:${number}`))
      }),
      { numRuns: 100 },
    )
  })

  test('I8: resumed at any place, it goes on in the same order', async () => {
    const given = { a: timed(1, 1, 4, 9), b: timed(1, 2, 4, 4, 5), c: timed(8) }
    const sources = () => Object.entries(given).map(([id, blocks]) => memorySource({ id, blocks }))
    const whole = feedOf(sources(), { ordering })
    whole.feed.open()
    const batches = await all(whole.feed)
    const refs = batches.flatMap((batch) => batch.blocks.map(({ ref }) => ref))
    for (let cut = 1; cut < refs.length; cut++) {
      const positions = new Map(
        Object.keys(given).map((id) => [
          id,
          refs
            .slice(0, cut)
            .filter(({ source }) => source === id)
            .slice(-1),
        ]),
      )
      const { feed } = feedOf(sources(), { ordering }, { counter: cut, restorableFrom: cut, positions })
      feed.open()
      expect(names(await all(feed))).toEqual(names(batches).slice(cut))
    }
  })

  test('I8: what takes the place of an orphaned block may belong before blocks that others gave already', async () => {
    const a = simulatedChain<string>({ id: 'a', historyDepth: 5 })
    const b = simulatedChain<string>({ id: 'b' })
    const { feed, until, forks } = feedOf([a.source, b.source], { ordering })
    a.append(timed(1, 8, 9))
    b.append(timed(3, 5, 8, 9))
    feed.open()
    expect(names([await feed.pull()])).toEqual(['a:1', 'b:1', 'b:2', 'a:2', 'b:3', 'a:3'])
    a.fork({ above: 1, blocks: [{ number: 2, timestamp: 4, items: [] }] })
    // to a:1 itself: b:1 and b:2 stand between, and the new a:2 does between them
    expect(await until('source.fork')).toMatchObject({ target: 1 })
    expect(forks).toMatchObject([{ validTo: 1, depth: 2 }])
    a.end()
    b.end()
    await rollBack(feed, 1)
    expect(names(await all(feed))).toEqual(['b:1', 'a:2', 'b:2', 'b:3', 'b:4'])
  })

  test('I8: also when nobody was given the orphaned block', async () => {
    const a = simulatedChain<string>({ id: 'a', historyDepth: 5 })
    const b = simulatedChain<string>({ id: 'b' })
    const { feed, until } = feedOf([a.source, b.source], { ordering })
    a.append(timed(1, 8))
    b.append(timed(3, 5))
    feed.open()
    const batch = await feed.pull()
    expect(names([batch])).toEqual(['a:1', 'b:1', 'b:2'])
    expect(batch!.blocks.map(({ ref }) => ref.safe)).toEqual([0, 0, 0])
    a.fork({ above: 1, blocks: [{ number: 2, timestamp: 4, items: [] }] })
    expect(await until('source.fork')).toMatchObject({ target: 1 })
    await feed.close()
  })

  test('I8: also when its source was closed meanwhile and has nothing to take back', async () => {
    const a = simulatedChain<string>({ id: 'a', historyDepth: 5 })
    const b = simulatedChain<string>({ id: 'b' })
    const { feed, until, forks } = feedOf([a.source, b.source], { ordering })
    a.append(timed(1, 8))
    b.append(timed(3, 5))
    feed.open()
    expect(names([await feed.pull()])).toEqual(['a:1', 'b:1', 'b:2'])
    await feed.close()
    // a:2 was read ahead, and nobody had it: every position of a is valid
    a.fork({ above: 1, blocks: [{ number: 2, timestamp: 4, items: [] }] })
    a.end()
    b.end()
    feed.open()
    void feed.pull()
    expect(await until('source.fork')).toMatchObject({ source: 'a', target: 1 })
    expect(forks).toEqual([{ source: 'a', validTo: 1, depth: 0, target: 1 }])
    await rollBack(feed, 1)
    expect(names(await all(feed))).toEqual(['b:1', 'a:2', 'b:2'])
  })

  test('I8: also when nobody ran meanwhile, by the times that are stored', async () => {
    const a = simulatedChain<string>({ id: 'a', historyDepth: 5 })
    const b = simulatedChain<string>({ id: 'b' })
    a.append(timed(1, 4))
    b.append(timed(3, 5))
    const at = (source: string, number: number, checkpoint: number, timestamp: number) => ({
      ...{ checkpoint, number, timestamp, hash: `${source}-0-${number}` },
    })
    const { feed, until } = feedOf(
      [a.source, b.source],
      { ordering },
      {
        counter: 3,
        restorableFrom: 0,
        positions: new Map([
          ['a', [at('a', 1, 1, 1)]],
          ['b', [at('b', 2, 3, 5), at('b', 1, 2, 3)]],
        ]),
      },
    )
    a.end()
    b.end()
    feed.open()
    void feed.pull()
    expect(await until('source.fork')).toMatchObject({ source: 'a', target: 1 })
    await rollBack(feed, 1)
    expect(names(await all(feed))).toEqual(['b:1', 'a:2', 'b:2'])
  })

  test('a block that comes too late for its place, among what is final, comes after it', async () => {
    const a = simulatedChain<string>({ id: 'a' })
    const b = simulatedChain<string>({ id: 'b' })
    b.append(timed(3, 5))
    b.end()
    a.append(timed(1, 4))
    a.end()
    const { feed } = feedOf(
      [a.source, b.source],
      { ordering },
      {
        counter: 3,
        restorableFrom: 3,
        positions: new Map([
          ['a', [{ checkpoint: 1, number: 1, timestamp: 1, hash: 'a-0-1' }]],
          ['b', [{ checkpoint: 3, number: 2, timestamp: 5, hash: 'b-0-2' }]],
        ]),
      },
    )
    feed.open()
    expect(names(await all(feed))).toEqual(['a:2'])
  })

  test('I8, I15: resumed, stored blocks stay open to what may still come before them', async () => {
    const a = simulatedChain<string>({ id: 'a', historyDepth: 5 })
    const b = simulatedChain<string>({ id: 'b' })
    a.append(timed(1, 6))
    b.append(timed(2, 3, 7))
    const stored = (source: string, number: number, checkpoint: number) => ({
      checkpoint,
      number,
      hash: `${source}-0-${number}`,
    })
    const start = (...own: readonly number[]) => ({
      counter: 7,
      restorableFrom: 4,
      positions: new Map([
        ['a', own.map((number) => stored('a', number, number === 1 ? 4 : 7))],
        ['b', [stored('b', 2, 6), stored('b', 1, 5)]],
      ]),
    })
    // nobody has spoken when the first batch is asked for
    const next = feedOf([a.source, b.source], { ordering, batchItems: 1 }, start(1))
    next.feed.open()
    expect((await next.feed.pull())!.blocks.map(({ ref }) => ref)).toMatchObject([{ source: 'a', safe: 4 }])
    await next.feed.close()
    a.fork({ above: 1, blocks: [] })
    const forked = feedOf([a.source, b.source], { ordering }, start(2, 1))
    forked.feed.open()
    void forked.feed.pull()
    expect(await forked.until('source.fork')).toMatchObject({ target: 4 })
    await forked.feed.close()
  })

  test('H48: a budget smaller than any block stops nothing', async () => {
    const sources = ['a', 'b'].map((id) => memorySource({ id, blocks: timed(1, 2, 3, 4) }))
    const { feed } = feedOf(sources, { ordering, readAheadBytes: 1, batchBytes: 1 })
    feed.open()
    expect(names(await all(feed))).toHaveLength(8)
  })

  test('one source alone comes in its own order, whatever its times', async () => {
    const { feed, until } = feedOf(memorySource({ id: 'a', blocks: timed(5, undefined, 3) }), { ordering })
    feed.open()
    await until('source.ended')
    expect(names(await all(feed))).toEqual(['a:1', 'a:2', 'a:3'])
  })

  const failing = async (times: readonly (number | undefined)[]) => {
    const sources = [
      memorySource({ id: 'a', blocks: timed(...times) }),
      memorySource({ id: 'b', blocks: [] }),
    ]
    const { feed, until } = feedOf(sources, { ordering })
    feed.open()
    return (await until('source.failed')).error
  }

  test.each([undefined, Number.NaN])(
    'a block whose timestamp is %s is an error that names it',
    async (time) => {
      expect(await failing([1, time])).toMatchObject({
        name: 'ConfigurationError',
        code: 'SOURCE_TIMESTAMP',
        block: { source: 'a', number: 2 },
        message: `Source 'a' gave block 2 with timestamp ${String(time)}; with ordering: 'timestamp' every block of every source needs one (Unix seconds). Add it, or use ordering: 'arrival'.`,
      })
    },
  )

  test('a block older than the one before it is an error that names both', async () => {
    expect(await failing([1, 1, 7, 6])).toMatchObject({
      name: 'FatalError',
      code: 'SOURCE_TIMESTAMP',
      block: { source: 'a', number: 4 },
      message:
        "Source 'a' gave block 4 with timestamp 6 after block 3 with 7; with ordering: 'timestamp' those of one source must not decrease.",
    })
  })
})

describe('the option', () => {
  const options = {
    name: 'ordered',
    source: ['a', 'b'].map((id) =>
      memorySource({
        id,
        blocks: [1, 2, 3].map((number) => ({ number, timestamp: number, items: [`${id}${number}`] })),
      }),
    ) as readonly Source<string>[],
    tables: { row },
    store: memoryStore(),
  }

  test.each(['time', 1, null])('%s is refused', (ordering) => {
    const given = { ...options, tables, handle: () => undefined, ordering: ordering as 'arrival' }
    expect(() => createIndexer(given)).toThrow(
      `\`ordering\` must be 'arrival' or 'timestamp', got '${String(ordering)}'.`,
    )
  })

  test('reaches the feed', async () => {
    const handled: string[] = []
    const indexer = createIndexer({
      ...options,
      source: options.source.toReversed(),
      ordering: 'timestamp',
      preload: false,
      handle: (item) => void handled.push(item),
    })
    expect(await indexer.run()).toMatchObject({ status: 'finished' })
    expect(handled).toEqual(['a1', 'b1', 'a2', 'b2', 'a3', 'b3'])
  })
})
