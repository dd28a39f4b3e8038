/**
 * The wire behind a committer: one answer per command, none after `cut`. What a commit and a rollback have in common:
 * how an end is told, the pauses before a retry, and that doubt is resolved by the session.
 */
import { fromCallback } from 'xstate'
import type { CommitterInput } from '../../machines/committer.machine.ts'
import type { WireCommand, WireEvent } from '../../machines/events.ts'
import { FatalError, messageOf, RetryableError, SupersededError, TailraceError } from '../errors.ts'
import type { RunSystem } from '../run-system.ts'
import { jitteredMs } from './jitter.ts'
import type { RestoreEnd, StoreSession, WriteEnd } from './store.ts'

export interface WireActorParts {
  readonly session: StoreSession
  /** Between 0 and 1; full jitter multiplies by it. */
  readonly random: () => number
  retrying(error: unknown, attempt: number, inMs: number): void
}

export type LandedEvent = Extract<WireEvent, { type: 'write.landed' | 'resolve.landed' }>

/** What is sent, and what follows from its landing. */
export interface Sending<End extends WriteEnd | RestoreEnd> {
  /** In the same turn of the event loop in which the command came. */
  send(batches: number): Promise<End>
  /** What is in flight, for error messages. */
  checkpoints(): { readonly from: number; readonly upTo: number }
  /** @param end undefined: its answer was lost, and the resolution says that it landed */
  landed(end: Extract<End, { end: 'landed' }> | undefined): Omit<LandedEvent, 'type'>
}

const longestPauseMs = 10_000

export function wireActor<End extends WriteEnd | RestoreEnd, Parts extends WireActorParts>(
  what: 'commit' | 'rollback',
  partsOf: (run: RunSystem) => Parts,
  sendingOf: (say: (event: WireEvent) => void, input: CommitterInput, parts: () => Parts) => Sending<End>,
) {
  return fromCallback<WireCommand, CommitterInput>(({ sendBack, receive, input, system }) => {
    const parts = () => partsOf(system)
    let silent = false
    let attempts = 0
    const say = (event: WireEvent) => {
      if (!silent) sendBack(event)
    }
    const sending = sendingOf(say, input, parts)

    const pauseMs = (error: unknown) => {
      const inMs = jitteredMs(++attempts, longestPauseMs, parts().random)
      parts().retrying(error, attempts, inMs)
      return inMs
    }

    const lost = (cause: unknown) => {
      const { from, upTo } = sending.checkpoints()
      const error = new RetryableError(
        'CONNECTION_LOST',
        `The connection to Postgres was lost during a ${what} of checkpoints ${from}–${upTo}: ${messageOf(cause)}`,
        { cause, phase: what, batch: { from: BigInt(from), upTo: BigInt(upTo) } },
      )
      return { error, retryInMs: pauseMs(cause) }
    }

    const land = (
      type: LandedEvent['type'],
      end: Extract<WriteEnd | RestoreEnd, { end: 'landed' }> | undefined,
    ) => {
      attempts = 0
      say({ type, ...sending.landed(end as Extract<End, { end: 'landed' }> | undefined) })
    }

    const write = async (batches: number) => {
      const ended: WriteEnd | RestoreEnd = await sending.send(batches)
      // cut: the run has ended with this flight in doubt, and what is learnt now comes too late
      if (silent) return
      switch (ended.end) {
        case 'landed':
          return land('write.landed', ended)
        case 'lost':
          return say({ type: 'write.lost', ...lost(ended.error) })
        case 'deferred':
          return say({ type: 'write.deferred', error: ended.error, retryInMs: pauseMs(ended.error) })
        case 'refused':
          // no verdict yet: it may be this very run, by a resolution that was given up for lost and came late
          if (ended.error instanceof SupersededError) {
            return say({ type: 'write.lost', error: ended.error, retryInMs: 0 })
          }
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
          return land('resolve.landed', undefined)
        case 'notLanded':
          return say({ type: 'resolve.notLanded', retryInMs: 0 })
        case 'superseded':
          return say({ type: 'resolve.superseded', owner: ended.owner })
        case 'reverted':
          return say({ type: 'resolve.reverted', error: ended.error })
        case 'lost':
          return say({ type: 'resolve.lost', ...lost(ended.error) })
        default:
          throw new Error(`unreachable: ${String(ended satisfies never)}`)
      }
    }

    /** A fault of ours must end the run, not the host's process. */
    const fault = (cause: unknown) =>
      cause instanceof TailraceError
        ? cause
        : new FatalError('INTERNAL', `A fault inside tailrace's ${what}: ${messageOf(cause)}`, {
            cause,
            phase: what,
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
