/** One source read ahead: what overtakes, what is refused, and what is known of its finality. */
import { describe, expect, test } from 'vitest'
import type { Source, SourceMessage } from '../../src/index.ts'
import type { TailraceError } from '../../src/errors.ts'
import { Pump } from '../../src/source/pump.ts'
import { Queue } from '../../src/source/queue.ts'
import { blocks, feedOf, numbers, spoken } from './feeding.ts'

/** A source that says what it is told to, when it is told to. */
function told(historyDepth = 10) {
  const messages: (SourceMessage<string> | Error)[] = []
  let asked = 0
  let wake: () => void = () => undefined
  const source: Source<string> = {
    id: 's',
    historyDepth,
    async *open({ signal }) {
      signal.addEventListener('abort', () => wake())
      for (;;) {
        asked++
        while (messages.length === 0 && !signal.aborted)
          await new Promise<void>((resolve) => (wake = resolve))
        const message = messages.shift()
        if (message === undefined) return
        if (message instanceof Error) throw message
        yield message
      }
    },
  }
  const say = async (...more: (SourceMessage<string> | Error)[]) => {
    messages.push(...more)
    wake()
    await spoken()
  }
  return { source, say, asked: () => asked }
}

const given = (count: number, from: number) => ({ type: 'blocks' as const, blocks: blocks(count, 1, from) })
const fork = (number: number) => ({ type: 'fork' as const, validTo: { number, hash: String(number) } })

describe('a fork overtakes what is buffered', () => {
  test('H24: while nobody takes anything', async () => {
    const { source, say } = told()
    const { feed, said } = feedOf(source)
    feed.open()
    await say(given(5, 1), given(5, 6))
    expect(feed.bufferedBytes).toBeGreaterThan(0)
    await say(fork(7))
    expect(said).toEqual([{ type: 'source.fork', source: 's', target: 0 }])
    expect(feed.bufferedBytes).toBe(0)
    await feed.close()
  })

  test('H24: while the buffer is full, and nobody makes room', async () => {
    const { source, say } = told()
    const { feed, said } = feedOf(source, { readAheadBytes: 1, batchItems: 2 })
    feed.open()
    await say(given(5, 1))
    expect(numbers(await feed.pull())).toEqual([1, 2])
    expect(said).toEqual([{ type: 'source.full' }])
    await say(fork(3))
    expect(said).toEqual([
      { type: 'source.full' },
      { type: 'source.room' },
      { type: 'source.fork', source: 's', target: 2 },
    ])
    expect(feed.bufferedBytes).toBe(0)
    await feed.close()
  })

  test('H47: while the buffer is full one message is looked at, and held back if it is none', async () => {
    const { source, say, asked } = told()
    const { feed, said } = feedOf(source, { readAheadBytes: 1, batchItems: 2 })
    feed.open()
    await say(given(2, 1), given(2, 3), given(2, 5))
    const buffered = feed.bufferedBytes
    expect(asked()).toBe(2)
    expect(numbers(await feed.pull())).toEqual([1, 2])
    await spoken()
    expect(feed.bufferedBytes).toBe(buffered)
    expect(asked()).toBe(3)
    expect(numbers(await feed.pull())).toEqual([3, 4])
    await spoken()
    expect(said.map(({ type }) => type)).toEqual([
      'source.full',
      'source.room',
      'source.full',
      'source.room',
      'source.full',
    ])
    await feed.close()
  })

  test('an error is heard while the buffer is full', async () => {
    const { source, say } = told()
    const { feed, said } = feedOf(source, { readAheadBytes: 1 })
    feed.open()
    await say(given(2, 1), new Error('reset'))
    expect(said.at(-1)).toMatchObject({
      type: 'source.failed',
      error: { message: "Source 's' failed: reset" },
    })
    await feed.close()
  })

  test('I16: closed while the buffer is full: what was looked at is nobody’s', async () => {
    for (const last of [given(2, 3), new Error('late')]) {
      const { source, say } = told()
      const { feed, said } = feedOf(source, { readAheadBytes: 1 })
      feed.open()
      await say(given(2, 1))
      const closing = feed.close()
      await say(last)
      await closing
      expect(said).toEqual([{ type: 'source.full' }])
    }
  })
})

describe('a source must not', () => {
  test.each<[string, SourceMessage<string>, RegExp]>([
    ['tell a head that is none', { ...given(1, 1), head: Number.NaN }, /whose `head` is NaN, not a height/],
    [
      'tell a finality that is none',
      { ...given(1, 1), finalized: 0.5 },
      /whose `finalized` is 0\.5, not a height/,
    ],
    [
      'fork to nowhere',
      { type: 'fork', validTo: undefined as unknown as null },
      /gave a fork whose `validTo` is neither a position nor null/,
    ],
  ])('%s', async (_what, message, expected) => {
    const { source, say } = told()
    const { feed, until } = feedOf(source)
    feed.open()
    await say(message)
    const error = (await until('source.failed')).error as TailraceError
    expect(error.code).toBe('SOURCE_MESSAGE')
    expect(error.message).toMatch(expected)
    await feed.close()
  })

  test('H8: stop without a word: its blocks would be waited for for ever', async () => {
    const source: Source<string> = {
      id: 's',
      async *open() {
        yield await Promise.resolve(given(1, 1))
      },
    }
    const { feed, until } = feedOf(source)
    feed.open()
    expect((await until('source.failed')).error).toMatchObject({
      code: 'SOURCE_MESSAGE',
      message:
        "Source 's' stopped without a word; a source yields blocks ({ number, items }), fork, caughtUp and end.",
    })
  })
})

describe('I15: finality', () => {
  function pumpOf(historyDepth: number) {
    const { source, say } = told(historyDepth)
    const nothing = () => undefined
    const events = { changed: nothing, full: nothing, fork: nothing, caughtUp: nothing, failed: nothing }
    const pump = new Pump(source, { budgetBytes: 1e9, timed: false }, events)
    pump.open(undefined, [])
    return { pump, say }
  }

  test('is by depth below the highest block that is known, and by what the source says', async () => {
    const { pump, say } = pumpOf(10)
    expect(pump.finalBelow).toBe(-1)
    await say(given(5, 1))
    expect(pump.finalBelow).toBe(-1)
    await say(given(20, 6))
    expect(pump.finalBelow).toBe(15)
    await say({ ...given(1, 26), head: 100 })
    expect(pump.finalBelow).toBe(90)
    await say({ type: 'blocks', blocks: [], finalized: 95 })
    expect(pump.finalBelow).toBe(95)
    await pump.close()
  })

  test('never goes back, when heads do or the source is opened again', async () => {
    const { pump, say } = pumpOf(10)
    await say({ ...given(1, 1), head: 50, finalized: 45 })
    await say({ ...given(1, 2), head: 40, finalized: 30 })
    expect(pump.finalBelow).toBe(45)
    await say(fork(46))
    await pump.close()
    pump.open({ number: 46, hash: '46' }, [])
    expect(pump.finalBelow).toBe(45)
    await say({ ...given(1, 47), head: 47 })
    expect(pump.finalBelow).toBe(45)
    await pump.close()
  })

  test('is given up for what the source takes back all the same', async () => {
    const { pump, say } = pumpOf(10)
    await say({ ...given(1, 1), head: 50, finalized: 45 })
    await say(fork(20))
    expect(pump.finalBelow).toBe(20)
    await pump.close()
    pump.open(undefined, [])
    await say({ type: 'fork', validTo: null })
    expect(pump.finalBelow).toBe(-1)
    await pump.close()
  })

  test('is nothing for a source that never forks', async () => {
    const { pump, say } = pumpOf(0)
    await say({ ...given(1, 1), head: 50, finalized: 45 })
    expect(pump.finalBelow).toBeUndefined()
    await pump.close()
  })
})

test('a queue gives what came first, and drops what came last', () => {
  const queue = new Queue<number>()
  for (let n = 0; n < 1_000; n++) queue.push(n)
  for (let n = 0; n < 700; n++) expect(queue.shift()).toBe(n)
  expect([queue.first, queue.last, queue.length]).toEqual([700, 999, 300])
  queue.dropLast((n) => n >= 710)
  expect([queue.first, queue.last, queue.length]).toEqual([700, 709, 10])
  queue.dropLast((n) => n >= 0)
  expect([queue.first, queue.last, queue.length, queue.shift()]).toEqual([undefined, undefined, 0, undefined])
  queue.push(7)
  expect([queue.first, queue.last, queue.length]).toEqual([7, 7, 1])
  queue.clear()
  expect(queue.length).toBe(0)
})
