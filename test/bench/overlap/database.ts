/** A database of the benchmark's own, on the server at DATABASE_URL or on an embedded one; gone at the end. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { startEmbeddedServer } from '../../../src/commit/embedded-server.ts'

export interface BenchDatabase {
  readonly connectionString: string
  readonly serverVersion: string
  sql(statement: string): Promise<void>
}

/** Runs `use` with it. Whatever was made for it is undone, also after an error, in reverse order. */
export async function withDatabase(use: (database: BenchDatabase) => Promise<void>): Promise<void> {
  const undo: (() => Promise<unknown>)[] = []
  const undoAll = async () => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
  }
  // the embedded server is in a process group of its own: Ctrl-C alone would leave it running
  const interrupted = () => void undoAll().finally(() => process.exit(130))
  process.once('SIGINT', interrupted)
  try {
    const serverUrl = await findServer(undo)
    const admin = await connect(undo, serverUrl)
    const name = `tailrace_bench_${process.pid}`
    await admin.query(`CREATE DATABASE ${name}`)
    undo.push(() => admin.query(`DROP DATABASE ${name} WITH (FORCE)`))
    const url = new URL(serverUrl)
    url.pathname = `/${name}`
    const client = await connect(undo, url.href)
    const { rows } = await client.query<{ server_version: string }>('SHOW server_version')
    await use({
      connectionString: url.href,
      serverVersion: rows[0]!.server_version,
      sql: async (statement) => void (await client.query(statement)),
    })
  } finally {
    process.off('SIGINT', interrupted)
    await undoAll()
  }
}

async function findServer(undo: (() => Promise<unknown>)[]): Promise<string> {
  const given = process.env['DATABASE_URL']
  if (given !== undefined && given !== '') return given
  const dataDir = await mkdtemp(join(tmpdir(), 'tailrace-bench-'))
  undo.push(() => rm(dataDir, { recursive: true, force: true }))
  const server = await startEmbeddedServer({ dataDir, settings: { max_wal_size: '4GB' } })
  undo.push(() => server.stop())
  return server.connectionString
}

async function connect(undo: (() => Promise<unknown>)[], connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  undo.push(() => client.end())
  return client
}
