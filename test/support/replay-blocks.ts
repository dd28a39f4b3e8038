/** What replayed paths work on: tables, blocks, their handler, and the tables they make, one item after the other. */
import assert from 'node:assert/strict'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { createIndexer, memorySource, type Block, type Context, type Store } from '../../src/index.ts'
import { referenceRun } from '../../src/testing/index.ts'

export const replayTables = {
  account: pgTable('account', {
    id: text().primaryKey(),
    balance: integer().notNull(),
    seen: integer().notNull(),
  }),
  transfer: pgTable('transfer', { id: text().primaryKey(), amount: integer().notNull() }),
}
export type ReplayTables = typeof replayTables
export type Rows = Readonly<Record<keyof ReplayTables, readonly unknown[]>>

export interface ReplayItem {
  readonly id: string
  readonly account: string
  readonly amount: number
}

/** Blocks in a batch; ten checkpoints of the model are so many of the real indexer. */
export const width = 2
export const history = 1_000
/** What the model finds committed, and how many batches it is: as many as there are forks below it. */
export const base = { model: 100, batches: 4 }
export const replayName = 'replayed'

export function blockAt(number: number, branch: number): Block<ReplayItem> {
  const id = `${String(branch).padStart(3, '0')}-${String(number).padStart(4, '0')}`
  const account = 'abc'[(number + branch) % 3]!
  return { number, hash: id, items: [{ id, account, amount: (number * 7 + branch * 3) % 11 }] }
}

/** Reads what earlier batches wrote, by key and by order, and keeps both. */
export async function handle(item: ReplayItem, { db }: Context<ReplayTables>): Promise<void> {
  const own = await db.account.get(item.account)
  const top = await db.account.find({ orderBy: { balance: 'desc' }, limit: 2 })
  const seen = top.reduce((sum, row) => (sum * 31 + row.balance) % 9_973, 0)
  db.account.set({ id: item.account, balance: (own?.balance ?? 0) + item.amount, seen })
  db.transfer.insert({ id: item.id, amount: item.amount })
}

const references = new Map<string, Promise<Rows>>()

/** The tables after these blocks, one item after the other. */
export function reference(blocks: readonly Block<ReplayItem>[]): Promise<Rows> {
  const key = blocks.map((block) => block.hash).join()
  let rows = references.get(key)
  if (rows === undefined) {
    rows = referenceRun({ blocks, tables: replayTables, handle }).then((tables) => ({
      account: tables.get('account')!,
      transfer: tables.get('transfer')!,
    }))
    references.set(key, rows)
  }
  return rows
}

export const baseBlocks = Array.from({ length: width * base.batches }, (_, index) => blockAt(index + 1, 0))

/** What is committed before a path begins. @returns how many bytes a staged batch has */
export async function prepare(store: Store): Promise<number> {
  const indexer = createIndexer({
    name: replayName,
    source: memorySource<ReplayItem>({ id: 'chain', historyDepth: history, blocks: baseBlocks }),
    tables: replayTables,
    handle,
    store,
    limits: { batchItems: width },
  })
  let bytes = 0
  indexer.on('batch.processed', ({ stagedBytes }) => (bytes ||= stagedBytes))
  const outcome = await indexer.run()
  assert.equal(outcome.status, 'finished')
  return bytes
}
