/**
 * Turns what an indexer does into messages: the steps of its charts, its typed events, a meter. While it is attached; an
 * indexer with a detached recorder has nothing of it. It only looks: what goes wrong here is logged, never thrown into
 * the run.
 */
import { hostname } from 'node:os'
import type { AnyActorRef, AnyMachineSnapshot, InspectionEvent } from 'xstate'
import { messageOf } from '../errors.ts'
import type { IndexerEventName } from '../observe/events.ts'
import type { Outcome } from '../outcome.ts'
import { chartsFrom, constantFacts, isOfChart, pathOf, takenOf } from './actors.ts'
import { guarded } from './guard.ts'
import type { Inspectable, InspectedRun } from './inspectable.ts'
import { protocolVersion, type Content, type TransitionTaken } from './protocol.ts'
import type { Redact } from './redact.ts'
import { serialise } from './serialise.ts'
import { tailraceVersion } from './version.ts'

/** A message as it is kept and sent: written once, whoever reads it. */
export interface Recorded {
  readonly n: number
  readonly t: number
  readonly kind: Content['kind']
  readonly json: string
  /** Of a `state`: whose. */
  readonly actor?: string | undefined
}

export interface RecorderOptions {
  readonly redact?: Redact | undefined
  /** Told of every message, as it is made. */
  readonly tell: (recorded: Recorded) => void
}

const meterMs = 250

/** All of them but `state`, which the charts' own steps tell. */
const eventNames = Object.keys({
  'batch.processed': true,
  'batch.committed': true,
  'commit.retrying': true,
  'read.retrying': true,
  fork: true,
  'rollback.started': true,
  'rollback.committed': true,
  'region.settled': true,
  'region.health': true,
  ownership: true,
  caughtUp: true,
} satisfies Record<Exclude<IndexerEventName, 'state'>, true>) as Exclude<IndexerEventName, 'state'>[]

export class Recorder {
  readonly #subject: Inspectable
  readonly #options: RecorderOptions
  /** Undoes what attaching did, in any order. */
  #undo: (() => void)[] = []
  #unsubscribe: () => void = () => undefined
  #meter: NodeJS.Timeout | undefined
  readonly #transitions = new WeakMap<AnyActorRef, TransitionTaken[]>()
  readonly #ended = new WeakSet<AnyActorRef>()
  #began = 0
  #beganAt = 0
  #n = 0
  #items = 0
  #hasComplained = false

  constructor(subject: Inspectable, options: RecorderOptions) {
    this.#subject = subject
    this.#options = options
  }

  get isAttached(): boolean {
    return this.#undo.length > 0
  }

  /** When the recording began, Unix milliseconds; no two of this process begin in the same one. */
  get at(): number {
    return this.#beganAt
  }

  /**
   * Begins a recording: with where the charts stand, if there is a run.
   * @param greeting `at once`, or with the run that is about to begin
   */
  attach(greeting: 'at once' | 'with the run' = 'at once'): void {
    if (this.isAttached) return
    this.#began = performance.now()
    this.#beganAt = Math.max(Date.now(), this.#beganAt + 1)
    this.#n = 0
    this.#items = 0
    const { runs } = this.#subject
    this.#undo = [
      runs.watch({
        began: (run) => this.#runBegan(run),
        ended: (run) => this.#runEnded(run.outcome, run.actor),
      }),
      ...eventNames.map((name) => this.#subject.on(name, (data) => this.#event(name, data))),
      () => this.#leaveRun(),
    ]
    if (greeting === 'with the run') return
    const run = runs.latest
    this.#hello(run?.number ?? 0, run !== undefined)
    if (run === undefined) return
    for (const { actor, snapshot } of chartsFrom(run.actor)) this.#state(actor, snapshot)
    if (run.outcome === undefined) this.#joinRun(run.actor)
    else this.#say({ kind: 'outcome', outcome: this.#plain(run.outcome, true) })
  }

  detach(): void {
    const undo = this.#undo
    this.#undo = []
    for (const step of undo) step()
  }

  // ── runs ──────────────────────────────────────────────────────────────────────────────────────────────────

  #runBegan({ number, actor }: InspectedRun): void {
    this.#leaveRun()
    this.#hello(number, false)
    this.#joinRun(actor)
  }

  #runEnded(outcome: Outcome, actor: AnyActorRef): void {
    // XState tells no snapshot of an actor whose own code threw
    const snapshot: unknown = actor.getSnapshot()
    if (isOfChart(snapshot) && snapshot.status === 'error') this.#state(actor, snapshot)
    this.#measure()
    this.#leaveRun()
    this.#say({ kind: 'outcome', outcome: this.#plain(outcome, true) })
  }

  #joinRun(actor: AnyActorRef): void {
    const observer = guarded((event) => this.#inspected(event), this.#subject.log)
    const subscription = actor.system.inspect(observer)
    this.#unsubscribe = () => subscription.unsubscribe()
    this.#meter = setInterval(() => this.#measure(), meterMs).unref()
    this.#measure()
  }

  #leaveRun(): void {
    this.#unsubscribe()
    this.#unsubscribe = () => undefined
    clearInterval(this.#meter)
  }

  // ── messages ──────────────────────────────────────────────────────────────────────────────────────────────

  #hello(run: number, isLate: boolean): void {
    this.#say({
      kind: 'hello',
      version: protocolVersion,
      pipeline: this.#subject.name,
      at: this.#beganAt,
      run,
      limits: this.#plain(this.#subject.limits) as Record<string, unknown>,
      process: {
        pid: process.pid,
        host: hostname(),
        node: process.version,
        tailrace: tailraceVersion(),
      },
      isLate,
    })
  }

  /**
   * A chart's last state is told by the step that reaches it: XState tells the snapshot only when the parent has heard
   * of it, and may have started the next child of the same name.
   */
  #inspected(event: InspectionEvent): void {
    if (event.type !== '@xstate.microstep' && event.type !== '@xstate.snapshot') return
    const { snapshot } = event
    if (!isOfChart(snapshot)) return
    const actor = event.actorRef as AnyActorRef
    if (this.#ended.has(actor)) return
    const taken = this.#transitions.get(actor) ?? []
    const isMicrostep = event.type === '@xstate.microstep'
    if (isMicrostep) taken.push(...event._transitions.map(takenOf))
    const isLast = snapshot.status !== 'active'
    if (isMicrostep && !isLast) {
      this.#transitions.set(actor, taken)
      return
    }
    this.#transitions.delete(actor)
    if (isLast) this.#ended.add(actor)
    this.#state(actor, snapshot, event.event.type, taken)
  }

  #state(
    actor: AnyActorRef,
    snapshot: AnyMachineSnapshot,
    event?: string,
    transitions: readonly TransitionTaken[] = [],
  ): void {
    const { machine, value, status, context } = snapshot as AnyMachineSnapshot & { readonly context: unknown }
    this.#say({
      kind: 'state',
      actor: pathOf(actor),
      chart: machine.id,
      value,
      event,
      ...(transitions.length === 0 ? {} : { transitions }),
      facts: serialise(context, {
        redact: this.#options.redact,
        stacks: false,
        omit: constantFacts,
      }) as Record<string, unknown>,
      status,
    })
  }

  #event(name: string, data: unknown): void {
    if (name === 'batch.processed') this.#items += (data as { readonly items: number }).items
    this.#say({ kind: 'event', name, data: this.#plain(data, true) })
  }

  /** Called by a timer: nothing above it would catch what it throws. */
  #measure(): void {
    try {
      const { processed, committed, stagedBatches, stagedBytes, readAheadBytes, stalls, regions, retrying } =
        this.#subject.status()
      this.#say({
        kind: 'meter',
        processed: processed.toString(),
        committed: committed.toString(),
        stagedBatches,
        stagedBytes,
        readAheadBytes,
        items: this.#items,
        stalls,
        regions: this.#plain(regions) as Record<string, unknown>,
        ...(retrying === undefined ? {} : { retrying: this.#plain(retrying) }),
      })
    } catch (error) {
      this.#complain(error)
    }
  }

  /** @param stacks where an error is told once, not with every state in which it is known */
  #plain(value: unknown, stacks = false): unknown {
    return serialise(value, { redact: this.#options.redact, stacks })
  }

  /** Never throws: the chart that it looks at would stand still for ever. */
  #say(content: Content): void {
    const n = ++this.#n
    const t = Math.round((performance.now() - this.#began) * 1_000) / 1_000
    try {
      this.#options.tell({
        n,
        t,
        kind: content.kind,
        json: JSON.stringify({ n, t, ...content }),
        ...(content.kind === 'state' ? { actor: content.actor } : {}),
      })
    } catch (error) {
      this.#complain(error)
    }
  }

  /** Once: what is wrong with one message is wrong with many. */
  #complain(error: unknown): void {
    if (this.#hasComplained) return
    this.#hasComplained = true
    this.#subject.log.error('the inspector could not record; the run goes on', { error: messageOf(error) })
  }
}
