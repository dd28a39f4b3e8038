/** The database of a command: the one at DATABASE_URL, its schema checked, its errors said in one sentence. */
import pg from 'pg'
import { schemaVersion } from '../commit/bookkeeping.ts'
import { connectClient, endClient, targetOf, type ConnectionOptions } from '../commit/connection.ts'
import { TailraceError, messageOf } from '../errors.ts'
import { isReplica, lockTimeoutMs, ownershipOf, pipelineNames, schemaVersionOf } from './queries.ts'
import type { Ownership } from './queries.ts'
import { Refusal } from './refusal.ts'

export interface Database {
  readonly client: pg.Client
  /** `user@host:port/database` */
  readonly target: string
}

const connectionTimeoutMs = 10_000

/**
 * @param oldest version of the schema that the work can do with
 * @throws Refusal for everything that is not a bug of ours
 */
export async function withDatabase<T>(
  work: (database: Database) => Promise<T>,
  oldest: number = schemaVersion,
): Promise<T> {
  const options = connectionOptions(process.env['DATABASE_URL'])
  const target = targetFrom(options)
  let lost: unknown
  let client: pg.Client | undefined
  try {
    client = await connectClient(options, 'tailrace-cli', new AbortController().signal, (error) => {
      lost ??= error
    })
    await checkSchema({ client, target }, oldest)
    return await work({ client, target })
  } catch (error) {
    throw lost === undefined ? refusalOf(error, target) : lostConnection(lost, target)
  } finally {
    if (client !== undefined) await endClient(client)
  }
}

/** @throws Refusal that names those that are there */
export async function knownPipeline({ client, target }: Database, name: string): Promise<Ownership> {
  const ownership = await ownershipOf(client, name)
  if (ownership !== undefined) return ownership
  throw await unknownPipeline({ client, target }, name)
}

export async function unknownPipeline({ client, target }: Database, name: string): Promise<Refusal> {
  const names = await pipelineNames(client)
  const known = names.length === 0 ? 'It has none.' : `It has ${names.map((each) => `'${each}'`).join(', ')}.`
  return new Refusal(`There is no pipeline '${name}' in ${target}. ${known}`)
}

function connectionOptions(url: string | undefined): ConnectionOptions {
  if (url === undefined || url === '') {
    throw new Refusal(
      'DATABASE_URL is not set. Give the database of the pipelines: DATABASE_URL=postgres://user:password@host:5432/database tailrace …',
      2,
    )
  }
  if (!/^postgres(ql)?:\/\//.test(url)) {
    throw new Refusal(
      'DATABASE_URL must begin with postgres:// or postgresql://, as in postgres://user:password@host:5432/database.',
      2,
    )
  }
  return { connectionString: url, connectionTimeoutMs, readConnections: 1 }
}

function targetFrom(options: ConnectionOptions): string {
  try {
    return targetOf(options)
  } catch (cause) {
    // what the parser says might quote the password
    throw new Refusal(
      'DATABASE_URL cannot be read as postgres://user:password@host:5432/database. Characters such as @ : / # % in a password have to be percent-encoded.',
      2,
      cause,
    )
  }
}

async function checkSchema({ client, target }: Database, oldest: number): Promise<void> {
  if (await isReplica(client)) {
    throw new Refusal(
      `Postgres at ${target} is a read replica, which sees neither the connection of an owner nor the latest commit. Give the primary in DATABASE_URL.`,
    )
  }
  const version = await schemaVersionOf(client)
  if (version === undefined) {
    throw new Refusal(
      `No pipeline has run in ${target}: it has no schema tailrace. Is DATABASE_URL the database of your indexer?`,
    )
  }
  if (version > schemaVersion) {
    throw new Refusal(
      `Schema tailrace in ${target} is at version ${version}, this command knows up to ${schemaVersion}. Use the tailrace that your indexer uses.`,
    )
  }
  if (version < oldest) {
    throw new Refusal(
      `Schema tailrace in ${target} is at version ${version}, this command needs ${oldest}. Run an indexer of this version once, which brings it up to date, or use the tailrace that made it.`,
    )
  }
}

// ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────

function refusalOf(error: unknown, target: string): unknown {
  if (error instanceof Refusal) return error
  if (error instanceof TailraceError) {
    // the store's own sentences; here the connection string is a variable
    return new Refusal(error.message.replaceAll('connectionString', 'DATABASE_URL'), 1, error)
  }
  return error instanceof pg.DatabaseError ? databaseRefusal(error, target) : error
}

function databaseRefusal(error: pg.DatabaseError, target: string): Refusal {
  const reason = messageOf(error)
  switch (error.code) {
    case '42501':
      return new Refusal(
        `Postgres at ${target} refused: ${reason}. Use a role that may do this, such as the one the indexer runs as. Nothing was changed.`,
        1,
        error,
      )
    case '55P03':
      return new Refusal(
        `Another session holds a lock that this needs, and did not let go within ${lockTimeoutMs / 1_000} s. Nothing was changed; try again.`,
        1,
        error,
      )
    default: {
      const detail = error.detail === undefined ? '' : ` (${error.detail.replace(/\.$/, '')})`
      return new Refusal(
        `Postgres at ${target} refused: ${reason}${detail} [${error.code ?? '?'}]. Nothing was changed.`,
        1,
        error,
      )
    }
  }
}

function lostConnection(error: unknown, target: string): Refusal {
  return new Refusal(
    `The connection to Postgres at ${target} was lost: ${messageOf(error)}. Whether a change has landed is not known: look with \`tailrace status\`.`,
    1,
    error,
  )
}
