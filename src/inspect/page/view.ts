/** What is looked at: a moment, live or held; an actor, a state of its chart; a stretch of time. Parts draw from it. */
import type { Moment } from './fold.ts'
import type { Recording } from './recording.ts'

/** `ended`: a recording was told to its end, which `truncated` says is not the run's. */
export type Connection = 'connecting' | 'open' | 'lost' | 'ended' | 'truncated'

/** What may have changed: `data`, new messages; `moment`, another one is looked at; `choice`, anything else. */
export type Change = 'data' | 'moment' | 'choice'

export interface Part {
  /** Called at most once a frame. */
  draw(changed: ReadonlySet<Change>): void
}

/** The lanes' stretch of time: the last so many milliseconds or batches, or all of it. */
export type Stretch =
  | { readonly kind: 'ms'; readonly ms: number }
  | { readonly kind: 'batches'; readonly count: number }
  | { readonly kind: 'all' }
  /** Chosen by hand. */
  | { readonly kind: 'from'; readonly from: number; readonly to: number }

export class View {
  readonly recording: Recording
  readonly #parts: Part[] = []
  readonly #changed = new Set<Change>()
  #frame = false
  #held: number | undefined
  /** A moment that was asked for and has not come yet. */
  awaited: number | undefined
  connection: Connection = 'connecting'
  actor = 'indexer'
  state: string | undefined
  /** Of the chart: what stands beside it, also while no state is chosen. */
  hasDetails = false
  stretch: Stretch = { kind: 'batches', count: 30 }
  /** Of the newest message, by the page's own clock: time goes on between messages. */
  #heardAt = 0

  constructor(recording: Recording) {
    this.recording = recording
  }

  add(part: Part): void {
    this.#parts.push(part)
  }

  /** Number of the message that is looked at; undefined: the newest, always. */
  get held(): number | undefined {
    return this.#held
  }

  get n(): number {
    return this.#held ?? this.recording.last
  }

  get moment(): Readonly<Moment> {
    return this.#held === undefined ? this.recording.now : this.recording.at(this.#held)
  }

  /** The present: while a run is watched it goes on without messages too. */
  get presentT(): number {
    const { now } = this.recording
    if (this.connection !== 'open' || now.outcome !== undefined || this.#heardAt === 0) return now.t
    return now.t + Math.min(5_000, performance.now() - this.#heardAt)
  }

  get t(): number {
    return this.#held === undefined ? this.presentT : this.moment.t
  }

  heard(): void {
    this.#heardAt = performance.now()
    const { awaited } = this
    if (awaited !== undefined && this.recording.last >= awaited) {
      this.awaited = undefined
      this.hold(awaited)
    }
    this.changed('data')
  }

  hold(n: number): void {
    const { first, last } = this.recording
    this.#held = Math.min(Math.max(n, first), Math.max(first, last))
    this.awaited = undefined
    this.changed('moment')
  }

  /** Back to the newest, whatever comes. */
  live(): void {
    this.#held = undefined
    this.awaited = undefined
    if (this.stretch.kind === 'from') this.stretch = { kind: 'ms', ms: this.stretch.to - this.stretch.from }
    this.changed('moment')
  }

  /** That many messages forth, or back. */
  step(by: number): void {
    const { recording } = this
    const index = recording.indexOf(this.n) + by
    const message = recording.message(Math.min(Math.max(index, 0), recording.size - 1))
    if (message !== undefined) this.hold(message.n)
  }

  /** To the end of the next batch, or of the one before. */
  stepBatch(by: 1 | -1): void {
    const { batches } = this.recording.lanes
    const { n } = this
    const batch = by === 1 ? batches.find((each) => each.n > n) : batches.findLast((each) => each.n < n)
    if (batch !== undefined) this.hold(batch.n)
    else this.step(by * this.recording.size)
  }

  choose(choice: {
    readonly actor?: string
    readonly state?: string | undefined
    readonly stretch?: Stretch
  }): void {
    if (choice.actor !== undefined && choice.actor !== this.actor) {
      this.actor = choice.actor
      this.state = undefined
    }
    if ('state' in choice) this.state = choice.state
    if (choice.stretch !== undefined) this.stretch = choice.stretch
    this.changed('choice')
  }

  changed(what: Change): void {
    this.#changed.add(what)
    if (this.#frame) return
    this.#frame = true
    requestAnimationFrame(() => {
      const changes = new Set(this.#changed)
      this.#changed.clear()
      this.#frame = false
      for (const part of this.#parts) part.draw(changes)
    })
  }

  /** From when to when the lanes are shown. */
  window(): { readonly from: number; readonly to: number } {
    const { stretch, recording } = this
    const first = recording.message(0)?.t ?? 0
    const newest = this.presentT
    if (stretch.kind === 'from') return stretch
    if (stretch.kind === 'all') return { from: first, to: Math.max(newest, first + 1) }
    const length = stretch.kind === 'ms' ? stretch.ms : this.#lengthOf(stretch.count)
    if (this.#held === undefined) return { from: newest - length, to: newest }
    // held: what led there, and a little of what came of it
    const to = Math.min(this.t + length * 0.3, Math.max(newest, this.t))
    return { from: to - length, to }
  }

  #lengthOf(count: number): number {
    const { batches } = this.recording.lanes
    const { t } = this
    let index = batches.findLastIndex((batch) => batch.t <= t)
    if (index < 0) index = batches.length - 1
    const first = batches[Math.max(0, index - count)]
    return Math.max(5, first === undefined ? 1_000 : (t - first.t) * 1.02)
  }
}
