/** One life of an owner: a real indexer in a process of its own, watched from its start to its outcome. */
import assert from 'node:assert/strict'
import type { InspectionEvent, SnapshotFrom } from 'xstate'
import type { indexerMachine } from '../../machines/indexer.machine.ts'
import { createIndexer, type Indexer, type Outcome, type Store } from '../../src/index.ts'
import type { RegionPublisher } from '../../src/publish/port.ts'
import { Wire } from '../interleaving/ports.ts'
import type { Dice } from '../support/dice.ts'
import type { LivingChain } from '../support/forks-chains.ts'
import type { Ledger } from '../support/forks-ledger.ts'
import {
  programTables as tables,
  programHandler,
  type ProgramItem,
  type Readings,
} from '../support/programs.ts'
import type { SimulatedCase, Span } from './cases.ts'
import { guardedStore } from './guarded.ts'
import type { Network } from './network.ts'
import { simulatedPublisher, type SimulatedRedis } from './regions.ts'
import type { SimulatedServer } from './server.ts'
import type { Shown } from './shown.ts'
import { simulatedStore } from './store.ts'
import { Process, type VirtualTime } from './time.ts'

/** One run after the other, until everything is indexed. */
export interface Owner {
  readonly name: string
  lives: number
  isDone: boolean
}

/** What happened in a case, by name; a soak counts these, so that nobody believes in cases that never occur. */
export type Mix = Set<string>

/** The world around a life. */
export interface Surroundings {
  readonly given: SimulatedCase
  readonly time: VirtualTime
  readonly random: Dice
  readonly network: Network
  readonly server: SimulatedServer
  readonly redis: SimulatedRedis
  readonly chains: readonly LivingChain[]
  readonly ledger: Ledger
  readonly shown: Shown
  readonly mix: Mix
  /** Until then something went wrong, or still does. */
  readonly troubledUntil: number
  /** A port of the process is called: something may happen to it now. */
  called(process: Process, kind: string): void
  /** What fails here fails the case. */
  check(assertion: () => void): void
}

/** An owner that was silent for so long counts as dead; milliseconds. */
const staleMs = 5_000

export class Life {
  readonly owner: Owner
  readonly process: Process
  readonly startedAt: number
  readonly indexer: Indexer
  /** What its handlers have read, by checkpoint. */
  readonly readings = new Map<number, Readings>()
  /** The next handler, or the next message of a source, throws. */
  handlerFails = false
  sourceFails = false
  /** It has its outcome. */
  isOver = false
  readonly #around: Surroundings
  readonly #wire: Wire
  /** It has the pipeline, and knows where it stands. */
  #isOpen = false
  /** Target of the forks that were told and are not rolled back yet. */
  #fork: number | undefined
  /** Of the errors of this run. */
  #first: { readonly error: unknown } | undefined
  #lost: { readonly isTakenOver: boolean; readonly frontier: number } | undefined

  constructor(owner: Owner, around: Surroundings) {
    this.owner = owner
    this.#around = around
    this.process = new Process(`${owner.name}${++owner.lives}`)
    this.startedAt = around.time.now
    this.#wire = new Wire((error) =>
      around.check(() => {
        throw error
      }),
    )
    this.indexer = this.#indexer()
    this.#watch()
  }

  /** To its outcome, which is checked; never, if its process ends before. */
  async run(): Promise<Outcome> {
    const outcome = await this.indexer.run()
    this.isOver = true
    const { mix, check } = this.#around
    mix.add(`a run ${outcome.status}`)
    if (outcome.inDoubt !== undefined) mix.add('a run ended in doubt')
    check(() => this.#checkOutcome(outcome))
    return outcome
  }

  /** The pipeline is not its own any more. @param frontier the committed one at that moment */
  lose(isTakenOver: boolean, frontier: number): void {
    this.#lost = { isTakenOver, frontier }
  }

  // ── the indexer ─────────────────────────────────────────────────────────────────────────────────────────

  #indexer(): Indexer {
    const { given, chains, shown, random } = this.#around
    return createIndexer({
      name: 'case',
      source: chains.map((chain) => chain.source(() => this.#message())),
      ordering: given.ordering,
      tables,
      ...(given.preload ? {} : { preload: false as const }),
      handle: async (item: ProgramItem, context) => {
        if (!context.preloading) await this.#port('handler', given.pace.handler)
        if (this.handlerFails) {
          this.handlerFails = false
          throw new Error('a fault in the handler')
        }
        await programHandler(this.#readingsOf(Number(context.checkpoint)))(item, context)
      },
      handleBlock: ({ hash }, { region }) => {
        for (const [name, values] of shown.publishedBy(hash!)) {
          for (const value of values) region(name).publish({ value })
        }
      },
      // not in every life, since it takes time
      ...(random() < 0.1 ? { inspect: (event: InspectionEvent) => this.#inspected(event) } : {}),
      store: this.#store(),
      regions: this.#publisher(),
      ownership: { standby: true, staleMs },
      limits: {
        batchItems: given.batchItems,
        stagedBytes: given.stagedBytes,
        groupLatencyMs: given.groupLatencyMs,
        failDeadlineMs: random() < 0.3 ? 0 : 2_000,
      },
    })
  }

  async #port(kind: string, span: Span): Promise<void> {
    const { time, called } = this.#around
    called(this.process, kind)
    await time.sleep(this.process, ...span)
  }

  async #message(): Promise<void> {
    await this.#port('block', this.#around.given.pace.source)
    if (!this.sourceFails) return
    this.sourceFails = false
    throw new Error('the source failed')
  }

  #readingsOf(checkpoint: number): Readings {
    let readings = this.readings.get(checkpoint)
    if (readings === undefined) this.readings.set(checkpoint, (readings = new Map()))
    return readings
  }

  #store(): Store {
    const { given, time, network, server, ledger, chains, mix, check } = this.#around
    const { owner, process } = this
    const store = simulatedStore({
      time,
      network,
      server,
      process,
      pid: owner.name.charCodeAt(0) * 1_000 + owner.lives,
      pace: given.pace,
      reading: () => {
        if (this.#wire.group !== undefined) mix.add('a read beside a commit')
      },
    })
    return guardedStore(store, this.#wire, check, {
      forkOf: () => this.#fork,
      ledger,
      isValid: (source, hash) => chains.find(({ id }) => id === source)!.isValid(hash),
      isOwner: () => server.isHeldBy(process.name),
      isSorted: given.ordering === 'timestamp' && chains.length > 1,
    })
  }

  #publisher(): RegionPublisher {
    const { given, network, redis, shown, check } = this.#around
    return simulatedPublisher({
      network,
      redis,
      process: this.process,
      pace: given.pace,
      begins: (region) =>
        check(() => {
          assert.ok(!this.isOver, `I7: ${region} is delivered by nobody's run`)
          const isFailing = this.indexer.status().lanes?.control === 'failing'
          assert.ok(!isFailing, `I7: a delivery of ${region} begins after the first error`)
        }),
      arrived: async (outgoing) => {
        check(() => shown.checkArriving(outgoing))
        const delivery = await redis.held.persist(outgoing, new AbortController().signal)
        check(() => shown.arrived(outgoing, delivery))
        return delivery
      },
      lookFailed: () => shown.blind++,
    })
  }

  // ── what must hold ──────────────────────────────────────────────────────────────────────────────────────

  /** What its events and its states must not say. */
  #watch(): void {
    const { given, mix, check } = this.#around
    const { indexer } = this
    indexer.on('ownership', ({ state }) => {
      if (state === 'taken') this.#isOpen = true
    })
    indexer.on('fork', ({ target }) => {
      mix.add('a fork told')
      if (this.#wire.group !== undefined) mix.add('a commit on the wire at a fork')
      if (indexer.status().stagedBatches >= 2) mix.add('two staged batches at a fork')
      this.#fork = Math.min(this.#fork ?? Infinity, Number(target))
    })
    indexer.on('rollback.committed', () => {
      this.#fork = undefined
      this.#wire.thawed()
    })
    let before = { compute: '', commit: '' }
    indexer.on('state', ({ lanes, stagedBytes, stagedBatches }) => {
      if (lanes === undefined) return
      const { control, compute, commit } = lanes
      if (stagedBatches >= 2) mix.add('two or more staged batches')
      if (compute === 'waiting') mix.add('a full budget')
      check(() => {
        const isActive = compute === 'waiting' || compute === 'pulling'
        assert.ok(control !== 'failing' || !isActive, 'I7: compute goes on after the first error')
        const isBegun = compute === 'pulling' && before.compute !== 'pulling'
        const place = `${stagedBytes} of ${given.stagedBytes} bytes staged`
        assert.ok(!isBegun || stagedBytes < given.stagedBytes, `I11: another batch with ${place}`)
        const startsCommit = before.commit === 'idle' && commit === 'committing'
        const isOvertaken = startsCommit && before.compute.startsWith('cpu') && isActive
        assert.ok(!isOvertaken, 'I3, H64: the next batch does not wait for the frames of the commit')
        const isStuck = control === 'flowing' && compute === 'waiting' && commit === 'idle'
        assert.ok(!isStuck, 'I3, H48: compute waits for a commit, and there is none')
      })
      before = { compute, commit }
    })
  }

  #checkOutcome(outcome: Outcome): void {
    const { time, redis, mix, troubledUntil } = this.#around
    const { process, startedAt } = this
    const { status, committed, processed, inDoubt } = outcome
    const name = `${process.name}, which ${status},`
    assert.equal(time.timersOf(process), 0, `I16: ${name} left a timer`)
    assert.equal(redis.listenersOf(process), 0, `I16: ${name} left a listener`)
    if (status === 'failed') {
      const { phase, code, message } = outcome.error
      assert.notEqual(phase, 'publish', `I13: ${name} failed over a region: ${message}`)
      // two writes that hang take longer than a drain may
      assert.ok(code !== 'DRAIN_DEADLINE' || mix.has('write hangs'), `I6: ${name} never drained`)
    }
    if (status === 'superseded') assert.ok(this.#lost?.isTakenOver, `I9: ${name} had the pipeline`)
    else if (status !== 'finished' && troubledUntil < startedAt) {
      throw status === 'failed' ? outcome.error : new Error(`${name} for no reason`)
    }
    const isCertain = status !== 'superseded' && inDoubt === undefined
    if (isCertain && this.#isOpen && this.#lost !== undefined) {
      assert.equal(Number(committed), this.#lost.frontier, `the frontier of ${name}`)
    }
    if (status === 'finished') assert.equal(committed, processed, 'I6: all is committed')
  }

  /** What the chart knows, whatever is told. */
  #inspected(event: InspectionEvent): void {
    if (event.type !== '@xstate.snapshot' || event.actorRef.sessionId !== event.rootId) return
    const snapshot = event.snapshot as SnapshotFrom<typeof indexerMachine>
    const { failed, error, stagedBytes, limits } = snapshot.context
    if (failed) this.#first ??= { error }
    this.#around.check(() => {
      assert.equal(
        error,
        this.#first?.error ?? null,
        'I7, H36: another error has taken the place of the first',
      )
      const isWaiting = snapshot.matches({ active: { control: 'flowing', compute: 'waiting' } })
      const place = `${stagedBytes} of ${limits.stagedBytes} bytes staged`
      assert.ok(!isWaiting || stagedBytes >= limits.stagedBytes, `I3: compute waits with ${place}`)
    })
  }
}
