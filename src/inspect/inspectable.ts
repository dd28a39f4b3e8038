/**
 * What an indexer offers whoever inspects it, without being part of its public face: it is looked up by the object. An
 * indexer that nobody inspects pays for one entry here.
 */
import type { AnyActorRef } from 'xstate'
import type { Limits } from '../../machines/limits.ts'
import { ConfigurationError, messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { IndexerEventName, Listener } from '../observe/events.ts'
import type { Outcome } from '../outcome.ts'
import type { IndexerStatus } from '../status.ts'

export interface Inspectable {
  readonly name: string
  readonly limits: Limits
  readonly log: Logger
  readonly runs: Runs
  status(): IndexerStatus
  on<N extends IndexerEventName>(event: N, listener: Listener<N>): () => void
}

export interface InspectedRun {
  /** Of this indexer, from 1. */
  readonly number: number
  /** The root of its charts; not started yet when a run is told of. */
  readonly actor: AnyActorRef
  /** Undefined while it goes on. */
  readonly outcome: Outcome | undefined
}

export interface RunWatcher {
  began(run: InspectedRun): void
  ended(run: InspectedRun & { readonly outcome: Outcome }): void
}

/** The runs of one indexer. A watcher that throws is logged, and disturbs neither the run nor the others. */
export class Runs {
  readonly #log: Logger
  readonly #watchers = new Set<RunWatcher>()
  #latest: InspectedRun | undefined

  constructor(log: Logger) {
    this.#log = log
  }

  get latest(): InspectedRun | undefined {
    return this.#latest
  }

  /** Nothing is left of somebody who has gone: tests count them. */
  get watchers(): number {
    return this.#watchers.size
  }

  /** @returns a function that takes the watcher off again */
  watch(watcher: RunWatcher): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  begin(actor: AnyActorRef): void {
    const run = { number: (this.#latest?.number ?? 0) + 1, actor, outcome: undefined }
    this.#latest = run
    this.#tell((watcher) => watcher.began(run))
  }

  end(outcome: Outcome): void {
    if (this.#latest === undefined) return
    const run = { ...this.#latest, outcome }
    this.#latest = run
    this.#tell((watcher) => watcher.ended(run))
  }

  #tell(what: (watcher: RunWatcher) => void): void {
    for (const watcher of this.#watchers) {
      try {
        what(watcher)
      } catch (error) {
        this.#log.error('an inspector threw; the run goes on', { error: messageOf(error) })
      }
    }
  }
}

const offered = new WeakMap<object, Inspectable>()

export function offer(indexer: object, inspectable: Inspectable): void {
  offered.set(indexer, inspectable)
}

/** @throws ConfigurationError `NOT_AN_INDEXER` */
export function inspectableOf(indexer: object): Inspectable {
  const found =
    typeof indexer === 'object' && (indexer as unknown) !== null ? offered.get(indexer) : undefined
  if (found !== undefined) return found
  throw new ConfigurationError(
    'NOT_AN_INDEXER',
    'Only what createIndexer() returned can be inspected, by the inspector of the same installed copy of tailrace: give that object itself, not a copy or a wrapper of it.',
    { phase: 'options' },
  )
}
