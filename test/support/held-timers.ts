/** `setTimeout` in the hands of a test: nothing fires by itself, and any timer that is armed can be made to fire. */

interface Armed {
  readonly ms: number
  fire(): void
}

export class HeldTimers {
  readonly #real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout }
  readonly #armed = new Set<Armed>()

  install(): void {
    globalThis.setTimeout = ((run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) => {
      const handle = {
        ms,
        fire: () => run(...args),
        unref: () => handle,
        ref: () => handle,
        hasRef: () => true,
      }
      this.#armed.add(handle)
      return handle
    }) as unknown as typeof setTimeout
    globalThis.clearTimeout = ((handle: Armed) =>
      void this.#armed.delete(handle)) as unknown as typeof clearTimeout
  }

  restore(): void {
    Object.assign(globalThis, this.#real)
    this.#armed.clear()
  }

  get armed(): readonly number[] {
    return [...this.#armed].map(({ ms }) => ms)
  }

  /** Fires the one timer that takes so long. @returns false when there is none */
  fire(isIt: (ms: number) => boolean): boolean {
    for (const armed of this.#armed) {
      if (!isIt(armed.ms)) continue
      this.#armed.delete(armed)
      armed.fire()
      return true
    }
    return false
  }
}
