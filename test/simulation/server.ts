/**
 * The double of Postgres: what a server holds and how it answers, one request after the other. The pipeline's row is
 * judged as the real one is (src/commit/liveness.ts is the real code); a flight compares epoch and commit number where it
 * lands. `test/postgres/twin.test.ts` holds it against the real server under the same programs.
 */
import type { Look } from '../../src/commit/liveness.ts'
import type { Holder, Resume, RestoreEnd, WriteEnd } from '../../src/commit/store.ts'
import { SupersededError } from '../../src/errors.ts'
import type { Group } from '../../src/staging/batch.ts'
import type { Deliver } from '../../src/staging/snapshots.ts'
import { MemoryDatabase } from '../../src/testing/memory-database.ts'
import { Process, type VirtualTime } from './time.ts'

interface Owner extends Omit<Holder, 'epoch'> {
  readonly token: string
  readonly takenAt: number
  /** Its connection is gone. */
  isGone: boolean
}

export interface Taken {
  readonly epoch: number
  readonly commitNumber: number
  readonly resume: Resume
}

/** Told right where it happens, before anybody hears of it. */
export interface ServerEvents {
  taken(token: string, resume: Resume): void
  landed(token: string, group: Group): void
  restored(token: string, target: number): void
  /** Whoever had the pipeline has it no more: by its own will, or by another's. */
  lost(token: string, how: 'released' | 'taken over'): void
}

export class SimulatedServer {
  readonly process = new Process('postgres')
  readonly database = new MemoryDatabase()
  readonly #time: VirtualTime
  readonly #events: ServerEvents
  #owner: Owner | undefined
  #beat = 0
  #startedAt = 0
  #upAt = 0
  /** Grows with every restart: no connection survives one. */
  life = 0

  constructor(time: VirtualTime, events: ServerEvents) {
    this.#time = time
    this.#events = events
  }

  get isUp(): boolean {
    return this.#time.now >= this.#upAt
  }

  restart(downMs: number): void {
    this.life++
    this.#upAt = this.#time.now + downMs
    this.#startedAt = this.#upAt
  }

  // ── the pipeline's row ────────────────────────────────────────────────────────────────────────────────────

  /** What one look at the row tells, as `readOwner` of src/commit/plans.ts does. */
  look(): Look {
    const { epoch } = this.database
    const owner = this.#owner
    const nowMs = this.#time.now
    const heardAt = Math.max(this.#beat, (owner?.takenAt ?? 0) + 2_000, this.#startedAt)
    return {
      epoch,
      token: owner?.token ?? null,
      host: owner?.host ?? null,
      pid: owner?.pid ?? null,
      beat: owner === undefined ? null : String(this.#beat),
      direct: true,
      nowMs,
      silentMs: nowMs - heardAt,
      backendGone: owner?.isGone === true && owner.takenAt >= this.#startedAt,
    }
  }

  get holder(): Holder | null {
    if (this.#owner === undefined) return null
    const { host, pid } = this.#owner
    return { host, pid, epoch: this.database.epoch }
  }

  isHeldBy(token: string): boolean {
    return this.#owner?.token === token
  }

  /** @returns undefined when it is not any more as it was seen */
  take(token: string, pid: number, seen: Look): Taken | undefined {
    const { epoch, beat } = this.look()
    if (seen.epoch !== epoch || seen.beat !== beat) return undefined
    if (this.#owner !== undefined) this.#events.lost(this.#owner.token, 'taken over')
    this.#owner = { token, host: 'simulated', pid, takenAt: this.#time.now, isGone: false }
    this.#beat = this.#time.now
    this.database.epoch++
    return this.#taken(token)
  }

  /** With the run's own token. @returns undefined when somebody else has it */
  retake(token: string): Taken | undefined {
    if (!this.isHeldBy(token)) return undefined
    this.#owner!.isGone = false
    this.database.epoch++
    return this.#standing()
  }

  release(token: string): void {
    if (!this.isHeldBy(token)) return
    this.#events.lost(token, 'released')
    this.#owner = undefined
  }

  /** @returns false when somebody else has it */
  beat(token: string): boolean {
    if (!this.isHeldBy(token)) return false
    this.#beat = this.#time.now
    return true
  }

  /** Its connections have ended. */
  gone(token: string): void {
    if (this.#owner?.token === token) this.#owner.isGone = true
  }

  #taken(token: string): Taken {
    const taken = this.#standing()
    this.#events.taken(token, taken.resume)
    return taken
  }

  #standing(): Taken {
    const { epoch, commitNumber, resume } = this.database
    return { epoch, commitNumber, resume }
  }

  // ── flights ───────────────────────────────────────────────────────────────────────────────────────────────

  write(token: string, epoch: number, commitNumber: number, group: Group, deliver: Deliver): WriteEnd {
    return this.#fly(epoch, commitNumber, 'commit', () => {
      this.database.apply(group, deliver)
      this.#events.landed(token, group)
      return { end: 'landed' }
    })
  }

  restore(token: string, epoch: number, commitNumber: number, target: number): RestoreEnd {
    return this.#fly(epoch, commitNumber, 'rollback', () => {
      const rows = this.database.restore(target)
      this.#events.restored(token, target)
      return { end: 'landed', rows }
    })
  }

  #fly<End>(
    epoch: number,
    commitNumber: number,
    phase: 'commit' | 'rollback',
    flight: () => End,
  ): End | Extract<WriteEnd, { end: 'refused' }> {
    if (epoch !== this.database.epoch || commitNumber !== this.database.commitNumber) {
      const error = new SupersededError('SUPERSEDED', 'Another owner has the pipeline.', { phase })
      return { end: 'refused', error }
    }
    try {
      return flight()
    } catch (error) {
      return { end: 'refused', error }
    }
  }
}
