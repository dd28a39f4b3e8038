/**
 * Connections: one that writes, a small pool that reads. Both pin what they depend on, whatever the role's defaults
 * are.
 */
import pg from 'pg'
import { ConfigurationError, TailraceError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { attemptDeadlineMs } from '../../machines/limits.ts'
import { settlesWithin } from '../within.ts'
import { connectionError } from './classify.ts'
import { pinnedSettings, pinSession, pinSetting } from './plans.ts'
import type { QueryText } from './reader.ts'
import { quoteName } from './sql-names.ts'

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
  lost: (error: unknown, client: pg.Client) => void,
): Promise<pg.Client> {
  signal.throwIfAborted()
  const client = new pg.Client(clientConfig(options, applicationName))
  // without a listener an ended connection would be an uncaught exception
  client.on('error', (error) => lost(error, client))
  const abort = () => destroyClient(client)
  signal.addEventListener('abort', abort, { once: true })
  try {
    await client.connect()
    await pin(client)
    return client
  } catch (error) {
    destroyClient(client)
    signal.throwIfAborted()
    throw error instanceof TailraceError ? error : connectionError(error, targetOf(options))
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** The backend as the client was told it; behind a pooler that is nobody's. 0: not connected. */
export function clientPid(client: pg.ClientBase): number {
  return (client as unknown as { processID?: number | null }).processID ?? 0
}

const direct = new WeakSet<pg.ClientBase>()

/** Has it a backend of its own for as long as it lives? Not so behind a pooler. */
export function isDirect(client: pg.ClientBase): boolean {
  return direct.has(client)
}

/**
 * Sets what the session depends on. A pooler lends another backend to every transaction, where a SET would be
 * somebody else's: there the settings have to be the role's own.
 * @returns is it a replica?
 */
async function pin(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ pid: number; replica: boolean }>(
    'SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS replica',
  )
  const { pid, replica } = rows[0]!
  if (pid === clientPid(client)) {
    direct.add(client)
    await client.query(pinSession)
  } else {
    await checkSettings(client)
  }
  return replica
}

async function checkSettings(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ name: string; setting: string; role: string }>(
    'SELECT name, setting, current_user AS role FROM pg_settings WHERE name = ANY ($1)',
    [Object.keys(pinnedSettings)],
  )
  const other = rows.filter(({ name, setting }) => setting.replace(/^Etc\//, '') !== pinnedSettings[name])
  if (other.length === 0) return
  const fixes = other.map(({ name, role }) => `    ALTER ROLE ${quoteName(role)} ${pinSetting(name)};`)
  throw new ConfigurationError(
    'POOLER_SETTINGS',
    `The connection goes through a transaction pooler, where settings cannot be made for a session. Make them the role's own, then reconnect the pooler:\n${fixes.join('\n')}`,
    { phase: 'opening' },
  )
}

/** Ends the connection without a word to the server; whatever is in flight is lost. */
export function destroyClient(client: pg.Client): void {
  const { connection } = client as unknown as { connection?: { stream?: { destroy(): void } } }
  connection?.stream?.destroy()
}

/** How long a server may take to say goodbye; then the socket is destroyed. */
const endDeadlineMs = 1_000

/** Ends the connection and waits until its socket is closed (I16). */
export async function endClient(client: pg.Client): Promise<void> {
  const ended = client.end().catch(() => undefined)
  if (await settlesWithin(ended, endDeadlineMs)) return
  destroyClient(client)
  // a destroyed socket is closed; whether its client says so must not hold up the end of a run
  await settlesWithin(ended, endDeadlineMs)
}

export interface ReadPool {
  readonly query: QueryText
  /** Ends every connection, those that are still being made or read from included. Never rejects. */
  end(): Promise<void>
}

export function readPool(options: ConnectionOptions, applicationName: string, log: Logger): ReadPool {
  /** Open sockets; `pool.end()` alone would not wait for them to close. */
  const open = new Map<pg.Client, Promise<void>>()
  const busy = new Set<pg.Client>()
  class TrackedClient extends pg.Client {
    constructor(config?: string | pg.ClientConfig) {
      super(config)
      open.set(this, new Promise((resolve) => void this.once('end', resolve)))
      busy.add(this)
      // The pool listens only to idle clients, and to one of `pool.query` while it asks. One that ends in between, as in
      // `verify`, would be an uncaught exception, and nobody would hear of its end. What it was asked is rejected anyway.
      this.on('error', () => undefined)
      this.once('end', () => {
        open.delete(this)
        busy.delete(this)
      })
    }
  }
  const pool = new pg.Pool({
    ...clientConfig(options, applicationName),
    Client: TrackedClient,
    max: options.readConnections,
    // a connection that nobody ends and nobody answers: the read is tried again on another one
    query_timeout: attemptDeadlineMs,
    // the pins, and a replica that would answer from the past, are checked before the connection serves
    verify: (client: pg.PoolClient, done: (error?: Error) => void) => {
      pin(client)
        .then((isReplica) => done(isReplica ? replicaError(options) : undefined))
        .catch((error: unknown) => done(error as Error))
    },
  })
  pool.on('acquire', (client) => busy.add(client as pg.Client))
  pool.on('release', (_error, client) => busy.delete(client as pg.Client))
  pool.on('error', (error) => log.warn('an idle read connection ended', { error: error.message }))
  return {
    async query(text, values) {
      const result = await pool.query({ text, values: [...values], rowMode: 'array', types: rawText })
      return result.rows as (string | null)[][]
    },
    async end() {
      const ended = Promise.all([pool.end().catch(() => undefined), ...open.values()])
      // nobody reads any more but a handler that was given up
      for (const client of busy) destroyClient(client)
      if (await settlesWithin(ended, endDeadlineMs)) return
      for (const client of open.keys()) destroyClient(client)
      await settlesWithin(ended, endDeadlineMs)
    },
  }
}

function replicaError(options: ConnectionOptions): ConfigurationError {
  return new ConfigurationError(
    'DATABASE_IS_REPLICA',
    `Postgres at ${targetOf(options)} is a read replica: it would answer from the past. Give the primary's connectionString.`,
    { phase: 'opening' },
  )
}
