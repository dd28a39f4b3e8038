/**
 * A run with everything that an inspector is for: overlap, groups, a budget that fills while a commit is held, a fork, a
 * region that fails, and at the end whatever is asked for. Real charts on a store in memory that takes its time.
 */
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { createIndexer, type Block, type Indexer } from '../../src/index.ts'
import { RetryableError } from '../../src/errors.ts'
import { memoryRegions } from '../../src/publish/memory.ts'
import type { RegionPublisher } from '../../src/publish/port.ts'
import {
  gatedStore,
  memoryStore,
  simulatedChain,
  type SimulatedChain,
  type StoreGates,
} from '../../src/testing/index.ts'
import type { Store } from '../../src/commit/store.ts'

const move = pgTable('move', { id: text().primaryKey(), note: text().notNull(), amount: integer().notNull() })

export interface Item {
  readonly id: string
  readonly amount: number
}

export interface Paces {
  /** Milliseconds of a block's handlers, of a commit, of a delivery. */
  readonly blockMs: number
  readonly commitMs: number
  readonly regionMs: number
}

export interface Watched {
  readonly indexer: Indexer
  readonly chain: SimulatedChain<Item>
  readonly gates: StoreGates
  /** Appends so many blocks. */
  grow(blocks: number): void
  /** Orphans the newest blocks and puts others in their place. */
  fork(depth: number): void
  /** From the next item on handlers throw this. */
  breakHandlers(error: Error): void
}

export interface WatchedOptions {
  readonly name?: string
  readonly paces?: Partial<Paces>
  /** Names of regions; those in `failing` cannot be delivered, with these words. */
  readonly regions?: readonly string[]
  readonly failing?: Readonly<Record<string, string>>
  readonly stagedBytes?: number
  readonly itemsPerBlock?: number
  readonly attempts?: number
}

const after = (ms: number) =>
  ms === 0 ? Promise.resolve() : new Promise<void>((resolve) => setTimeout(resolve, ms))

export function watched(options: WatchedOptions = {}): Watched {
  const { name = 'transfers', regions = ['north', 'south'], failing = {}, stagedBytes = 400_000 } = options
  const { itemsPerBlock = 60, attempts = 2 } = options
  const paces = { blockMs: 4, commitMs: 18, regionMs: 6, ...options.paces }
  const { store, gates } = gatedStore(slowly(memoryStore(), paces.commitMs))
  const chain = simulatedChain<Item>({ id: 'chain', historyDepth: 40 })
  let broken: Error | undefined
  const indexer = createIndexer({
    name,
    source: chain.source,
    tables: { move },
    store,
    regions: failingRegions(failing, paces.regionMs, attempts),
    limits: { stagedBytes, batchItems: itemsPerBlock * 3, groupLatencyMs: 120 },
    async handle(item: Item, { db }) {
      if (broken !== undefined) throw broken
      const before = await db.move.get(item.id)
      db.move.set({ id: item.id, note: 'moved '.repeat(20), amount: (before?.amount ?? 0) + item.amount })
    },
    async handleBlock(block, { region, preloading }) {
      await after(preloading ? paces.blockMs / 4 : paces.blockMs)
      for (const [index, each] of [...regions, ...Object.keys(failing)].entries()) {
        if (block.number % (index + 2) === 0) region(each).publish({ at: block.number })
      }
    },
  })
  let branch = 0
  const blocksFrom = (first: number, count: number): Block<Item>[] =>
    Array.from({ length: count }, (_each, index) => ({
      number: first + index,
      items: Array.from({ length: itemsPerBlock }, (_item, at) => ({
        id: `m${branch}-${(first + index) % 50}-${at}`,
        amount: at,
      })),
    }))
  return {
    indexer,
    chain,
    gates,
    grow: (blocks) => chain.append(blocksFrom((chain.blocks.at(-1)?.number ?? 0) + 1, blocks)),
    fork(depth) {
      branch++
      const above = chain.blocks.at(-1)!.number - depth
      chain.fork({ above, blocks: blocksFrom(above + 1, depth + 2) })
    },
    breakHandlers: (error) => (broken = error),
  }
}

/** Memory commits at once; the lanes would show nothing. */
function slowly(store: Store, commitMs: number): Store {
  return {
    casing: store.casing,
    async open(request) {
      const session = await store.open(request)
      const write = session.write.bind(session)
      session.write = async (group, flushed) => {
        flushed()
        await after(commitMs)
        return write(group, () => undefined)
      }
      return session
    },
  }
}

function failingRegions(
  failing: Readonly<Record<string, string>>,
  regionMs: number,
  attempts: number,
): RegionPublisher {
  const regions = memoryRegions({ attempts, backoffMs: 20, maxBackoffMs: 40 })
  const persist = regions.persist.bind(regions)
  regions.persist = async (snapshot, signal) => {
    await after(regionMs)
    const why = failing[snapshot.region]
    if (why !== undefined) {
      const cause = new Error('connect ECONNREFUSED 127.0.0.1:6379')
      throw new RetryableError('REGION_UNREACHABLE', why, { phase: 'publish', cause })
    }
    return persist(snapshot, signal)
  }
  return regions
}

/** Resolves with the event. */
export function once(
  indexer: Indexer,
  name: Parameters<Indexer['on']>[0],
  is = (_event: unknown) => true,
): Promise<void> {
  return new Promise((resolve) => {
    const off = indexer.on(name, (event: unknown) => {
      if (!is(event)) return
      off()
      resolve()
    })
  })
}

/** The whole story, in order; the page sees each of its parts. */
export async function tell({ indexer, gates, grow, fork }: Watched, steady = 25): Promise<void> {
  let handled = 0
  const off = indexer.on('batch.processed', () => handled++)
  const until = (count: number) => once(indexer, 'batch.processed', () => handled >= count)
  grow(steady * 3)
  await until(steady)
  // the commit is held, and the budget fills
  gates.write.hold()
  grow(120)
  await new Promise<void>((resolve) => {
    const stop = indexer.on('state', ({ lanes, stagedBytes }) => {
      if (lanes?.compute !== 'waiting' || stagedBytes === 0) return
      stop()
      resolve()
    })
  })
  await after(60)
  gates.write.release()
  await until(handled + 10)
  const rolledBack = once(indexer, 'rollback.committed')
  fork(6)
  await rolledBack
  grow(steady)
  await until(handled + Math.floor(steady / 3))
  off()
}
