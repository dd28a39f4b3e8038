/** What any suite would have: plain runs of a few batches, nothing held back. A mutant that dies here proves nothing. */
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { expect, test } from 'vitest'
import { createIndexer, memorySource, type Context } from '../../src/index.ts'
import { memoryRegions } from '../../src/publish/memory.ts'
import { memoryStore, referenceRun, simulatedChain } from '../../src/testing/index.ts'

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

test('happy path: every region shows what was published last', async () => {
  const blocks = Array.from({ length: 12 }, (_, block) => ({ number: block + 1, items: [block] }))
  const regions = memoryRegions()
  const outcome = await createIndexer({
    name: 'happy',
    source: memorySource({ id: 'blocks', blocks }),
    tables,
    handleBlock({ number }, { db, region }) {
      db.transfer.insert({ id: `${number}`, amount: number })
      for (const name of ['north', 'south']) region(name).publish({ number })
    },
    store: memoryStore(),
    regions,
    limits: { batchItems: 3 },
  }).run()
  expect(outcome.status).toBe('finished')
  const shown = await regions.read(['north', 'south'])
  for (const name of ['north', 'south']) expect(shown.get(name)?.body).toEqual({ number: 12 })
})

test('happy path: a fork of two blocks', async () => {
  const blocksOf = (branch: string, ...numbers: readonly number[]) =>
    numbers.map((number) => ({ number, items: [`${branch}${number}`] }))
  const program = {
    tables,
    handle: (id: string, { db }: Context<typeof tables>) => db.transfer.insert({ id, amount: 1 }),
  }
  const chain = simulatedChain<string>({ id: 'chain', historyDepth: 5 })
  chain.append(blocksOf('a', 1, 2, 3, 4, 5, 6))
  const store = memoryStore()
  const indexer = createIndexer({ name: 'happy', source: chain.source, ...program, store })
  indexer.on('batch.committed', ({ checkpoint }) => {
    if (checkpoint !== 6n) return
    chain.fork({ above: 4, blocks: blocksOf('b', 5, 6, 7) })
    chain.end()
  })
  expect((await indexer.run()).status).toBe('finished')
  const reference = await referenceRun({ blocks: chain.blocks, ...program })
  expect(store.rows('transfer')).toEqual(reference.get('transfer'))
})
