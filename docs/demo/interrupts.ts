/** Ctrl-C: once stops in good order, twice gives up what is not committed. */
import { say, yellow } from './terminal.ts'

/** npm, tsx and the terminal may each pass on the same key press. */
const sameKeyMs = 500

export class Interrupts {
  readonly #stopping = new AbortController()
  #latest = -Infinity
  #abort: (() => void) | undefined

  constructor() {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => this.#interrupt(name))
  }

  /** Aborted by the first. */
  get signal(): AbortSignal {
    return this.#stopping.signal
  }

  /** What the first does, beside aborting the signal; at once if it has been. */
  onFirst(stop: () => Promise<void>): void {
    if (this.signal.aborted) void stop()
    else this.signal.addEventListener('abort', () => void stop(), { once: true })
  }

  /** What the second does. */
  onSecond(abort: () => void): void {
    this.#abort = abort
  }

  #interrupt(name: string): void {
    const now = performance.now()
    const isEcho = now - this.#latest < sameKeyMs
    this.#latest = now
    if (isEcho) return
    if (this.signal.aborted) {
      this.#abort?.()
      return
    }
    if (this.#abort !== undefined) say(`\n  ${yellow(`${name}: draining. Once more aborts.`)}`)
    this.#stopping.abort(new Interrupted(name))
  }
}

export class Interrupted extends Error {
  constructor(name: string) {
    super(`ended by ${name}`)
  }
}
