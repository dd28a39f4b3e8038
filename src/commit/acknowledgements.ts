/**
 * Tells sources what is durable, one call after the other. A source that never forks takes it as leave to forget (a
 * queue, a replication slot), so beside one that does it is told only of what no fork can have it read again.
 */
import type { BlockRef } from '../block.ts'
import { FatalError, messageOf, type TailraceError } from '../errors.ts'
import { positionOf, type Source } from '../source/port.ts'
import type { Group } from '../staging/batch.ts'
import type { Resume } from './store.ts'

type Durable = Pick<BlockRef, 'checkpoint' | 'number' | 'hash' | 'cursor'>

interface Listening {
  readonly source: Source
  /** Durable and not told yet, oldest first: a fork of another source may take them back. */
  untold: Durable[]
  /** Whatever is durable is told at once: it forks itself, or nobody does. */
  readonly isBold: boolean
}

export class Acknowledgements {
  readonly #listening: readonly Listening[]
  readonly #failed: (error: TailraceError) => void
  #calls: Promise<void> = Promise.resolve()

  constructor(sources: readonly Source[], resume: Resume, failed: (error: TailraceError) => void) {
    const forks = (source: Source) => (source.historyDepth ?? 0) > 0
    const nobodyForks = !sources.some(forks)
    this.#failed = failed
    this.#listening = sources
      .filter((source) => source.committed !== undefined)
      .map((source) => {
        const isBold = nobodyForks || forks(source)
        return { source, untold: isBold ? [] : (resume.positions.get(source.id) ?? []).toReversed(), isBold }
      })
  }

  /** Resolves once every call so far has returned. */
  get settled(): Promise<void> {
    return this.#calls
  }

  /** @param restorableFrom no rollback goes below it */
  landed(group: Group, restorableFrom: number): void {
    for (const listening of this.#listening) {
      const { source, untold, isBold } = listening
      if (isBold) {
        const cursor = group.cursors.find((candidate) => candidate.source === source.id)
        if (cursor !== undefined) this.#tell(source, cursor)
        continue
      }
      for (const { blocks } of group.batches) {
        for (const block of blocks) if (block.source === source.id) untold.push(block)
      }
      const newest = untold.findLastIndex(({ checkpoint }) => checkpoint <= restorableFrom)
      if (newest === -1) continue
      this.#tell(source, untold[newest]!)
      listening.untold = untold.slice(newest + 1)
    }
  }

  /** A rollback: what lies above `kept` is not durable any more. */
  rewind(kept: number): void {
    for (const listening of this.#listening) {
      listening.untold = listening.untold.filter(({ checkpoint }) => checkpoint <= kept)
    }
  }

  #tell(source: Source, durable: Durable): void {
    this.#calls = this.#calls
      .then(() => source.committed?.(positionOf(durable)))
      .catch((cause: unknown) => {
        const message = `Source '${source.id}' failed in committed(): ${messageOf(cause)}`
        this.#failed(new FatalError('ACKNOWLEDGE_FAILED', message, { cause, phase: 'source' }))
      })
  }
}
