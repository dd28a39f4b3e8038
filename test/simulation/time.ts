/**
 * Virtual time, and the processes that live in it. Whatever takes time waits in one queue; a step runs until nothing is
 * left to do at once, then the clock jumps to the next one. So a step belongs to exactly one process, whatever it awaits,
 * and what a process still has to do can be dropped (kill -9) or put off (SIGSTOP) without a word to it.
 */
import { syncBuiltinESMExports } from 'node:module'
import timersPromises from 'node:timers/promises'
import type { Dice } from '../support/dice.ts'

/** An owner, a server, a chain: whoever has steps of its own. */
export class Process {
  readonly name: string
  isDead = false
  /** It does nothing before then. */
  frozenUntil = 0

  constructor(name: string) {
    this.name = name
  }
}

class Step {
  readonly process: Process
  readonly run: () => void
  /** Set by the process's own code; else what the world does to it. */
  readonly isTimer: boolean
  at: number

  constructor(process: Process, at: number, run: () => void, isTimer: boolean) {
    this.process = process
    this.at = at
    this.run = run
    this.isTimer = isTimer
  }

  // what Node's timers have
  readonly unref = (): this => this
  readonly ref = (): this => this
  readonly hasRef = (): boolean => true
}

/** A case that takes more steps than this does not end. */
const longestCase = 100_000
const { setImmediate } = globalThis

export class VirtualTime {
  /** Milliseconds since the world began. */
  now = 0
  readonly #random: Dice
  /** In the order in which they come. */
  readonly #queue: Step[] = []
  #current = new Process('world')
  #steps = 0

  constructor(random: Dice) {
    this.#random = random
  }

  /** Of all that has happened: hardly any two worlds take as many steps and end at the same instant. */
  get fingerprint(): string {
    return `${this.#steps} steps to ${this.now}`
  }

  /** Whose step this is. */
  get current(): Process {
    return this.#current
  }

  at(process: Process, inMs: number, run: () => void, isTimer = false): Step {
    const step = new Step(process, this.now + Math.max(0, inMs), run, isTimer)
    this.#insert(step)
    return step
  }

  /** Resolves in a step of that process; never if it dies before. */
  sleep(process: Process, leastMs: number, mostMs = leastMs): Promise<void> {
    return new Promise((resolve) => {
      if (process.isDead) return
      this.at(process, leastMs + this.#random() * (mostMs - leastMs), resolve)
    })
  }

  /** Ends it in the middle of what it does. */
  kill(process: Process): void {
    process.isDead = true
    for (let at = this.#queue.length - 1; at >= 0; at--) {
      if (this.#queue[at]!.process === process) this.#queue.splice(at, 1)
    }
  }

  /** How many timers its own code has set and not cleared. */
  timersOf(process: Process): number {
    return this.#queue.filter((step) => step.process === process && step.isTimer).length
  }

  /** @throws when nothing is left to happen, or too much happens */
  async runUntil(isOver: () => boolean): Promise<void> {
    await settled(0)
    while (!isOver()) {
      const next = this.#queue.shift()
      if (next === undefined) throw new Error('it does not end: nothing is left to happen')
      if (++this.#steps > longestCase) throw new Error(`it does not end within ${longestCase} steps`)
      const { process } = next
      if (process.isDead) continue
      if (process.frozenUntil > next.at) {
        next.at = process.frozenUntil
        this.#insert(next)
        continue
      }
      this.now = next.at
      this.#current = process
      next.run()
      await settled(this.#steps)
    }
    await settled(0)
  }

  /** Of equal times the one that was set first. */
  #insert(step: Step): void {
    let low = 0
    let high = this.#queue.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#queue[middle]!.at <= step.at) low = middle + 1
      else high = middle
    }
    this.#queue.splice(low, 0, step)
  }

  /**
   * Puts this time, and these dice, in the place of the process's own: for all that asks for them in a step.
   * @returns what undoes it
   */
  install(): () => void {
    const { setTimeout, clearTimeout, setInterval, clearInterval } = globalThis
    const { now: dateNow } = Date
    const { random } = Math
    const performanceNow = performance.now.bind(performance)
    const { setImmediate: nextTurn } = timersPromises
    const clear = (step: Step | undefined) => {
      const at = step === undefined ? -1 : this.#queue.indexOf(step)
      if (at !== -1) this.#queue.splice(at, 1)
    }
    Object.assign(globalThis, {
      setTimeout: (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
        this.at(this.#current, ms, () => run(...args), true),
      setInterval: (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) => {
        const again = () => {
          step.at = this.now + Math.max(1, ms)
          this.#insert(step)
          run(...args)
        }
        const step = this.at(this.#current, ms, again, true)
        return step
      },
      clearTimeout: clear,
      clearInterval: clear,
    })
    const started = 1_700_000_000_000
    Date.now = () => started + Math.floor(this.now)
    Math.random = this.#random
    performance.now = () => this.now
    // whoever gives way is a step of its own: others may come between
    timersPromises.setImmediate = (() => this.sleep(this.#current, 0)) as typeof nextTurn
    syncBuiltinESMExports()
    return () => {
      Object.assign(globalThis, { setTimeout, clearTimeout, setInterval, clearInterval })
      Date.now = dateNow
      Math.random = random
      performance.now = performanceNow
      timersPromises.setImmediate = nextTurn
      syncBuiltinESMExports()
    }
  }
}

/** So many steps may pass before Node is asked which rejections nobody has heard of. */
const stepsPerTurn = 256

/** Until whatever can go on at once has gone on: a tick comes when no promise is left to be told. */
function settled(steps: number): Promise<void> {
  return new Promise((resolve) => {
    if (steps % stepsPerTurn === 0) setImmediate(resolve)
    else queueMicrotask(() => process.nextTick(resolve))
  })
}
