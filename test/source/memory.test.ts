/** memorySource: what it passes over, what it refuses, and forks at will. */
import { describe, expect, test } from 'vitest'
import { memorySource } from '../../src/index.ts'
import type { Block, Position, Source, SourceMessage } from '../../src/index.ts'
import { deferred } from '../support/indexers.ts'
import { all, blocks, feedOf, names, rollBack, spoken } from './feeding.ts'

async function messages(source: Source<string>, ...recent: Position[]): Promise<SourceMessage<string>[]> {
  const { signal } = new AbortController()
  const [from] = recent
  const said: SourceMessage<string>[] = []
  for await (const message of source.open({ ...(from === undefined ? {} : { from }), recent, signal }))
    said.push(message)
  return said
}

async function read(source: Source<string>, ...recent: Position[]): Promise<number[]> {
  const said = await messages(source, ...recent)
  return said.flatMap((message) =>
    message.type === 'blocks' ? message.blocks.map(({ number }) => number) : [],
  )
}

describe('memorySource', () => {
  test('an iterable passes over what was committed', async () => {
    const source = memorySource({ id: 'm', blocks: blocks(5) })
    expect(await read(source)).toEqual([1, 2, 3, 4, 5])
    expect(await read(source, { number: 3, hash: '3' })).toEqual([4, 5])
    expect(await read(source, { number: 9, hash: '9' })).toEqual([])
  })

  test('a set, a generator function’s result, once', async () => {
    expect(await read(memorySource({ id: 'm', blocks: new Set(blocks(2)) }))).toEqual([1, 2])
    const once = memorySource({ id: 'm', blocks: blocks(2)[Symbol.iterator]() })
    expect(await read(once)).toEqual([1, 2])
    await expect(read(once)).rejects.toMatchObject({ code: 'SOURCE_EXHAUSTED' })
  })

  test('the function form is told where to go on, cursor included', async () => {
    const asked: (Position | undefined)[] = []
    const source = memorySource<string>({
      id: 'm',
      async *blocks(from) {
        asked.push(from)
        for (const block of blocks(3, 1, (from?.number ?? 0) + 1)) yield await Promise.resolve(block)
      },
    })
    expect(await read(source)).toEqual([1, 2, 3])
    expect(await read(source, { number: 3, hash: '3', cursor: 'lsn/7' })).toEqual([4, 5, 6])
    expect(asked).toEqual([undefined, { number: 3, hash: '3', cursor: 'lsn/7' }])
  })

  test('a changed hash at the resume position is refused', async () => {
    const source = memorySource({ id: 'm', blocks: blocks(5) })
    await expect(read(source, { number: 3, hash: 'other' })).rejects.toMatchObject({ code: 'SOURCE_CHANGED' })
  })

  test('H33: without a history depth a fork is what it is elsewhere: blocks out of order', async () => {
    const { feed, until } = feedOf(memorySource({ id: 'm', blocks: [...blocks(3), ...blocks(1, 1, 2)] }))
    feed.open()
    expect((await until('source.failed')).error).toMatchObject({ code: 'SOURCE_ORDER' })
  })
})

/** `2b` after `1a`: block 2 with hash 2b. */
const block = (hash: string, parentHash?: string): Block<string> => ({
  number: Number.parseInt(hash, 10),
  hash,
  parentHash,
  items: [hash],
})
const chainOf = (...hashes: string[]) => hashes.map((hash, at) => block(hash, hashes[at - 1]))
const position = (hash: string): Position => ({ number: Number.parseInt(hash, 10), hash })
const fork = (hash: string | null) => ({ type: 'fork', validTo: hash === null ? null : position(hash) })
const gives = (said: readonly SourceMessage<string>[]) =>
  said.map((message) => (message.type === 'blocks' ? message.blocks.map(({ hash }) => hash) : message))

describe('memorySource that forks', () => {
  const forking = (blocks: Iterable<Block<string>>) => memorySource({ id: 'm', historyDepth: 10, blocks })
  const living = (...branches: Block<string>[][]) => {
    const opened: (Position | undefined)[] = []
    const source = memorySource<string>({
      id: 'm',
      historyDepth: 10,
      async *blocks(from) {
        opened.push(from)
        for (const block of branches.shift() ?? []) yield await Promise.resolve(block)
      },
    })
    return { source, opened }
  }

  test.each<[string, Block<string>[], string | null]>([
    ['whose parent is an earlier block', [...chainOf('1a', '2a', '3a'), block('3b', '2a')], '2a'],
    ['whose parent is not the block before', [...chainOf('1a', '2a', '3a'), block('4b', '3b')], '2a'],
    ['whose parent is nobody known', [...chainOf('1a', '2a', '3a'), block('2b', '1b')], null],
    ['further up, on an earlier block', [...chainOf('1a', '2a', '3a'), block('7b', '2a')], '2a'],
    ['without a parent, at a height that was given', [...chainOf('1a', '2a', '3a'), block('3b')], '2a'],
    ['without a parent, below all that was given', [...chainOf('2a', '3a'), block('1b')], null],
  ])('H26: a block %s', async (_what, given, validTo) => {
    const expected = [...given.slice(0, -1).map(({ hash }) => [hash]), fork(validTo)]
    expect(gives(await messages(living(given).source))).toEqual(expected)
    expect(gives(await messages(forking(given)))).toEqual([expected.slice(0, -1).flat(), fork(validTo)])
  })

  test.each([
    ['a gap', [...chainOf('1a', '2a'), block('5a', '4a')]],
    ['no hash of its own', [block('1a'), { number: 2, parentHash: 'x', items: [] }]],
  ])('a block with %s does not', async (_what, given) => {
    expect((await messages(forking(given))).map(({ type }) => type)).toEqual(['blocks', 'end'])
  })

  test('the same block again is no fork, and is refused', async () => {
    const { feed, until } = feedOf(living([...chainOf('1a', '2a'), block('2a', '1a')]).source)
    feed.open()
    expect((await until('source.failed')).error).toMatchObject({ code: 'SOURCE_ORDER' })
  })

  test('the function goes on from what stands', async () => {
    const forked = deferred()
    const opened: (Position | undefined)[] = []
    const source = memorySource<string>({
      id: 'm',
      historyDepth: 10,
      async *blocks(from) {
        opened.push(from)
        if (from === undefined) {
          yield* chainOf('1a', '2a', '3a', '4a')
          await forked.promise
        }
        yield* [block('3b', '2a'), block('4b', '3b')]
      },
    })
    const { feed, until } = feedOf(source)
    feed.open()
    await spoken()
    expect(names([await feed.pull()])).toEqual(['m:1', 'm:2', 'm:3', 'm:4'])
    forked.resolve()
    const { target } = await until('source.fork')
    await rollBack(feed, target)
    expect((await all(feed)).flatMap(({ blocks }) => blocks.map(({ ref }) => ref.hash))).toEqual(['3b', '4b'])
    expect(opened).toEqual([undefined, position('2a')])
  })

  test('the function’s first block is held against where it goes on', async () => {
    const stored = [position('3a'), position('2a'), position('1a')]
    expect(gives(await messages(living([block('4b', '3b')]).source, ...stored))).toEqual([fork('2a')])
    expect(gives(await messages(living([block('4b', '2a')]).source, ...stored))).toEqual([fork('2a')])
    expect(gives(await messages(living([block('4a', '3a')]).source, ...stored))).toEqual([
      ['4a'],
      { type: 'end' },
    ])
  })

  test.each<[string, Block<string>[], string | null]>([
    ['the newest is another', chainOf('1a', '2a', '3b'), '2a'],
    ['several are others', chainOf('1a', '2b', '3b', '4b'), '1a'],
    ['all are others', chainOf('1b', '2b', '3b', '4b'), null],
    ['the newest is not there', chainOf('1a', '2a'), '2a'],
    ['one in the middle is not there', [block('1a'), block('3a'), block('4a')], '1a'],
  ])('H26: blocks that forked while nobody read: %s', async (_what, given, validTo) => {
    const stored = [position('3a'), position('2a'), position('1a')]
    expect(gives(await messages(forking(given), ...stored))).toEqual([fork(validTo)])
  })

  test.each<[string, Block<string>[], string[]]>([
    ['they are all there', chainOf('1a', '2a', '3a', '4a'), ['4a']],
    ['those that are older than the first block are not', chainOf('3a', '4a'), ['4a']],
    ['it begins above them', [block('4a', '3a')], ['4a']],
  ])('positions are passed over: %s', async (_what, given, expected) => {
    const stored = [position('3a'), position('2a'), position('1a')]
    expect(gives(await messages(forking(given), ...stored))).toEqual([expected, { type: 'end' }])
  })

  test('nothing at all proves nothing', async () => {
    expect(gives(await messages(forking([]), position('3a')))).toEqual([{ type: 'end' }])
  })

  test('H24: an array that forks, and forks again, and deeper, is read to its end', async () => {
    const given = [
      ...chainOf('1a', '2a', '3a', '4a'),
      block('4b', '3a'),
      block('5b', '4b'),
      block('3c', '2a'),
      block('4c', '3c'),
      block('1d'),
      block('2d', '1d'),
    ]
    const { feed, said, forks } = feedOf(forking(given))
    feed.open()
    let kept: { readonly checkpoint: number; readonly hash: string }[] = []
    for (let seen = 0; said.at(-1)?.type !== 'source.ended';) {
      const batch = await Promise.race([feed.pull(), spoken()])
      feed.cancelPull()
      kept.push(...(batch?.blocks.map(({ ref }) => ref) ?? []))
      await spoken()
      const fork = forks[seen]
      if (fork === undefined) continue
      seen++
      kept = kept.filter(({ checkpoint }) => checkpoint <= fork.target)
      await rollBack(feed, fork.target)
    }
    expect(kept.map(({ hash }) => hash)).toEqual(['1d', '2d'])
    expect(forks.map(({ validTo }) => validTo)).toEqual([3, 2, null])
    // resumed by another process, after its last fork, in the middle, and at its end
    expect(
      gives(await messages(forking(given.slice(0, 6)), position('5b'), position('4b'), position('3a'))),
    ).toEqual([fork('3a')])
    expect(gives(await messages(forking(given.slice(0, 5)), position('4a'), position('3a')))).toEqual([
      fork('3a'),
    ])
  })
})
