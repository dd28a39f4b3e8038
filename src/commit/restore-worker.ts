/**
 * The wire behind a rollback. First the change log is cut at the fork; then, only if something committed lies above,
 * one fenced flight takes the tables back to it (I5, H69). Sources go on after what is still staged.
 */
import { FatalError } from '../errors.ts'
import type { RunSystem } from '../run-system.ts'
import type { Feed } from '../source/feed.ts'
import type { Staging } from '../staging/staging.ts'
import type { RestoreEnd } from './store.ts'
import { wireActor, type WireActorParts } from './wire-actor.ts'

export interface RestoreParts extends WireActorParts {
  readonly staging: Staging
  readonly feed: Feed
  readonly pipeline: string
  started(target: number, depth: number): void
  restored(restored: Restored): void
  /** The tables have gone back. @returns how many snapshots are to be settled now */
  offer(target: number): number
}

export interface Restored {
  readonly target: number
  /** The newest checkpoint that is still staged or committed. Numbers above it are nobody's. */
  readonly keptUpTo: number
  /** Blocks taken back, of all sources: staged ones and committed ones. */
  readonly depth: number
  /** Staged batches dropped, or trimmed, unsent. */
  readonly droppedBatches: number
  /** Committed rows put back or removed; undefined: the answer was lost. */
  readonly rows: number | undefined
  readonly ms: number
}

export function restoreWire(partsOf: (run: RunSystem) => RestoreParts) {
  return wireActor<RestoreEnd, RestoreParts>('rollback', partsOf, (_say, span, parts) => {
    const { from: committed, upTo: target } = span
    let began: { readonly at: number; readonly depth: number; readonly droppedBatches: number } | undefined

    const begin = () => {
      const { staging, feed, started } = parts()
      const at = performance.now()
      const depth = feed.depthOf(target)
      started(target, depth)
      const { dropped, trimmed } = staging.cut(target)
      return { at, depth, droppedBatches: dropped + trimmed }
    }

    return {
      async send() {
        const { session, feed, pipeline } = parts()
        const { restorableFrom } = session
        if (target < committed && target < restorableFrom) {
          return {
            end: 'refused',
            error: beyondHistory(pipeline, feed, { target, committed, restorableFrom }),
          }
        }
        began ??= begin()
        return target < committed ? session.restore(target) : { end: 'landed', rows: 0 }
      },
      checkpoints: () => ({ from: target + 1, upTo: committed }),
      landed(end) {
        const { staging, feed, restored, offer } = parts()
        const { at, depth, droppedBatches } = began!
        const frontier = Math.min(committed, target)
        // what a load brought while the tables went back is from before
        staging.forget()
        // a batch that was pulled and given up is read again, too: sources go on after what is still staged
        const keptUpTo = staging.batches.at(-1)?.upTo ?? frontier
        feed.rewind(keptUpTo)
        restored({ target, keptUpTo, depth, droppedBatches, rows: end?.rows, ms: performance.now() - at })
        return {
          batches: 1,
          committed: frontier,
          stagedBatches: staging.batches.length,
          stagedBytes: staging.uncommittedBytes,
          groupLimit: 1,
          snapshots: target < committed ? offer(target) : 0,
        }
      },
    }
  })
}

interface Beyond {
  readonly target: number
  readonly committed: number
  readonly restorableFrom: number
}

function beyondHistory(
  pipeline: string,
  feed: Feed,
  { target, committed, restorableFrom }: Beyond,
): FatalError {
  const committedAbove = (checkpoint: number) => feed.depthOf(checkpoint) - feed.depthOf(committed)
  return new FatalError(
    'FORK_BEYOND_HISTORY',
    // blocks below the history are not known one by one any more
    `A fork orphaned checkpoints ${target + 1}–${committed} of pipeline '${pipeline}', which are committed: ${committedAbove(target)} blocks or more, and history reaches back by ${committedAbove(restorableFrom)}, to checkpoint ${restorableFrom}. Nothing was changed. To recover, empty the pipeline's tables and its rows in schema tailrace, and index again; to avoid it, raise the source's historyDepth above the deepest fork of its chain.`,
    { phase: 'rollback', batch: { from: BigInt(target + 1), upTo: BigInt(committed) } },
  )
}
