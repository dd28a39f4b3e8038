/** `tailrace/postgres`: a Postgres of the user's own as the store. */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { ConfigurationError, FatalError, messageOf, TailraceError } from '../errors.ts'
import type { Position } from '../source/port.ts'
import type { Casing } from '../staging/table-model.ts'
import { checkTables } from './catalog.ts'
import { connectionError, mayPass } from './classify.ts'
import {
  connectClient,
  destroyClient,
  endClient,
  readPool,
  targetOf,
  type ConnectionOptions,
} from './connection.ts'
import { createTableStatements } from './ddl.ts'
import { startHeartbeat, type Heartbeat } from './heartbeat.ts'
import { prepareHistory } from './history-install.ts'
import { install } from './install.ts'
import { jitteredMs } from './jitter.ts'
import { beatsUntilStale, registerHere } from './liveness.ts'
import { takeOwnership } from './ownership.ts'
import { readPositions, writeShape } from './plans.ts'
import { releaseOwnership, type Held } from './release.ts'
import { PostgresSession } from './session.ts'
import { checkShape } from './shape-guard.ts'
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

const defaultReadDeadlineMs = 300_000

const longestPauseMs = 5_000

/**
 * An outage while a pipeline is opened, or waited for, is outlived as one of a running run is. A database that was never
 * reached is more likely an option that is wrong.
 */
async function openSession(
  connection: ConnectionOptions,
  createTables: boolean,
  request: OpenStore,
): Promise<StoreSession> {
  const { pipeline, signal, log, readDeadlineMs = defaultReadDeadlineMs } = request
  const applicationName = `tailrace ${pipeline}`.slice(0, 63)
  // one for all attempts: a take-over whose answer was lost is then found to be ours
  const held = { pipeline, token: randomUUID(), applicationName, connection }
  const forget = registerHere(held.token)
  let failedAt: number | undefined
  try {
    for (let attempt = 1; ; attempt++) {
      let client: pg.Client | undefined
      try {
        client = await connectClient(connection, applicationName, signal, (error) =>
          log.warn('the connection to Postgres ended', { error: messageOf(error) }),
        )
        return await openOn(client, held, createTables, request, forget)
      } catch (error) {
        const now = performance.now()
        const isReached = client !== undefined || failedAt !== undefined
        failedAt ??= now
        if (!isReached || !mayPass(error) || signal.aborted || now - failedAt >= readDeadlineMs) {
          // whatever was refused after the row was taken: it is given back, so that nobody waits for us
          if (isReached) await releaseOwnership(held, client)
          signal.throwIfAborted()
          throw error instanceof TailraceError ? error : openingError(error, connection)
        }
        if (client !== undefined) await endClient(client)
        const inMs = jitteredMs(attempt, longestPauseMs)
        log.warn('opening is tried again', { attempt, inMs: Math.round(inMs), error: messageOf(error) })
        await pause(inMs, undefined, { signal })
      }
    }
  } catch (error) {
    forget()
    throw error
  }
}

function openingError(error: unknown, connection: ConnectionOptions): TailraceError {
  if (mayPass(error)) return connectionError(error, targetOf(connection))
  return new FatalError('INTERNAL', messageOf(error), { cause: error, phase: 'opening' })
}

async function openOn(
  client: pg.Client,
  held: Held,
  createTables: boolean,
  request: OpenStore,
  forget: () => void,
): Promise<StoreSession> {
  const { connection, applicationName, token } = held
  const { pipeline, models, staleMs, readDeadlineMs = defaultReadDeadlineMs, signal, log } = request
  const abort = () => destroyClient(client)
  signal.addEventListener('abort', abort, { once: true })
  let heartbeat: Heartbeat | undefined
  let session: PostgresSession | undefined
  let isLost = false
  try {
    await install(client, createTables ? createTableStatements(models) : [])
    await checkTables(client, models)
    const taken = await takeOwnership(client, token, request)
    // from here on, and not first when all is ready: that may take longer than a silence is taken for death
    heartbeat = startHeartbeat(
      {
        connection,
        applicationName: `${applicationName} heartbeat`.slice(-63),
        pipeline,
        token,
        everyMs: staleMs / beatsUntilStale,
      },
      () => {
        isLost = true
        session?.tellSuperseded()
      },
      log,
    )
    const shape = await checkShape(client, taken, request)
    const history = await prepareHistory(client, request, taken)
    const positions = await storedPositions(client, pipeline)
    await client.query(writeShape, [pipeline, token, JSON.stringify(shape)])
    const { epoch, committed, counter, incarnation } = taken
    session = new PostgresSession({
      ...held,
      models,
      deliver: request.deliver,
      taken,
      resume: {
        epoch,
        committed,
        counter,
        restorableFrom: history.restorableFrom,
        incarnation,
        positions,
      },
      client,
      pool: readPool(connection, applicationName, log),
      history,
      readRetries: {
        deadlineMs: readDeadlineMs,
        retrying: (error, attempt, inMs) => request.readRetrying?.(error, attempt, inMs),
        recovered: () => request.readRecovered?.(),
      },
      heartbeat,
      superseded: (owner) => request.superseded?.(owner),
      forget,
    })
    if (isLost) session.tellSuperseded()
    log.info('pipeline taken', { pipeline, target: targetOf(connection), epoch, committed })
    return session
  } catch (error) {
    await heartbeat?.stop()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

async function storedPositions(client: pg.Client, pipeline: string): Promise<Resume['positions']> {
  const { rows } = await client.query<{
    source: string
    number: string
    hash: string
    cursor: string | null
    checkpoint: string
    timestamp: string | null
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
      ...(row.timestamp === null ? {} : { timestamp: Number(row.timestamp) }),
    })
  }
  return positions
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
