/**
 * One run's hold on its pipeline: the writer's connection, the readers, the epoch and the commit number.
 *
 * Maintained invariant: every flight carries the epoch and the commit number this session believes in, and the
 * database compares both in the same transaction (I9). After anything without a certain answer the row is taken
 * again with the run's own token before anything else is sent (I10).
 */
import type pg from 'pg'
import { FatalError, messageOf } from '../errors.ts'
import type { BlockRef } from '../block.ts'
import type { Group } from '../staging/batch.ts'
import { GrowingWriter } from '../staging/column/writer.ts'
import type { Reader } from '../staging/reader.ts'
import type { TableModel } from '../staging/table.ts'
import { isTransient } from './classify.ts'
import {
  connectClient,
  destroyClient,
  endClient,
  type ConnectionOptions,
  type ReadPool,
} from './connection.ts'
import type { Taken } from './ownership.ts'
import * as plans from './plans.ts'
import { reader } from './reader.ts'
import { refusal } from './refusal.ts'
import type { Holder, ResolveEnd, Resume, StoreSession, WriteEnd } from './store.ts'
import { tablePlan, writeTable, type StatementNote, type TablePlan } from './table-statements.ts'
import { Flight } from './wire/flight.ts'
import { settlesWithin } from '../within.ts'
import {
  Frames,
  int8ArrayParameter,
  int8Parameter,
  textArrayParameter,
  textParameter,
} from './wire/frames.ts'

export interface SessionParts {
  readonly pipeline: string
  readonly token: string
  readonly applicationName: string
  readonly connection: ConnectionOptions
  readonly models: readonly TableModel[]
  readonly taken: Taken
  readonly resume: Resume
  readonly client: pg.Client
  readonly pool: ReadPool
}

/** A buffer larger than this is not kept for the next flight. */
const keptBufferBytes = 64 * 1024 * 1024

/** How long the end of a run waits for its row to be given up. */
export const releaseDeadlineMs = 1_000

export class PostgresSession implements StoreSession {
  readonly resume: Resume
  readonly reader: Reader
  readonly #parts: SessionParts
  readonly #plans: ReadonlyMap<TableModel, TablePlan>
  /** Encoder buffers that no socket holds any more; two serve a run. */
  readonly #buffers: GrowingWriter[] = []
  #client: pg.Client | undefined
  #epoch: number
  #commitNumber: number
  #closing: Promise<void> | undefined
  readonly #closed = new AbortController()

  constructor(parts: SessionParts) {
    this.#parts = parts
    this.resume = parts.resume
    this.reader = reader(parts.pool.query)
    this.#plans = new Map(parts.models.map((model) => [model, tablePlan(model)]))
    this.#client = parts.client
    this.#epoch = parts.taken.epoch
    this.#commitNumber = parts.taken.commitNumber
  }

  async write(group: Group, flushed: () => void): Promise<WriteEnd> {
    const client = this.#client
    if (client === undefined) return { end: 'lost', error: new Error('the writer is not connected') }
    const out = this.#buffers.pop() ?? new GrowingWriter(1024 * 1024)
    out.reset()
    const notes: StatementNote[] = []
    let frames: Frames
    try {
      frames = this.#encode(out, group, notes)
    } catch (cause) {
      this.#buffers.push(out)
      flushed()
      const error = new FatalError(
        'ENCODING_FAILED',
        `A staged value cannot be encoded: ${messageOf(cause)}`,
        { cause, phase: 'commit' },
      )
      return { end: 'refused', error }
    }
    const flight = new Flight(frames.view(), () => {
      if (out.capacity <= keptBufferBytes) this.#buffers.push(out)
      flushed()
    })
    client.query(flight)
    const ended = await flight.ended
    switch (ended.end) {
      case 'landed':
        this.#commitNumber++
        return ended
      case 'lost':
        this.#lose(client)
        return ended
      case 'refused': {
        // statement 0 is begin_flight; those after the tables are ours
        const error = refusal(ended.error, notes[ended.statement - 1], group)
        return { end: isTransient(ended.error) ? 'deferred' : 'refused', error }
      }
      default:
        throw new Error(`unreachable: ${String(ended satisfies never)}`)
    }
  }

  async resolve(): Promise<ResolveEnd> {
    const { pipeline, token } = this.#parts
    try {
      const client = await this.#connected()
      const { rows } = await client.query<Record<'epoch' | 'commit_number', string>>(plans.retakePipeline, [
        pipeline,
        token,
      ])
      const row = rows[0]
      if (row === undefined) return { end: 'superseded', owner: await this.#owner(client) }
      this.#epoch = Number(row.epoch)
      const found = Number(row.commit_number)
      const expected = this.#commitNumber
      if (found === expected) return { end: 'notLanded' }
      if (found === expected + 1) {
        this.#commitNumber = found
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
    await Promise.all([this.#release(client), this.#parts.pool.end()])
  }

  /**
   * Gives the row up, whatever became of the writer: without it, a commit that was cut would hold the pipeline for as
   * long as its backend lives. Best effort: a row that cannot be reached is free once its backend is gone.
   */
  async #release(writer: pg.Client | undefined): Promise<void> {
    const { pipeline, token, connection, applicationName } = this.#parts
    let client = writer
    const late = new AbortController()
    const release = async () => {
      if (client === undefined) {
        client = await connectClient(connection, applicationName, late.signal, () => undefined)
        await client.query(plans.endOldBackend, [pipeline, token])
      }
      await client.query(plans.releasePipeline, [pipeline, token])
    }
    const releasing = release()
    if (!(await settlesWithin(releasing, releaseDeadlineMs))) {
      late.abort()
      if (client !== undefined) destroyClient(client)
      await settlesWithin(releasing, releaseDeadlineMs)
    }
    if (client !== undefined) await endClient(client)
  }

  // ── the flight ────────────────────────────────────────────────────────────────────────────────────────────

  #encode(out: GrowingWriter, group: Group, notes: StatementNote[]): Frames {
    const frames = new Frames(out)
    const name = textParameter(this.#parts.pipeline)
    const epoch = int8Parameter(this.#epoch)
    frames.statement(plans.beginFlight, [name, epoch])
    for (const table of group.tables) writeTable(frames, this.#plans.get(table.model)!, table, notes)
    frames.statement(plans.writeCursors, [name, ...positionColumns(group.cursors)])
    if (group.positions.length > 0) {
      frames.statement(plans.writeCheckpoints, [name, ...positionColumns(group.positions)])
      const forking = group.cursors.filter((block) => block.finalBelow !== undefined)
      frames.statement(plans.pruneCheckpoints, [
        name,
        textArrayParameter(forking.map((block) => block.source)),
        int8ArrayParameter(forking.map((block) => block.finalBelow!)),
      ])
    }
    const upTo = int8Parameter(group.upTo)
    frames.statement(plans.fence, [name, epoch, int8Parameter(this.#commitNumber), upTo, upTo])
    frames.sync()
    return frames
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

  async #owner(client: pg.Client): Promise<Holder | null> {
    const { rows } = await client.query<{ epoch: string; host: string | null; pid: number | null }>(
      plans.readOwner,
      [this.#parts.pipeline],
    )
    const row = rows[0]
    if (row === undefined || row.host === null || row.pid === null) return null
    return { host: row.host, pid: row.pid, epoch: Number(row.epoch) }
  }
}

function positionColumns(blocks: readonly BlockRef[]) {
  return [
    textArrayParameter(blocks.map((block) => block.source)),
    int8ArrayParameter(blocks.map((block) => block.checkpoint)),
    int8ArrayParameter(blocks.map((block) => block.number)),
    textArrayParameter(blocks.map((block) => block.hash)),
    textArrayParameter(blocks.map((block) => block.cursor ?? null)),
  ]
}

function reverted(pipeline: string, expected: number, found: number): FatalError {
  return new FatalError(
    'DATABASE_WENT_BACK',
    `Pipeline '${pipeline}' is at commit ${found} in the database, this run is at ${expected}: the database went back (restored, or failed over to a stale replica). Start again: the run resumes from what the database holds.`,
    { phase: 'commit' },
  )
}
