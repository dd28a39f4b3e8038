/** The time that an attempt has: over with its own deadline or with the caller's signal, whichever is first. */
import { setMaxListeners } from 'node:events'
import { timerMs } from '../../machines/limits.ts'

export interface Deadline extends Disposable {
  readonly signal: AbortSignal
  /** True: its time was up; false: the caller's signal was aborted, or nothing has happened yet. */
  readonly isOver: boolean
  /** What the promise gives, unless time is up before; a promise that comes later is nobody's. */
  race<T>(promise: Promise<T>): Promise<T>
}

export function deadline(milliseconds: number, callers?: AbortSignal): Deadline {
  const own = new AbortController()
  let isOver = false
  const timer = setTimeout(() => {
    isOver = true
    own.abort(new Error(`${milliseconds} ms are over`))
  }, timerMs(milliseconds))
  const giveUp = () => own.abort(callers?.reason)
  // one signal for a hundred regions is no leak
  if (callers !== undefined) setMaxListeners(0, callers)
  if (callers?.aborted === true) giveUp()
  else callers?.addEventListener('abort', giveUp, { once: true })
  return {
    signal: own.signal,
    get isOver() {
      return isOver
    },
    race: (promise) => unlessAborted(promise, own.signal),
    [Symbol.dispose]() {
      clearTimeout(timer)
      callers?.removeEventListener('abort', giveUp)
    },
  }
}

/** What the promise gives, or a rejection with the signal's reason. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  promise.catch(() => undefined)
  signal.throwIfAborted()
  let listener: (() => void) | undefined
  const aborted = new Promise<never>((_, reject) => {
    listener = () => reject(signal.reason as Error)
    signal.addEventListener('abort', listener, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    if (listener !== undefined) signal.removeEventListener('abort', listener)
  }
}

/** Before a connection is tried again: 25 to 50 ms at first, up to 1 to 2 seconds. */
export function retryMs(attempt: number, random: () => number): number {
  return Math.min(50 * 2 ** attempt, 2_000) * (0.5 + random() / 2)
}

/** Passes the time; at once when the signal is aborted. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, timerMs(milliseconds))
    signal.addEventListener('abort', done, { once: true })
  })
}
