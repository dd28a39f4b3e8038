/** The stores that paths are replayed on. */
import pg from 'pg'
import { postgres } from '../../src/commit/postgres.ts'
import { silentLog } from '../../src/log.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { memoryStore } from '../../src/testing/index.ts'
import { replayName, replayTables } from './replay-blocks.ts'
import type { StoreUnderReplay } from './replay-world.ts'

export function replayedInMemory(): StoreUnderReplay {
  const store = memoryStore()
  return {
    store,
    rows: () => Promise.resolve({ account: store.rows('account'), transfer: store.rows('transfer') }),
    takeAway: async () => {
      await store.open({
        pipeline: replayName,
        models: Object.entries(replayTables).map(([name, table]) => tableModelOf(name, table, {})),
        sources: [],
        staleMs: 15_000,
        ownershipTimeoutMs: 0,
        signal: new AbortController().signal,
        log: silentLog,
      })
    },
  }
}

/** A database for one path after the other: emptied in between. */
export class ReplayDatabase implements AsyncDisposable {
  readonly #connectionString: string
  readonly #client: pg.Client

  constructor(connectionString: string) {
    this.#connectionString = connectionString
    this.#client = new pg.Client({ connectionString })
  }

  connect(): Promise<unknown> {
    return this.#client.connect()
  }

  async emptied(): Promise<StoreUnderReplay> {
    const { rows } = await this.#client.query<{ there: boolean }>(
      `SELECT to_regclass('account') IS NOT NULL AS there`,
    )
    if (rows[0]!.there) {
      await this.#client.query(`DELETE FROM account; DELETE FROM transfer; DELETE FROM tailrace.pipelines;
        DELETE FROM tailrace.cursors; DELETE FROM tailrace.checkpoints`)
    }
    return {
      store: postgres({ connectionString: this.#connectionString, createTables: true }),
      rows: async () => {
        const account = await this.#client.query('SELECT id, balance, seen FROM account ORDER BY id')
        const transfer = await this.#client.query('SELECT id, amount FROM transfer ORDER BY id')
        return { account: account.rows, transfer: transfer.rows }
      },
      takeAway: async () => {
        await this.#client.query(
          `UPDATE tailrace.pipelines SET epoch = epoch + 1, token = gen_random_uuid(), host = 'elsewhere', pid = 42`,
        )
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.end()
  }
}
