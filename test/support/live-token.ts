/**
 * An indexer of a token on a living chain, and what the chain itself says it must have made. Rows remember the hash of
 * their block, so that one that a fork should have taken with it shows.
 */
import { integer, numeric, pgTable, primaryKey, text } from 'drizzle-orm/pg-core'
import { decodeEventLog, encodeFunctionData, parseAbi, zeroAddress, type Address, type Hex } from 'viem'
import { createIndexer, keyed, type Db, type Indexer, type Store } from '../../src/index.ts'
import { evmSource } from '../../src/source/evm/index.ts'
import type { Anvil } from './anvil.ts'
import { erc20Abi } from './erc20.ts'

const amount = () => numeric({ precision: 78, scale: 0, mode: 'bigint' }).notNull()
const event = () => ({
  id: text().primaryKey(),
  block: text().notNull(),
  from: text().notNull(),
  to: text().notNull(),
  amount: amount(),
})
const account = pgTable('account', {
  address: text().primaryKey(),
  balance: amount(),
  moves: integer().notNull(),
})
const allowance = pgTable(
  'allowance',
  { owner: text().notNull(), spender: text().notNull(), amount: amount() },
  (table) => [primaryKey({ columns: [table.owner, table.spender] })],
)
const transfer = pgTable('transfer', event())
const approval = pgTable('approval', event())
const tables = { account, allowance: keyed(allowance, 'owner', 'spender'), transfer, approval }

export interface LiveIndexerOptions {
  readonly rpcUrl: string
  readonly chainId: number
  readonly token: Address
  readonly store: Store
  readonly historyDepth: number
  /** A block was handled; it is not durable yet. */
  readonly handled?: ((hash: string, checkpoint: bigint) => void) | undefined
}

/** Follows the head; one batch a block where blocks come one by one. */
export function liveIndexer({
  rpcUrl,
  chainId,
  token,
  store,
  historyDepth,
  handled,
}: LiveIndexerOptions): Indexer {
  return createIndexer({
    name: 'live',
    source: evmSource({
      rpcUrl,
      chainId,
      contracts: { token: { abi: erc20Abi, address: token } },
      fromBlock: 0,
      historyDepth,
      pollingIntervalMs: 5,
      retry: { baseMs: 1, maxMs: 5 },
    }),
    tables,
    handlers: {
      async 'token.Transfer'({ id, args: { from, to, value } }, { db, block }) {
        if (from !== zeroAddress) await move(db, from, -value)
        if (to !== zeroAddress) await move(db, to, value)
        db.transfer.insert({ id, block: String(block.hash), from, to, amount: value })
      },
      'token.Approval'({ id, args: { owner, spender, value } }, { db, block }) {
        db.allowance.set({ owner, spender, amount: value })
        db.approval.insert({ id, block: String(block.hash), from: owner, to: spender, amount: value })
      },
    },
    handleBlock(block, { preloading, checkpoint }) {
      if (!preloading) handled?.(String(block.hash), checkpoint)
    },
    store,
    // a commit that was held for long does not make the next group a small one
    limits: { groupLatencyMs: 1_000_000 },
  })
}

/** `moves` counts how often: a block applied twice, or taken back too often, shows even where amounts cancel out. */
async function move(db: Db<typeof tables>, address: string, value: bigint): Promise<void> {
  const found = await db.account.get(address)
  db.account.set({ address, balance: (found?.balance ?? 0n) + value, moves: (found?.moves ?? 0) + 1 })
}

// ── what is there, and what must be ─────────────────────────────────────────────────────────────────────────

/** Everything as text, in key order. */
export interface TokenRows {
  readonly transfers: readonly string[]
  readonly approvals: readonly string[]
  /** `address balance moves` */
  readonly accounts: readonly string[]
  readonly allowances: readonly string[]
}

type Query = (sql: string) => Promise<Record<string, unknown>[]>

export async function indexedRows(query: Query): Promise<TokenRows> {
  const lines = async (select: string) =>
    (await query(select)).map((row) => Object.values(row).map(String).join(' ')).toSorted()
  return {
    transfers: await lines('SELECT block, "from", "to", amount FROM transfer'),
    approvals: await lines('SELECT block, "from", "to", amount FROM approval'),
    accounts: await lines('SELECT address, balance, moves FROM account'),
    allowances: await lines('SELECT owner, spender, amount FROM allowance'),
  }
}

interface RawLog {
  readonly blockHash: Hex
  readonly topics: [Hex, ...Hex[]]
  readonly data: Hex
}

/** Events by `eth_getLogs`, balances and allowances by `eth_call`; nothing of it goes through the indexer. */
export async function rowsOfTheChain(anvil: Anvil, token: Address): Promise<TokenRows> {
  const logs = await anvil.request<RawLog[]>('eth_getLogs', [
    { address: token, fromBlock: '0x0', toBlock: 'latest' },
  ])
  const transfers: string[] = []
  const approvals: string[] = []
  const moves = new Map<Address, number>()
  const pairs = new Map<string, readonly [Address, Address]>()
  for (const { blockHash, topics, data } of logs) {
    const { eventName, args } = decodeEventLog({ abi: erc20Abi, topics, data })
    if (eventName === 'Transfer') {
      transfers.push(`${blockHash} ${args.from} ${args.to} ${args.value}`)
      for (const side of [args.from, args.to]) moves.set(side, (moves.get(side) ?? 0) + 1)
    } else {
      approvals.push(`${blockHash} ${args.owner} ${args.spender} ${args.value}`)
      pairs.set(`${args.owner} ${args.spender}`, [args.owner, args.spender])
    }
  }
  moves.delete(zeroAddress)
  const holders = [...moves.keys()]
  const balances = await ask(
    anvil,
    token,
    'balanceOf',
    holders.map((holder) => [holder] as const),
  )
  const allowances = await ask(anvil, token, 'allowance', [...pairs.values()])
  return {
    transfers: transfers.toSorted(),
    approvals: approvals.toSorted(),
    accounts: holders.map((holder, at) => `${holder} ${balances[at]} ${moves.get(holder)}`).toSorted(),
    allowances: [...pairs.keys()].map((pair, at) => `${pair} ${allowances[at]}`).toSorted(),
  }
}

const views = parseAbi([
  'function balanceOf(address) view returns (uint256)',
  'function allowance(address, address) view returns (uint256)',
])

async function ask(
  anvil: Anvil,
  token: Address,
  functionName: 'balanceOf' | 'allowance',
  subjects: readonly (readonly Address[])[],
): Promise<bigint[]> {
  const answers = await anvil.batch<Hex>(
    subjects.map((args) => [
      'eth_call',
      [{ to: token, data: encodeFunctionData({ abi: views, functionName, args: args as never }) }, 'latest'],
    ]),
  )
  return answers.map(BigInt)
}
