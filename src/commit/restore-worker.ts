/**
 * The wire behind a rollback. The change log is cut at the fork; what is committed above it would have to be
 * restored from history, which this version does not keep: then the run ends with an error that changes nothing.
 */
import { fromCallback } from 'xstate'
import type { CommitterInput } from '../../machines/committer.machine.ts'
import type { WireCommand, WireEvent } from '../../machines/events.ts'
import { FatalError } from '../errors.ts'
import type { Feed } from '../source/feed.ts'
import type { Staging } from '../staging/staging.ts'

export interface RestoreParts {
  readonly staging: Staging
  readonly feed: Feed
  readonly pipeline: string
  started(target: number): void
  restored(target: number, droppedBatches: number, ms: number): void
}

export function restoreWire(parts: () => RestoreParts) {
  return fromCallback<WireCommand, CommitterInput>(({ sendBack, receive, input }) => {
    const say = (event: WireEvent) => sendBack(event)
    const restore = () => {
      const { staging, feed, pipeline, started, restored } = parts()
      const { from: committed, upTo: target } = input
      const began = performance.now()
      started(target)
      if (target < committed) {
        return say({ type: 'write.refused', error: beyondHistory(pipeline, target, committed), retryInMs: 0 })
      }
      const { dropped, trimmed } = staging.cut(target)
      // a batch that was pulled and given up is read again, too: sources go on after what is still staged
      feed.rewind(staging.batches.at(-1)?.upTo ?? committed)
      restored(target, dropped + trimmed, performance.now() - began)
      say({
        type: 'write.landed',
        batches: 1,
        committed,
        stagedBatches: staging.batches.length,
        stagedBytes: staging.uncommittedBytes,
        groupLimit: 1,
        snapshots: 0,
      })
    }
    receive((command) => {
      if (command.type === 'write') restore()
      // nothing was sent, so nothing is in doubt
      if (command.type === 'resolve') say({ type: 'resolve.notLanded', retryInMs: 0 })
    })
  })
}

function beyondHistory(pipeline: string, target: number, committed: number): FatalError {
  return new FatalError(
    'FORK_BEYOND_HISTORY',
    `A fork orphaned checkpoints ${target + 1}–${committed} of pipeline '${pipeline}', which are committed and of which no history is kept. Nothing was changed. To recover, empty the pipeline's tables and its rows in schema tailrace, and index again; to avoid it, read only blocks that are final.`,
    { phase: 'rollback', batch: { from: BigInt(target + 1), upTo: BigInt(committed) } },
  )
}
