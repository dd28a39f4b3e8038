/** What any suite would have: one plain run of a few batches, nothing held back. A mutant that dies here proves nothing. */
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { expect, test } from 'vitest'
import { createIndexer, memorySource, type Context } from '../../src/index.ts'
import { memoryStore, referenceRun } from '../../src/testing/index.ts'

const account = pgTable('account', { id: text().primaryKey(), balance: integer().notNull() })
const transfer = pgTable('transfer', { id: text().primaryKey(), amount: integer().notNull() })
const tables = { account, transfer }

test('happy path: balances and transfers of forty blocks', async () => {
  const blocks = Array.from({ length: 40 }, (_, block) => ({
    number: block + 1,
    items: Array.from({ length: 5 }, (_, item) => ({
      id: `${block}-${item}`,
      from: `a${(block * 3 + item) % 11}`,
      to: `a${(block + item * 2) % 11}`,
      amount: item + 1,
    })),
  }))
  const program = {
    tables,
    async handle(item: (typeof blocks)[number]['items'][number], { db }: Context<typeof tables>) {
      const from = await db.account.get(item.from)
      db.account.set({ id: item.from, balance: (from?.balance ?? 0) - item.amount })
      const to = await db.account.get(item.to)
      db.account.set({ id: item.to, balance: (to?.balance ?? 0) + item.amount })
      db.transfer.insert({ id: item.id, amount: item.amount })
    },
  }
  const store = memoryStore()
  const source = memorySource({ id: 'blocks', blocks })
  const outcome = await createIndexer({
    name: 'happy',
    source,
    ...program,
    store,
    limits: { batchItems: 20 },
  }).run()
  expect(outcome.status).toBe('finished')
  const reference = await referenceRun({ blocks, ...program })
  for (const name of ['account', 'transfer']) expect(store.rows(name)).toEqual(reference.get(name))
})
