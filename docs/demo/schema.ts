/** The tables: plain drizzle, in a Postgres schema of their own so that no table of yours is touched. */
import { bigint, index, integer, numeric, pgSchema, primaryKey, text } from 'drizzle-orm/pg-core'

export const schemaName = 'tailrace_demo'
const demo = pgSchema(schemaName)

/** uint256, as drizzle reads it back: a bigint. */
const uint256 = () => numeric({ precision: 78, scale: 0, mode: 'bigint' })

/** What every event row has. `id` is the source's: it names a place in the chain. */
const event = () => ({
  id: text().primaryKey(),
  block: integer().notNull(),
  /** Unix seconds. */
  timestamp: bigint({ mode: 'number' }).notNull(),
  amount: uint256().notNull(),
})

export const account = demo.table(
  'account',
  { address: text().primaryKey(), desk: integer().notNull(), balance: uint256().notNull() },
  (table) => [index().on(table.desk)],
)

/** What is known of a desk without looking at its accounts. */
export const desk = demo.table('desk', {
  id: integer().primaryKey(),
  held: uint256().notNull(),
  sent: integer().notNull(),
  received: integer().notNull(),
})

export const allowance = demo.table(
  'allowance',
  { owner: text().notNull(), spender: text().notNull(), amount: uint256().notNull() },
  (table) => [primaryKey({ columns: [table.owner, table.spender] })],
)

export const transferEvent = demo.table(
  'transfer_event',
  { ...event(), from: text().notNull(), to: text().notNull() },
  (table) => [index().on(table.from), index().on(table.to)],
)

export const approvalEvent = demo.table(
  'approval_event',
  { ...event(), owner: text().notNull(), spender: text().notNull() },
  (table) => [index().on(table.owner)],
)
