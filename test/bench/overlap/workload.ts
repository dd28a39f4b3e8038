/** Three programs, each with blocks of one batch each, whose handlers and commits take about equally long. */
import { index, integer, numeric, pgTable, text } from 'drizzle-orm/pg-core'
import type { TablesInput } from '../../../src/db.ts'
import type { Block, Context } from '../../../src/index.ts'

export interface Workload {
  readonly name: string
  readonly tables: TablesInput
  readonly blocks: readonly Block[]
  readonly handle: (item: unknown, context: Context) => unknown
  /** SQL that fills the tables as every measurement finds them. */
  readonly fill: readonly string[]
}

function workload<Tables extends TablesInput, Item>(
  given: Omit<Workload, 'tables' | 'handle' | 'blocks'> & {
    readonly tables: Tables
    readonly blocks: readonly Block<Item>[]
    readonly handle: (item: Item, context: Context<Tables>) => Promise<void>
  },
): Workload {
  return given as unknown as Workload
}

/** Repeatable; good enough to spread keys. https://en.wikipedia.org/wiki/Linear_congruential_generator */
function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

function blocksOf<Item>(count: number, items: (block: number) => readonly Item[]): Block<Item>[] {
  return Array.from({ length: count }, (_, index) => ({ number: index + 1, items: items(index) }))
}

// ── handlers that never leave memory: decoding, arithmetic, rows that are known ─────────────────────────────

const pool = pgTable('pool', {
  id: text().primaryKey(),
  reserve0: numeric({ precision: 78, mode: 'bigint' }).notNull(),
  reserve1: numeric({ precision: 78, mode: 'bigint' }).notNull(),
  swaps: integer().notNull(),
})
const swap = pgTable(
  'swap',
  {
    id: text().primaryKey(),
    trader: text().notNull(),
    hops: integer().notNull(),
    amountIn: numeric({ precision: 78, mode: 'bigint' }).notNull(),
    amountOut: numeric({ precision: 78, mode: 'bigint' }).notNull(),
  },
  (table) => [index('swap_trader').on(table.trader)],
)
const hop = pgTable('hop', {
  id: text().primaryKey(),
  pool: text().notNull(),
  amountIn: numeric({ precision: 78, mode: 'bigint' }).notNull(),
  amountOut: numeric({ precision: 78, mode: 'bigint' }).notNull(),
  price: numeric({ precision: 78, mode: 'bigint' }).notNull(),
})

const pools = 200
const wordsPerHop = 4

interface Log {
  readonly id: string
  readonly trader: string
  /** As a node gives it: 32-byte words in hex. Empty: the pools are created. */
  readonly data: string
}

function swapLogs(count: number, hops: number, below: (limit: number) => number, block: number): Log[] {
  if (block === 0) return [{ id: 'genesis', trader: '', data: '0x' }]
  const word = (value: bigint) => value.toString(16).padStart(64, '0')
  return Array.from({ length: count }, (_, item) => {
    const words = Array.from({ length: hops }, () => [
      word(BigInt(below(pools))),
      word(10n ** 15n + BigInt(below(1_000_000_000))),
      word((1n << 96n) + BigInt(below(2_000_000_000)) ** 2n),
      word(10n ** 20n + BigInt(below(1_000_000_000)) ** 2n),
    ])
    return {
      id: `${block}-${item}-0x${below(2 ** 32).toString(16)}`,
      trader: `0x${word(BigInt(below(5_000))).slice(24)}`,
      data: `0x${words.flat().join('')}`,
    }
  })
}

function poolId(number: bigint): string {
  return `0x${number.toString(16).padStart(40, '0')}`
}

export function memoryWorkload(batches: number, items: number, hops: number): Workload {
  const below = random(1)
  return workload({
    name: 'memory',
    tables: { pool, swap, hop },
    blocks: blocksOf(batches + 1, (block) => swapLogs(items, hops, below, block)),
    fill: [],
    async handle({ id, trader, data }, { db }) {
      if (data === '0x') {
        const ids = Array.from({ length: pools }, (_, number) => poolId(BigInt(number)))
        // looked up, and therefore known from here on
        const known = await db.pool.getMany(ids)
        for (const [index, id] of ids.entries()) {
          if (known[index] !== undefined) continue
          db.pool.insert({ id, reserve0: 10n ** 24n, reserve1: 10n ** 24n, swaps: 0 })
        }
        return
      }
      let first = 0n
      let amount = 0n
      for (let index = 0; index < hops; index++) {
        const word = (offset: number) => {
          const at = 2 + (index * wordsPerHop + offset) * 64
          return BigInt(`0x${data.slice(at, at + 64)}`)
        }
        const key = poolId(word(0))
        const known = await db.pool.getOrThrow(key)
        const amountIn = index === 0 ? word(1) : amount
        const sqrtPrice = word(2)
        const price = (sqrtPrice * sqrtPrice * 10n ** 18n) >> 192n
        const afterFee = amountIn * 9_970n
        const out = (afterFee * known.reserve1) / (known.reserve0 * 10_000n + afterFee)
        const impact = (out * 10n ** 18n) / (word(3) + out)
        db.pool.set({
          id: key,
          reserve0: known.reserve0 + amountIn,
          reserve1: known.reserve1 - out,
          swaps: known.swaps + 1,
        })
        db.hop.insert({ id: `${id}-${index}`, pool: key, amountIn, amountOut: out, price: price - impact })
        if (index === 0) first = amountIn
        amount = out
      }
      db.swap.insert({ id, trader, hops, amountIn: first, amountOut: amount })
    },
  })
}

// ── handlers that use `find` ────────────────────────────────────────────────────────────────────────────────

const position = pgTable(
  'position',
  {
    id: text().primaryKey(),
    owner: text().notNull(),
    size: integer().notNull(),
    pnl: numeric({ precision: 78, mode: 'bigint' }).notNull(),
  },
  (table) => [index('position_owner').on(table.owner)],
)
const fill = pgTable('fill', {
  id: text().primaryKey(),
  position: text().notNull(),
  price: integer().notNull(),
  pnl: numeric({ precision: 78, mode: 'bigint' }).notNull(),
})

const owners = 2_000
const positionsPerOwner = 6

interface Trade {
  readonly id: string
  readonly owner: string
  readonly price: number
}

/** @param fills rows that each trade writes beside the positions it changes */
export function findWorkload(batches: number, items: number, fills: number): Workload {
  const below = random(2)
  return workload({
    name: 'find',
    tables: { position, fill },
    blocks: blocksOf(batches, (block) =>
      Array.from({ length: items }, (_, item): Trade => ({
        id: `${block}-${item}-0x${below(2 ** 32).toString(16)}`,
        owner: `owner-${below(owners)}`,
        price: below(1_000_000),
      })),
    ),
    fill: [
      `INSERT INTO position SELECT o || '-' || p, 'owner-' || o, (o * 31 + p * 17) % 1000, 0
        FROM generate_series(0, ${owners - 1}) o, generate_series(1, ${positionsPerOwner}) p`,
      'ANALYZE position',
    ],
    async handle({ id, owner, price }, { db }) {
      // keeps owner and size, so that the answer has as many rows whether or not earlier batches are committed
      const largest = await db.position.find({ where: { owner }, orderBy: { size: 'desc' }, limit: 3 })
      for (const found of largest) {
        const pnl = found.pnl + BigInt(found.size) * BigInt(price - 500_000)
        db.position.set({ ...found, pnl })
        for (let part = 0; part < fills; part++) {
          db.fill.insert({
            id: `${id}-${found.id}-${part}`,
            position: found.id,
            price,
            pnl: pnl / BigInt(part + 1),
          })
        }
      }
    },
  })
}

// ── batches of 10 MB ────────────────────────────────────────────────────────────────────────────────────────

const document = pgTable('document', {
  id: integer().primaryKey(),
  author: text().notNull(),
  total: integer().notNull(),
  body: text().notNull(),
})

interface Received {
  readonly id: number
  readonly body: string
}

interface Order {
  readonly author: string
  readonly lines: readonly { readonly sku: string; readonly quantity: number; readonly cents: number }[]
}

/** Texts that many rows share: 10 MB of rows are not 10 MB of heap. */
const bodies = 64

export function largeWorkload(batches: number, items: number): Workload {
  const below = random(3)
  const texts = Array.from({ length: bodies }, (_, author) => {
    const order: Order = {
      author: `author-${author}`,
      lines: Array.from({ length: 20 }, () => ({
        sku: `sku-${below(2 ** 32).toString(16)}`,
        quantity: below(10),
        cents: below(10_000),
      })),
    }
    return JSON.stringify(order)
  })
  return workload({
    name: '10 MB batches',
    tables: { document },
    blocks: blocksOf(batches, (block) =>
      Array.from({ length: items }, (_, item): Received => ({
        id: block * items + item,
        body: texts[below(bodies)]!,
      })),
    ),
    fill: [],
    async handle({ id, body }, { db }) {
      const { author, lines } = JSON.parse(body) as Order
      let total = 0
      for (const { quantity, cents } of lines) total += quantity * cents
      db.document.insert({ id, author, total, body })
    },
  })
}
