/**
 * Taking a pipeline's row. At once when it is free or its recorded backend is gone; otherwise whoever holds it is
 * waited for. A take-over names the epoch it saw, so that two that saw the same cannot both win.
 */
import { hostname } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { ConfigurationError, RetryableError } from '../errors.ts'
import { addPipeline, readOwner, takePipeline } from './plans.ts'
import type { Holder, OpenStore } from './store.ts'

export interface Taken {
  readonly epoch: number
  readonly commitNumber: number
  readonly committed: number
  readonly counter: number
  readonly restorableFrom: number
}

/** Between two looks at a row that somebody else holds. */
const lookAgainMs = 200

interface OwnerRow {
  readonly epoch: string
  readonly token: string | null
  readonly host: string | null
  readonly pid: number | null
  readonly taken_at: Date | null
  readonly alive: boolean
}

/** @throws RetryableError `PIPELINE_HELD`, ConfigurationError `PIPELINE_RUNS_HERE` */
export async function takeOwnership(client: pg.Client, token: string, request: OpenStore): Promise<Taken> {
  const { pipeline, signal } = request
  await client.query(addPipeline, [pipeline])
  const started = performance.now()
  let told = false
  for (;;) {
    signal.throwIfAborted()
    const { rows } = await client.query<OwnerRow>(readOwner, [pipeline])
    const owner = rows[0]!
    if (!owner.alive) {
      const taken = await take(client, token, pipeline, owner.epoch)
      if (taken !== undefined) return taken
      continue
    }
    const holder: Holder = { host: owner.host ?? '?', pid: owner.pid ?? 0, epoch: Number(owner.epoch) }
    if (holder.host === hostname() && holder.pid === process.pid) throw runsHere(pipeline)
    if (performance.now() - started >= request.ownershipTimeoutMs)
      throw held(pipeline, holder, owner.taken_at)
    if (!told) request.waiting?.(holder)
    told = true
    await pause(lookAgainMs, undefined, { signal })
  }
}

async function take(
  client: pg.Client,
  token: string,
  pipeline: string,
  epochSeen: string,
): Promise<Taken | undefined> {
  type TakenRow = Record<'epoch' | 'commit_number' | 'committed' | 'counter' | 'restorable_from', string>
  const { rows } = await client.query<TakenRow>(takePipeline, [
    pipeline,
    epochSeen,
    token,
    hostname(),
    process.pid,
  ])
  const row = rows[0]
  if (row === undefined) return undefined
  return {
    epoch: Number(row.epoch),
    commitNumber: Number(row.commit_number),
    committed: Number(row.committed),
    counter: Number(row.counter),
    restorableFrom: Number(row.restorable_from),
  }
}

function runsHere(pipeline: string): ConfigurationError {
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
