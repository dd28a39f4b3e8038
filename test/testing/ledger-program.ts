/** A sound program, whose result depends on order, on every read and on every kind of write; and blocks for it. */
import { numeric, pgTable, primaryKey, text } from 'drizzle-orm/pg-core'
import { keyed, type Block, type Context } from '../../src/index.ts'
import { Seeded } from '../../src/testing/seeded.ts'

const whole = () => numeric({ precision: 78, scale: 0, mode: 'bigint' }).notNull()
const account = pgTable('account', {
  id: text().primaryKey(),
  balance: whole(),
})
const transfer = pgTable('transfer', {
  id: text().primaryKey(),
  amount: whole(),
})
const allowance = pgTable(
  'allowance',
  { owner: text().notNull(), spender: text().notNull(), amount: whole() },
  (table) => [primaryKey({ columns: [table.owner, table.spender] })],
)

export const tables = { account, transfer, allowance: keyed(allowance, 'owner', 'spender') }
type In = Context<typeof tables>

export type Item =
  | {
      readonly type: 'transfer'
      readonly id: string
      readonly from: string
      readonly to: string
      readonly amount: bigint
    }
  | { readonly type: 'close'; readonly account: string }

export const handlers = {
  async transfer({ id, from, to, amount }: Extract<Item, { type: 'transfer' }>, { db }: In) {
    const sender = await db.account.get(from)
    db.account.set({ id: from, balance: (sender?.balance ?? 0n) - amount })
    if ((await db.account.get(to)) === undefined) db.account.insert({ id: to, balance: amount })
    // nobody has to wait for it: it is applied before the handler has ended
    else void db.account.update(to, ({ balance }) => ({ balance: balance + amount }))
    db.transfer.insert({ id, amount })
    const allowed = await db.allowance.get({ owner: from, spender: to })
    db.allowance.set({ owner: from, spender: to, amount: (allowed?.amount ?? 0n) + amount })
  },
  async close({ account: owner }: Extract<Item, { type: 'close' }>, { db }: In) {
    for (const { spender } of await db.allowance.find({ where: { owner } }))
      db.allowance.delete({ owner, spender })
    db.account.delete(owner)
  },
}

export async function handleBlock(_: Block<Item>, { db, region }: In): Promise<void> {
  const [richest] = await db.account.find({ orderBy: { balance: 'desc' }, limit: 1 })
  region('world').publish({ richest: richest?.id ?? null })
}

export function blocksOf(count: number): Block<Item>[] {
  const random = new Seeded(7)
  const name = () => random.pick(['ada', 'bob', 'cyd', 'dan'])
  return Array.from({ length: count }, (_, at) => ({
    number: at + 1,
    timestamp: 1_700_000_000 + at,
    items: random.some(0, 3, (): Item =>
      random.chance(0.15)
        ? { type: 'close', account: name() }
        : {
            type: 'transfer',
            id: `${at + 1}-${random.below(1e9)}`,
            from: name(),
            to: name(),
            amount: BigInt(random.below(90)),
          },
    ),
  }))
}
