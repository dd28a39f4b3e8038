/** The Postgres to write to: a real one from npm in a temporary folder; or, with DATABASE_URL, yours. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { startEmbeddedServer } from 'tailrace/embedded'
import { pipelineName } from './indexer.ts'
import { schemaName } from './schema.ts'

export interface Database extends AsyncDisposable {
  readonly connectionString: string
  readonly description: string
  /** What is left behind, and where; `undefined`: nothing. */
  readonly remains: string | undefined
}

export async function embeddedDatabase(): Promise<Database> {
  const dataDir = await mkdtemp(join(tmpdir(), 'tailrace-demo-'))
  const remove = () => rm(dataDir, { recursive: true, force: true })
  try {
    const server = await startEmbeddedServer({ dataDir })
    return {
      connectionString: server.connectionString,
      description: `Postgres ${await versionOf(server.connectionString)} from npm, in a temporary folder`,
      remains: undefined,
      async [Symbol.asyncDispose]() {
        await server.stop()
        await remove()
      },
    }
  } catch (error) {
    await remove()
    throw error
  }
}

/** Starts anew: the demo's tables and its pipeline, of an earlier run, are dropped. Nothing else is touched. */
export async function givenDatabase(connectionString: string): Promise<Database> {
  await query(connectionString, [
    `DROP SCHEMA IF EXISTS ${schemaName} CASCADE`,
    `DO $$ BEGIN
      IF to_regclass('tailrace.pipelines') IS NOT NULL THEN
        DELETE FROM tailrace.checkpoints WHERE pipeline = '${pipelineName}';
        DELETE FROM tailrace.cursors WHERE pipeline = '${pipelineName}';
        DELETE FROM tailrace.pipelines WHERE name = '${pipelineName}';
      END IF;
    END $$`,
  ])
  const { host, pathname } = new URL(connectionString)
  const place = `${host}${pathname}`
  return {
    connectionString,
    description: `Postgres ${await versionOf(connectionString)} at ${place}`,
    remains: `The tables are in schema ${schemaName} of ${place}.`,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

/** Another session that looks at the accounts for long: until it ends, commits wait for it; handlers do not. */
export async function slowReader(connectionString: string): Promise<AsyncDisposable> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  await client.query(`BEGIN; LOCK TABLE ${schemaName}.account IN SHARE MODE`)
  return { [Symbol.asyncDispose]: () => client.end() }
}

async function versionOf(connectionString: string): Promise<string> {
  const rows = await query(connectionString, [`SHOW server_version`])
  return String(rows[0]?.['server_version']).split(' ')[0] ?? ''
}

async function query(
  connectionString: string,
  statements: readonly string[],
): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    let rows: readonly Record<string, unknown>[] = []
    for (const statement of statements) ({ rows } = await client.query<Record<string, unknown>>(statement))
    return rows
  } finally {
    await client.end()
  }
}
