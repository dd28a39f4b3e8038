/** `testIndexer` with a sound program: what it does to it, and what can be asked afterwards. */
import { expect, test } from 'vitest'
import { referenceRun, testIndexer, type HistoryEntry } from '../../src/testing/index.ts'
import { blocksOf, handleBlock, handlers, tables } from './ledger-program.ts'

const blocks = blocksOf(8)
const program = { blocks, tables, handlers, handleBlock }

test('I4, I8, I10, I15: a sound program passes, whatever happens to it, and everything does happen', async () => {
  const cases = 20
  const tested = await testIndexer({ ...program, cases })
  const expected = await referenceRun(program)
  expect(new Map(Object.entries(tested.rows()))).toEqual(expected)
  const all = Array.from({ length: cases }, (_, index) => tested.history(index)).flat()
  const kinds = new Set(
    all.map((entry) => {
      if (entry.type === 'crash') return `crash ${entry.inFlight}`
      return entry.type === 'lost' ? `lost ${entry.landed}` : entry.type
    }),
  )
  expect([...kinds].toSorted()).toEqual([
    'abort',
    'commit',
    'crash landed after',
    'crash landed before',
    'crash never landed',
    'crash undefined',
    'end',
    'fork',
    'handler fails',
    'lost false',
    'lost true',
    'rollback',
    'run',
    'stop',
  ])
})

test('rows, history, events and what was published are there in the end', async () => {
  const tested = await testIndexer({ ...program, cases: 3 })
  const [first] = tested.rows('account')
  expect(typeof (first!.balance satisfies bigint)).toBe('bigint')
  expect(tested.rows().transfer).toEqual(tested.rows('transfer'))
  expect(() => tested.rows('transfers' as 'transfer')).toThrow(
    "There is no table 'transfers'; there are account, transfer, allowance.",
  )
  expect(tested.published('world')).toEqual(tested.published()['world'])
  expect(tested.published('world')).toEqual({ richest: expect.any(String) })
  expect(tested.published('nowhere')).toBeUndefined()
  const committed = tested.events(0).filter(({ type }) => type === 'batch.committed')
  expect(committed[0]).toMatchObject({ type: 'batch.committed', batches: 1 })
  expect(committed.at(-1)).toMatchObject({ checkpoint: BigInt(blocks.length) })
  expect(tested.history(0).map(({ type }) => type)).toEqual(['run', ...committed.map(() => 'commit'), 'end'])
  expect(tested.history(2)).toEqual(tested.history())
  expect(() => tested.history(3)).toThrow(RangeError)
})

test('the same seed gives the same cases, and another one others', async () => {
  const historiesOf = async (seed: number) => {
    const tested = await testIndexer({ ...program, seed, cases: 5 })
    return Array.from({ length: 5 }, (_, index) => tested.history(index))
  }
  const first = await historiesOf(3)
  expect(await historiesOf(3)).toEqual(first)
  // a seed's cases are those of the next seeds, too: a failing one is replayed by itself
  expect((await historiesOf(5))[1]).toEqual(first[3])
})

test('handlers that really wait are waited for', async () => {
  const { transfer, close } = handlers
  const outside = async () => void (await fetch('data:,'))
  const tested = await testIndexer({
    ...program,
    cases: 4,
    handlers: {
      async transfer(item, context) {
        await outside()
        await transfer(item, context)
        await outside()
      },
      close,
    },
  })
  expect(new Map(Object.entries(tested.rows()))).toEqual(await referenceRun(program))
})

test('a source that never forks is not made to', async () => {
  const tested = await testIndexer({ ...program, forks: false, cases: 8 })
  const all = Array.from({ length: 8 }, (_, index) => tested.history(index)).flat()
  expect(all.filter(({ type }: HistoryEntry) => type === 'fork' || type === 'rollback')).toEqual([])
})

test('orphaned branches are such that handlers get through them: nothing is missing that they need', async () => {
  const tested = await testIndexer({
    blocks: blocks.map((block, at) => ({
      ...block,
      items: [
        { type: 'opened', id: at },
        { type: 'paid', id: at },
      ] as const,
    })),
    tables: { account: tables.account },
    handlers: {
      opened: ({ id }, { db }) => db.account.insert({ id: `${id}`, balance: 0n }),
      paid: ({ id }, { db }) => db.account.update(`${id}`, ({ balance }) => ({ balance: balance + 1n })),
    },
    cases: 12,
  })
  expect(tested.rows('account').map(({ balance }) => balance)).toEqual(blocks.map(() => 1n))
})
