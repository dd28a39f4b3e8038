/**
 * A database per test on the one server of the run (test/support/global-setup.ts). Whoever creates one drops
 * it; about 24 ms to create, 11 ms to drop.
 */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { inject } from 'vitest'

export interface TestDatabase extends AsyncDisposable {
  readonly connectionString: string
  readonly name: string
  /** Ends every session in it first. Safe to call twice. */
  drop(): Promise<void>
}

/** The connection string of the server's superuser, database `postgres`. */
export function serverUrl(): string {
  return inject('postgresUrl')
}

/** An empty database of its own: UTF8, collation C. */
export async function createDatabase(): Promise<TestDatabase> {
  const name = `tailrace_${process.pid}_${randomBytes(6).toString('hex')}`
  await asAdmin(`CREATE DATABASE ${name}`)
  const url = new URL(serverUrl())
  url.pathname = `/${name}`
  let dropping: Promise<void> | undefined
  const drop = () => (dropping ??= asAdmin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))
  return { connectionString: url.href, name, drop, [Symbol.asyncDispose]: drop }
}

/** One statement as superuser, on a connection that is closed afterwards. */
export async function asAdmin(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl() })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
