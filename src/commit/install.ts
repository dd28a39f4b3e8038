/** Makes tailrace's own schema, and the user's tables if asked to; safe for two processes at once. */
import type pg from 'pg'
import { ConfigurationError, messageOf } from '../errors.ts'
import { advisoryLock, installStatements, schemaVersion } from './bookkeeping.ts'
import { installedVersion, readVersion, writeVersion } from './plans.ts'

/** @param tables statements that create the user's tables; empty: they are the user's */
export async function install(client: pg.Client, tables: readonly string[]): Promise<void> {
  const version = await versionOf(client)
  if (version !== undefined && version > schemaVersion) {
    throw new ConfigurationError(
      'SCHEMA_NEWER',
      `Schema tailrace in this database is at version ${version}, this tailrace knows up to ${schemaVersion}. Use the newer tailrace that made it.`,
      { phase: 'opening' },
    )
  }
  if (version === schemaVersion && tables.length === 0) return
  try {
    await client.query('BEGIN')
    await client.query('SELECT pg_advisory_xact_lock($1, $2)', [advisoryLock.space, advisoryLock.install])
    // whoever came first has done it
    if ((await versionOf(client)) !== schemaVersion) {
      for (const statement of installStatements) await client.query(statement)
      await client.query(writeVersion, [schemaVersion])
    }
    for (const statement of tables) await client.query(statement)
    await client.query('COMMIT')
  } catch (cause) {
    await client.query('ROLLBACK').catch(() => undefined)
    throw new ConfigurationError(
      'INSTALL_FAILED',
      `Cannot create tables in this database: ${messageOf(cause)}. The role needs CREATE on the database and on the schemas of its tables.`,
      { cause, phase: 'opening' },
    )
  }
}

async function versionOf(client: pg.Client): Promise<number | undefined> {
  const { rows } = await client.query<{ installed: boolean }>(installedVersion)
  if (rows[0]?.installed !== true) return undefined
  const versions = await client.query<{ version: number }>(readVersion)
  return versions.rows[0]?.version
}
