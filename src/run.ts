/**
 * One run: the chart, and behind its workers the source, the change log and the store. Everything a run holds is made
 * here and gone when its outcome is there (I16).
 */
import { hostname } from 'node:os'
import type { Actor, AnyActorRef } from 'xstate'
import type { indexerMachine } from '../machines/indexer.machine.ts'
import type { SourceEvent } from '../machines/events.ts'
import type { IndexerOutcome } from '../machines/outcome.ts'
import { Acknowledgements } from './commit/acknowledgements.ts'
import { GroupSizer } from './commit/group-sizer.ts'
import type { Store, StoreSession } from './commit/store.ts'
import type { WireActorParts } from './commit/wire-actor.ts'
import type { Landing } from './commit/worker.ts'
import type { Program } from './compute/program.ts'
import { BatchRunner } from './compute/runner.ts'
import { Durability } from './durability.ts'
import { TailraceError, asTailraceError, messageOf } from './errors.ts'
import { guarded, type InspectionObserver } from './inspect/guard.ts'
import type { Logger } from './log.ts'
import { doingsOf, lanesOf, topState, type IndexerSnapshot } from './observe/doings.ts'
import type { Emitter } from './observe/emitter.ts'
import type { Retry } from './observe/events.ts'
import { StallClock } from './observe/stalls.ts'
import type { Settings } from './options.ts'
import type { Outcome } from './outcome.ts'
import { bug, errorOf, outcomeOf, withLate } from './outcome-of.ts'
import { limitsOf } from './publish/delivery.ts'
import { Publishing } from './publish/publishing.ts'
import type { RegionPublisher } from './publish/port.ts'
import { Feed } from './source/feed.ts'
import { Staging } from './staging/staging.ts'
import type { TableModel } from './staging/table.ts'
import { workspace } from './staging/workspace.ts'
import type { IndexerStatus, Retrying } from './status.ts'
import { runActor, type Behind } from './wiring.ts'
import { settlesWithin } from './within.ts'

export interface RunParts {
  readonly name: string
  readonly settings: Settings
  readonly models: readonly TableModel[]
  readonly program: Program
  readonly store: Store
  readonly emitter: Emitter
  readonly log: Logger
  readonly regions: RegionPublisher | undefined
  readonly requireRegions: boolean
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
  readonly publishing: Publishing | undefined
}

export class Run {
  readonly outcome: Promise<Outcome>
  readonly durability = new Durability()
  readonly #parts: RunParts
  readonly #actor: Actor<typeof indexerMachine>
  readonly #clock = new StallClock(() => performance.now())
  /** Open, though perhaps not all that belongs to it. */
  #session: StoreSession | undefined
  #opened: Opened | undefined
  #say: (event: SourceEvent) => void = () => undefined
  readonly #troubles = new Map<Retrying['what'], Retrying>()
  /** What a source's `committed` failed with, when the chart had ended. */
  #unacknowledged: TailraceError | undefined
  /** The run has connected the publisher, and closes it. */
  #closesRegions = false
  /** The chart has ended: what is still opened is closed at once, what is said is not heard. */
  #isOver = false

  constructor(parts: RunParts) {
    this.#parts = parts
    this.#actor = runActor(this.#behind, parts.regions !== undefined, {
      input: {
        limits: parts.settings.limits,
        requireRegions: parts.requireRegions,
        regionLimits: parts.regions === undefined ? undefined : limitsOf(parts.regions.settings),
      },
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

  /** For whoever inspects it. */
  get actor(): AnyActorRef {
    return this.#actor
  }

  status(): IndexerStatus {
    return this.#statusOf(this.#actor.getSnapshot())
  }

  // ── the chart and what is behind it ───────────────────────────────────────────────────────────────────────

  /** What the workers of the charts are given. */
  get #behind(): Behind {
    const { name, emitter } = this.#parts
    const now = () => this.#need()
    const retries = (what: 'commit' | 'rollback'): Pick<WireActorParts, 'random' | 'retrying'> => ({
      random: Math.random,
      retrying: (error, attempt, inMs) => this.#retry(what, { error, attempt, inMs }),
    })
    return {
      open: (signal) => this.#open(signal),
      feed: () => now().feed,
      listen: (say) => {
        this.#say = say
      },
      computer: () => ({
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
      }),
      commit: () => ({
        ...now(),
        ...retries('commit'),
        marks: now().publishing?.outbox.marks ?? [],
        landed: (landing) => this.#landed(landing),
        offer: (group) => now().publishing?.outbox.landed(group) ?? 0,
      }),
      rollback: () => ({
        ...now(),
        ...retries('rollback'),
        pipeline: name,
        offer: (target) => now().publishing?.outbox.rolledBack(target) ?? 0,
        started: (target, depth) => emitter.emit('rollback.started', { target: BigInt(target), depth }),
        restored: ({ target, keptUpTo, rows: restoredRows, ...rest }) => {
          this.#troubles.delete('rollback')
          this.durability.drop(keptUpTo)
          now().acknowledgements.rewind(keptUpTo)
          emitter.emit('rollback.committed', { target: BigInt(target), restoredRows, ...rest })
        },
      }),
      publishing: () => now().publishing!,
    }
  }

  async #open(signal: AbortSignal): Promise<number> {
    const { name, settings, models, program, store, emitter, log } = this.#parts
    const connecting = this.#connect()
    const session = await store.open({
      pipeline: name,
      staleMs: settings.staleMs,
      models,
      sources: settings.sources.map(({ id, historyDepth = 0 }) => ({ id, historyDepth })),
      ownershipTimeoutMs: settings.ownershipTimeoutMs,
      waiting: (holder) =>
        emitter.emit('ownership', { state: 'waiting', ...holder, epoch: BigInt(holder.epoch) }),
      deliver: this.#parts.regions?.settings.deliver,
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
    this.#session = session
    const { resume } = session
    const publishing = await this.#publishing(session, connecting)
    if (this.#isOver) throw new Error('the run has ended')
    const staging = new Staging(models, settings.limits.stagedBytes, this.#parts.regions?.settings.deliver)
    const feed = new Feed(settings, resume, {
      say: (event) => this.#say(event),
      caughtUp: (source) => emitter.emit('caughtUp', { source }),
      forked: ({ target, ...fork }) => emitter.emit('fork', { ...fork, target: BigInt(target) }),
    })
    const runner = new BatchRunner(program, workspace(staging, session.reader, publishing?.jsonOf), log)
    this.#opened = {
      session,
      staging,
      feed,
      runner,
      sizer: new GroupSizer(settings.limits.groupLatencyMs),
      publishing,
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

  /** Early, so that the first publish needs no handshake; beside the store's opening, and at no cost to it. */
  #connect(): Promise<TailraceError | undefined> {
    const { regions, log } = this.#parts
    if (regions === undefined) return Promise.resolve(undefined)
    this.#closesRegions = !regions.isConnected
    return regions.connect().then(
      () => undefined,
      (thrown: unknown) => {
        const error = asTailraceError(thrown, 'INTERNAL', messageOf(thrown))
        log.warn('regions cannot be delivered yet', { address: regions.address, error: error.message })
        return error
      },
    )
  }

  async #publishing(
    session: StoreSession,
    connecting: Promise<TailraceError | undefined>,
  ): Promise<Publishing | undefined> {
    const { name, regions, requireRegions, emitter, log } = this.#parts
    if (regions === undefined) return undefined
    try {
      const error = requireRegions ? await connecting : undefined
      if (error !== undefined) throw error
      const publishing = new Publishing({
        pipeline: name,
        session,
        publisher: regions,
        log,
        settled: (settled) => emitter.emit('region.settled', settled),
        changed: (region, health, was) => emitter.emit('region.health', { region, health, was }),
      })
      await publishing.load(session)
      return publishing
    } catch (error) {
      await session.close()
      throw error
    }
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
    const regions = this.#opened?.publishing?.board.read() ?? {}
    await Promise.all([
      this.#session?.close(),
      this.#closesRegions ? this.#parts.regions?.close() : undefined,
    ])
    this.durability.end()
    return withLate(outcomeOf(output, regions), this.#unacknowledged)
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
      regions: this.#opened?.publishing?.board.read() ?? {},
      stalls: this.#clock.read(),
    }
  }
}
