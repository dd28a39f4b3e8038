/** Listeners of the host: one that throws is logged, and disturbs neither the run nor the others. */
import type { Logger } from '../log.ts'
import type { IndexerEventName, IndexerEvents, Listener } from './events.ts'

export class Emitter {
  readonly #listeners = new Map<IndexerEventName, Set<Listener<never>>>()
  readonly #log: Logger

  constructor(log: Logger) {
    this.#log = log
  }

  /** @returns a function that takes the listener off again */
  on<N extends IndexerEventName>(name: N, listener: Listener<N>): () => void {
    let listeners = this.#listeners.get(name)
    if (listeners === undefined) {
      listeners = new Set()
      this.#listeners.set(name, listeners)
    }
    // wrapped, so that one function registered twice is two registrations
    const own: Listener<never> = (event) => listener(event)
    listeners.add(own)
    return () => void listeners.delete(own)
  }

  has(name: IndexerEventName): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0
  }

  emit<N extends IndexerEventName>(name: N, event: IndexerEvents[N]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        // an async listener is a listener, too: its rejection must not end the host's process
        const result: unknown = (listener as (event: IndexerEvents[N]) => unknown)(event)
        if (result instanceof Promise) result.catch((error: unknown) => this.#complain(name, error))
      } catch (error) {
        this.#complain(name, error)
      }
    }
  }

  #complain(name: IndexerEventName, error: unknown): void {
    this.#log.error(`a listener of '${name}' threw`, { error: String(error) })
  }
}
