/**
 * The compute lane's worker. Commands: `pull` → `batch.pulled` | `pull.ended`; `run` → `batch.preloaded`, then
 * `batch.handled` | `batch.failed`; `cancel` → `batch.cancelled`, always and exactly once, when nothing of the batch
 * runs any more; `cut` → the same at once, whatever still runs.
 */
import { fromCallback } from 'xstate'
import type { ComputeCommand, ComputeEvent } from '../../machines/events.ts'
import { TailraceError } from '../errors.ts'
import type { RunSystem } from '../run-system.ts'
import type { Feed, PulledBatch } from '../source/feed.ts'
import type { BatchRunner, BatchTimes } from './runner.ts'

export interface ComputerParts {
  readonly feed: Feed
  readonly runner: BatchRunner
  /** Before a failure is believed: was it this run's own rows that the handlers read? */
  confirm(): Promise<void>
  /** Everything uncommitted, right after a batch was staged. */
  stagedBytes(): number
  processed(batch: PulledBatch, times: BatchTimes): void
}

export function computer(partsOf: (run: RunSystem) => ComputerParts) {
  return fromCallback<ComputeCommand>(({ sendBack, receive, system }) => {
    const parts = () => partsOf(system)
    const say = (event: ComputeEvent) => sendBack(event)
    let batch: PulledBatch | undefined
    let running: { readonly abort: AbortController; readonly ended: Promise<void> } | undefined
    // a cut run goes on unheard: what it says afterwards belongs to an earlier turn
    let turn = 0

    const pull = async () => {
      const mine = ++turn
      let pulled
      try {
        pulled = await parts().feed.pull()
      } catch (error) {
        if (mine === turn) say({ type: 'batch.failed', error })
        return
      }
      if (mine !== turn) return
      batch = pulled
      if (pulled === undefined) return say({ type: 'pull.ended' })
      const { blocks, items } = pulled
      say({ type: 'batch.pulled', from: blocks[0]!.ref.checkpoint, upTo: upToOf(pulled), items })
    }

    const run = async (pulled: PulledBatch, signal: AbortSignal) => {
      const mine = turn
      const { runner, stagedBytes, processed } = parts()
      try {
        const times = await runner.run(pulled.blocks, signal, () => {
          if (mine === turn) say({ type: 'batch.preloaded' })
        })
        if (mine !== turn) return
        running = undefined
        processed(pulled, times)
        say({ type: 'batch.handled', upTo: upToOf(pulled), stagedBytes: stagedBytes() })
      } catch (error) {
        if (mine !== turn) return
        if (isEcho(error, signal)) {
          running = undefined
          return
        }
        await parts().confirm()
        if (mine !== turn) return
        running = undefined
        say({ type: 'batch.failed', error })
      }
    }

    const cancel = async () => {
      parts().feed.cancelPull()
      const mine = running === undefined ? ++turn : turn
      running?.abort.abort()
      await running?.ended
      if (mine === turn) say({ type: 'batch.cancelled' })
    }

    const cut = () => {
      turn++
      running?.abort.abort()
      running = undefined
      parts().feed.cancelPull()
      say({ type: 'batch.cancelled' })
    }

    receive((command) => {
      switch (command.type) {
        case 'pull':
          return void pull()
        case 'run': {
          const abort = new AbortController()
          running = { abort, ended: run(batch!, abort.signal) }
          return
        }
        case 'cancel':
          return void cancel()
        case 'cut':
          return cut()
        default:
          throw new Error(`unreachable: ${String(command satisfies never)}`)
      }
    })
    return () => running?.abort.abort()
  })
}

/** The abort itself, seen through whatever the handler was waiting for. */
function isEcho(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false
  return (
    error === signal.reason ||
    (error instanceof TailraceError &&
      error.walk((cause) => cause === signal.reason || isAbortError(cause)) !== undefined)
  )
}

/** Many libraries throw an abort error of their own instead of the signal's reason. */
function isAbortError(cause: unknown): boolean {
  return cause instanceof Error && cause.name === 'AbortError'
}

function upToOf({ blocks }: PulledBatch): number {
  return blocks[blocks.length - 1]!.ref.checkpoint
}
