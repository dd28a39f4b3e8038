/** The CPU phase of one batch: the speculative pass, the ordered pass, errors, cancellation, and the event loop's share. */
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Context } from '../../src/compute/context.ts'
import { programOf, type ProgramParts } from '../../src/compute/program.ts'
import { BatchRunner } from '../../src/compute/runner.ts'
import { ConfigurationError, HandlerError, RetryableError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import type { NumberedBlock } from '../../src/source/feed.ts'
import { ChangeLog, written } from '../support/change-log.ts'

const tables = {
  account: pgTable('account', { id: text().primaryKey(), n: integer().notNull() }),
  other: pgTable('other', { id: text().primaryKey(), n: integer().notNull() }),
}
type Handler = (item: string, context: Context<typeof tables>) => unknown
interface Parts {
  readonly handle?: Handler
  readonly handlers?: Record<string, (item: { type: string }, context: Context<typeof tables>) => unknown>
  readonly handleBlock?: (block: { number: number }, context: Context<typeof tables>) => unknown
  readonly preload?:
    false | ((blocks: readonly { number: number }[], context: Context<typeof tables>) => unknown)
}

class Bench {
  readonly log = new ChangeLog(tables)
  readonly runner: BatchRunner
  readonly abort = new AbortController()
  preloaded = 0
  #checkpoint = 0

  constructor(parts: Parts) {
    this.runner = new BatchRunner(programOf(parts as ProgramParts), this.log.workspace, silentLog)
  }

  /** One batch; one array of items per block. */
  run(...blocks: readonly (readonly unknown[])[]) {
    const numbered = blocks.map((items): NumberedBlock => {
      const checkpoint = ++this.#checkpoint
      const ref = { checkpoint, source: 's', number: checkpoint, hash: String(checkpoint) }
      return { ref, block: { number: checkpoint, items } }
    })
    return this.runner.run(numbered, this.abort.signal, () => this.preloaded++)
  }

  get questions(): readonly string[] {
    return this.log.database.questions
  }
}

const unhandled: unknown[] = []
const remember = (error: unknown) => void unhandled.push(error)
beforeEach(() => {
  unhandled.length = 0
  process.on('unhandledRejection', remember)
})
afterEach(async () => {
  // rejections are reported once the microtasks are done
  await new Promise<void>((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', remember)
  expect(unhandled).toEqual([])
})

const names = (count: number, prefix = 'a') => Array.from({ length: count }, (_, n) => `${prefix}${n}`)

describe('the speculative pass', () => {
  // handlers take no time, so that a turn never ends between two of them
  beforeEach(() => void vi.spyOn(performance, 'now').mockReturnValue(0))
  afterEach(() => void vi.restoreAllMocks())

  test('merges the loads of one microtask into one query per table, over items and blocks', async () => {
    const bench = new Bench({
      async handle(id, { db }) {
        const [account] = await Promise.all([db.account.get(id), db.other.get(id)])
        const next = await db.account.get(`${id}'s next`)
        db.account.set({ id, n: (account?.n ?? 0) + (next?.n ?? 0) + 1 })
      },
    })
    await bench.run(names(20), names(20, 'b'), [])
    expect(bench.questions).toEqual(['get account 40', 'get other 40', 'get account 40'])
    expect(bench.preloaded).toBe(1)
    expect(bench.log.staging.freeze(1).rows).toBe(40)
  })

  test('is skipped once it finds nothing to load, and comes back when the ordered pass had to load', async () => {
    const passes: string[] = []
    const bench = new Bench({
      async handle(id, { db, preloading }) {
        passes.push(preloading ? 'preload' : 'handle')
        await db.account.get(id)
      },
    })
    const run = async (...ids: string[]) => {
      passes.length = 0
      await bench.run(ids)
      return passes.join(' ')
    }
    expect(await run('a', 'b')).toBe('preload preload handle handle')
    expect(await run('a', 'b')).toBe('preload preload handle handle')
    expect(await run('a', 'b')).toBe('handle handle')
    expect(await run('a', 'new')).toBe('handle handle')
    expect(await run('a', 'newer')).toBe('preload preload handle handle')
    expect(bench.questions).toEqual(['get account 2', 'get account 1', 'get account 1'])
  })

  test('`preload: false` leaves it out', async () => {
    const seen: boolean[] = []
    const bench = new Bench({ preload: false, handle: (_, { preloading }) => seen.push(preloading) })
    await bench.run(['a', 'b'])
    expect(seen).toEqual([false, false])
    expect(bench.preloaded).toBe(1)
  })

  test('a `preload` function replaces it: called once a batch, with its blocks, and its writes are thrown away', async () => {
    const calls: unknown[] = []
    const bench = new Bench({
      async preload(blocks, { db, preloading }) {
        calls.push([blocks.map(({ number }) => number), preloading])
        await db.account.getMany(['a', 'b'])
        db.account.set({ id: 'thrown away', n: 1 })
      },
      async handle(id, { db, preloading }) {
        calls.push([id, preloading])
        await db.account.get(id)
      },
    })
    await bench.run(['a'], ['b'])
    expect(calls).toEqual([
      [[1, 2], true],
      ['a', false],
      ['b', false],
    ])
    expect(bench.questions).toEqual(['get account 2'])
    expect(bench.log.staging.freeze(1).rows).toBe(0)
  })

  test('a `preload` function that fails ends the batch, and says so', async () => {
    const bench = new Bench({
      preload() {
        throw new Error('no')
      },
      handle: () => undefined,
    })
    await expect(bench.run([], [])).rejects.toMatchObject({
      code: 'PRELOAD_FAILED',
      message: 'preload of blocks 1–2 failed: no',
      phase: 'compute',
    })
  })

  test('throws its writes away, ignores what goes wrong in it, and leaves no unhandled rejection', async () => {
    const bench = new Bench({
      async handle(id, { db, preloading, region }) {
        if (!preloading) return db.account.set({ id, n: 1 })
        db.account.set({ id: 'speculative', n: 1 })
        // nobody awaits these, and all of them fail
        void db.account.update('absent', { n: 1 })
        void db.account.getOrThrow('absent')
        void db.account.update(id, { n: 'not a number' as never })
        void db.account.update('speculative', { n: 'not a number' as never })
        if (id === 'publishes') region('europe').publish({})
        if (id === 'throws') throw new Error('only now')
        if (id === 'rejects') await Promise.reject(new Error('only now'))
      },
      handleBlock(_, { preloading }) {
        if (preloading) throw new Error('at once')
      },
    })
    await bench.run(['throws', 'rejects', 'publishes', 'goes on'])
    const rows = ['throws', 'rejects', 'publishes', 'goes on'].map((id) => ({ id, n: 1 }))
    expect(written(bench.log.staging.freeze(1))).toEqual({ account: { upserts: rows } })
  })

  test('loads that fail in it, awaited or not, are harmless; the ordered pass asks again', async () => {
    const bench = new Bench({
      async handle(id, { db, preloading }) {
        if (preloading) {
          void db.account.get('x')
          void db.account.getMany(['x', 'y'])
          void db.account.find()
          void db.account.update('x', { n: 1 })
          void db.account.get('x')
          return
        }
        await db.account.get(id)
      },
    })
    bench.log.asked.fail(new Error('connection lost'))
    bench.log.asked.fail(new Error('connection lost'))
    bench.log.asked.fail(new Error('connection lost'))
    await bench.run(['a'])
    expect(bench.questions.at(-1)).toBe('get account 1')
  })

  test('region().publish says that there are no regions yet, in the ordered pass', async () => {
    const bench = new Bench({ handle: (_, { region }) => region('europe').publish({}) })
    const error: unknown = await bench.run(['a']).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ConfigurationError)
    expect(error).toMatchObject({ code: 'NO_REGIONS' })
  })
})

describe('the ordered pass', () => {
  test('items one after the other, handleBlock after its items, each seeing what the ones before wrote', async () => {
    const order: string[] = []
    const bench = new Bench({
      async handle(id, { db, preloading }) {
        if (preloading) return
        order.push(`${id} begins`)
        const count = await db.account.get('count')
        db.account.set({ id: 'count', n: (count?.n ?? 0) + 1 })
        order.push(`${id} ends`)
      },
      async handleBlock({ number }, { db, preloading }) {
        if (!preloading) order.push(`block ${number}: ${(await db.account.get('count'))?.n}`)
      },
    })
    await bench.run(['a', 'b'], ['c'], [])
    expect(order).toEqual([
      'a begins',
      'a ends',
      'b begins',
      'b ends',
      'block 1: 2',
      'c begins',
      'c ends',
      'block 2: 3',
      'block 3: 3',
    ])
    expect(written(bench.log.staging.freeze(1))).toEqual({ account: { upserts: [{ id: 'count', n: 3 }] } })
  })

  test('the context: block, checkpoint as a bigint, signal, log', async () => {
    const bench = new Bench({
      preload: false,
      handle(_, context) {
        expect(context.checkpoint).toBe(2n)
        expect(context.block).toMatchObject({ number: 2 })
        expect(context.signal).toBe(bench.abort.signal)
        expect(context.log).toBe(silentLog)
      },
    })
    await bench.run([], ['a'])
  })

  test('items go to the handler of their type', async () => {
    const got: unknown[] = []
    const bench = new Bench({
      preload: false,
      handlers: { x: (item) => got.push(['x', item]), y: (item) => got.push(['y', item]) },
    })
    await bench.run([{ type: 'y' }, { type: 'x' }])
    expect(got).toEqual([
      ['y', { type: 'y' }],
      ['x', { type: 'x' }],
    ])
  })

  test('H10: the context throws once its handler has settled', async () => {
    let kept: Context<typeof tables> | undefined
    const bench = new Bench({
      handle(_, context) {
        kept = context
      },
    })
    await bench.run(['a'])
    const message = "handle at item 0 of block 1 of source 's' used its context after it had settled"
    expect(() => kept!.db.account.set({ id: 'a', n: 1 })).toThrow(message)
    expect(() => kept!.db.account.get('a')).toThrow(message)
    expect(() => kept!.region('europe').publish({})).toThrow(message)
    expect(kept!.checkpoint).toBe(1n)
  })
})

describe('errors', () => {
  const failing = async (parts: Parts, ...blocks: unknown[][]) => {
    const bench = new Bench(parts)
    const error: unknown = await bench.run(...blocks).catch((thrown: unknown) => thrown)
    expect(bench.log.staging.batches).toEqual([])
    expect(bench.log.staging.uncommittedBytes).toBe(0)
    expect(error).toBeInstanceOf(HandlerError)
    return error as HandlerError
  }

  test.each([true, false])(
    'name handler, block and item, and carry the cause (async: %s)',
    async (isAsync) => {
      const cause = new Error('no such thing')
      const fail = () => {
        throw cause
      }
      const error = await failing(
        {
          handle: isAsync
            ? async (id) => (id === 'bad' ? fail() : undefined)
            : (id) => (id === 'bad' ? fail() : undefined),
        },
        ['good'],
        ['good', 'bad', 'good'],
      )
      expect(error.message).toBe("handle at item 1 of block 2 of source 's' failed: no such thing")
      expect(error).toMatchObject({
        code: 'HANDLER_FAILED',
        cause,
        item: 1,
        block: { source: 's', number: 2 },
        batch: { from: 2n, upTo: 2n },
        phase: 'compute',
      })
    },
  )

  test('of handlers by type name the type; of handleBlock the block', async () => {
    const fail = () => {
      throw new Error('no')
    }
    const typed = await failing({ handlers: { 'token.Transfer': fail } }, [{ type: 'token.Transfer' }])
    expect(typed.message).toBe("handlers['token.Transfer'] at item 0 of block 1 of source 's' failed: no")
    const block = await failing({ handleBlock: fail }, [])
    expect(block.message).toBe("handleBlock at block 1 of source 's' failed: no")
    expect(block.item).toBeUndefined()
  })

  test.each([
    [{ type: 'z' }, "there is no handler for items of type 'z' (there are: x, y)"],
    [{ type: 'toString' }, "there is no handler for items of type 'toString'"],
    [{ kind: 'x' }, 'an item has no string `type`'],
    [null, 'an item has no string `type`'],
  ])('a missing handler is told: %o', async (item, message) => {
    const error = await failing({ handlers: { x: () => undefined, y: () => undefined } }, [item])
    expect(error.message).toContain(message)
    expect(error.cause).toMatchObject({ code: 'MISSING_HANDLER' })
  })

  test('what the change log refuses keeps its table, column and key', async () => {
    const error = await failing({ handle: (id, { db }) => db.account.set({ id, n: 'x' as never }) }, ['a'])
    expect(error).toMatchObject({ table: 'account', column: 'n', key: 'a', item: 0 })
  })

  test("a failed load is a fault of the database, not the handler's", async () => {
    const bench = new Bench({ preload: false, handle: (id, { db }) => db.account.get(id) })
    const lost = new RetryableError('READ_FAILED', 'lost')
    bench.log.asked.fail(lost)
    await expect(bench.run(['a'])).rejects.toBe(lost)
  })

  test('an update begun by a handler that throws does not reach into the next batch', async () => {
    const bench = new Bench({
      preload: false,
      handle(id, { db }) {
        if (id !== 'throws') return
        void db.account.update('a', { n: 2 })
        throw new Error('no')
      },
    })
    bench.log.store('account', { id: 'a', n: 1 })
    bench.log.answered.hold()
    const running = bench.run(['throws'])
    await bench.log.answered.arrived()
    bench.log.answered.release()
    await expect(running).rejects.toThrow('no')
    await bench.run(['goes on'])
    expect(bench.log.staging.freeze(1).rows).toBe(0)
  })
})

describe('cancellation', () => {
  const reason = new Error('given up')

  test('a handler that heeds the signal ends at once; nothing of the batch remains', async () => {
    const bench = new Bench({
      preload: false,
      async handle(id, { db, signal }) {
        db.account.set({ id, n: 1 })
        if (id !== 'waits') return
        bench.abort.abort(reason)
        await new Promise((_, reject) => {
          if (signal.aborted) reject(signal.reason as Error)
        })
      },
    })
    const error: unknown = await bench.run(['a', 'waits', 'never']).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ cause: reason })
    expect(bench.log.staging.uncommittedBytes).toBe(0)
  })

  test('a deaf handler is waited for, the next one does not begin', async () => {
    const begun: string[] = []
    let hear!: () => void
    const deaf = new Promise<void>((resolve) => {
      hear = resolve
    })
    const bench = new Bench({
      preload: false,
      handle(id) {
        begun.push(id)
        bench.abort.abort(reason)
        return deaf
      },
    })
    let ended = false
    const running = bench.run(['deaf', 'next']).finally(() => {
      ended = true
    })
    running.catch(() => undefined)
    await new Promise<void>((resolve) => setImmediate(resolve))
    expect(ended).toBe(false)
    hear()
    await expect(running).rejects.toBe(reason)
    expect(begun).toEqual(['deaf'])
  })

  test('a run that is aborted while it preloads ends only when no speculative handler runs any more', async () => {
    let hear!: () => void
    const deaf = new Promise<void>((resolve) => {
      hear = resolve
    })
    let settled = 0
    const begun: string[] = []
    const bench = new Bench({
      async handle(id) {
        begun.push(id)
        if (id === 'aborts') bench.abort.abort(reason)
        await deaf
        settled++
      },
    })
    let ended = false
    const running = bench.run(['deaf', 'aborts', 'next']).finally(() => {
      ended = true
    })
    running.catch(() => undefined)
    await new Promise<void>((resolve) => setImmediate(resolve))
    expect(ended).toBe(false)
    hear()
    await expect(running).rejects.toBe(reason)
    expect([begun, settled, bench.preloaded]).toEqual([['deaf', 'aborts'], 2, 0])
  })

  test('aborted by the last handler: the batch is not staged', async () => {
    const bench = new Bench({
      preload: false,
      handle(id, { db }) {
        db.account.set({ id, n: 1 })
        bench.abort.abort(reason)
      },
    })
    await expect(bench.run(['a'])).rejects.toBe(reason)
    expect(bench.log.staging.batches).toEqual([])
  })
})

describe('H64: the event loop', () => {
  const busyFor = (ms: number) => {
    const until = performance.now() + ms
    while (performance.now() < until);
  }

  /** Turns of the event loop while `running` runs. */
  async function turnsDuring(running: Promise<unknown>): Promise<number> {
    let turns = 0
    let counting = true
    const count = () => {
      turns++
      if (counting) setImmediate(count)
    }
    setImmediate(count)
    await running
    counting = false
    return turns
  }

  test.each([false, undefined] as const)(
    'gets a turn every few milliseconds of synchronous handlers (preload: %s)',
    async (preload) => {
      const bench = new Bench({
        ...(preload === undefined ? {} : { preload }),
        handle: () => busyFor(2),
        handleBlock: () => busyFor(2),
      })
      // 50 handlers of 2 ms, a turn after 4 ms: 25 turns a pass
      expect(await turnsDuring(bench.run(names(48), [], []))).toBeGreaterThanOrEqual(
        preload === false ? 20 : 40,
      )
    },
  )

  test('and of block handlers alone', async () => {
    const bench = new Bench({ handleBlock: () => busyFor(2) })
    expect(await turnsDuring(bench.run(...names(50).map(() => [])))).toBeGreaterThanOrEqual(40)
  })

  test('and of handlers that are async but never have to wait', async () => {
    const bench = new Bench({
      preload: false,
      async handle(id, { db }) {
        busyFor(2)
        db.account.set({ id, n: 1 })
        await db.account.get(id)
      },
    })
    expect(await turnsDuring(bench.run(names(50)))).toBeGreaterThanOrEqual(20)
  })

  test('is left alone by handlers that are quick', async () => {
    const bench = new Bench({ preload: false, handle: () => undefined })
    expect(await turnsDuring(bench.run(names(50)))).toBeLessThan(10)
  })
})
