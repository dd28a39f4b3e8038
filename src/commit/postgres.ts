/** `tailrace/postgres`: a Postgres of the user's own as the store. */
import { randomUUID } from 'node:crypto'
import { ConfigurationError } from '../errors.ts'
import type { Position } from '../source/port.ts'
import type { Casing } from '../staging/table-model.ts'
import { settlesWithin } from '../within.ts'
import { checkTables } from './catalog.ts'
import {
  connectClient,
  destroyClient,
  endClient,
  readPool,
  targetOf,
  type ConnectionOptions,
} from './connection.ts'
import { createTableStatements } from './ddl.ts'
import { prepareHistory } from './history-install.ts'
import { install } from './install.ts'
import { registerHere } from './liveness.ts'
import { takeOwnership } from './ownership.ts'
import { readPositions, releasePipeline } from './plans.ts'
import { PostgresSession, releaseDeadlineMs } from './session.ts'
import type { OpenStore, Resume, Store, StoreSession } from './store.ts'

export type { Store } from './store.ts'

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database`; the usual PG… environment variables fill what it leaves out. */
  readonly connectionString: string
  /** Create tables that are missing, from their drizzle definitions. Default: false, they are yours. */
  readonly createTables?: boolean | undefined
  /** drizzle's option of the same name. */
  readonly casing?: Casing | undefined
  /** Connections that serve `get` and `find`. Default: 4. */
  readonly readConnections?: number | undefined
  /** Default: 10,000. */
  readonly connectionTimeoutMs?: number | undefined
}

/**
 * @example
 * ```ts
 * store: postgres({ connectionString: process.env.DATABASE_URL, createTables: true })
 * ```
 * @throws ConfigurationError when an option is unusable; nothing connects before `run()`
 */
export function postgres(options: PostgresOptions): Store {
  const connection = connectionOptions(options)
  return {
    casing: options.casing,
    open: (request) => openSession(connection, options.createTables ?? false, request),
  }
}

/** So many heartbeats must be missed before an owner counts as dead. */
const beatsUntilStale = 5

const defaultReadDeadlineMs = 300_000

async function openSession(
  connection: ConnectionOptions,
  createTables: boolean,
  request: OpenStore,
): Promise<StoreSession> {
  const { pipeline, models, signal, log } = request
  const applicationName = `tailrace ${pipeline}`.slice(0, 63)
  const token = randomUUID()
  const forget = registerHere(token)
  let session: PostgresSession | undefined
  let lost: unknown
  const client = await connectClient(connection, applicationName, signal, (error) => {
    lost ??= error
    log.warn('the connection to Postgres ended', { error: String(error) })
  }).catch((error: unknown) => {
    forget()
    throw error
  })
  const abort = () => destroyClient(client)
  signal.addEventListener('abort', abort, { once: true })
  try {
    await install(client, createTables ? createTableStatements(models) : [])
    await checkTables(client, models)
    const taken = await takeOwnership(client, token, request)
    const history = await prepareHistory(client, request, taken)
    const positions = await storedPositions(client, pipeline)
    refuseLostSources(pipeline, request.sources, positions)
    const { epoch, committed, counter } = taken
    const resume = { epoch, committed, counter, restorableFrom: history.restorableFrom, positions }
    const pool = readPool(connection, applicationName, log)
    session = new PostgresSession({
      pipeline,
      token,
      applicationName,
      connection,
      models,
      taken,
      resume,
      client,
      pool,
      history,
      readRetries: {
        deadlineMs: request.readDeadlineMs ?? defaultReadDeadlineMs,
        retrying: (error, attempt, inMs) => request.readRetrying?.(error, attempt, inMs),
        recovered: () => request.readRecovered?.(),
      },
      heartbeatMs: request.staleMs / beatsUntilStale,
      log,
      superseded: (owner) => request.superseded?.(owner),
      forget,
    })
    log.info('pipeline taken', {
      pipeline,
      target: targetOf(connection),
      epoch: taken.epoch,
      committed: taken.committed,
    })
    return session
  } catch (error) {
    // whatever was refused after the row was taken: it is given back, so that nobody waits for us
    await settlesWithin(client.query(releasePipeline, [pipeline, token]), releaseDeadlineMs)
    await endClient(client)
    forget()
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

async function storedPositions(
  client: Awaited<ReturnType<typeof connectClient>>,
  pipeline: string,
): Promise<Resume['positions']> {
  const { rows } = await client.query<{
    source: string
    number: string
    hash: string
    cursor: string | null
    checkpoint: string
  }>(readPositions, [pipeline])
  const positions = new Map<string, (Position & { readonly checkpoint: number })[]>()
  for (const row of rows) {
    const ofSource = positions.get(row.source) ?? []
    positions.set(row.source, ofSource)
    ofSource.push({
      number: Number(row.number),
      hash: row.hash,
      ...(row.cursor === null ? {} : { cursor: row.cursor }),
      checkpoint: Number(row.checkpoint),
    })
  }
  return positions
}

/** A source that was indexed and is gone would silently leave its rows behind (H46). */
function refuseLostSources(pipeline: string, sources: readonly string[], stored: Resume['positions']): void {
  const lost = [...stored.keys()].filter((source) => !sources.includes(source))
  if (lost.length === 0) return
  throw new ConfigurationError(
    'SOURCE_MISSING',
    `Pipeline '${pipeline}' has indexed source ${lost.map((id) => `'${id}'`).join(', ')}, which this run does not have (it has ${sources.map((id) => `'${id}'`).join(', ')}). Give the source back under its id, or use another pipeline name and fresh tables.`,
    { phase: 'opening' },
  )
}

function connectionOptions(options: PostgresOptions): ConnectionOptions {
  const { connectionString, readConnections = 4, connectionTimeoutMs = 10_000 } = options
  if (typeof connectionString !== 'string' || connectionString === '') {
    throw new ConfigurationError(
      'INVALID_OPTIONS',
      'postgres({ connectionString }) is missing. Is DATABASE_URL set? Example: postgres://user:password@localhost:5432/app',
      { phase: 'options' },
    )
  }
  if (!/^postgres(ql)?:\/\//.test(connectionString) && !connectionString.startsWith('/')) {
    throw new ConfigurationError(
      'INVALID_OPTIONS',
      'postgres({ connectionString }) must begin with postgres:// or postgresql://',
      { phase: 'options' },
    )
  }
  if (!Number.isSafeInteger(readConnections) || readConnections < 1) {
    throw new ConfigurationError(
      'INVALID_OPTIONS',
      'postgres({ readConnections }) must be a whole number ≥ 1',
      { phase: 'options' },
    )
  }
  return { connectionString, readConnections, connectionTimeoutMs }
}
