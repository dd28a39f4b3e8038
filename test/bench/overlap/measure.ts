/** The measurements of one case. Each starts in a database that holds what the first one found. */
import { createIndexer, type Indexer, type Limits, type Source } from '../../../src/index.ts'
import { createTableStatements } from '../../../src/commit/ddl.ts'
import { postgres } from '../../../src/commit/postgres.ts'
import type { OpenStore, Store } from '../../../src/commit/store.ts'
import { silentLog } from '../../../src/log.ts'
import type { Group } from '../../../src/staging/batch.ts'
import type { BenchDatabase } from './database.ts'
import { tableModelOf } from '../../../src/staging/table-model.ts'
import { mainThread, type ThreadTime } from './main-thread.ts'
import { ahead, awaitingEachCommit } from './sources.ts'
import { nullStore } from './stores.ts'
import type { Workload } from './workload.ts'

const pipeline = 'bench'

export interface Ran {
  readonly wallMs: number
  /** Of the run: handlers beside a commit, over the shorter of the two. */
  readonly overlapRatio: number
  readonly thread: ThreadTime
}

export interface Replayed {
  readonly wallMs: number
  readonly mainThreadMs: number
  readonly rows: number
  /** Rough, as staging counts them. */
  readonly stagedBytes: number
}

export class Measure {
  readonly #database: BenchDatabase
  readonly #workload: Workload
  readonly #store: Store
  readonly #models: OpenStore['models']

  /** @param connectionString the way to the database: direct, or through a proxy */
  constructor(database: BenchDatabase, connectionString: string, workload: Workload) {
    this.#database = database
    this.#workload = workload
    this.#models = Object.entries(workload.tables).map(([name, table]) => tableModelOf(name, table))
    this.#store = postgres({ connectionString, createTables: true })
  }

  /** Everything but the commits. */
  async compute(): Promise<Ran> {
    return this.#run(ahead(this.#workload.blocks), nullStore(this.#store))
  }

  async sequential(): Promise<Ran> {
    return this.#run(awaitingEachCommit(this.#workload.blocks), this.#store)
  }

  /** @param before what is done with the indexer before it runs; no part of the measurement */
  async pipelined(limits: Partial<Limits> = {}, before?: (indexer: Indexer) => Promise<void>): Promise<Ran> {
    return this.#run(ahead(this.#workload.blocks), this.#store, limits, before)
  }

  /** The groups that `pipelined` sends, one per batch, ready to be sent without handlers. */
  async stage(): Promise<Staged> {
    const groups: Group[] = []
    let opened: OpenStore | undefined
    const store = nullStore(
      this.#store,
      (request) => (opened = request),
      (group) => groups.push(group),
    )
    await this.#run(ahead(this.#workload.blocks), store)
    // the indexer's own models: groups and the session that sends them meet in them
    return { groups, models: opened!.models }
  }

  /** The commits alone, one after the other. */
  async commit({ groups, models }: Staged): Promise<Replayed> {
    await this.#fresh()
    const session = await this.#store.open({
      pipeline,
      models,
      sources: [{ id: 'bench', historyDepth: 0 }],
      staleMs: 15_000,
      ownershipTimeoutMs: 0,
      signal: new AbortController().signal,
      log: silentLog,
    })
    try {
      const [began, thread] = [performance.now(), mainThread()]
      for (const group of groups) {
        const ended = await session.write(group, () => undefined)
        if (ended.end !== 'landed')
          throw new Error(`a group did not land: ${ended.end}`, { cause: ended.error })
      }
      return {
        wallMs: performance.now() - began,
        mainThreadMs: thread().onProcessorMs,
        rows: groups.reduce((rows, group) => rows + group.rows, 0),
        stagedBytes: groups.reduce((bytes, group) => bytes + group.bytes, 0),
      }
    } finally {
      await session.close()
    }
  }

  async #run(
    source: Source,
    store: Store,
    limits: Partial<Limits> = {},
    before: (indexer: Indexer) => Promise<void> = () => Promise.resolve(),
  ): Promise<Ran> {
    await this.#fresh()
    const { tables, handle, blocks } = this.#workload
    const indexer = createIndexer({
      name: pipeline,
      source,
      tables,
      handle,
      store,
      // one block is one batch, one batch is one group
      limits: { batchItems: 1, groupLatencyMs: 0, ...limits },
    })
    // connecting and looking at the tables is no part of it
    let [began, thread] = [0, mainThread()]
    indexer.on('ownership', () => {
      began = performance.now()
      thread = mainThread()
    })
    let ran: Ran | undefined
    indexer.on('batch.committed', ({ checkpoint }) => {
      if (Number(checkpoint) !== blocks.length) return
      ran = { wallMs: performance.now() - began, overlapRatio: 0, thread: thread() }
    })
    await before(indexer)
    const outcome = await indexer.run()
    if (outcome.status === 'failed') throw outcome.error
    if (ran === undefined) throw new Error(`the run ${outcome.status} before its last batch`)
    return { ...ran, overlapRatio: indexer.status().stalls.overlapRatio }
  }

  /** Nothing of an earlier run is left: no rows, no pipeline, nothing to write in the background. */
  async #fresh(): Promise<void> {
    const { sql } = this.#database
    await sql('DROP SCHEMA IF EXISTS tailrace CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public')
    if (this.#workload.fill.length > 0) {
      await sql(`${createTableStatements(this.#models).join(';')};${this.#workload.fill.join(';')}`)
    }
    await sql('CHECKPOINT')
  }
}

export interface Staged {
  readonly groups: readonly Group[]
  readonly models: OpenStore['models']
}
