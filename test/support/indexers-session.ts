/** A store's session and groups made by hand: for tests below the chart. */
import pg from 'pg'
import { isTransient } from '../../src/commit/classify.ts'
import type { Store, StoreSession } from '../../src/commit/store.ts'
import { endsConnection } from '../../src/commit/wire/flight.ts'
import type { TablesInput } from '../../src/db.ts'
import { silentLog } from '../../src/log.ts'
import type { Group } from '../../src/staging/batch.ts'
import { Staging } from '../../src/staging/staging.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { completeRow, keyIdOfRow } from '../../src/staging/table-row.ts'
import type { TableModel } from '../../src/staging/table.ts'

export interface OpenedSession extends AsyncDisposable {
  readonly session: StoreSession
  readonly models: readonly TableModel[]
}

export async function openSession(store: Store, tables: TablesInput, pipeline = 'p'): Promise<OpenedSession> {
  const models = Object.entries(tables).map(([name, table]) =>
    tableModelOf(name, table, { casing: store.casing }),
  )
  const session = await store.open({
    pipeline,
    models,
    sources: [{ id: 'm', historyDepth: 0 }],
    staleMs: 15_000,
    ownershipTimeoutMs: 5_000,
    signal: new AbortController().signal,
    log: silentLog,
  })
  return { session, models, [Symbol.asyncDispose]: () => session.close() }
}

/** One batch a record, each of one block. */
export function stagedOf(
  models: readonly TableModel[],
  batches: readonly Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>>[],
  how: 'insert' | 'set' = 'set',
): Group {
  const staging = new Staging(models, Infinity)
  batches.forEach((tables, at) => {
    const checkpoint = at + 1
    staging.begin([{ checkpoint, source: 'm', number: checkpoint, hash: String(checkpoint) }], true)
    for (const [name, rows] of Object.entries(tables)) {
      const log = staging.tables.get(name)!
      for (const given of rows) {
        const row = completeRow(log.model, given)
        staging.stage(log, keyIdOfRow(log.model, row), row, row, how === 'insert', { checkpoint, item: 0 })
      }
    }
    staging.end()
  })
  return staging.freeze(batches.length)
}

/** How a flight ends that Postgres answers with this SQLSTATE. */
export function classifyEnd(code: string, severity = 'ERROR'): 'deferred' | 'refused' | 'lost' {
  const error = new pg.DatabaseError('test', 0, 'error')
  error.code = code
  error.severity = severity
  if (endsConnection(error)) return 'lost'
  return isTransient(error) ? 'deferred' : 'refused'
}
