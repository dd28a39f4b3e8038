/**
 * Connections: one that writes, a small pool that reads. Both pin what they depend on, whatever the role's defaults
 * are.
 */
import pg from 'pg'
import { ConfigurationError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { connectionError } from './classify.ts'
import { pinSession } from './plans.ts'
import type { QueryText } from './select.ts'

export interface ConnectionOptions {
  readonly connectionString: string
  readonly connectionTimeoutMs: number
  readonly readConnections: number
}

/** Every value as the text Postgres printed; our codecs read it. */
const rawText = { getTypeParser: () => (text: string) => text } as unknown as pg.CustomTypesConfig

export function clientConfig(options: ConnectionOptions, applicationName: string): pg.ClientConfig {
  return {
    connectionString: options.connectionString,
    connectionTimeoutMillis: options.connectionTimeoutMs,
    application_name: applicationName,
    keepAlive: true,
  }
}

/** `user@host:port/database`, without the password. */
export function targetOf(options: ConnectionOptions): string {
  const { user, host, port, database } = new pg.Client(clientConfig(options, 'tailrace'))
  return `${user ?? ''}@${host}:${port}/${database ?? ''}`
}

/**
 * Connects a client of its own, with its session pinned.
 * @param lost told when the connection ends by itself
 * @throws TailraceError with what to do
 */
export async function connectClient(
  options: ConnectionOptions,
  applicationName: string,
  signal: AbortSignal,
  lost: (error: unknown) => void,
): Promise<pg.Client> {
  signal.throwIfAborted()
  const client = new pg.Client(clientConfig(options, applicationName))
  // without a listener an ended connection would be an uncaught exception
  client.on('error', lost)
  const abort = () => destroyClient(client)
  signal.addEventListener('abort', abort, { once: true })
  try {
    await client.connect()
    await client.query(pinSession)
    return client
  } catch (error) {
    destroyClient(client)
    signal.throwIfAborted()
    throw connectionError(error, targetOf(options))
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** Ends the connection without a word to the server; whatever is in flight is lost. */
export function destroyClient(client: pg.Client): void {
  const { connection } = client as unknown as { connection?: { stream?: { destroy(): void } } }
  connection?.stream?.destroy()
}

export interface ReadPool {
  readonly query: QueryText
  end(): Promise<void>
}

export function readPool(options: ConnectionOptions, applicationName: string, log: Logger): ReadPool {
  const pool = new pg.Pool({
    ...clientConfig(options, applicationName),
    max: options.readConnections,
    // the pins, and a replica that would answer from the past, are checked before the connection serves
    verify: (client: pg.PoolClient, done: (error?: Error) => void) => {
      client
        .query(`${pinSession}; SELECT pg_is_in_recovery() AS replica`)
        .then((results) => {
          const last = (results as unknown as pg.QueryResult<{ replica: boolean }>[]).at(-1)
          done(last?.rows[0]?.replica === true ? replicaError(options) : undefined)
        })
        .catch((error: unknown) => done(error as Error))
    },
  } as pg.PoolConfig)
  pool.on('error', (error) => log.warn('an idle read connection ended', { error: error.message }))
  return {
    async query(text, values) {
      const result = await pool.query({ text, values: [...values], rowMode: 'array', types: rawText })
      return result.rows as (string | null)[][]
    },
    end: () => pool.end(),
  }
}

function replicaError(options: ConnectionOptions): ConfigurationError {
  return new ConfigurationError(
    'DATABASE_IS_REPLICA',
    `Postgres at ${targetOf(options)} is a read replica: it would answer from the past. Give the primary's connectionString.`,
    { phase: 'opening' },
  )
}
