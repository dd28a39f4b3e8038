/**
 * The schedule of one run: every call of a port is held up here, and let through one at a time, by a seed. Nothing in it
 * depends on time: before the next call is let through, everything that can go on by itself has gone on, a handler that
 * waits for the outside world included. So the same seed gives the same run, however fast the machine is.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type { PortKind, Stalls } from './plan.ts'
import { Seeded } from './seeded.ts'

interface Held {
  /** The step from which on it may be let through. */
  readonly due: number
  pass(): void
}

export class Turns {
  readonly #death = new AbortController()
  #isFree = false
  /** Handlers at work, the speculative ones included; not those that wait for rows. */
  #working = 0
  readonly #random: Seeded
  readonly #stalls: Stalls
  readonly #calls = new Map<PortKind, number>()
  readonly #called: (kind: PortKind) => void
  #held: Held[] = []
  #loads: { readonly step: number; readonly passing: Promise<void> } | undefined
  #step = 0
  #isOver = false
  /** Grows with whatever happens. */
  #activity = 0
  #wake: () => void = () => undefined

  /** @param called before each call of a port is held up */
  constructor(seed: number, stalls: Stalls, called: (kind: PortKind) => void) {
    this.#random = new Seeded(seed)
    this.#stalls = stalls
    this.#called = called
  }

  /**
   * What a port calls. Everybody waits a turn at least, so that one lane at a time goes on, and how long it takes does not
   * matter to the others. Never resolves for one who is dead; undefined: nothing is held up any more.
   */
  call(kind: PortKind): Promise<void> | undefined {
    this.#active()
    // how many queries the loads of a step become is a matter of the clock: they go on together
    if (kind === 'load' && this.#loads?.step === this.#step) return this.#loads.passing
    if (!this.isDead && !this.#isFree) this.#called(kind)
    // the call before may have been its death
    if (this.isDead) return new Promise(() => undefined)
    if (this.#isFree) return undefined
    const turns = this.#turnsOf(kind)
    const passing = new Promise<void>((pass) => {
      this.#held.push({ due: this.#step + turns, pass })
    })
    if (kind === 'load') this.#loads = { step: this.#step, passing }
    return passing
  }

  /** A handler went to work, or has settled or waits for rows. */
  working(change: 1 | -1): void {
    this.#working += change
    this.#active()
  }

  #active(): void {
    this.#activity++
    this.#wake()
  }

  /** Everything of the run is abandoned: no call gets an answer any more. */
  kill(): void {
    this.#held = []
    this.#death.abort(new Error('the run has died'))
    this.#active()
  }

  get isDead(): boolean {
    return this.#death.signal.aborted
  }

  get death(): AbortSignal {
    return this.#death.signal
  }

  /** Nothing is held up any more, whoever waits goes on. */
  free(): void {
    this.#isFree = true
    for (const { pass } of this.#held.splice(0)) pass()
    this.#active()
  }

  /**
   * Lets calls through until the run has ended or is dead.
   * @param isBusy something goes on by itself that is none of the handlers
   */
  async drive(ended: Promise<unknown>, isBusy: () => boolean): Promise<void> {
    const over = () => {
      this.#isOver = true
      this.#active()
    }
    ended.then(over, over)
    while (!this.#isDone) {
      await this.#untilQuiet(isBusy)
      if (this.#held.length > 0) this.#letThrough()
      else if (!this.#isDone) await this.#change()
    }
  }

  get #isDone(): boolean {
    return this.#isOver || this.isDead
  }

  /** Two turns of the event loop without anything new, and nobody at work. */
  async #untilQuiet(isBusy: () => boolean): Promise<void> {
    while (!this.#isDone) {
      const before = this.#activity
      await turn()
      await turn()
      if (before !== this.#activity) continue
      if (this.#working === 0 && !isBusy()) return
      await this.#change()
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  /** Any of those that are due, where nothing is stalled the first; where none is due, time passes until one is. */
  #letThrough(): void {
    const soonest = this.#held.reduce((step, { due }) => Math.min(step, due), Infinity)
    this.#step = Math.max(this.#step + 1, soonest)
    const due = this.#held.filter((held) => held.due <= this.#step)
    const isPlain = Object.keys(this.#stalls).length === 0
    const next = due[isPlain ? 0 : this.#random.below(due.length)]!
    this.#held = this.#held.filter((held) => held !== next)
    next.pass()
  }

  #turnsOf(kind: PortKind): number {
    const stalls = this.#stalls[kind] ?? [1]
    const calls = this.#calls.get(kind) ?? 0
    this.#calls.set(kind, calls + 1)
    return stalls[calls % stalls.length]!
  }
}
