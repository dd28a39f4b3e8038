/**
 * The heartbeat's thread: it goes on while handlers keep the main thread busy, and stops with the process. One
 * statement at a time on a connection of its own; whatever goes wrong, the next one begins anew.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type pg from 'pg'
import { connectClient, destroyClient } from './connection.ts'
import type { HeartbeatData, HeartbeatMessage } from './heartbeat.ts'
import { beat } from './plans.ts'

const { connection, applicationName, pipeline, token, everyMs } = workerData as HeartbeatData

/** A connection takes several round trips, a beat one; neither may wait for ever for an answer that does not come. */
const connectDeadlineMs = Math.max(5 * everyMs, 5_000)
const beatDeadlineMs = Math.max(2 * everyMs, 1_000)
const stopDeadlineMs = 1_000
/** After one that failed: whoever looks when an outage is over must hear of this owner at once. */
const retryMs = Math.min(everyMs, 300)

let client: pg.Client | undefined
let isOver = false
/** Gives up what is under way. */
let giveUp: () => void = () => undefined
let wake: () => void = () => undefined

/** @returns was it said? */
async function sayAlive(): Promise<boolean> {
  const attempt = new AbortController()
  giveUp = () => {
    attempt.abort()
    if (client !== undefined) destroyClient(client)
  }
  let deadline = setTimeout(giveUp, connectDeadlineMs)
  try {
    client ??= await connectClient(connection, applicationName, attempt.signal, (_error, lost) => {
      if (client === lost) client = undefined
    })
    clearTimeout(deadline)
    deadline = setTimeout(giveUp, beatDeadlineMs)
    const { rowCount } = await client.query(beat, [pipeline, token])
    if (rowCount === 0) {
      isOver = true
      parentPort!.postMessage('lost' satisfies HeartbeatMessage)
    }
    return true
  } catch {
    if (client !== undefined) destroyClient(client)
    client = undefined
    return false
  } finally {
    clearTimeout(deadline)
  }
}

async function run(): Promise<void> {
  while (!isOver) {
    const began = performance.now()
    const wasSaid = await sayAlive()
    if (isOver) break
    const pauseMs = wasSaid ? everyMs - (performance.now() - began) : retryMs
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, pauseMs))
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
  giveUp = () => {
    if (client !== undefined) destroyClient(client)
  }
  const deadline = setTimeout(() => giveUp(), stopDeadlineMs)
  await client?.end().catch(() => undefined)
  clearTimeout(deadline)
  parentPort!.close()
}

parentPort!.once('message', () => {
  isOver = true
  setTimeout(() => giveUp(), stopDeadlineMs).unref()
  wake()
})

parentPort!.postMessage('ready' satisfies HeartbeatMessage)
void run()
