/**
 * Reads that outlive an outage: a handler's `get` or `find` waits for the database instead of failing the run (H34). What
 * will not pass by itself fails at once.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { mayPass } from './classify.ts'
import { jitteredMs } from './jitter.ts'
import type { QueryText } from './reader.ts'

export interface ReadRetries {
  /** From the first failure on. */
  readonly deadlineMs: number
  /** The session is closing: nobody waits any more. */
  readonly signal: AbortSignal
  retrying(error: unknown, attempt: number, inMs: number): void
  /** After at least one failure. */
  recovered(): void
}

const longestPauseMs = 5_000

export function retriedReads(query: QueryText, retries: ReadRetries): QueryText {
  return async (text, values) => {
    let failedAt: number | undefined
    for (let attempt = 1; ; attempt++) {
      try {
        const rows = await query(text, values)
        if (failedAt !== undefined) retries.recovered()
        return rows
      } catch (error) {
        const now = performance.now()
        failedAt ??= now
        if (!mayPass(error) || retries.signal.aborted || now - failedAt >= retries.deadlineMs) throw error
        const inMs = jitteredMs(attempt, longestPauseMs)
        retries.retrying(error, attempt, inMs)
        await pause(inMs, undefined, { signal: retries.signal })
      }
    }
  }
}
