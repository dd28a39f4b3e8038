/**
 * Says regularly that the owner of a pipeline lives: from a thread and a connection of its own, so that neither a long
 * synchronous handler nor a long commit looks like death. The thread is started at once: the very first handler may be a
 * long one, and then nothing starts any more.
 */
import type { Worker } from 'node:worker_threads'
import { messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import { startThread } from '../thread.ts'
import { settlesWithin } from '../within.ts'
import type { ConnectionOptions } from './connection.ts'

export interface HeartbeatData {
  readonly connection: ConnectionOptions
  readonly applicationName: string
  readonly pipeline: string
  readonly token: string
  readonly everyMs: number
}

/** `ready`: nothing is connected before it. `lost`: the row is not ours any more; nothing follows it. */
export type HeartbeatMessage = 'ready' | 'lost'

export interface Heartbeat {
  /** Resolves once its thread has ended. Never rejects. */
  stop(): Promise<void>
}

/** Between the end of its connection and the end of its thread. */
const stopDeadlineMs = 2_000

/** @param lost told once, when the pipeline has another owner */
export function startHeartbeat(data: HeartbeatData, lost: () => void, log: Logger): Heartbeat {
  let running: { readonly worker: Worker; readonly ended: Promise<void> } | undefined
  let isReady = false
  let timer: NodeJS.Timeout | undefined
  let isOver = false

  const beginLater = () => {
    timer = setTimeout(begin, data.everyMs)
    timer.unref()
  }
  const begin = () => {
    try {
      const worker = startThread(import.meta.url, 'heartbeat-thread', data)
      running = { worker, ended: heard(worker) }
    } catch (error) {
      log.warn('no heartbeat: its thread cannot be started', { error: messageOf(error) })
    }
  }
  const heard = (worker: Worker) => {
    worker.unref()
    worker.on('message', (message: HeartbeatMessage) => {
      if (message === 'ready') isReady = true
      if (message !== 'lost' || isOver) return
      isOver = true
      lost()
    })
    worker.on('error', (error) => log.warn('the heartbeat broke off', { error: messageOf(error) }))
    return new Promise<void>((resolve) => {
      worker.once('exit', () => {
        running = undefined
        isReady = false
        resolve()
        // a thread that died is replaced: an owner without a heartbeat would lose its pipeline
        if (!isOver) beginLater()
      })
    })
  }

  begin()
  return {
    async stop() {
      isOver = true
      clearTimeout(timer)
      if (running === undefined) return
      const { worker, ended } = running
      if (isReady) {
        worker.postMessage('stop')
        if (await settlesWithin(ended, stopDeadlineMs)) return
      }
      await worker.terminate()
    },
  }
}
