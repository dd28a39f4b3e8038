/**
 * What the tests of a running indexer share: a program whose result depends on order, on every read and on every kind
 * of write, blocks for it, a gated Postgres of its own, and a recorder to wait for events with.
 */
import { drizzle } from 'drizzle-orm/node-postgres'
import { integer, numeric, pgTable, primaryKey, text, type PgTable } from 'drizzle-orm/pg-core'
import pg from 'pg'
import { postgres, type PostgresOptions } from '../../src/commit/postgres.ts'
import type { Store } from '../../src/commit/store.ts'
import { keyed } from '../../src/index.ts'
import type { Block, Context, Indexer, IndexerEventName, IndexerEvents } from '../../src/index.ts'
import { gatedStore, referenceRun, type StoreGates } from '../../src/testing/index.ts'
import { dice } from './dice.ts'
import { createDatabase } from './postgres.ts'

// ── a program ───────────────────────────────────────────────────────────────────────────────────────────────

export const account = pgTable('account', {
  id: text().primaryKey(),
  balance: numeric({ precision: 78, scale: 0, mode: 'bigint' }).notNull(),
  moves: integer().notNull(),
})
export const transfer = pgTable('transfer', {
  id: text().primaryKey(),
  from: text().notNull(),
  to: text().notNull(),
  amount: integer().notNull(),
})
/** What `find` saw, so that a read at the wrong moment shows in the rows. */
export const board = pgTable('board', { id: text().primaryKey(), leaders: text().notNull() })
export const allowance = pgTable(
  'allowance',
  { owner: text().notNull(), spender: text().notNull(), amount: integer().notNull() },
  (table) => [primaryKey({ columns: [table.owner, table.spender] })],
)

export const tables = { account, transfer, board, allowance: keyed(allowance, 'owner', 'spender') }
export type Tables = typeof tables

export type Item =
  | {
      readonly type: 'transfer'
      readonly id: string
      readonly from: string
      readonly to: string
      readonly amount: number
    }
  | { readonly type: 'close'; readonly id: string; readonly account: string }
  | { readonly type: 'rank'; readonly id: string; readonly limit: number }

export const handlers = {
  async transfer(item: Extract<Item, { type: 'transfer' }>, { db }: Context<Tables>) {
    const from = await db.account.get(item.from)
    db.account.set({
      id: item.from,
      balance: (from?.balance ?? 0n) - BigInt(item.amount),
      moves: (from?.moves ?? 0) + 1,
    })
    if ((await db.account.get(item.to)) === undefined) {
      db.account.insert({ id: item.to, balance: BigInt(item.amount), moves: 1 })
    } else {
      await db.account.update(item.to, ({ balance, moves }) => ({
        balance: balance + BigInt(item.amount),
        moves: moves + 1,
      }))
    }
    db.transfer.insert({ id: item.id, from: item.from, to: item.to, amount: item.amount })
    const pair = { owner: item.from, spender: item.to }
    const allowed = await db.allowance.get(pair)
    db.allowance.set({ ...pair, amount: (allowed?.amount ?? 0) + item.amount })
  },
  async close(item: Extract<Item, { type: 'close' }>, { db }: Context<Tables>) {
    const owned = await db.allowance.find({ where: { owner: item.account } })
    for (const { owner, spender } of owned) db.allowance.delete({ owner, spender })
    db.account.delete(item.account)
  },
  async rank(item: Extract<Item, { type: 'rank' }>, { db }: Context<Tables>) {
    const leaders = await db.account.find({
      where: { moves: { gt: 1 } },
      orderBy: { balance: 'desc' },
      limit: item.limit,
    })
    const busy = await db.transfer.find({ where: { amount: { gte: 90 } }, orderBy: { id: 'desc' }, limit: 2 })
    const text = [...leaders.map(({ id, balance }) => `${id}=${balance}`), ...busy.map(({ id }) => id)]
    db.board.set({ id: item.id, leaders: text.join(' ') })
  },
}

export interface BlocksOptions {
  readonly from?: number
  readonly seed?: number
  readonly accounts?: number
  /** Makes ids of items, and so keys of rows, differ from those of another call. */
  readonly tag?: string
}

export function blocksOf(
  count: number,
  itemsPerBlock: number,
  { from = 1, seed = 1, accounts = 30, tag = '' }: BlocksOptions = {},
): Block<Item>[] {
  const random = dice(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  return Array.from({ length: count }, (_, at) => {
    const number = from + at
    const items = Array.from({ length: itemsPerBlock }, (_unused, index): Item => {
      const id = `${tag}${String(number).padStart(5, '0')}-${index}`
      const kind = random()
      if (kind < 0.05) return { type: 'close', id, account: `a${below(accounts)}` }
      if (kind < 0.12) return { type: 'rank', id, limit: 1 + below(4) }
      return {
        type: 'transfer',
        id,
        from: `a${below(accounts)}`,
        to: `a${below(accounts)}`,
        amount: below(100),
      }
    })
    return { number, items }
  })
}

export function expected(
  blocks: Iterable<Block<Item>>,
): Promise<Map<string, Readonly<Record<string, unknown>>[]>> {
  return referenceRun({ blocks, tables, handlers })
}

// ── a database ──────────────────────────────────────────────────────────────────────────────────────────────

export interface World extends AsyncDisposable {
  readonly connectionString: string
  readonly store: Store
  readonly gates: StoreGates
  /** An ungated store on the same database. */
  plainStore(options?: Partial<PostgresOptions>): Store
  query(sql: string, values?: unknown[]): Promise<Record<string, unknown>[]>
  /** Every row of every table of the program, in key order. */
  rows(): Promise<Map<string, Record<string, unknown>[]>>
  /** The pipeline's row. */
  pipeline(name: string): Promise<PipelineRow>
  /** Locks a table, by default against writes, on a connection of its own. */
  lock(
    table: string,
    mode?: 'SHARE' | 'ACCESS EXCLUSIVE',
  ): { readonly taken: Promise<void>; release(): Promise<void> }
  /** Resolves once so many sessions of this database wait for a lock, each for so long. */
  blocked(sessions: number, forMs?: number): Promise<void>
}

export interface PipelineRow {
  readonly epoch: number
  readonly commitNumber: number
  readonly committed: number
  readonly counter: number
  readonly token: string | null
  readonly backendPid: number | null
}

export async function createWorld(options: Partial<PostgresOptions> = {}): Promise<World> {
  const database = await createDatabase()
  const pool = new pg.Pool({ connectionString: database.connectionString, max: 2 })
  pool.on('error', () => undefined)
  const { connectionString } = database
  const plainStore = (more: Partial<PostgresOptions> = {}) =>
    postgres({ connectionString, createTables: true, ...options, ...more })
  const query = async (sql: string, values: unknown[] = []) =>
    (await pool.query<Record<string, unknown>>(sql, values)).rows
  return {
    connectionString,
    ...gatedStore(plainStore()),
    plainStore,
    query,
    rows: () => rowsOf(pool),
    async pipeline(name) {
      const [row] = await query(
        'SELECT epoch, commit_number, committed, counter, token, backend_pid FROM tailrace.pipelines WHERE name = $1',
        [name],
      )
      if (row === undefined) throw new Error(`there is no pipeline '${name}'`)
      return {
        epoch: Number(row['epoch']),
        commitNumber: Number(row['commit_number']),
        committed: Number(row['committed']),
        counter: Number(row['counter']),
        token: row['token'] as string | null,
        backendPid: row['backend_pid'] as number | null,
      }
    },
    lock(table, mode = 'SHARE') {
      // whatever the database's defaults are: a lock is held for as long as a test wants
      const options = '-c search_path=public -c idle_in_transaction_session_timeout=0'
      const client = new pg.Client({ connectionString, options })
      client.on('error', () => undefined)
      const taken = (async () => {
        await client.connect()
        await client.query(`BEGIN; LOCK TABLE "${table}" IN ${mode} MODE`)
      })()
      return {
        taken,
        async release() {
          await client.query('ROLLBACK')
          await client.end()
        },
      }
    },
    async blocked(sessions, forMs = 0) {
      for (;;) {
        const [found] = await query(
          `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
           AND clock_timestamp() - query_start >= $1 * interval '1 ms'`,
          [forMs],
        )
        if ((found!['n'] as number) >= sessions) return
      }
    },
    async [Symbol.asyncDispose]() {
      await pool.end()
      await database.drop()
    },
  }
}

/** Every row of every table of the program, in key order. */
export async function rowsOf(pool: pg.Pool): Promise<Map<string, Record<string, unknown>[]>> {
  const db = drizzle(pool)
  const all = new Map<string, Record<string, unknown>[]>()
  for (const [name, table] of Object.entries({ account, transfer, board, allowance }) as [
    string,
    PgTable,
  ][]) {
    const rows = await db.select().from(table)
    const keys = name === 'allowance' ? ['owner', 'spender'] : ['id']
    all.set(
      name,
      rows.toSorted((a, b) => {
        for (const key of keys) {
          const [left, right] = [String(a[key]), String(b[key])]
          if (left !== right) return left < right ? -1 : 1
        }
        return 0
      }),
    )
  }
  return all
}

// ── events ──────────────────────────────────────────────────────────────────────────────────────────────────

const names = [
  'batch.processed',
  'batch.committed',
  'commit.retrying',
  'fork',
  'rollback.started',
  'rollback.committed',
  'ownership',
  'region.settled',
  'region.health',
  'caughtUp',
  'state',
] as const satisfies readonly IndexerEventName[]

type Seen = {
  readonly [N in IndexerEventName]: { readonly name: N; readonly event: IndexerEvents[N] }
}[IndexerEventName]

export interface Watch {
  /** Everything that was said, in order. */
  readonly seen: readonly Seen[]
  of<N extends IndexerEventName>(name: N): IndexerEvents[N][]
  /** The first such event, past or future. */
  until<N extends IndexerEventName>(
    name: N,
    accept?: (event: IndexerEvents[N]) => boolean,
  ): Promise<IndexerEvents[N]>
}

export function watch(indexer: Indexer): Watch {
  const seen: Seen[] = []
  let waiting: { readonly check: (said: Seen) => boolean }[] = []
  for (const name of names) {
    indexer.on(name, (event: unknown) => {
      const said = { name, event } as Seen
      seen.push(said)
      waiting = waiting.filter(({ check }) => !check(said))
    })
  }
  return {
    seen,
    of: (name) => seen.filter((said) => said.name === name).map(({ event }) => event) as never,
    until: (name, accept = () => true) =>
      new Promise((resolve) => {
        const check = (said: Seen) => {
          if (said.name !== name || !accept(said.event as never)) return false
          resolve(said.event as never)
          return true
        }
        if (!seen.some(check)) waiting.push({ check })
      }),
  }
}

/** A promise to be settled from outside. */
export function deferred<T = void>(): {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(error: unknown): void
} {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

// ── the smallest program: item n sets row n ─────────────────────────────────────────────────────────────────

export const row = pgTable('row', { id: integer().primaryKey(), value: integer().notNull() })

/** Blocks 1…count, each with its number as its only item. */
export function numbered(count: number, from = 1): Block<number>[] {
  return Array.from({ length: count }, (_, at) => ({ number: from + at, items: [from + at] }))
}

export const setRow = (item: number, { db }: Context<{ row: typeof row }>) =>
  db.row.set({ id: item, value: item })
