/**
 * Compares everything that was indexed with what the chain itself says. Neither side goes through tailrace: rows are
 * read with drizzle, the contract is asked with viem. What the regions show is compared with the rows.
 */
import { max } from 'drizzle-orm'
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import pg from 'pg'
import type { RegionPublisher } from 'tailrace'
import type { Chain } from './chain.ts'
import { Contract, eventLine } from './contract.ts'
import { account, allowance, approvalEvent, transferEvent } from './schema.ts'
import { checkDesks } from './verify-desks.ts'

export interface Check {
  readonly what: string
  readonly checked: number
  /** Empty: everything is as the chain says. */
  readonly differences: readonly string[]
  /** Why differences of this check prove nothing; they are shown and do not count. */
  readonly unless?: string | undefined
}

export interface Verification {
  /** Block at which the chain was asked; `undefined`: nothing was committed. */
  readonly block: number | undefined
  readonly checks: readonly Check[]
}

/** @param isComplete the whole range was indexed; otherwise the chain is asked at the last block that was */
export async function verify(
  chain: Chain,
  connectionString: string,
  regions: RegionPublisher,
  isComplete: boolean,
): Promise<Verification> {
  const pool = new pg.Pool({ connectionString })
  try {
    const db = drizzle(pool)
    const block = isComplete ? chain.toBlock : await lastIndexedBlock(db)
    if (block === undefined) return { block, checks: [] }
    const contract = new Contract(chain, block)
    const checks = [await checkBalances(db, contract), await checkAllowances(db, contract, chain)]
    if (chain.live !== undefined) {
      checks.push(await checkSupply(db, contract), ...(await checkEvents(db, contract)))
    }
    checks.push(await checkDesks(db, regions, isComplete ? block : undefined))
    return { block, checks }
  } finally {
    await pool.end()
  }
}

/** Blocks after it had no event, or were not committed: in both cases nothing of them is in the tables. */
async function lastIndexedBlock(db: NodePgDatabase): Promise<number | undefined> {
  const [transfers] = await db.select({ block: max(transferEvent.block) }).from(transferEvent)
  const [approvals] = await db.select({ block: max(approvalEvent.block) }).from(approvalEvent)
  const block = Math.max(transfers?.block ?? -1, approvals?.block ?? -1)
  return block === -1 ? undefined : block
}

async function checkBalances(db: NodePgDatabase, contract: Contract): Promise<Check> {
  const rows = await db.select().from(account)
  const truth = await contract.balances(rows.map(({ address }) => address))
  return {
    what: 'balances',
    checked: rows.length,
    differences: rows.flatMap(({ address, balance }, index) =>
      balance === truth[index] ? [] : [`${address} has ${truth[index]}, indexed ${balance}`],
    ),
  }
}

async function checkAllowances(db: NodePgDatabase, contract: Contract, chain: Chain): Promise<Check> {
  const rows = await db.select().from(allowance)
  const truth = await contract.allowances(rows)
  return {
    what: 'allowances',
    checked: rows.length,
    differences: rows.flatMap(({ owner, spender, amount }, index) =>
      amount === truth[index] ? [] : [`${owner} → ${spender} is ${truth[index]}, indexed ${amount}`],
    ),
    unless:
      chain.live === undefined
        ? 'ERC-20 lets a token spend an allowance without an event; then events alone cannot tell it'
        : undefined,
  }
}

async function checkSupply(db: NodePgDatabase, contract: Contract): Promise<Check> {
  const rows = await db.select({ balance: account.balance }).from(account)
  const sum = rows.reduce((total, { balance }) => total + balance, 0n)
  const supply = await contract.totalSupply()
  const differences = sum === supply ? [] : [`the supply is ${supply}, the balances add up to ${sum}`]
  return { what: 'total supply', checked: 1, differences }
}

async function checkEvents(db: NodePgDatabase, contract: Contract): Promise<Check[]> {
  const truth = await contract.events()
  const transfers = await db.select().from(transferEvent)
  const approvals = await db.select().from(approvalEvent)
  return [
    compared(
      'transfer rows',
      transfers.map(({ block, from, to, amount }) => eventLine(block, from, to, amount)),
      truth.transfers,
    ),
    compared(
      'approval rows',
      approvals.map(({ block, owner, spender, amount }) => eventLine(block, owner, spender, amount)),
      truth.approvals,
    ),
  ]
}

/** Each as often here as there: none is missing, and none is left of a block that was replaced. */
function compared(what: string, rows: readonly string[], truth: readonly string[]): Check {
  const missing = new Map<string, number>()
  for (const line of truth) missing.set(line, (missing.get(line) ?? 0) + 1)
  for (const line of rows) missing.set(line, (missing.get(line) ?? 0) - 1)
  const differences = [...missing].flatMap(([line, times]) =>
    times === 0 ? [] : [times > 0 ? `missing: ${line}` : `not on the chain: ${line}`],
  )
  return { what, checked: rows.length, differences }
}
