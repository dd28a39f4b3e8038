/**
 * Says regularly that the owner of a pipeline lives: from a thread and a connection of its own, so that neither a long
 * synchronous handler nor a long commit looks like death. A run shorter than one beat starts no thread.
 */
import { Worker } from 'node:worker_threads'
import type pg from 'pg'
import { messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import { settlesWithin } from '../within.ts'

export interface HeartbeatData {
  readonly config: pg.ClientConfig
  readonly pipeline: string
  readonly token: string
  readonly everyMs: number
}

/** `lost`: the row is not ours any more. */
export type HeartbeatMessage = 'lost'

export interface Heartbeat {
  /** Resolves once its thread has ended. Never rejects. */
  stop(): Promise<void>
}

/** Between the end of its connection and the end of its thread. */
const stopDeadlineMs = 2_000

/** @param lost told once, when the pipeline has another owner */
export function startHeartbeat(data: HeartbeatData, lost: () => void, log: Logger): Heartbeat {
  let worker: Worker | undefined
  const begin = () => {
    worker = thread(data)
    worker.unref()
    worker.on('message', (message: HeartbeatMessage) => {
      if (message === 'lost') lost()
    })
    worker.on('error', (error) => log.warn('the heartbeat ended', { error: messageOf(error) }))
  }
  const first = setTimeout(begin, data.everyMs)
  first.unref()
  return {
    async stop() {
      clearTimeout(first)
      const running = worker
      if (running === undefined) return
      const ended = new Promise((resolve) => running.once('exit', resolve))
      running.postMessage('stop')
      if (await settlesWithin(ended, stopDeadlineMs)) return
      await running.terminate()
    },
  }
}

function thread(workerData: HeartbeatData): Worker {
  // run from source, as in this repository's tests, the thread needs the loader as well
  const isSource = import.meta.url.endsWith('.ts')
  const file = new URL(`./heartbeat-thread.${isSource ? 'ts' : 'js'}`, import.meta.url)
  return new Worker(file, { workerData, ...(isSource ? { execArgv: ['--import', 'tsx'] } : {}) })
}
