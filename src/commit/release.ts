/** Giving a pipeline's row up at the end of a run, whatever became of the connection that took it. */
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { settlesWithin } from '../within.ts'
import { connectClient, destroyClient, endClient, type ConnectionOptions } from './connection.ts'
import { endOldBackend, releasePipeline } from './plans.ts'

export interface Held {
  readonly pipeline: string
  readonly token: string
  readonly applicationName: string
  readonly connection: ConnectionOptions
}

/** How long the end of a run waits for its row to be given up. */
const deadlineMs = 1_000
const againMs = 20

/**
 * Without it, a commit that was cut would hold the pipeline for as long as its backend lives. Best effort: a row that
 * cannot be reached is free once its owner counts as dead. Never rejects; the client's socket is closed afterwards.
 */
export async function releaseOwnership(held: Held, writer: pg.Client | undefined): Promise<void> {
  const { pipeline, token, applicationName, connection } = held
  const late = new AbortController()
  const { signal } = late
  let client = writer
  const release = async () => {
    for (;;) {
      try {
        if (client === undefined) {
          client = await connectClient(connection, applicationName, signal, () => undefined)
          await client.query(endOldBackend, [pipeline, token])
        }
        await client.query(releasePipeline, [pipeline, token])
        return
      } catch {
        // its connection is gone, or its answer is: said twice does no harm
        if (client !== undefined) await endClient(client)
        client = undefined
        await pause(againMs, undefined, { signal })
      }
    }
  }
  const releasing = release()
  if (!(await settlesWithin(releasing, deadlineMs))) {
    late.abort()
    if (client !== undefined) destroyClient(client)
    await settlesWithin(releasing, deadlineMs)
  }
  if (client !== undefined) await endClient(client)
}
