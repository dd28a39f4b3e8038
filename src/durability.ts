/** Who waits for a checkpoint to become durable. */
import { FatalError, TailraceError } from './errors.ts'

interface Waiter {
  readonly checkpoint: number
  resolve(): void
  reject(error: TailraceError): void
}

export class Durability {
  #waiters: Waiter[] = []
  #committed = 0
  #hasEnded = false

  /** Resolves once `checkpoint` is committed; rejects when a rollback drops it, or the run ends before. */
  wait(checkpoint: bigint): Promise<void> {
    if (checkpoint <= BigInt(this.#committed)) return Promise.resolve()
    if (this.#hasEnded) return Promise.reject(notCommitted(checkpoint))
    return new Promise((resolve, reject) => {
      this.#waiters.push({ checkpoint: Number(checkpoint), resolve, reject })
    })
  }

  advance(committed: number): void {
    this.#committed = committed
    this.#settle(
      (waiter) => waiter.checkpoint <= committed,
      (waiter) => waiter.resolve(),
    )
  }

  /** A rollback: checkpoints above `target` will never be. */
  drop(target: number): void {
    this.#committed = Math.min(this.#committed, target)
    this.#settle(
      (waiter) => waiter.checkpoint > target,
      (waiter) =>
        waiter.reject(
          new FatalError('CHECKPOINT_DROPPED', `Checkpoint ${waiter.checkpoint} was dropped by a fork.`),
        ),
    )
  }

  end(): void {
    this.#hasEnded = true
    this.#settle(
      () => true,
      (waiter) => waiter.reject(notCommitted(BigInt(waiter.checkpoint))),
    )
  }

  #settle(isDue: (waiter: Waiter) => boolean, settle: (waiter: Waiter) => void): void {
    const due = this.#waiters.filter(isDue)
    if (due.length === 0) return
    this.#waiters = this.#waiters.filter((waiter) => !isDue(waiter))
    for (const waiter of due) settle(waiter)
  }
}

function notCommitted(checkpoint: bigint): TailraceError {
  return new TailraceError('NOT_COMMITTED', `The run ended before checkpoint ${checkpoint} was committed.`)
}
