/**
 * One simulated case: real indexers, one or two of a name, over doubles of Postgres and Redis, in virtual time. They are
 * stopped, aborted, killed, frozen; requests and answers are lost or late; servers restart; chains fork; whatever ends is
 * started again until everything is indexed. All of it follows from the case. The verdict is the ledger's: what has
 * landed, whenever one looks, is what a sequential run over the surviving blocks would have written and read.
 */
import assert from 'node:assert/strict'
import { createIndexer, type Indexer, type Outcome, type Store } from '../../src/index.ts'
import { memoryRegions } from '../../src/publish/memory.ts'
import {
  programTables as tables,
  programHandler,
  type ProgramItem,
  type Readings,
} from '../support/programs.ts'
import { dice, type Dice } from '../support/dice.ts'
import { LivingChain, type KnownBlocks } from '../support/forks-chains.ts'
import { Ledger } from '../support/forks-ledger.ts'
import { Wire } from '../interleaving/ports.ts'
import type { SimulatedCase } from './cases.ts'
import { Faults, type Trouble, type What } from './faults.ts'
import { latest, Network } from './network.ts'
import { SimulatedRedis, simulatedPublisher } from './regions.ts'
import { SimulatedServer } from './server.ts'
import { Shown } from './shown.ts'
import { simulatedStore } from './store.ts'
import { Process, VirtualTime } from './time.ts'
import { guardedStore } from './guarded.ts'

/** One after the other, until everything is indexed. */
interface Owner {
  readonly name: string
  lives: number
  isDone: boolean
}

/** One life of an owner. */
interface Life {
  readonly owner: Owner
  readonly process: Process
  readonly startedAt: number
  readonly wire: Wire
  /** What its handlers have read, by checkpoint. */
  readonly readings: Map<number, Readings>
  indexer: Indexer
  /** It has the pipeline, and knows where it stands. */
  isOpen: boolean
  isOver: boolean
  handlerFails: boolean
  sourceFails: boolean
  /** Target of the forks that were told and are not rolled back yet. */
  fork: number | undefined
  /** The committed frontier when it lost the pipeline, or gave it up. */
  frontierAtEnd: number | undefined
  isSuperseded: boolean
}

const stale = 1_000
const longestTrouble = 60_000
/** Requests that nobody waits for. */
const polls: ReadonlySet<string> = new Set(['beat', 'owner'])

/** What happened in a case, by name; a soak counts these, so that nobody believes in cases that never occur. */
export type Mix = Set<string>

export interface Simulated {
  readonly happened: Mix
  /** The same for the same case, and hardly for any other. */
  readonly fingerprint: string
}

/** @throws when a run ends as it must not, does not end, or something differs */
export async function simulate(given: SimulatedCase): Promise<Simulated> {
  const world = new SimulatedWorld(given)
  await world.toTheEnd()
  return { happened: world.mix, fingerprint: world.fingerprint }
}

class SimulatedWorld {
  readonly mix: Mix = new Set()
  readonly #given: SimulatedCase
  readonly #random: Dice
  readonly #time: VirtualTime
  readonly #supervisor = new Process('supervisor')
  readonly #server: SimulatedServer
  readonly #redis: SimulatedRedis
  readonly #network: Network
  readonly #faults: Faults
  readonly #chains: readonly LivingChain[]
  readonly #ledger: Ledger
  readonly #shown: Shown
  readonly #owners: readonly Owner[]
  readonly #lives = new Map<string, Life>()
  readonly #listeners = new Set<() => void>()
  /** Until then something goes wrong; a run that began later may not fail. */
  #troubledUntil = -1
  #difference: { readonly error: unknown } | undefined

  constructor(given: SimulatedCase) {
    const known: KnownBlocks = new Map()
    this.#given = given
    this.#random = dice(given.seed)
    this.#time = new VirtualTime(dice(given.seed + 1))
    this.#ledger = new Ledger(known, given.ordering === 'timestamp')
    this.#chains = given.chains.map((chain, index) => new LivingChain('abc'[index]!, chain, known))
    this.#server = new SimulatedServer(this.#time, {
      taken: (token, resume) => {
        if (this.#lives.get(token) !== undefined) this.#check(() => this.#ledger.opened(resume))
      },
      landed: (token, group) => this.#landed(token, group),
      restored: (_token, target) => this.#restored(target),
      lost: (token, how) => this.#lost(token, how === 'taken over'),
    })
    this.#faults = new Faults(given.faults, (what, process) => this.#happens(what, process))
    this.#network = new Network({
      time: this.#time,
      random: this.#random,
      called: (process, kind) => this.#called(process, kind),
      arrivedLate: (kind) => this.mix.add(`${kind} arrived late`),
    })
    this.#redis = new SimulatedRedis(
      this.#time,
      memoryRegions({
        deliver: given.deliver,
        history: { count: given.keep },
        attempts: given.attempts,
        backoffMs: 1,
        maxBackoffMs: 20,
        attemptMs: 200,
        now: () => Date.now(),
      }),
    )
    this.#shown = new Shown(given, this.#ledger, this.#redis.held, this.#server.database.regions, this.mix)
    const { owners } = given
    this.#owners = ['A', 'B'].slice(0, owners).map((name) => ({ name, lives: 0, isDone: false }))
  }

  get fingerprint(): string {
    return this.#time.fingerprint
  }

  async toTheEnd(): Promise<void> {
    const uninstall = this.#time.install()
    const unheard = (error: unknown) =>
      this.#differs(new Error(`nobody hears of it: ${String(error)}`, { cause: error }))
    process.on('unhandledRejection', unheard)
    try {
      for (const chain of this.#chains) this.#live(chain)
      for (const owner of this.#owners) this.#startSoon(owner, 0, 30)
      await this.#until(() => this.#owners.every(({ isDone }) => isDone))
      if (!this.#isCalm) await this.#oneLast()
      await this.#compareTheEnd()
    } finally {
      process.off('unhandledRejection', unheard)
      uninstall()
    }
  }

  /** The last run began when nothing was wrong any more, and nothing on its way. */
  get #isCalm(): boolean {
    const last = Math.max(...[...this.#lives.values()].map(({ startedAt }) => startedAt))
    return this.#owners.length === 1 && last > this.#troubledUntil + latest
  }

  /** Once everything is calm, another run mends what the one before could not. */
  async #oneLast(): Promise<void> {
    this.#faults.end()
    let isLater = false
    this.#time.at(this.#supervisor, longestTrouble, () => (isLater = true))
    await this.#until(() => isLater)
    const owner = this.#owners[0]!
    owner.isDone = false
    this.#startSoon(owner, 0, 0)
    await this.#until(() => owner.isDone)
  }

  async #until(isOver: () => boolean): Promise<void> {
    await this.#time.runUntil(() => this.#difference !== undefined || isOver())
    if (this.#difference !== undefined) throw this.#difference.error
  }

  async #compareTheEnd(): Promise<void> {
    this.#ledger.see(this.#rows(), 'at the end')
    await this.#ledger.compare()
    for (const chain of this.#chains) {
      const survivors = this.#ledger.survivors.filter(({ source }) => source === chain.id)
      assert.deepEqual(
        survivors.map(({ hash }) => hash),
        chain.blocks.map(({ hash }) => hash),
        `the blocks of ${chain.id} that survive`,
      )
    }
    this.#ledger.opened(this.#server.database.resume)
    await this.#shown.compareTheEnd()
  }

  #live(chain: LivingChain): void {
    const process = new Process(chain.id)
    const { chain: span } = this.#given.pace
    const schedule = (turn: Promise<unknown>) => turn.then(() => this.#time.sleep(process, ...span))
    this.#time.at(process, 0, () => void chain.live({ schedule }))
  }

  // ── owners ──────────────────────────────────────────────────────────────────────────────────────────────

  #startSoon(owner: Owner, leastMs: number, mostMs: number): void {
    const inMs = leastMs + this.#random() * (mostMs - leastMs)
    this.#time.at(this.#supervisor, inMs, () => {
      const process = new Process(`${owner.name}${++owner.lives}`)
      this.#time.at(process, 0, () => void this.#run(owner, process))
    })
  }

  /** At once, or when what was wrong is over. */
  #startAgain(owner: Owner): void {
    if (this.#random() < 0.5) this.#startSoon(owner, 0, 200)
    else this.#startSoon(owner, latest, 3 * latest)
  }

  async #run(owner: Owner, process: Process): Promise<void> {
    const { given, life } = { given: this.#given, life: this.#born(owner, process) }
    const port = async (kind: string, span: readonly [number, number]) => {
      this.#called(process, kind)
      await this.#time.sleep(process, ...span)
    }
    const sourcePort = async () => {
      await port('block', given.pace.source)
      if (!life.sourceFails) return
      life.sourceFails = false
      throw new Error('the source failed')
    }
    life.indexer = createIndexer({
      name: 'case',
      source: this.#chains.map((chain) => chain.source(sourcePort)),
      ordering: given.ordering,
      tables,
      ...(given.preload ? {} : { preload: false as const }),
      handle: async (item: ProgramItem, context) => {
        if (!context.preloading) await port('handler', given.pace.handler)
        if (life.handlerFails) {
          life.handlerFails = false
          throw new Error('a fault in the handler')
        }
        await programHandler(readingsOf(life, Number(context.checkpoint)))(item, context)
      },
      handleBlock: ({ hash }, { region }) => {
        for (const [name, values] of this.#shown.publishedBy(hash!)) {
          for (const value of values) region(name).publish({ value })
        }
      },
      store: this.#store(life),
      regions: this.#publisher(life),
      ownership: { standby: true, staleMs: stale },
      limits: {
        batchItems: given.batchItems,
        stagedBytes: given.stagedBytes,
        groupLatencyMs: given.groupLatencyMs,
        failDeadlineMs: this.#random() < 0.3 ? 0 : 2_000,
      },
    })
    this.#watch(life)
    const outcome = await life.indexer.run()
    life.isOver = true
    this.mix.add(`a run ${outcome.status}`)
    await this.#checkOutcome(life, outcome)
    if (outcome.status === 'finished') owner.isDone = true
    else this.#startAgain(owner)
  }

  #born(owner: Owner, process: Process): Life {
    const life: Life = {
      owner,
      process,
      startedAt: this.#time.now,
      wire: new Wire((error) => this.#differs(error)),
      readings: new Map(),
      indexer: undefined as unknown as Indexer,
      isOpen: false,
      isOver: false,
      handlerFails: false,
      sourceFails: false,
      fork: undefined,
      frontierAtEnd: undefined,
      isSuperseded: false,
    }
    this.#lives.set(process.name, life)
    return life
  }

  #store(life: Life): Store {
    const { process, owner, wire } = life
    const store = simulatedStore({
      time: this.#time,
      network: this.#network,
      server: this.#server,
      process,
      pid: owner.name.charCodeAt(0) * 1_000 + owner.lives,
      pace: this.#given.pace,
      reading: () => {
        if (wire.group !== undefined) this.mix.add('a read beside a commit')
      },
    })
    return guardedStore(store, wire, (assertion) => this.#check(assertion), {
      forkOf: () => life.fork,
      ledger: this.#ledger,
      isValid: (source, hash) => this.#chains.find(({ id }) => id === source)!.isValid(hash),
      isOwner: () => this.#server.isHeldBy(process.name),
      isSorted: this.#given.ordering === 'timestamp' && this.#chains.length > 1,
    })
  }

  #publisher(life: Life) {
    return simulatedPublisher({
      time: this.#time,
      network: this.#network,
      redis: this.#redis,
      process: life.process,
      pace: this.#given.pace,
      listeners: this.#listeners,
      begins: (region) =>
        this.#check(() => {
          assert.ok(!life.isOver, `I7: ${region} is delivered by nobody's run`)
          const isFailing = life.indexer.status().lanes?.control === 'failing'
          assert.ok(!isFailing, `I7: a delivery of ${region} begins after the first error`)
        }),
      arrived: async (outgoing) => {
        this.#check(() => this.#shown.checkArriving(outgoing))
        const delivery = await this.#redis.held.persist(outgoing, new AbortController().signal)
        this.#check(() => this.#shown.arrived(outgoing, delivery))
        return delivery
      },
      lookFailed: () => this.#shown.blind++,
    })
  }

  /** What its events and its states must not say. */
  #watch(life: Life): void {
    const { indexer, wire } = life
    const { stagedBytes: budget } = this.#given
    let computing = ''
    indexer.on('ownership', ({ state }) => {
      if (state === 'taken') life.isOpen = true
    })
    indexer.on('fork', ({ target }) => {
      this.mix.add('a fork told')
      if (wire.group !== undefined) this.mix.add('a commit on the wire at a fork')
      if (indexer.status().stagedBatches >= 2) this.mix.add('two staged batches at a fork')
      life.fork = Math.min(life.fork ?? Infinity, Number(target))
    })
    indexer.on('rollback.committed', () => {
      life.fork = undefined
      wire.thawed()
    })
    indexer.on('state', ({ lanes, stagedBytes, stagedBatches }) => {
      if (lanes === undefined) return
      const { control, compute, commit } = lanes
      if (stagedBatches >= 2) this.mix.add('two or more staged batches')
      if (compute === 'waiting') this.mix.add('a full budget')
      this.#check(() => {
        const isActive = compute === 'waiting' || compute === 'pulling'
        assert.ok(control !== 'failing' || !isActive, 'I7: compute goes on after the first error')
        const isBegun = compute === 'pulling' && computing !== 'pulling'
        assert.ok(
          !isBegun || stagedBytes < budget,
          `I11: another batch with ${stagedBytes} of ${budget} bytes staged`,
        )
        const isIdle = compute === 'waiting' && commit === 'idle'
        assert.ok(control !== 'flowing' || !isIdle, 'I3, H48: compute waits for a commit, and there is none')
      })
      computing = compute
    })
  }

  async #checkOutcome(
    { process, startedAt, frontierAtEnd, isOpen, isSuperseded }: Life,
    outcome: Outcome,
  ): Promise<void> {
    const name = `${process.name}, which ${outcome.status},`
    this.#check(() => {
      assert.equal(this.#time.timersOf(process), 0, `I16: ${name} left a timer`)
      if (outcome.status === 'superseded') assert.ok(isSuperseded, `I9: ${name} had the pipeline`)
      else if (outcome.status !== 'finished' && this.#troubledUntil < startedAt) {
        throw outcome.status === 'failed' ? outcome.error : new Error(`${name} for no reason`)
      }
      const isCertain = outcome.status !== 'superseded' && outcome.inDoubt === undefined
      if (isCertain && isOpen && frontierAtEnd !== undefined) {
        assert.equal(Number(outcome.committed), frontierAtEnd, `the frontier of ${name}`)
      }
      if (outcome.status === 'finished')
        assert.equal(outcome.committed, outcome.processed, 'I6: all is committed')
    })
    if (outcome.inDoubt !== undefined) this.mix.add('a run ended in doubt')
    if (outcome.status !== 'finished') return
    const isDelivered = Object.values(outcome.regions).every(
      ({ health, undelivered }) => health !== 'quarantined' && undelivered === 0,
    )
    if (!isDelivered) this.mix.add('a region given up')
    // another owner may have gone on meanwhile
    if (isDelivered && this.#given.owners === 1) await this.#compared(this.#shown.compare(`after ${name}`))
  }

  // ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────

  #called(process: Process, kind: string): Trouble | undefined {
    if (!polls.has(kind)) this.#faults.called(process)
    const trouble = this.#faults.troubleOf(kind)
    if (trouble === undefined) return undefined
    this.mix.add(`${kind} ${trouble}`)
    this.#trouble(this.#time.now)
    return trouble
  }

  #trouble(untilMs: number): void {
    this.#troubledUntil = Math.max(this.#troubledUntil, untilMs)
  }

  /** @returns false: it waits for a request of its kind */
  #happens(what: What, process: Process): boolean {
    const life = this.#lives.get(process.name)
    if (life === undefined || life.isOver) return true
    const { now } = this.#time
    switch (what) {
      case 'stop':
        void life.indexer.stop()
        break
      case 'abort':
        void life.indexer.abort('disturbed')
        break
      case 'handler fails':
        life.handlerFails = true
        break
      case 'source fails':
        life.sourceFails = true
        break
      case 'crash':
        this.#crash(life)
        break
      case 'freeze':
        process.frozenUntil = now + this.#between(10, 8_000)
        this.#trouble(process.frozenUntil)
        break
      case 'fork':
        this.#fork()
        break
      case 'database restarts':
        this.#restart(this.#between(0, 300))
        break
      case 'database away':
        this.#restart(this.#between(300, 20_000))
        break
      case 'redis emptied':
        this.#shown.emptied()
        for (const listener of this.#listeners) listener()
        break
      case 'redis away':
        this.#loseRedis(this.#between(0, 3_000))
        break
      default:
        return false
    }
    this.mix.add(what)
    this.#trouble(now)
    return true
  }

  #between(least: number, most: number): number {
    return least + this.#random() * (most - least)
  }

  /** kill -9: not one step more; what it has sent is on its way. */
  #crash({ owner, process }: Life): void {
    this.#time.kill(process)
    this.#time.at(this.#server.process, this.#between(0, 300), () => this.#server.gone(process.name))
    this.#startAgain(owner)
  }

  #restart(downMs: number): void {
    this.#server.restart(downMs)
    this.#trouble(this.#time.now + downMs)
  }

  #loseRedis(downMs: number): void {
    this.#redis.goAway(downMs, this.#listeners)
    this.#trouble(this.#time.now + downMs)
  }

  #fork(): void {
    const chain = this.#chains[Math.floor(this.#random() * this.#chains.length)]!
    const block = { gap: 0, seconds: 1, items: [], again: true }
    const orphans = [1, 2, 3, 100][Math.floor(this.#random() * 4)]!
    const orphaned = chain.fork({ orphans, excess: 0, blocks: [block, block] })
    if (this.#ledger.survivors.some(({ hash }) => orphaned.includes(hash)))
      this.mix.add('a fork of committed blocks')
  }

  // ── what has happened at the server ─────────────────────────────────────────────────────────────────────

  #landed(token: string, group: Parameters<SimulatedServer['write']>[3]): void {
    const life = this.#lives.get(token)!
    if (life.process.isDead || life.isOver) this.mix.add('a commit landed after its run')
    const blocks = group.batches.flatMap((batch) => batch.blocks)
    for (const { checkpoint } of blocks) {
      const readings = life.readings.get(checkpoint)
      if (readings !== undefined) this.#ledger.readings.set(checkpoint, readings)
    }
    this.#check(() => {
      if (blocks.length > 0) this.#ledger.landed(blocks, group.safe, this.#rows())
      this.#shown.committed()
    })
  }

  #restored(target: number): void {
    this.mix.add('committed checkpoints taken back')
    const shown = this.#shown
    void this.#compared(this.#ledger.restored(target, this.#rows()))
    shown.restored()
  }

  #lost(token: string, isTakenOver: boolean): void {
    const life = this.#lives.get(token)
    if (life === undefined) return
    life.frontierAtEnd = this.#ledger.frontier
    if (!isTakenOver) return
    life.isSuperseded = true
    this.mix.add(life.process.isDead ? 'taken over from a dead owner' : 'taken over from one that lives')
  }

  #rows() {
    const { database } = this.#server
    return Object.fromEntries(Object.keys(tables).map((name) => [name, database.rows(name)]))
  }

  // ── verdicts ────────────────────────────────────────────────────────────────────────────────────────────

  #differs(error: unknown): void {
    this.#difference ??= { error }
  }

  #check(assertion: () => void): void {
    try {
      assertion()
    } catch (error) {
      this.#differs(error)
    }
  }

  async #compared(comparing: Promise<void>): Promise<void> {
    try {
      await comparing
    } catch (error) {
      this.#differs(error)
    }
  }
}

function readingsOf(life: Life, checkpoint: number): Readings {
  let readings = life.readings.get(checkpoint)
  if (readings === undefined) life.readings.set(checkpoint, (readings = new Map()))
  return readings
}
