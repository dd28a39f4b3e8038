/**
 * Who waits for a checkpoint to become durable, and which checkpoints never will: a fork took them back, staged or
 * committed, or their batch was given up and its blocks came again under other numbers.
 */
import { FatalError, TailraceError } from './errors.ts'

interface Waiter {
  readonly checkpoint: number
  resolve(): void
  reject(error: TailraceError): void
}

/** Checkpoints `(above, upTo]`. */
interface Dropped {
  readonly above: number
  readonly upTo: number
}

export class Durability {
  #waiters: Waiter[] = []
  #committed = 0
  /** The newest checkpoint that was handled and not taken back. */
  #handled = 0
  /** One for each fork that no deeper one followed; in order, apart from each other. */
  #dropped: Dropped[] = []
  #hasEnded = false

  /** Resolves once `checkpoint` is committed; rejects when a rollback drops it, or has, or the run ends before. */
  wait(checkpoint: bigint): Promise<void> {
    if (this.#isDropped(Number(checkpoint))) return Promise.reject(dropped(checkpoint))
    if (checkpoint <= BigInt(this.#committed)) return Promise.resolve()
    if (this.#hasEnded) return Promise.reject(notCommitted(checkpoint))
    return new Promise((resolve, reject) => {
      this.#waiters.push({ checkpoint: Number(checkpoint), resolve, reject })
    })
  }

  /** A run begins after `committed`. */
  open(committed: number): void {
    this.#handled = committed
    this.advance(committed)
  }

  /** A batch was handled; numbers between the one before and this one are nobody's. */
  handled(from: number, upTo: number): void {
    if (from > this.#handled + 1) this.#drop(this.#handled, from - 1)
    this.#handled = upTo
  }

  advance(committed: number): void {
    this.#committed = committed
    this.#settle(
      (waiter) => waiter.checkpoint <= committed,
      (waiter) => waiter.resolve(),
    )
  }

  /** A rollback: nothing above `kept` will ever be durable, but for numbers that nobody has yet. */
  drop(kept: number): void {
    this.#committed = Math.min(this.#committed, kept)
    this.#drop(kept, this.#handled)
    this.#handled = Math.min(this.#handled, kept)
  }

  end(): void {
    this.#hasEnded = true
    this.#settle(
      () => true,
      (waiter) => waiter.reject(notCommitted(BigInt(waiter.checkpoint))),
    )
  }

  #drop(above: number, upTo: number): void {
    if (upTo <= above) return
    this.#dropped = [...this.#dropped.filter((other) => other.above < above), { above, upTo }]
    this.#settle(
      (waiter) => waiter.checkpoint > above && waiter.checkpoint <= upTo,
      (waiter) => waiter.reject(dropped(BigInt(waiter.checkpoint))),
    )
  }

  #isDropped(checkpoint: number): boolean {
    return this.#dropped.some(({ above, upTo }) => checkpoint > above && checkpoint <= upTo)
  }

  #settle(isDue: (waiter: Waiter) => boolean, settle: (waiter: Waiter) => void): void {
    const due = this.#waiters.filter(isDue)
    if (due.length === 0) return
    this.#waiters = this.#waiters.filter((waiter) => !isDue(waiter))
    for (const waiter of due) settle(waiter)
  }
}

function dropped(checkpoint: bigint): TailraceError {
  return new FatalError('CHECKPOINT_DROPPED', `Checkpoint ${checkpoint} was dropped by a fork.`)
}

function notCommitted(checkpoint: bigint): TailraceError {
  return new TailraceError('NOT_COMMITTED', `The run ended before checkpoint ${checkpoint} was committed.`)
}
