/**
 * Taking a pipeline's row. At once when it is free or its owner is dead; otherwise whoever holds it is waited for. A
 * take-over names the epoch and the heartbeat it saw, so that two that saw the same cannot both win, and nobody takes it
 * from an owner that spoke since.
 */
import { hostname } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { ConfigurationError, RetryableError } from '../errors.ts'
import { clientPid } from './connection.ts'
import { runsHere, Watch, type Look } from './liveness.ts'
import {
  addPipeline,
  endDeadBackend,
  endOldBackend,
  readOwner,
  retakePipeline,
  takePipeline,
} from './plans.ts'
import type { Holder, OpenStore } from './store.ts'

export interface Taken {
  readonly epoch: number
  readonly commitNumber: number
  readonly committed: number
  readonly counter: number
  readonly restorableFrom: number
  readonly incarnation: number
}

/** Between two looks at a row that somebody else holds. */
const lookAgainMs = 200

interface OwnerRow {
  readonly epoch: string
  readonly token: string | null
  readonly host: string | null
  readonly pid: number | null
  readonly taken_at: Date | null
  readonly beat: string | null
  readonly direct: boolean
  readonly now_ms: string
  readonly silent_ms: string | null
  readonly backend_gone: boolean | null
}

export type TakenRow = Record<
  'epoch' | 'commit_number' | 'committed' | 'counter' | 'restorable_from' | 'incarnation',
  string
>

export function takenOf(row: TakenRow): Taken {
  return {
    epoch: Number(row.epoch),
    commitNumber: Number(row.commit_number),
    committed: Number(row.committed),
    counter: Number(row.counter),
    restorableFrom: Number(row.restorable_from),
    incarnation: Number(row.incarnation),
  }
}

/** @throws RetryableError `PIPELINE_HELD`, ConfigurationError `PIPELINE_RUNS_HERE` */
export async function takeOwnership(client: pg.Client, token: string, request: OpenStore): Promise<Taken> {
  const { pipeline, signal, staleMs } = request
  await client.query(addPipeline, [pipeline])
  const started = performance.now()
  const watch = new Watch(staleMs)
  let told = false
  for (;;) {
    signal.throwIfAborted()
    const { rows } = await client.query<OwnerRow>(readOwner, [pipeline])
    const look = lookOf(rows[0]!)
    if (look.token === token) {
      // taken by an attempt before, whose answer was lost
      const taken = await retake(client, token, pipeline)
      if (taken !== undefined) return taken
      continue
    }
    const verdict = watch.judge(look)
    if (verdict === 'free' || verdict === 'dead') {
      if (verdict === 'dead') await client.query(endDeadBackend, [pipeline, look.epoch, look.beat])
      const taken = await take(client, token, pipeline, look)
      if (taken !== undefined) return taken
      continue
    }
    const holder: Holder = { host: look.host ?? '?', pid: look.pid ?? 0, epoch: look.epoch }
    if (runsHere(look)) throw here(pipeline)
    // one that is silent is not waited for much longer, whatever comes of it
    if (verdict === 'alive' && performance.now() - started >= request.ownershipTimeoutMs) {
      throw held(pipeline, holder, rows[0]!.taken_at)
    }
    if (!told) request.waiting?.(holder)
    told = true
    await pause(lookAgainMs, undefined, { signal })
  }
}

function lookOf(row: OwnerRow): Look {
  return {
    epoch: Number(row.epoch),
    token: row.token,
    host: row.host,
    pid: row.pid,
    beat: row.beat,
    direct: row.direct,
    nowMs: Number(row.now_ms),
    silentMs: Number(row.silent_ms ?? 0),
    backendGone: row.backend_gone === true,
  }
}

export async function isHeldBy(client: pg.Client, pipeline: string, token: string): Promise<boolean> {
  const { rows } = await client.query<OwnerRow>(readOwner, [pipeline])
  return rows[0]?.token === token
}

/** Who has the pipeline now; null: nobody, or nobody who said so. */
export async function readHolder(client: pg.Client, pipeline: string): Promise<Holder | null> {
  const { rows } = await client.query<OwnerRow>(readOwner, [pipeline])
  const row = rows[0]
  if (row === undefined || row.host === null || row.pid === null) return null
  return { host: row.host, pid: row.pid, epoch: Number(row.epoch) }
}

async function take(
  client: pg.Client,
  token: string,
  pipeline: string,
  { epoch, beat }: Look,
): Promise<Taken | undefined> {
  const { rows } = await client.query<TakenRow>(takePipeline, [
    pipeline,
    epoch,
    token,
    hostname(),
    process.pid,
    clientPid(client),
    beat,
  ])
  return rows[0] === undefined ? undefined : takenOf(rows[0])
}

async function retake(client: pg.Client, token: string, pipeline: string): Promise<Taken | undefined> {
  await client.query(endOldBackend, [pipeline, token])
  const { rows } = await client.query<TakenRow>(retakePipeline, [pipeline, token, clientPid(client)])
  return rows[0] === undefined ? undefined : takenOf(rows[0])
}

function here(pipeline: string): ConfigurationError {
  return new ConfigurationError(
    'PIPELINE_RUNS_HERE',
    `Another indexer named '${pipeline}' runs in this very process (pid ${process.pid}). Give each indexer its own name, or await the first one's run() before starting the second.`,
    { phase: 'opening' },
  )
}

function held(pipeline: string, holder: Holder, since: Date | null): RetryableError {
  return new RetryableError(
    'PIPELINE_HELD',
    `Pipeline '${pipeline}' is held by process ${holder.pid} on ${holder.host} (epoch ${holder.epoch}, since ${since?.toISOString() ?? '?'}). Stop that process, or raise ownership.timeoutMs to wait longer.`,
    { phase: 'opening' },
  )
}
