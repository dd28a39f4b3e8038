/**
 * One run's hold on its pipeline: the writer's connection, the readers, the epoch and the commit number.
 *
 * Maintained invariant: every flight carries the epoch and the commit number this session believes in, and the
 * database compares both in the same transaction (I9). After anything without a certain answer the row is taken
 * again with the run's own token before anything else is sent (I10).
 */
import type pg from 'pg'
import { FatalError, messageOf, type TailraceError } from '../errors.ts'
import type { Group } from '../staging/batch.ts'
import { GrowingWriter } from '../staging/column/writer.ts'
import type { Reader } from '../staging/reader.ts'
import type { Deliver } from '../staging/snapshots.ts'
import type { TableModel } from '../staging/table.ts'
import { isTransient } from './classify.ts'
import {
  clientPid,
  connectClient,
  destroyClient,
  endClient,
  isDirect,
  type ConnectionOptions,
  type ReadPool,
} from './connection.ts'
import {
  restoredRows,
  standingAt,
  writeCommit,
  writeMarksOnly,
  writeRestore,
  type FlightParts,
  type Standing,
} from './commit-flight.ts'
import type { ReadyHistory } from './history-install.ts'
import type { Heartbeat } from './heartbeat.ts'
import { isHeldBy, readHolder, type Taken, type TakenRow } from './ownership.ts'
import * as plans from './plans.ts'
import { reader } from './reader.ts'
import { regionReader, type RegionReader } from './region-reader.ts'
import { refusal, restoreRefusal } from './refusal.ts'
import { releaseOwnership } from './release.ts'
import { retriedReads, type ReadRetries } from './retried-reads.ts'
import { Statements } from './statements.ts'
import type {
  Holder,
  RegionRow,
  ResolveEnd,
  RestoreEnd,
  Resume,
  StoredSnapshot,
  StoreSession,
  WriteEnd,
} from './store.ts'
import { tablePlan, type StatementNote, type TablePlan } from './table-statements.ts'
import { Flight, type FlightEnd } from './wire/flight.ts'
import { settlesWithin } from '../within.ts'

export interface SessionParts {
  readonly pipeline: string
  readonly token: string
  readonly applicationName: string
  readonly connection: ConnectionOptions
  readonly models: readonly TableModel[]
  readonly deliver: Deliver | undefined
  readonly taken: Taken
  readonly resume: Resume
  readonly client: pg.Client
  readonly pool: ReadPool
  readonly history: ReadyHistory
  readonly readRetries: Omit<ReadRetries, 'signal'>
  readonly heartbeat: Heartbeat
  /** Told by `tellSuperseded`. */
  superseded(owner: Holder | null): void
  /** The run is none of this process any more. */
  forget(): void
}

type FlyEnd = Exclude<WriteEnd, { end: 'landed' }> | Extract<FlightEnd, { end: 'landed' }>

/** How long a failure waits to be believed. */
const confirmDeadlineMs = 1_000

/** A buffer larger than this is not kept for the next flight. */
const keptBufferBytes = 64 * 1024 * 1024

export class PostgresSession implements StoreSession {
  readonly resume: Resume
  readonly reader: Reader
  readonly #regions: RegionReader
  readonly #parts: SessionParts
  readonly #tables: ReadonlyMap<TableModel, TablePlan>
  /** Encoder buffers that no socket holds any more; two serve a run. */
  readonly #buffers: GrowingWriter[] = []
  #client: pg.Client | undefined
  #epoch: number
  #standing: Standing
  /** What it will be once the latest flight has landed. */
  #inFlight: Standing | undefined
  #closing: Promise<void> | undefined
  #telling: Promise<void> | undefined
  readonly #closed = new AbortController()

  constructor(parts: SessionParts) {
    this.#parts = parts
    this.resume = parts.resume
    const query = retriedReads(parts.pool.query, { ...parts.readRetries, signal: this.#closed.signal })
    this.reader = reader(query)
    this.#regions = regionReader(query, parts.pipeline, parts.taken.incarnation)
    this.#tables = new Map(parts.models.map((model) => [model, tablePlan(model)]))
    this.#client = parts.client
    this.#epoch = parts.taken.epoch
    this.#standing = standingAt(parts.taken.commitNumber, parts.history)
  }

  get restorableFrom(): number {
    return this.#standing.restorableFrom
  }

  regions(): Promise<readonly RegionRow[]> {
    return this.#regions.regions()
  }

  snapshots(regions: readonly string[], deliver: Deliver): Promise<readonly StoredSnapshot[]> {
    return this.#regions.snapshots(regions, deliver)
  }

  async write(group: Group, flushed: () => void): Promise<WriteEnd> {
    const ended = await this.#fly(
      (statements, parts) =>
        group.batches.length === 0
          ? writeMarksOnly(statements, parts, this.#standing, group)
          : writeCommit(statements, parts, this.#standing, group),
      flushed,
      (error, note) => refusal(error, note, group),
    )
    return ended.end === 'landed' ? { end: 'landed' } : ended
  }

  async restore(target: number): Promise<RestoreEnd> {
    const ended = await this.#fly(
      (statements, parts) => writeRestore(statements, parts, this.#standing, target),
      () => undefined,
      (error) => restoreRefusal(error, target),
    )
    return ended.end === 'landed'
      ? { end: 'landed', rows: restoredRows(this.#flightParts, ended.counts) }
      : ended
  }

  async resolve(): Promise<ResolveEnd> {
    const { pipeline, token } = this.#parts
    try {
      const client = await this.#connected()
      const { rows } = await client.query<TakenRow>(plans.retakePipeline, [
        pipeline,
        token,
        clientPid(client),
      ])
      const row = rows[0]
      if (row === undefined) return { end: 'superseded', owner: await readHolder(client, pipeline) }
      this.#epoch = Number(row.epoch)
      const found = Number(row.commit_number)
      const expected = this.#standing.commitNumber
      if (found === expected) return { end: 'notLanded' }
      if (found === expected + 1 && this.#inFlight?.commitNumber === found) {
        this.#standing = this.#inFlight
        return { end: 'landed' }
      }
      return { end: 'reverted', error: reverted(pipeline, expected, found) }
    } catch (error) {
      if (this.#client !== undefined) this.#lose(this.#client)
      return { end: 'lost', error }
    }
  }

  destroyWriter(): void {
    if (this.#client !== undefined) this.#lose(this.#client)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#closed.abort()
    const client = this.#client
    this.#client = undefined
    const { pool, heartbeat, forget } = this.#parts
    await Promise.all([
      releaseOwnership(this.#parts, client),
      pool.end(),
      heartbeat.stop(),
      // its connection is not left behind
      this.#telling,
    ])
    forget()
  }

  /** The heartbeat has found another owner in our place: whoever waits for no commit hears of it, too. */
  tellSuperseded(): void {
    this.#telling ??= this.#tellSuperseded()
  }

  async #tellSuperseded(): Promise<void> {
    let owner: Holder | null = null
    try {
      owner = await this.#ask((client) => readHolder(client, this.#parts.pipeline))
    } catch {
      // that it is lost is certain; who has it would only be good to know
    }
    if (!this.#closed.signal.aborted) this.#parts.superseded(owner)
  }

  async confirm(): Promise<void> {
    const { pipeline, token } = this.#parts
    const asking = async () => {
      if (await this.#ask((client) => isHeldBy(client, pipeline, token))) return
      this.tellSuperseded()
      await this.#telling
    }
    await settlesWithin(asking(), confirmDeadlineMs)
  }

  /** By a connection of its own: the writer's may be waiting for the very owner that took over. */
  async #ask<T>(question: (client: pg.Client) => Promise<T>): Promise<T> {
    const { connection, applicationName } = this.#parts
    const { signal } = this.#closed
    const client = await connectClient(connection, applicationName, signal, () => undefined)
    const leave = () => destroyClient(client)
    signal.addEventListener('abort', leave, { once: true })
    try {
      return await question(client)
    } finally {
      signal.removeEventListener('abort', leave)
      await endClient(client)
    }
  }

  // ── the flight ────────────────────────────────────────────────────────────────────────────────────────────

  get #flightParts(): FlightParts {
    const { pipeline, history, deliver, taken } = this.#parts
    return {
      pipeline,
      epoch: this.#epoch,
      incarnation: taken.incarnation,
      copies: this.#client !== undefined && isDirect(this.#client),
      deliver,
      tables: this.#tables,
      history: history.plans,
    }
  }

  /** Sends what `say` says, encoded and handed to the socket before this returns. */
  async #fly(
    say: (statements: Statements, parts: FlightParts) => Standing,
    flushed: () => void,
    refused: (error: pg.DatabaseError, note: StatementNote | undefined) => TailraceError,
  ): Promise<FlyEnd> {
    const client = this.#client
    if (client === undefined) return { end: 'lost', error: new Error('the writer is not connected') }
    const out = this.#buffers.pop() ?? new GrowingWriter(1024 * 1024)
    out.reset()
    const statements = new Statements(out)
    let bytes: Buffer
    try {
      this.#inFlight = say(statements, this.#flightParts)
      bytes = statements.end()
    } catch (cause) {
      this.#buffers.push(out)
      flushed()
      const message = `A staged value cannot be encoded: ${messageOf(cause)}`
      return { end: 'refused', error: new FatalError('ENCODING_FAILED', message, { cause, phase: 'commit' }) }
    }
    const flight = new Flight(bytes, () => {
      if (out.capacity <= keptBufferBytes) this.#buffers.push(out)
      flushed()
    })
    client.query(flight)
    const ended = await flight.ended
    switch (ended.end) {
      case 'landed':
        this.#standing = this.#inFlight
        return ended
      case 'lost':
        this.#lose(client)
        return ended
      case 'refused': {
        const error = refused(ended.error, statements.noteOf(ended.statement))
        return { end: isTransient(ended.error) ? 'deferred' : 'refused', error }
      }
      default:
        throw new Error(`unreachable: ${String(ended satisfies never)}`)
    }
  }

  // ── the connection ────────────────────────────────────────────────────────────────────────────────────────

  #lose(client: pg.Client): void {
    destroyClient(client)
    if (this.#client === client) this.#client = undefined
  }

  async #connected(): Promise<pg.Client> {
    if (this.#client !== undefined) return this.#client
    const { connection, applicationName, pipeline, token } = this.#parts
    const client = await connectClient(connection, applicationName, this.#closed.signal, (_error, lost) =>
      this.#lose(lost),
    )
    if (this.#closed.signal.aborted) {
      destroyClient(client)
      throw new Error('the session is closed')
    }
    this.#client = client
    await client.query(plans.endOldBackend, [pipeline, token])
    return client
  }
}

function reverted(pipeline: string, expected: number, found: number): FatalError {
  return new FatalError(
    'DATABASE_WENT_BACK',
    `Pipeline '${pipeline}' is at commit ${found} in the database, this run is at ${expected}: the database went back (restored, or failed over to a stale replica). Start again: the run resumes from what the database holds.`,
    { phase: 'commit' },
  )
}
