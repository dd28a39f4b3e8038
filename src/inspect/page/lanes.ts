/**
 * What the lanes did and when, read off the charts' states: compute above, commit below, publish under it. One span is
 * one doing; batches and groups are tied to the spans they took.
 */
import type { Message } from '../protocol.ts'
import { field, laneState, nameOfActor, numberOf, type Actor, type Moment } from './fold.ts'

export type Doing =
  | 'opening'
  | 'pull'
  | 'preload'
  | 'handle'
  | 'handOver'
  | 'budget'
  | 'drain'
  | 'rollback'
  | 'commit'
  | 'resolve'
  | 'retry'
  | 'publish'
  | 'quarantine'

export interface Batch {
  /** From 0, in the order in which they were handled. */
  readonly index: number
  readonly checkpoint: number
  readonly data: unknown
  readonly n: number
  readonly t: number
}

/** What one commit took; or one rollback. */
export interface Group {
  readonly kind: 'commit' | 'rollback'
  /** Committed frontier before it. */
  readonly from: number
  readonly upTo: number
  readonly batches: number
  readonly data: unknown
}

export interface Span {
  readonly doing: Doing
  readonly n: number
  readonly from: number
  /** Infinity: it goes on. */
  to: number
  /** The state's own name. */
  readonly state: string
  batch: Batch | undefined
  group: Group | undefined
  /** Which commit it belongs to: a commit with retries has several spans. */
  readonly flight: number
}

/** Something that happened: a line through the lanes. */
export interface Happening {
  readonly n: number
  readonly t: number
  readonly kind: 'fork' | 'rollback' | 'retry' | 'region' | 'error' | 'end' | 'ownership' | 'head'
  readonly text: string
}

const computeDoings: Readonly<Record<string, Doing>> = {
  pulling: 'pull',
  'cpu.preloading': 'preload',
  'cpu.handling': 'handle',
  handingOver: 'handOver',
  waiting: 'budget',
}

const committerDoings: Readonly<Record<string, Doing>> = {
  writing: 'commit',
  bisecting: 'commit',
  resolving: 'resolve',
  retrying: 'retry',
}

const regionDoings: Readonly<Record<string, Doing | undefined>> = {
  persisting: 'publish',
  settling: 'publish',
  backingOff: 'retry',
  quarantined: 'quarantine',
  broken: 'quarantine',
}

export class Lanes {
  compute: Span[] = []
  commit: Span[] = []
  /** By region; `''`: the lane as a whole, where no region tells. */
  publish = new Map<string, Span[]>()
  batches: Batch[] = []
  /** What has been done at all, so far. */
  readonly seen = new Set<Doing>()
  happenings: Happening[] = []
  #handled = 0
  #flight = 0
  #frontier = 0
  /** Spans of the batch that is not handled yet. */
  #unnamed: Span[] = []
  #unlanded: Span[] = []

  add(message: Message, now: Readonly<Moment>): void {
    if (message.kind === 'event') this.#event(message.name, message.data, message.n, message.t)
    else if (message.kind === 'outcome') this.#ended(message.outcome, message.n, message.t)
    else if (message.kind === 'hello') this.#began(message.run, message.n, message.t)
    else if (message.kind === 'state') {
      const actor = now.actors.get(message.actor)!
      if (actor.chart === 'indexer') this.#indexer(actor)
      else if (actor.chart === 'committer') this.#committer(actor)
      else if (actor.chart === 'region') this.#region(actor)
    }
  }

  forgetBefore(t: number): void {
    const left = (spans: Span[]) => spans.filter(({ to }) => to >= t)
    this.compute = left(this.compute)
    this.commit = left(this.commit)
    for (const [region, spans] of this.publish) this.publish.set(region, left(spans))
    this.batches = this.batches.filter((batch) => batch.t >= t)
    this.happenings = this.happenings.filter((happening) => happening.t >= t)
  }

  #enter(
    spans: Span[],
    doing: Doing | undefined,
    at: { readonly n: number; readonly t: number },
    state = '',
    flight = 0,
  ): Span | undefined {
    if (doing !== undefined) this.seen.add(doing)
    return enter(spans, doing, at, state, flight)
  }

  #indexer(actor: Actor): void {
    if (actor.status !== 'active') {
      this.#enter(this.compute, undefined, actor)
      this.#enter(this.commit, undefined, actor)
      for (const spans of this.publish.values()) this.#enter(spans, undefined, actor)
      return
    }
    const control = laneState(actor.active, 'control')
    const compute = laneState(actor.active, 'compute')
    const commit = laneState(actor.active, 'commit')
    const isRollingBack = control?.startsWith('rollingBack') === true
    const doing = compute === undefined ? 'opening' : (computeDoings[compute] ?? 'drain')
    const span = this.#enter(this.compute, isRollingBack ? 'rollback' : doing, actor, compute ?? 'opening')
    if (span !== undefined && (doing === 'pull' || doing === 'preload' || doing === 'handle')) {
      this.#unnamed.push(span)
    }
    const starts = actor.transitions.some(({ targets }) =>
      targets.some((id) => id === 'indexer.active.commit.committing' || id.endsWith('.control.rollingBack')),
    )
    const isCommitting = commit === 'committing' || isRollingBack
    if (!isCommitting) this.#enter(this.commit, undefined, actor)
    else if (starts || this.commit.at(-1)?.to !== Infinity) {
      close(this.commit, actor.t)
      this.#flight++
      this.#commits(isRollingBack ? 'rollback' : 'commit', actor, commit ?? 'rollingBack')
    }
    if (this.publish.size === 0 || this.publish.has('')) {
      const isPublishing = laneState(actor.active, 'publish') === 'publishing'
      const lane = this.publish.get('') ?? []
      if (isPublishing || lane.length > 0) this.publish.set('', lane)
      this.#enter(lane, isPublishing ? 'publish' : undefined, actor, 'publishing')
    }
  }

  #committer(actor: Actor): void {
    const last = this.commit.at(-1)
    if (last === undefined || last.to !== Infinity || actor.status !== 'active') return
    const [state] = [...actor.active].map((id) => id.split('.')[1] ?? '')
    const doing = committerDoings[state ?? '']
    if (doing === undefined) return
    const isRollback = nameOfActor(actor.path) === 'restorer'
    this.#commits(isRollback && doing === 'commit' ? 'rollback' : doing, actor, state ?? '')
  }

  #commits(doing: Doing, actor: Actor, state: string): void {
    const span = this.#enter(this.commit, doing, actor, state, this.#flight)
    if (span !== undefined) this.#unlanded.push(span)
  }

  #region(actor: Actor): void {
    const name = nameOfActor(actor.path).replace(/^region:/, '')
    const spans = this.publish.get(name) ?? []
    this.publish.set(name, spans)
    const [state] = [...actor.active].map((id) => id.split('.')[1] ?? '')
    this.#enter(spans, actor.status === 'active' ? regionDoings[state ?? ''] : undefined, actor, state ?? '')
  }

  #event(name: string, data: unknown, n: number, t: number): void {
    switch (name) {
      case 'batch.processed':
        this.#processed(data, n, t)
        break
      case 'batch.committed':
        this.#landed('commit', data, numberOf(field(data, 'batches')) ?? 1)
        break
      case 'rollback.committed':
        this.#landed('rollback', data, numberOf(field(data, 'droppedBatches')) ?? 0)
        this.#happened('rollback', `rolled back to ${text(field(data, 'target'))}`, n, t)
        break
      case 'fork':
        this.#happened(
          'fork',
          `fork of ${text(field(data, 'source'))}, back to ${text(field(data, 'target'))}`,
          n,
          t,
        )
        break
      case 'commit.retrying':
      case 'read.retrying':
        this.#happened('retry', `${name}, attempt ${text(field(data, 'attempt'))}`, n, t)
        break
      case 'region.health':
        if (field(data, 'health') === 'quarantined')
          this.#happened('region', `region ${text(field(data, 'region'))} quarantined`, n, t)
        break
      case 'ownership':
        this.#happened('ownership', `ownership ${text(field(data, 'state'))}`, n, t)
        break
      case 'caughtUp':
        this.#happened('head', `${text(field(data, 'source'))} is at its head`, n, t)
        break
      default:
    }
  }

  #happened(kind: Happening['kind'], what: string, n: number, t: number): void {
    this.happenings.push({ kind, text: what, n, t })
  }

  /** The states may be told before or after the event: a span that began after the handlers is the next batch's. */
  #processed(data: unknown, n: number, t: number): void {
    const checkpoint = numberOf(field(data, 'checkpoint')) ?? 0
    const batch: Batch = { index: this.#handled++, checkpoint, data, n, t }
    this.batches.push(batch)
    const end = this.#unnamed.findLastIndex(({ doing }) => doing === 'handle' || doing === 'preload')
    for (const span of this.#unnamed.splice(0, end + 1)) span.batch = batch
  }

  #landed(kind: Group['kind'], data: unknown, batches: number): void {
    const upTo = numberOf(field(data, kind === 'commit' ? 'checkpoint' : 'target')) ?? 0
    const group: Group = { kind, from: this.#frontier, upTo, batches, data }
    this.#frontier = kind === 'commit' ? upTo : Math.min(upTo, this.#frontier)
    // what a fork called back has landed nothing: the newest that had ended, or the one that goes on
    const ended = this.#unlanded.filter(({ to }) => to !== Infinity)
    const flight = (ended.at(-1) ?? this.#unlanded.at(-1))?.flight
    for (const span of this.#unlanded) if (span.flight === flight) span.group = group
    this.#unlanded = this.#unlanded.filter((span) => span.flight > (flight ?? 0))
  }

  #began(run: number, n: number, t: number): void {
    this.#stop(t)
    this.#unnamed = []
    this.#unlanded = []
    if (run > 1) this.#happened('end', `run ${run} begins`, n, t)
  }

  #stop(t: number): void {
    for (const spans of [this.compute, this.commit, ...this.publish.values()]) close(spans, t)
  }

  #ended(outcome: unknown, n: number, t: number): void {
    const status = text(field(outcome, 'status'))
    this.#happened(status === 'failed' ? 'error' : 'end', status === '' ? 'ended' : status, n, t)
    this.#stop(t)
  }
}

function close(spans: Span[], t: number): void {
  const last = spans.at(-1)
  if (last?.to === Infinity) last.to = t
}

/** @returns the span that begins; undefined: the lane goes on with what it does, or rests */
function enter(
  spans: Span[],
  doing: Doing | undefined,
  { n, t }: { readonly n: number; readonly t: number },
  state: string,
  flight: number,
): Span | undefined {
  const last = spans.at(-1)
  if (last?.to === Infinity && last.doing === doing && last.flight === flight) return undefined
  close(spans, t)
  if (doing === undefined) return undefined
  const span: Span = { doing, n, from: t, to: Infinity, state, batch: undefined, group: undefined, flight }
  spans.push(span)
  return span
}

function text(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}
