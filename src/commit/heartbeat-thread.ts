/**
 * The heartbeat's thread: it goes on while handlers keep the main thread busy, and stops with the process. One
 * statement at a time on a connection of its own; whatever goes wrong, the next one begins anew.
 */
import { parentPort, workerData } from 'node:worker_threads'
import pg from 'pg'
import { destroyClient } from './connection.ts'
import type { HeartbeatData, HeartbeatMessage } from './heartbeat.ts'
import { beat } from './plans.ts'

const { config, pipeline, token, everyMs } = workerData as HeartbeatData
let client: pg.Client | undefined
let deadline: NodeJS.Timeout | undefined
let stopped = false

const say = (message: HeartbeatMessage) => parentPort!.postMessage(message)

async function connected(): Promise<pg.Client> {
  if (client !== undefined) return client
  const made = new pg.Client(config)
  made.on('error', () => {
    if (client === made) client = undefined
  })
  client = made
  await made.connect()
  return made
}

async function sayAlive(): Promise<void> {
  // an answer that never comes must not be the last one
  deadline = setTimeout(() => client !== undefined && destroyClient(client), 2 * everyMs)
  try {
    const { rowCount } = await (await connected()).query(beat, [pipeline, token])
    if (rowCount === 0) say('lost')
  } catch {
    if (client !== undefined) destroyClient(client)
    client = undefined
  } finally {
    clearTimeout(deadline)
  }
}

async function run(): Promise<void> {
  while (!stopped) {
    const began = performance.now()
    await sayAlive()
    if (stopped) break
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, everyMs - (performance.now() - began)))
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
  await client?.end().catch(() => undefined)
  parentPort!.close()
}

let wake: () => void = () => undefined

parentPort!.once('message', () => {
  stopped = true
  clearTimeout(deadline)
  deadline = setTimeout(() => client !== undefined && destroyClient(client), 1_000)
  deadline.unref()
  wake()
})

void run()
