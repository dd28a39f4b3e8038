/**
 * What the tests of forks share: an indexer over a chain that forks, its first blocks committed or held, and what the
 * database must say of it once a fork has been dealt with.
 */
import { expect } from 'vitest'
import { createIndexer } from '../../src/index.ts'
import type {
  Block,
  Context,
  Indexer,
  IndexerEvents,
  IndexerOptions,
  Outcome,
  Source,
} from '../../src/index.ts'
import { simulatedChain, type SimulatedChain } from '../../src/testing/index.ts'
import {
  blocksOf,
  expected,
  handlers,
  row,
  tables,
  watch,
  type Item,
  type Tables,
  type Watch,
  type World,
} from './indexers.ts'

export const perBlock = 8

/** Blocks `from`… of one branch; few accounts, so that most rows are changed by many blocks. */
export function branch(count: number, from: number, tag: string, seed: number): Block<Item>[] {
  return blocksOf(count, perBlock, { from, tag, seed, accounts: 12 })
}

type Options = IndexerOptions<Source<Item>, Tables>

export interface ForkRun<Of> {
  readonly chain: SimulatedChain<Of>
  readonly indexer: Indexer
  readonly events: Watch
}

export interface ForkOptions extends Partial<Omit<Options, 'source'>> {
  /** Branch `a`: blocks 1…count. Default: 8. */
  readonly count?: number
  readonly historyDepth?: number
  /** Instead of a new one. */
  readonly chain?: SimulatedChain<Item>
}

/** An indexer, not yet run, over a chain; one block a batch. */
export function forking(world: World, options: ForkOptions = {}): ForkRun<Item> {
  const { count = 8, historyDepth = 20, chain = chainOf(count, historyDepth), limits, ...more } = options
  const indexer = createIndexer({
    name: 'fork',
    source: chain.source,
    tables,
    handlers,
    store: world.store,
    ...more,
    limits: { batchItems: perBlock, ...limits },
  })
  return { chain, indexer, events: watch(indexer) }
}

function chainOf(count: number, historyDepth: number): SimulatedChain<Item> {
  const chain = simulatedChain<Item>({ id: 'chain', historyDepth })
  chain.append(branch(count, 1, 'a', 1))
  return chain
}

/** Runs until every block of the chain is committed. */
export async function committedOf<Of>({
  chain,
  indexer,
  events,
}: ForkRun<Of>): Promise<{ readonly running: Promise<Outcome> }> {
  const running = indexer.run()
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === BigInt(chain.blocks.length))
  return { running }
}

/** Until the lanes drain for a rollback. */
export function drains(events: Watch): Promise<unknown> {
  return events.until('state', ({ lanes }) => lanes?.control === 'draining.rollback')
}

// ── what must hold afterwards ───────────────────────────────────────────────────────────────────────────────

/** A rollback as it was told, without what depends on the clock. */
export function rollbacks(events: Watch): Omit<IndexerEvents['rollback.committed'], 'ms'>[] {
  return events.of('rollback.committed').map(({ ms, ...told }) => {
    expect(ms).toBeGreaterThanOrEqual(0)
    return told
  })
}

/** Tables and bookkeeping are those of the surviving blocks; every watched run gave ids that only grow (I12, H30). */
export async function expectSurvivors(
  world: World,
  { chain }: Pick<ForkRun<Item>, 'chain'>,
  ...runs: readonly Watch[]
): Promise<void> {
  expect(await world.rows()).toEqual(await expected(chain.blocks))
  await expectBookkeeping(world, [chain])
  expectGrowingIds(...runs)
}

export function expectGrowingIds(...runs: readonly Watch[]): void {
  for (const events of runs) {
    for (const name of ['batch.processed', 'batch.committed'] as const) {
      const ids = events.of(name).map(({ checkpoint }) => checkpoint)
      expect(ids).toEqual([...new Set(ids)].toSorted((a, b) => Number(a - b)))
    }
  }
}

interface Chain {
  readonly source: { readonly id: string; readonly historyDepth?: number | undefined }
  readonly blocks: readonly Block[]
}

/** Cursors, positions, frontier, counter and history agree with the blocks of every source. */
export async function expectBookkeeping(
  world: World,
  chains: readonly Chain[],
  name = 'fork',
): Promise<void> {
  const { committed, counter } = await world.pipeline(name)
  const read = async (table: string) =>
    (await world.query(
      `SELECT source, checkpoint::int, number::int, hash FROM tailrace.${table} WHERE pipeline = $1
       ORDER BY source, checkpoint`,
      [name],
    )) as { source: string; checkpoint: number; number: number; hash: string }[]
  const cursors = await read('cursors')
  const positions = await read('checkpoints')
  const newest = chains
    .filter(({ blocks }) => blocks.length > 0)
    .map(({ source, blocks }) => ({ source: source.id, number: blocks.at(-1)!.number }))
  expect(cursors.map(({ source, number }) => ({ source, number }))).toEqual(
    newest.toSorted((a, b) => (a.source < b.source ? -1 : 1)),
  )
  expect(committed).toBe(Math.max(0, ...cursors.map(({ checkpoint }) => checkpoint)))
  expect(counter).toBeGreaterThanOrEqual(committed)
  for (const { source, blocks } of chains) {
    const mine = positions.filter((position) => position.source === source.id)
    // the newest blocks, without a gap; at least all that may fork
    const stored = mine.map(({ number, hash }) => [number, hash])
    const valid = blocks.map(({ number, hash }) => [number, hash ?? String(number)])
    expect(stored).toEqual(valid.slice(valid.length - stored.length))
    expect(stored.length).toBeGreaterThanOrEqual(Math.min(source.historyDepth ?? 0, blocks.length))
    expect(mine.at(-1)).toEqual(cursors.find((cursor) => cursor.source === source.id))
  }
  for (const { relname } of await world.query(
    `SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('tailrace_history') AND relkind = 'r'`,
  )) {
    const above = `SELECT count(*)::int AS n FROM tailrace_history."${String(relname)}" WHERE tailrace_checkpoint > $1`
    expect(await world.query(above, [committed])).toEqual([{ n: 0 }])
  }
}

// ── rows that do not depend on the order of sources ─────────────────────────────────────────────────────────

/**
 * Handler of numbers: row `n` is inserted, so that a block read twice is a duplicate; row 0 is their sum, so that one
 * taken back by halves shows.
 */
export async function addUp(item: number, { db }: Context<{ row: typeof row }>): Promise<void> {
  const sum = await db.row.get(0)
  db.row.set({ id: 0, value: (sum?.value ?? 0) + item })
  db.row.insert({ id: item, value: item })
}

type SumOptions = IndexerOptions<readonly Source<number>[], { row: typeof row }>

/** An indexer, not yet run, of sources of numbers; one block a batch. */
export function summing(
  world: World,
  sources: readonly Source<number>[],
  { limits, ...more }: Partial<SumOptions> = {},
): { readonly indexer: Indexer; readonly events: Watch } {
  const indexer = createIndexer({
    name: 'fork',
    source: sources,
    tables: { row },
    handle: addUp,
    store: world.store,
    ...more,
    limits: { batchItems: 1, ...limits },
  })
  return { indexer, events: watch(indexer) }
}

/** Blocks `from`… with one number each, told apart by `base`. */
export function numbers(count: number, from = 1, base = 0): Block<number>[] {
  return Array.from({ length: count }, (_, at) => ({ number: from + at, items: [base + from + at] }))
}

/** Rows of `addUp`, from the database. */
export function sums(world: World): Promise<Record<string, unknown>[]> {
  return world.query('SELECT id, value FROM "row" ORDER BY id')
}

/** Rows of `addUp` as they must be. */
export function sumsOf(...chains: readonly (readonly Block<number>[])[]): Record<string, unknown>[] {
  const items = chains.flatMap((blocks) => blocks.flatMap((block) => block.items))
  if (items.length === 0) return []
  const sum = { id: 0, value: items.reduce((total, item) => total + item, 0) }
  return [sum, ...items.toSorted((a, b) => a - b).map((id) => ({ id, value: id }))]
}
