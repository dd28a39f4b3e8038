/** What the compiler knows: items by handler, rows by table, keys, filters. Compiled by `npm run check:types`. */
import { integer, numeric, pgTable, primaryKey, text } from 'drizzle-orm/pg-core'
import { expectTypeOf, test } from 'vitest'
import { createIndexer, keyed, memorySource } from '../../src/index.ts'
import type { Block, Indexer, IndexerStatus, Outcome, Source, TailraceError } from '../../src/index.ts'
import { memoryStore, simulatedChain } from '../../src/testing/index.ts'

const account = pgTable('account', {
  id: text().primaryKey(),
  balance: numeric({ precision: 78, scale: 0, mode: 'bigint' }).notNull(),
  note: text(),
  moves: integer().notNull().default(0),
})
const allowance = pgTable(
  'allowance',
  { owner: text().notNull(), spender: integer().notNull(), amount: integer().notNull() },
  (table) => [primaryKey({ columns: [table.owner, table.spender] })],
)

type Transfer = { readonly type: 'transfer'; readonly amount: bigint }
type Approval = { readonly type: 'approval'; readonly spender: number }
interface AccountRow {
  id: string
  balance: bigint
  note: string | null
  moves: number
}

const source = memorySource<Transfer | Approval>({ id: 'm', blocks: [] })
const tables = { account, allowance: keyed(allowance, 'owner', 'spender') }
const store = memoryStore()

test('handlers get their item, tables give and take drizzle’s rows', () => {
  const indexer = createIndexer({
    name: 'types',
    source,
    tables,
    handlers: {
      async transfer(item, { db, block, checkpoint, preloading, signal }) {
        expectTypeOf(item).toEqualTypeOf<Transfer>()
        expectTypeOf(checkpoint).toEqualTypeOf<bigint>()
        expectTypeOf(preloading).toEqualTypeOf<boolean>()
        expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
        expectTypeOf(block).toExtend<Block>()

        expectTypeOf(await db.account.get('a')).toEqualTypeOf<Readonly<AccountRow> | undefined>()
        expectTypeOf(await db.account.getOrThrow('a')).toEqualTypeOf<Readonly<AccountRow>>()
        expectTypeOf(await db.account.getMany(['a'])).toEqualTypeOf<(Readonly<AccountRow> | undefined)[]>()
        expectTypeOf(await db.account.find()).toEqualTypeOf<Readonly<AccountRow>[]>()
        db.account.set({ id: 'a', balance: 1n })
        db.account.insert({ id: 'a', balance: 1n, note: null, moves: 2 })
        await db.account.update('a', { balance: 2n })
        await db.account.update('a', (row) => ({ balance: row.balance + 1n }))
        await db.allowance.get({ owner: 'a', spender: 1 })
        db.allowance.delete({ owner: 'a', spender: 1 })
        await db.account.find({
          where: { balance: { gt: 1n }, note: null, or: [{ id: 'a' }, { not: { moves: { in: [1, 2] } } }] },
          orderBy: { balance: 'desc', id: { direction: 'asc', nulls: 'first' } },
          limit: 1,
          offset: 2,
        })
        await db.account.find({ orderBy: [{ moves: 'asc' }, { id: 'desc' }] })
      },
      async approval(item, { db }) {
        expectTypeOf(item).toEqualTypeOf<Approval>()
        const row = await db.account.getOrThrow('a')
        // @ts-expect-error -- rows are frozen
        row.balance = 1n
        // @ts-expect-error -- a key is a string
        await db.account.get(1)
        // @ts-expect-error -- a composite key is whole
        await db.allowance.get({ owner: 'a' })
        // @ts-expect-error -- of the right types
        await db.allowance.get({ owner: 'a', spender: 'b' })
        // @ts-expect-error -- columns that must be there
        db.account.set({ id: 'a' })
        // @ts-expect-error -- of the right types
        db.account.insert({ id: 'a', balance: 1 })
        // @ts-expect-error -- an unknown column
        await db.account.find({ where: { colour: 1 } })
        // @ts-expect-error -- a value of the column's type
        await db.account.find({ where: { balance: 'many' } })
        // @ts-expect-error -- an unknown operator
        await db.account.find({ where: { balance: { like: 'x' } } })
        // @ts-expect-error -- a direction
        await db.account.find({ orderBy: { balance: 'up' } })
        // @ts-expect-error -- an unknown column
        await db.account.find({ orderBy: { colour: 'asc' } })
        // @ts-expect-error -- an unknown table
        await db.accounts.get('a')
      },
    },
    handleBlock(block) {
      expectTypeOf(block.items).toEqualTypeOf<readonly (Transfer | Approval)[]>()
    },
    preload(blocks) {
      expectTypeOf(blocks).toEqualTypeOf<readonly Block<Transfer | Approval>[]>()
    },
    store,
  })
  expectTypeOf(indexer).toEqualTypeOf<Indexer>()
  expectTypeOf(indexer.run).returns.toEqualTypeOf<Promise<Outcome>>()
  expectTypeOf(indexer.status()).toEqualTypeOf<IndexerStatus>()
  indexer.on('batch.committed', (event) => expectTypeOf(event.checkpoint).toEqualTypeOf<bigint>())
  // @ts-expect-error -- an unknown event
  indexer.on('batch.done', () => undefined)
})

test('a handler for every type of item, and for no other', () => {
  const typed = () => {
    createIndexer({
      name: 'types',
      source,
      tables,
      // @ts-expect-error -- 'approval' is missing
      handlers: { transfer: () => undefined },
      store,
    })
    createIndexer({
      name: 'types',
      source,
      tables,
      // @ts-expect-error -- nothing emits 'mint'
      handlers: { transfer: () => undefined, approval: () => undefined, mint: () => undefined },
      store,
    })
  }
  expectTypeOf(typed).toBeFunction()
})

test('one handle gets every item; several sources, the union of theirs', () => {
  const ticks: Source<{ readonly at: number }> = {
    id: 't',
    open: () => simulatedChain<{ readonly at: number }>({ id: 't' }).source.open({} as never),
  }
  createIndexer({
    name: 'types',
    source: [source, ticks],
    tables,
    handle(item) {
      expectTypeOf(item).toEqualTypeOf<Transfer | Approval | { readonly at: number }>()
    },
    store,
  })
  createIndexer({
    name: 'types',
    source: simulatedChain<number>({ id: 'c' }).source,
    tables: { account },
    handle: (item, { db }) => {
      expectTypeOf(item).toEqualTypeOf<number>()
      // @ts-expect-error -- not one of the tables
      db.allowance.delete({ owner: 'a', spender: 1 })
    },
    store,
  })
})

test('composite keys are declared, with columns of the table', () => {
  const wrong = () => {
    // @ts-expect-error -- no such column
    keyed(allowance, 'owner', 'colour')
    createIndexer({
      name: 'types',
      source,
      // @ts-expect-error -- the key must be declared
      tables: { allowance },
      handle: () => undefined,
      store,
    })
  }
  expectTypeOf(wrong).toBeFunction()
})

test('an outcome is told apart by its status', () => {
  const read = (outcome: Outcome) => {
    expectTypeOf(outcome.committed).toEqualTypeOf<bigint>()
    expectTypeOf(outcome.inDoubt).toEqualTypeOf<
      { readonly from: bigint; readonly upTo: bigint } | undefined
    >()
    if (outcome.status === 'failed') {
      expectTypeOf(outcome.error).toEqualTypeOf<TailraceError>()
      expectTypeOf(outcome.suppressed).toEqualTypeOf<readonly TailraceError[]>()
    } else if (outcome.status === 'superseded') {
      expectTypeOf(outcome.owner?.epoch).toEqualTypeOf<bigint | undefined>()
    } else {
      // @ts-expect-error -- only a failed run has one
      void outcome.error
    }
  }
  expectTypeOf(read).toBeFunction()
})
