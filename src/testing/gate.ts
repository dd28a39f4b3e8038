/**
 * A gate in front of a port: tests hold it, wait for somebody to arrive, and let them pass or fail, one by one. Open
 * until it is held; nothing in it depends on time.
 */

interface Arrival {
  pass(): void
  fail(error: unknown): void
}

export class Gate {
  readonly name: string
  #isHeld = false
  #waiting: Arrival[] = []
  readonly #failures: unknown[] = []
  #watchers: { readonly count: number; resolve(): void }[] = []
  #passed = 0

  constructor(name: string) {
    this.name = name
  }

  /** From now on everybody who arrives waits. */
  hold(): void {
    this.#isHeld = true
  }

  /** Opens the gate; those who wait pass in the order in which they came. */
  release(): void {
    this.#isHeld = false
    for (const arrival of this.#waiting.splice(0)) arrival.pass()
  }

  /** Lets one pass and keeps the gate held. @throws when nobody waits */
  releaseOne(): void {
    this.#first().pass()
  }

  /** Fails the one who waits longest, or else the next who arrives. */
  fail(error: unknown): void {
    const first = this.#waiting.shift()
    if (first === undefined) this.#failures.push(error)
    else first.fail(error)
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** How many went through so far, failed ones included. */
  get passed(): number {
    return this.#passed
  }

  /** Resolves once at least `count` wait at the held gate. */
  arrived(count = 1): Promise<void> {
    if (this.#waiting.length >= count) return Promise.resolve()
    return new Promise((resolve) => {
      this.#watchers.push({ count, resolve })
    })
  }

  /**
   * What the port calls. `undefined` when the gate is open: nothing to wait for.
   * @param signal whoever waits leaves when it is aborted, as if let through
   */
  enter(signal?: AbortSignal): Promise<void> | undefined {
    if (this.#failures.length > 0) {
      this.#passed++
      return Promise.reject(this.#failures.shift())
    }
    if (!this.#isHeld || signal?.aborted === true) {
      this.#passed++
      return undefined
    }
    const passing = this.#wait(signal)
    for (const watcher of this.#watchers) if (this.#waiting.length >= watcher.count) watcher.resolve()
    this.#watchers = this.#watchers.filter((watcher) => this.#waiting.length < watcher.count)
    return passing
  }

  async #wait(signal: AbortSignal | undefined): Promise<void> {
    let leave: () => void = () => undefined
    try {
      await new Promise<void>((pass, fail) => {
        const arrival: Arrival = { pass, fail }
        this.#waiting.push(arrival)
        leave = () => {
          this.#waiting = this.#waiting.filter((other) => other !== arrival)
          pass()
        }
        signal?.addEventListener('abort', leave, { once: true })
      })
    } finally {
      signal?.removeEventListener('abort', leave)
      this.#passed++
    }
  }

  #first(): Arrival {
    const first = this.#waiting.shift()
    if (first === undefined) throw new Error(`nobody waits at gate '${this.name}'`)
    return first
  }
}
