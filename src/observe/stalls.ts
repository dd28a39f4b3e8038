/**
 * Stall attribution: every millisecond of a run belongs to exactly one of the compute lane's doings, and beside it to
 * one of the commit lane's. Both columns sum to the run's wall time.
 */

export interface Stalls {
  readonly wallMs: number
  readonly compute: Readonly<Record<ComputeDoing, number>>
  readonly commit: Readonly<Record<CommitDoing, number>>
  /** Milliseconds in which handlers ran and a commit was in flight, over those of the shorter of the two. */
  readonly overlapRatio: number
}

/** `pull`: waiting for blocks. `budget`: waiting for a commit to free room. `handOver`: its frames go out. */
export type ComputeDoing =
  'opening' | 'pull' | 'preload' | 'handle' | 'handOver' | 'budget' | 'drain' | 'rollback'
export type CommitDoing = 'idle' | 'commit' | 'rollback'

export class StallClock {
  readonly #now: () => number
  readonly #began: number
  #since: number
  #compute: ComputeDoing = 'opening'
  #commit: CommitDoing = 'idle'
  #bothMs = 0
  #stopped = false
  readonly #computeMs: Record<ComputeDoing, number> = {
    opening: 0,
    pull: 0,
    preload: 0,
    handle: 0,
    handOver: 0,
    budget: 0,
    drain: 0,
    rollback: 0,
  }
  readonly #commitMs: Record<CommitDoing, number> = { idle: 0, commit: 0, rollback: 0 }

  constructor(now: () => number) {
    this.#now = now
    this.#began = now()
    this.#since = this.#began
  }

  /** From here on the lanes do this. */
  enter(compute: ComputeDoing, commit: CommitDoing): void {
    this.#account()
    this.#compute = compute
    this.#commit = commit
  }

  /** The run is over: time goes on, its account does not. */
  stop(): void {
    this.#account()
    this.#stopped = true
  }

  read(): Stalls {
    this.#account()
    const busy = this.#computeMs.preload + this.#computeMs.handle
    const shorter = Math.min(busy, this.#commitMs.commit)
    return {
      wallMs: this.#since - this.#began,
      compute: { ...this.#computeMs },
      commit: { ...this.#commitMs },
      overlapRatio: shorter === 0 ? 0 : this.#bothMs / shorter,
    }
  }

  #account(): void {
    if (this.#stopped) return
    const now = this.#now()
    const ms = now - this.#since
    this.#since = now
    this.#computeMs[this.#compute] += ms
    this.#commitMs[this.#commit] += ms
    const computing = this.#compute === 'preload' || this.#compute === 'handle'
    if (computing && this.#commit === 'commit') this.#bothMs += ms
  }
}
