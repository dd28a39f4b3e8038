/** Bugs that handlers have, each of which `testIndexer` has to find, and how it tells of them. */
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { expect, test } from 'vitest'
import type { Block, Context } from '../../src/index.ts'
import { testIndexer, TestFailure } from '../../src/testing/index.ts'

const total = pgTable('total', { id: text().primaryKey(), sum: integer().notNull() })
const tables = { total }
const blocks: Block<number>[] = [1, 2, 3, 4].map((number) => ({ number, items: [number, 10 * number] }))

async function failureOf(testing: Promise<unknown>): Promise<TestFailure> {
  const failure = await testing.then(
    () => new Error('it passed'),
    (error: unknown) => error,
  )
  if (failure instanceof TestFailure) return failure
  throw failure
}

test('I8: a counter in a variable of the module', async () => {
  let sum = 0
  const failure = await failureOf(
    testIndexer({
      blocks,
      tables,
      handle(amount, { db, preloading }) {
        if (preloading) return
        sum += amount
        db.total.set({ id: 'all', sum })
      },
    }),
  )
  expect(failure).toMatchObject({
    code: 'ROWS_DIFFER',
    table: 'total',
    key: 'all',
    block: { source: 'blocks', number: 1 },
    expected: { id: 'all', sum: 11 },
  })
  expect(failure.message).toContain('table `total` differs from what the handlers make of the same blocks')
  expect(failure.message).toContain('row      id = "all", after block 1')
  expect(failure.message).toContain("must be  { id: 'all', sum: 11 }")
  expect(failure.message).toContain('Nothing disturbed it')
  expect(failure.message).toContain('state outside the rows')
})

test('I8: the same where every process begins with an empty one: lost in a crash', async () => {
  let sum = 0
  const program = {
    blocks,
    tables,
    forks: false,
    beforeRun: () => {
      sum = 0
    },
    handle(amount: number, { db, preloading }: Context<typeof tables>) {
      if (preloading) return
      sum += amount
      db.total.set({ id: 'all', sum })
    },
  }
  const failure = await failureOf(testIndexer(program))
  expect(failure.code).toBe('ROWS_DIFFER')
  const story = failure.history.map(({ type }) => type)
  expect(story.filter((type) => type === 'run')).toHaveLength(2)
  expect(failure.message).toMatch(/In case \d+ of 20, made small\. What happened, in order:/)
  expect(failure.message).toContain(`Replay it with testIndexer({ …, seed: ${failure.seed} }).`)
  // its seed has it at once
  const again = await failureOf(testIndexer({ ...program, seed: failure.seed, cases: 2 }))
  expect(again).toMatchObject({ code: 'ROWS_DIFFER', key: 'all', seed: failure.seed })
})

test('I8, I15: a cache in front of the rows: a fork does not take it back', async () => {
  const cache = new Map<string, number>()
  const failure = await failureOf(
    testIndexer({
      blocks,
      tables,
      beforeRun: () => cache.clear(),
      async handle(amount, { db, preloading }) {
        if (preloading) return
        const sum = (cache.get('all') ?? (await db.total.get('all'))?.sum ?? 0) + amount
        cache.set('all', sum)
        db.total.set({ id: 'all', sum })
      },
    }),
  )
  expect(failure).toMatchObject({ code: 'ROWS_DIFFER', table: 'total', key: 'all' })
  expect(failure.history.map(({ type }) => type)).toContain('fork')
  expect(failure.message).toMatch(/fork: every block.* is orphaned/)
  expect(failure.message).toContain('forks: false')
})

test.each([
  ['Math.random()', () => Math.floor(Math.random() * 1e9)],
  ['a clock', () => Number(process.hrtime.bigint() % 1_000_000_000n)],
])('I8: %s in a row', async (_, value) => {
  const failure = await failureOf(
    testIndexer({ blocks, tables, handle: (_amount, { db }) => db.total.set({ id: 'all', sum: value() }) }),
  )
  expect(failure).toMatchObject({ code: 'ROWS_DIFFER', table: 'total' })
  expect(failure.message).toContain('Date.now(), Math.random()')
})

test('I8, I12: a checkpoint in a row', async () => {
  const failure = await failureOf(
    testIndexer({
      blocks,
      tables,
      handleBlock: ({ number }, { db, checkpoint }) =>
        db.total.set({ id: `${number}`, sum: Number(checkpoint) }),
    }),
  )
  expect(failure).toMatchObject({ code: 'ROWS_DIFFER', table: 'total' })
  expect(failure.message).toContain('`checkpoint`: it has gaps')
})

test('I8: an aggregate of a batch: batches end elsewhere after a restart', async () => {
  let sum = 0
  const failure = await failureOf(
    testIndexer({
      blocks,
      tables,
      // called once a batch
      preload: () => {
        sum = 0
      },
      beforeRun: () => {
        sum = 0
      },
      handle: (amount) => {
        sum += amount
      },
      handleBlock: (_, { db }) => db.total.set({ id: 'batch', sum }),
    }),
  )
  expect(failure).toMatchObject({ code: 'ROWS_DIFFER', table: 'total', key: 'batch' })
})

test('H10: a function of its own that nobody awaits', async () => {
  const failure = await failureOf(
    testIndexer({
      blocks,
      tables,
      handle(amount, { db }) {
        const add = async () => {
          const known = await db.total.get('all')
          db.total.set({ id: 'all', sum: (known?.sum ?? 0) + amount })
        }
        void add()
      },
    }),
  )
  expect(failure).toMatchObject({
    code: 'CONTEXT_SETTLED',
    block: { source: 'blocks', number: 1 },
    item: 0,
    cause: { code: 'CONTEXT_SETTLED' },
  })
  expect(failure.message).toContain('handle at item 0 of block 1')
})

test('H10: an update that nobody awaits, and that fails', async () => {
  const failure = await failureOf(
    testIndexer({ blocks, tables, handle: (_, { db }) => void db.total.update('nobody', { sum: 1 }) }),
  )
  expect(failure).toMatchObject({ code: 'HANDLER_FAILED', table: 'total', key: 'nobody' })
  expect(failure.message).toContain('did not await a call that then failed: There is no row')
})

test('H44: a handler that throws', async () => {
  const failure = await failureOf(
    testIndexer({
      blocks,
      tables,
      handle(amount) {
        if (amount === 30) throw new Error('thirty')
      },
    }),
  )
  expect(failure).toMatchObject({
    code: 'HANDLER_FAILED',
    block: { source: 'blocks', number: 3 },
    item: 1,
    cause: { name: 'HandlerError', cause: { message: 'thirty' } },
  })
  expect(failure.message).toContain("handle at item 1 of block 3 of source 'blocks' failed: thirty")
  expect(failure.message).toContain('Nothing disturbed it.')
})

test('H44: a handler that throws only when it is called again', async () => {
  const seen = new Set<number>()
  const failure = await failureOf(
    testIndexer({
      blocks,
      tables,
      beforeRun: () => seen.clear(),
      handle(amount, { preloading }) {
        if (preloading) return
        if (seen.has(amount)) throw new Error(`${amount} again`)
        seen.add(amount)
      },
    }),
  )
  expect(failure.message).toContain('again')
  expect(failure.message).toContain('What happened, in order:')
})

test('H44: a duplicate, found by the handler', async () => {
  const failure = await failureOf(
    testIndexer({ blocks, tables, handle: (n, { db }) => db.total.insert({ id: `${n % 4}`, sum: n }) }),
  )
  expect(failure).toMatchObject({
    code: 'HANDLER_FAILED',
    table: 'total',
    key: '2',
    block: { source: 'blocks', number: 2 },
    item: 0,
    cause: { code: 'HANDLER_FAILED', cause: { code: 'DUPLICATE_KEY' } },
  })
})

test('H44: a duplicate, found by the commit', async () => {
  const failure = await failureOf(
    testIndexer({
      blocks,
      tables,
      preload: false,
      limits: { stagedBytes: 1 },
      handle: (n, { db }) => db.total.insert({ id: `${n % 4}`, sum: n }),
    }),
  )
  expect(failure).toMatchObject({
    code: 'DUPLICATE_KEY',
    table: 'total',
    key: '2',
    block: { source: 'blocks', number: 2 },
    item: 0,
    cause: { code: 'DUPLICATE_KEY', phase: 'commit' },
  })
  expect(failure.message).toContain('that item 0 of block 2')
})

test('a row that has a value which the column cannot hold', async () => {
  const failure = await failureOf(
    testIndexer({ blocks, tables, handle: (_, { db }) => db.total.set({ id: 'all', sum: 2 ** 31 }) }),
  )
  expect(failure).toMatchObject({ code: 'HANDLER_FAILED', table: 'total', key: 'all' })
})

test('I13: a region that is published from what the rows do not have', async () => {
  let times = 0
  const failure = await failureOf(
    testIndexer({
      blocks,
      tables,
      beforeRun: () => {
        times = 0
      },
      handleBlock(_, { region, preloading }) {
        if (!preloading) region('world').publish({ times: ++times })
      },
    }),
  )
  expect(failure).toMatchObject({ code: 'REGION_DIFFERS', expected: { times: 4 } })
  expect(failure.message).toContain("region 'world' shows something else")
})
