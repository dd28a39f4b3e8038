/**
 * What forks cost: commits that keep history against the same commits without, and a rollback by how many rows it
 * puts back. Two pipelines with a table each, the same rows, alternating. Method and figures: docs/performance.md.
 */
import { bigint, integer, pgTable, text } from 'drizzle-orm/pg-core'
import { postgres } from '../../src/commit/postgres.ts'
import type { StoreSession } from '../../src/commit/store.ts'
import { silentLog } from '../../src/log.ts'
import { Staging } from '../../src/staging/staging.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { completeRow, keyIdOfRow } from '../../src/staging/table-row.ts'
import { withDatabase, type BenchDatabase } from './overlap/database.ts'
import { columns, median, spread } from './overlap/statistics.ts'

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 5)
const rowsBefore = 200_000
const bound = 1.3
/** How much dearer a row may be among 100,000 than among 25,000, for the whole to be called linear. */
const linear = 1.3

interface BlockRow {
  readonly id: number
  readonly owner: string
  readonly balance: bigint
  readonly moves: number
}

/** Half of them change rows that are there, half are new. */
function blockOf(size: number, seed: number, fresh: { next: number }): BlockRow[] {
  const taken = new Set<number>()
  let state = seed
  const rows: BlockRow[] = []
  while (rows.length < size) {
    // Park–Miller: the same rows in every run
    state = (state * 48_271) % 2_147_483_647
    const id = rows.length % 2 === 0 ? state % rowsBefore : fresh.next++
    if (taken.has(id)) continue
    taken.add(id)
    rows.push({
      id,
      owner: `0x${id.toString(16).padStart(40, '0')}`,
      balance: BigInt(state) * 1_000_000n,
      moves: seed,
    })
  }
  return rows
}

/** A pipeline with one table, written block by block. */
class Pipeline implements AsyncDisposable {
  readonly #session: StoreSession
  readonly #staging: Staging
  readonly #forks: boolean
  #checkpoint = 0

  private constructor(session: StoreSession, staging: Staging, forks: boolean) {
    this.#session = session
    this.#staging = staging
    this.#forks = forks
  }

  static async open(database: BenchDatabase, name: string, forks: boolean): Promise<Pipeline> {
    const table = pgTable(name, {
      id: integer().primaryKey(),
      owner: text().notNull(),
      balance: bigint({ mode: 'bigint' }).notNull(),
      moves: integer().notNull(),
    })
    const model = tableModelOf(name, table, {})
    const store = postgres({ connectionString: database.connectionString, createTables: true })
    const session = await store.open({
      pipeline: name,
      models: [model],
      sources: [{ id: 'blocks', historyDepth: forks ? 100 : 0 }],
      staleMs: 15_000,
      ownershipTimeoutMs: 0,
      signal: new AbortController().signal,
      log: silentLog,
    })
    return new Pipeline(session, new Staging([model], Infinity), forks)
  }

  /** @param keep blocks that can still be taken back. @returns the milliseconds of the commit */
  async commit(blocks: readonly (readonly BlockRow[])[], keep: number): Promise<number> {
    const last = this.#checkpoint + blocks.length
    const safe = this.#forks ? Math.max(0, last - keep) : undefined
    const refs = blocks.map((_, index) => {
      const checkpoint = this.#checkpoint + 1 + index
      return {
        checkpoint,
        source: 'blocks',
        number: checkpoint,
        hash: String(checkpoint),
        ...(safe === undefined ? {} : { safe }),
      }
    })
    const [log] = this.#staging.tables.values()
    this.#staging.begin(refs, safe === undefined || safe >= last)
    blocks.forEach((rows, index) => {
      for (const given of rows) {
        const row = completeRow(log!.model, { ...given })
        const origin = { checkpoint: refs[index]!.checkpoint, item: 0 }
        this.#staging.stage(log!, keyIdOfRow(log!.model, row), row, row, false, origin)
      }
    })
    this.#staging.end()
    const began = performance.now()
    const ended = await this.#session.write(this.#staging.freeze(1), () => undefined)
    const ms = performance.now() - began
    if (ended.end !== 'landed') throw new Error(`a commit ${ended.end}`, { cause: ended.error })
    this.#staging.land(1)
    this.#checkpoint = last
    return ms
  }

  get checkpoint(): number {
    return this.#checkpoint
  }

  async restore(target: number): Promise<{ readonly ms: number; readonly rows: number }> {
    const began = performance.now()
    const ended = await this.#session.restore(target)
    if (ended.end !== 'landed') throw new Error(`a rollback ${ended.end}`, { cause: ended.error })
    return { ms: performance.now() - began, rows: ended.rows }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#session.close()
  }
}

/** `npm run bench -- rollback` */
export async function rollback(): Promise<void> {
  await withDatabase(async (database) => {
    console.log(
      `Node ${process.version}, PostgreSQL ${database.serverVersion}, ${rounds} rounds after one to warm up.`,
    )
    console.log('Milliseconds: median (least–most).\n')
    await commits(database)
    await restores(database)
  })
}

async function commits(database: BenchDatabase): Promise<void> {
  await using plain = await Pipeline.open(database, 'plain', false)
  await using kept = await Pipeline.open(database, 'kept', true)
  const all = Array.from({ length: rowsBefore }, (_, id) => ({ id, owner: 'nobody', balance: 0n, moves: 0 }))
  await plain.commit([all], 0)
  await kept.commit([all], 0)
  const fresh = { next: rowsBefore }
  let seed = 1
  for (const [name, blocks, size, commitsPerRound, keep] of [
    ['one block of 10,000 rows a commit', 1, 10_000, 4, Infinity],
    ['one block of 200 rows a commit', 1, 200, 40, Infinity],
    ['the same, as many images pruned as kept', 1, 200, 40, 20],
    ['one block of 10,000, as many pruned as kept', 1, 10_000, 4, 3],
    ['50 blocks of 200 rows a commit, which collapse without history', 50, 200, 4, Infinity],
  ] as const) {
    const [without, within, ratios]: [number[], number[], number[]] = [[], [], []]
    for (let round = 0; round <= rounds; round++) {
      let [plainMs, keptMs] = [0, 0]
      for (let n = 0; n < commitsPerRound; n++) {
        const given = Array.from({ length: blocks }, () => blockOf(size, ++seed, fresh))
        // in turns, so that neither always comes after the other
        if (n % 2 === 0) plainMs += await plain.commit(given, 0)
        keptMs += await kept.commit(given, keep)
        if (n % 2 === 1) plainMs += await plain.commit(given, 0)
      }
      if (round === 0) continue
      without.push(plainMs / commitsPerRound)
      within.push(keptMs / commitsPerRound)
      ratios.push(keptMs / plainMs)
    }
    console.log(name)
    console.log(
      columns([
        ['  commit without history', spread(without, 1)],
        ['  commit that keeps history', spread(within, 1)],
        ['  ratio', spread(ratios, 2)],
      ]),
    )
    console.log(`  ${median(ratios) <= bound ? 'within' : 'above'} ${bound.toFixed(2)}\n`)
  }
}

async function restores(database: BenchDatabase): Promise<void> {
  await using kept = await Pipeline.open(database, 'taken_back', true)
  await kept.commit(
    [Array.from({ length: rowsBefore }, (_, id) => ({ id, owner: 'nobody', balance: 0n, moves: 0 }))],
    0,
  )
  const fresh = { next: rowsBefore }
  let seed = 1
  const sizes = [12_500, 25_000, 50_000, 100_000]
  const took = new Map<number, number[]>(sizes.map((size) => [size, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const size of sizes) {
      const before = kept.checkpoint
      for (let written = 0; written < size; written += 12_500)
        await kept.commit([blockOf(12_500, ++seed, fresh)], Infinity)
      const { ms } = await kept.restore(before)
      if (round > 0) took.get(size)!.push(ms)
    }
  }
  console.log('a rollback, by rows that were changed (half of them new)')
  console.log(
    columns(
      sizes.map((size) => {
        const perRow = took.get(size)!.map((ms) => (ms * 1_000) / size)
        return [`  ${size} rows`, `${spread(took.get(size)!, 0)}; ${spread(perRow, 2)} µs a row`]
      }),
    ),
  )
  const ratio = median(took.get(100_000)!) / median(took.get(25_000)!) / 4
  console.log(
    `  a row among 100,000 takes ${ratio.toFixed(2)} × a row among 25,000: ${ratio <= linear ? 'linear' : 'not linear'}\n`,
  )
}
