/**
 * The wire behind a committer. `write` freezes a group and sends it, in the same turn of the event loop in which the
 * commit starts; `resolve` asks the database what became of it. One answer per command; after `cut` none.
 */
import { fromCallback } from 'xstate'
import type { CommitterInput } from '../../machines/committer.machine.ts'
import type { WireCommand, WireEvent } from '../../machines/events.ts'
import { FatalError, messageOf, RetryableError } from '../errors.ts'
import type { Group } from '../staging/batch.ts'
import type { Staging } from '../staging/staging.ts'
import type { GroupSizer } from './group-sizer.ts'
import type { StoreSession } from './store.ts'

export interface Landing {
  readonly group: Group
  /** From the freeze to the last byte in the socket's buffer; then to the answer. */
  readonly encodeMs: number
  readonly commitMs: number
}

export interface WireParts {
  readonly session: StoreSession
  readonly staging: Staging
  readonly sizer: GroupSizer
  /** Between 0 and 1; full jitter multiplies by it. */
  readonly random: () => number
  landed(landing: Landing): void
  retrying(error: unknown, attempt: number, inMs: number): void
}

const firstPauseMs = 50
const longestPauseMs = 10_000

export function wire(parts: () => WireParts) {
  return fromCallback<WireCommand, CommitterInput>(({ sendBack, receive }) => {
    const say = (event: WireEvent) => {
      if (!silent) sendBack(event)
    }
    let silent = false
    let attempts = 0
    let sent: { readonly group: Group; readonly began: number; encodeMs: number } | undefined

    /** Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ */
    const pauseMs = (error: unknown) => {
      const inMs = parts().random() * Math.min(longestPauseMs, firstPauseMs * 2 ** attempts++)
      parts().retrying(error, attempts, inMs)
      return inMs
    }

    const land = (type: 'write.landed' | 'resolve.landed') => {
      const { staging, sizer, landed } = parts()
      const { group, began, encodeMs } = sent!
      const commitMs = performance.now() - began - encodeMs
      const batches = group.batches.length
      staging.land(batches)
      attempts = 0
      landed({ group, encodeMs, commitMs })
      say({
        type,
        batches,
        committed: group.upTo,
        stagedBatches: staging.batches.length,
        stagedBytes: staging.uncommittedBytes,
        groupLimit: sizer.next(batches, encodeMs + commitMs),
        snapshots: 0,
      })
    }

    const write = async (batches: number) => {
      const { session, staging } = parts()
      const began = performance.now()
      const group = staging.freeze(batches)
      const mine = { group, began, encodeMs: 0 }
      sent = mine
      say({ type: 'write.started', upTo: group.upTo })
      const writing = session.write(group, () => say({ type: 'frames.flushed' }))
      mine.encodeMs = performance.now() - began
      const ended = await writing
      // cut: the run has ended with this commit in doubt, and what is learnt now comes too late
      if (silent) return
      switch (ended.end) {
        case 'landed':
          return land('write.landed')
        case 'lost':
          return say({ type: 'write.lost', error: lostError(ended.error), retryInMs: pauseMs(ended.error) })
        case 'deferred':
          return say({ type: 'write.deferred', error: ended.error, retryInMs: pauseMs(ended.error) })
        case 'refused':
          return say({ type: 'write.refused', error: ended.error, retryInMs: 0 })
        default:
          throw new Error(`unreachable: ${String(ended satisfies never)}`)
      }
    }

    const resolve = async () => {
      const ended = await parts().session.resolve()
      if (silent) return
      switch (ended.end) {
        case 'landed':
          return land('resolve.landed')
        case 'notLanded':
          return say({ type: 'resolve.notLanded', retryInMs: 0 })
        case 'superseded':
          return say({ type: 'resolve.superseded', owner: ended.owner })
        case 'reverted':
          return say({ type: 'resolve.reverted', error: ended.error })
        case 'lost':
          return say({ type: 'resolve.lost', error: lostError(ended.error), retryInMs: pauseMs(ended.error) })
        default:
          throw new Error(`unreachable: ${String(ended satisfies never)}`)
      }
    }

    /** A fault of ours must end the run, not the host's process. */
    const fault = (cause: unknown) =>
      new FatalError('INTERNAL', `A fault inside tailrace's commit: ${messageOf(cause)}`, {
        cause,
        phase: 'commit',
      })

    receive((command) => {
      switch (command.type) {
        case 'write':
          return void write(command.batches).catch((cause: unknown) =>
            say({ type: 'write.refused', error: fault(cause), retryInMs: 0 }),
          )
        case 'resolve':
          return void resolve().catch((cause: unknown) =>
            say({ type: 'resolve.reverted', error: fault(cause) }),
          )
        case 'destroy':
          return parts().session.destroyWriter()
        case 'cut':
          silent = true
          return parts().session.destroyWriter()
        default:
          throw new Error(`unreachable: ${String(command satisfies never)}`)
      }
    })
    return () => {
      silent = true
    }
  })
}

function lostError(cause: unknown): RetryableError {
  return new RetryableError(
    'CONNECTION_LOST',
    `The connection to Postgres was lost during a commit: ${messageOf(cause)}`,
    { cause, phase: 'commit' },
  )
}
