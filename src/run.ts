/**
 * One run: the chart, and behind its workers the source, the change log and the store. Everything a run holds is made
 * here and gone when its outcome is there (I16).
 */
import { hostname } from 'node:os'
import { createActor, type Actor } from 'xstate'
import { committerMachine } from '../machines/committer.machine.ts'
import { indexerMachine } from '../machines/indexer.machine.ts'
import type { SourceEvent } from '../machines/events.ts'
import type { IndexerOutcome } from '../machines/outcome.ts'
import { Acknowledgements } from './commit/acknowledgements.ts'
import { opener } from './commit/opener.ts'
import { GroupSizer } from './commit/group-sizer.ts'
import { restoreWire } from './commit/restore-worker.ts'
import type { Store, StoreSession } from './commit/store.ts'
import type { WireActorParts } from './commit/wire-actor.ts'
import { wire, type Landing } from './commit/worker.ts'
import type { Program } from './compute/program.ts'
import { BatchRunner } from './compute/runner.ts'
import { computer } from './compute/worker.ts'
import { Durability } from './durability.ts'
import { FatalError, TailraceError, asTailraceError, messageOf } from './errors.ts'
import { guarded, type InspectionObserver } from './inspect/guard.ts'
import type { Logger } from './log.ts'
import { doingsOf, lanesOf, topState, type IndexerSnapshot } from './observe/doings.ts'
import type { Emitter } from './observe/emitter.ts'
import type { Retry } from './observe/events.ts'
import { StallClock } from './observe/stalls.ts'
import type { Settings } from './options.ts'
import type { Outcome } from './outcome.ts'
import { Feed } from './source/feed.ts'
import { sources } from './source/worker.ts'
import { Staging } from './staging/staging.ts'
import type { TableModel } from './staging/table.ts'
import { workspace } from './staging/workspace.ts'
import type { IndexerStatus, Retrying } from './status.ts'
import { settlesWithin } from './within.ts'

export interface RunParts {
  readonly name: string
  readonly settings: Settings
  readonly models: readonly TableModel[]
  readonly program: Program
  readonly store: Store
  readonly emitter: Emitter
  readonly log: Logger
  readonly inspect: InspectionObserver | undefined
}

/** What exists once the store is open. */
interface Opened {
  readonly session: StoreSession
  readonly staging: Staging
  readonly feed: Feed
  readonly runner: BatchRunner
  readonly sizer: GroupSizer
  readonly acknowledgements: Acknowledgements
}

export class Run {
  readonly outcome: Promise<Outcome>
  readonly durability = new Durability()
  readonly #parts: RunParts
  readonly #actor: Actor<typeof indexerMachine>
  readonly #clock = new StallClock(() => performance.now())
  #opened: Opened | undefined
  #say: (event: SourceEvent) => void = () => undefined
  readonly #troubles = new Map<Retrying['what'], Retrying>()
  /** What a source's `committed` failed with, when the chart had ended. */
  #unacknowledged: TailraceError | undefined
  /** The chart has ended: what is still opened is closed at once, what is said is not heard. */
  #isOver = false

  constructor(parts: RunParts) {
    this.#parts = parts
    this.#actor = createActor(this.#machine(), {
      input: { limits: parts.settings.limits },
      ...(parts.inspect === undefined ? {} : { inspect: guarded(parts.inspect, parts.log) }),
    })
    this.outcome = this.#untilDone()
  }

  /** Apart from the constructor: whoever is called back from inside it must find the run in its place. */
  start(): void {
    this.#actor.start()
  }

  stop(): void {
    if (!this.#isOver) this.#actor.send({ type: 'stop' })
  }

  abort(reason: unknown): void {
    if (this.#isOver) return
    const error = new TailraceError(
      'ABORTED',
      `The run was aborted: ${messageOf(reason ?? 'no reason given')}`,
      {
        cause: reason,
      },
    )
    this.#actor.send({ type: 'abort', error })
  }

  status(): IndexerStatus {
    return this.#statusOf(this.#actor.getSnapshot())
  }

  // ── the chart and what is behind it ───────────────────────────────────────────────────────────────────────

  #machine(): typeof indexerMachine {
    const { name, emitter } = this.#parts
    const now = () => this.#need()
    const retries = (what: 'commit' | 'rollback'): Pick<WireActorParts, 'random' | 'retrying'> => ({
      random: Math.random,
      retrying: (error, attempt, inMs) => this.#retry(what, { error, attempt, inMs }),
    })
    return indexerMachine.provide({
      actors: {
        opener: opener((signal) => this.#open(signal)),
        sources: sources(
          () => now().feed,
          (say) => {
            this.#say = say
          },
        ),
        computer: computer(() => ({
          feed: now().feed,
          runner: now().runner,
          confirm: () => now().session.confirm?.() ?? Promise.resolve(),
          stagedBytes: () => now().staging.uncommittedBytes,
          processed: ({ blocks, items }, times) => {
            const { checkpoint } = blocks[blocks.length - 1]!.ref
            this.durability.handled(blocks[0]!.ref.checkpoint, checkpoint)
            emitter.emit('batch.processed', {
              checkpoint: BigInt(checkpoint),
              blocks: blocks.length,
              items,
              ...times,
              stagedBytes: now().staging.uncommittedBytes,
            })
          },
        })),
        committer: committerMachine.provide({
          actors: {
            wire: wire(() => ({
              ...now(),
              ...retries('commit'),
              landed: (landing) => this.#landed(landing),
            })),
          },
        }),
        restorer: committerMachine.provide({
          actors: {
            wire: restoreWire(() => ({
              ...now(),
              ...retries('rollback'),
              pipeline: name,
              started: (target, depth) => emitter.emit('rollback.started', { target: BigInt(target), depth }),
              restored: ({ target, keptUpTo, rows: restoredRows, ...rest }) => {
                this.#troubles.delete('rollback')
                this.durability.drop(keptUpTo)
                now().acknowledgements.rewind(keptUpTo)
                emitter.emit('rollback.committed', { target: BigInt(target), restoredRows, ...rest })
              },
            })),
          },
        }),
      },
    })
  }

  async #open(signal: AbortSignal): Promise<number> {
    const { name, settings, models, program, store, emitter, log } = this.#parts
    const session = await store.open({
      pipeline: name,
      staleMs: settings.staleMs,
      models,
      sources: settings.sources.map(({ id, historyDepth = 0 }) => ({ id, historyDepth })),
      ownershipTimeoutMs: settings.ownershipTimeoutMs,
      waiting: (holder) =>
        emitter.emit('ownership', { state: 'waiting', ...holder, epoch: BigInt(holder.epoch) }),
      readDeadlineMs: settings.limits.commitDeadlineMs,
      readRetrying: (error, attempt, inMs) => this.#retry('read', { error, attempt, inMs }),
      readRecovered: () => void this.#troubles.delete('read'),
      superseded: (owner) => {
        if (!this.#isOver) this.#actor.send({ type: 'ownership.lost', owner })
      },
      signal,
      log,
    })
    if (this.#isOver) {
      await session.close()
      throw new Error('the run has ended')
    }
    const { resume } = session
    const staging = new Staging(models, settings.limits.stagedBytes)
    const feed = new Feed(settings, resume, {
      say: (event) => this.#say(event),
      caughtUp: (source) => emitter.emit('caughtUp', { source }),
      forked: ({ target, ...fork }) => emitter.emit('fork', { ...fork, target: BigInt(target) }),
    })
    const runner = new BatchRunner(program, workspace(staging, session.reader), log)
    this.#opened = {
      session,
      staging,
      feed,
      runner,
      sizer: new GroupSizer(settings.limits.groupLatencyMs),
      acknowledgements: new Acknowledgements(settings.sources, resume, (error) => {
        if (this.#isOver) this.#unacknowledged ??= error
        else this.#say({ type: 'source.failed', error })
      }),
    }
    this.durability.open(resume.committed)
    emitter.emit('ownership', {
      state: 'taken',
      epoch: BigInt(resume.epoch),
      host: hostname(),
      pid: process.pid,
    })
    return resume.committed
  }

  #need(): Opened {
    if (this.#opened === undefined) throw new Error('the store is not open yet')
    return this.#opened
  }

  #retry(what: Retrying['what'], { error, attempt, inMs }: Retry): void {
    const { emitter, log } = this.#parts
    const since = this.#troubles.get(what)?.since ?? Date.now()
    this.#troubles.set(what, { what, attempt, error: messageOf(error), since })
    log.warn(`a ${what} is tried again`, { attempt, inMs: Math.round(inMs), error: messageOf(error) })
    emitter.emit(what === 'read' ? 'read.retrying' : 'commit.retrying', { attempt, inMs, error })
  }

  #landed({ group, encodeMs, commitMs }: Landing): void {
    this.#troubles.delete('commit')
    const { session, feed, acknowledgements } = this.#need()
    this.durability.advance(group.upTo)
    feed.landed(group.upTo)
    this.#parts.emitter.emit('batch.committed', {
      checkpoint: BigInt(group.upTo),
      batches: group.batches.length,
      rows: group.rows,
      bytes: group.bytes,
      encodeMs,
      commitMs,
    })
    acknowledgements.landed(group, session.restorableFrom)
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────

  async #untilDone(): Promise<Outcome> {
    const output = await new Promise<IndexerOutcome>((resolve) => {
      this.#actor.subscribe({
        next: (snapshot) => this.#changed(snapshot),
        error: (error) => resolve(bug(this.#actor.getSnapshot(), error)),
        complete: () => resolve(this.#actor.getSnapshot().output!),
      })
    })
    this.#isOver = true
    this.#actor.stop()
    // a run that fails has waited for its iterators already; a deaf one is left to itself
    const { drainDeadlineMs, failDeadlineMs } = this.#parts.settings.limits
    const isDrained = output.status === 'finished' || output.status === 'stopped'
    const patienceMs = isDrained ? drainDeadlineMs : failDeadlineMs
    if (this.#opened !== undefined) await settlesWithin(this.#opened.feed.close(), patienceMs)
    const acknowledged = this.#opened?.acknowledgements.settled
    if (acknowledged !== undefined && !(await settlesWithin(acknowledged, patienceMs)) && isDrained) {
      this.#unacknowledged ??= errorOf({ drain: "a source's committed()" })
    }
    await this.#opened?.session.close()
    this.durability.end()
    return withLate(outcomeOf(output), this.#unacknowledged)
  }

  #changed(snapshot: IndexerSnapshot): void {
    if (snapshot.status === 'active') this.#clock.enter(...doingsOf(snapshot))
    else this.#clock.stop()
    if (this.#parts.emitter.has('state')) this.#parts.emitter.emit('state', this.#statusOf(snapshot))
  }

  #statusOf(snapshot: IndexerSnapshot): IndexerStatus {
    const { context } = snapshot
    const [trouble] = this.#troubles.values()
    return {
      name: this.#parts.name,
      state: topState(snapshot),
      lanes: lanesOf(snapshot),
      processed: BigInt(context.processed),
      committed: BigInt(context.committed),
      stagedBatches: context.stagedBatches + context.flightBatches,
      stagedBytes: this.#opened?.staging.uncommittedBytes ?? 0,
      readAheadBytes: this.#opened?.feed.bufferedBytes ?? 0,
      ...(trouble === undefined ? {} : { retrying: trouble }),
      stalls: this.#clock.read(),
    }
  }
}

/** XState's own error status means a fault of ours: it is reported as one, and nothing is left running. */
function bug(snapshot: IndexerSnapshot, cause: unknown): IndexerOutcome {
  const { committed, processed } = snapshot.context
  const error = new FatalError(
    'INTERNAL',
    `A fault inside tailrace: ${messageOf(cause)}. Please report it.`,
    { cause },
  )
  return { status: 'failed', committed, processed, error, suppressed: [], inDoubt: null, owner: null }
}

function outcomeOf(output: IndexerOutcome): Outcome {
  const { status, inDoubt, owner } = output
  const ended = {
    committed: BigInt(output.committed),
    processed: BigInt(output.processed),
    regions: {},
    ...(inDoubt === null ? {} : { inDoubt: { from: BigInt(inDoubt.from), upTo: BigInt(inDoubt.upTo) } }),
  }
  switch (status) {
    case 'finished':
    case 'stopped':
      return { status, ...ended }
    case 'superseded':
      return {
        status,
        ...ended,
        owner: owner === null ? undefined : { ...owner, epoch: BigInt(owner.epoch) },
      }
    case 'failed':
      return { status, ...ended, error: errorOf(output.error), suppressed: output.suppressed.map(errorOf) }
    default:
      throw new Error(`unreachable: ${String(status satisfies never)}`)
  }
}

/** An error that came when the chart had ended: no outcome hides it. */
function withLate(outcome: Outcome, error: TailraceError | undefined): Outcome {
  if (error === undefined || outcome.status === 'superseded') return outcome
  if (outcome.status === 'failed') return { ...outcome, suppressed: [...outcome.suppressed, error] }
  return { ...outcome, status: 'failed', error, suppressed: [] }
}

/** The chart knows deadlines as facts; everything else it was told is an error already. */
function errorOf(error: unknown): TailraceError {
  if (typeof error === 'object' && error !== null && 'drain' in error) {
    return new FatalError(
      'DRAIN_DEADLINE',
      `The drain (${String(error.drain)}) took longer than limits.drainDeadlineMs. What was not committed is handled again by the next run. A handler that does not heed context.signal, or a database that does not answer, are the usual causes.`,
      { phase: 'exit' },
    )
  }
  return asTailraceError(error, 'INTERNAL', messageOf(error))
}
