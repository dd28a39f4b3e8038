/**
 * One simulated case: real indexers, one or two of a name, over doubles of Postgres and Redis, in virtual time. They are
 * stopped, aborted, killed, frozen; requests and answers are lost or late; servers restart; chains fork; whatever ends is
 * started again until everything is indexed. All of it follows from the case. The verdict is the ledger's: what has
 * landed, whenever one looks, is what a sequential run over the surviving blocks would have written and read.
 */
import assert from 'node:assert/strict'
import type { Outcome } from '../../src/index.ts'
import { memoryRegions } from '../../src/publish/memory.ts'
import type { Group } from '../../src/staging/batch.ts'
import { dice, type Dice } from '../support/dice.ts'
import { LivingChain, type KnownBlocks } from '../support/forks-chains.ts'
import { Ledger, type Rows } from '../support/forks-ledger.ts'
import { programTables as tables } from '../support/programs.ts'
import type { SimulatedCase } from './cases.ts'
import { Faults, type Trouble, type What } from './faults.ts'
import { Life, type Mix, type Owner, type Surroundings } from './life.ts'
import { latest, Network } from './network.ts'
import { SimulatedRedis } from './regions.ts'
import { SimulatedServer } from './server.ts'
import { Shown } from './shown.ts'
import { Process, VirtualTime } from './time.ts'

const longestTrouble = 60_000
/** Requests that nobody waits for: no fault is counted by them. */
const polls: ReadonlySet<string> = new Set(['beat', 'owner'])

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
      taken: (_token, resume) => this.#check(() => this.#ledger.opened(resume)),
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
      for (const chain of this.#chains) this.#grow(chain)
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

  #grow(chain: LivingChain): void {
    const process = new Process(chain.id)
    const { chain: span } = this.#given.pace
    const schedule = (turn: Promise<unknown>) => turn.then(() => this.#time.sleep(process, ...span))
    this.#time.at(process, 0, () => void chain.live({ schedule }))
  }

  // ── owners ──────────────────────────────────────────────────────────────────────────────────────────────

  #startSoon(owner: Owner, leastMs: number, mostMs: number): void {
    this.#time.at(this.#supervisor, this.#between(leastMs, mostMs), () => {
      const life = new Life(owner, this.#surroundings)
      this.#lives.set(life.process.name, life)
      this.#time.at(life.process, 0, () => void this.#live(life))
    })
  }

  /** At once, or when what was wrong is over. */
  #startAgain(owner: Owner): void {
    if (this.#random() < 0.5) this.#startSoon(owner, 0, 200)
    else this.#startSoon(owner, latest, 3 * latest)
  }

  get #surroundings(): Surroundings {
    const troubledUntil = () => this.#troubledUntil
    return {
      given: this.#given,
      time: this.#time,
      random: this.#random,
      network: this.#network,
      server: this.#server,
      redis: this.#redis,
      chains: this.#chains,
      ledger: this.#ledger,
      shown: this.#shown,
      mix: this.mix,
      get troubledUntil() {
        return troubledUntil()
      },
      called: (process, kind) => void this.#called(process, kind),
      check: (assertion) => this.#check(assertion),
    }
  }

  async #live(life: Life): Promise<void> {
    const outcome = await life.run()
    if (outcome.status !== 'finished') return this.#startAgain(life.owner)
    await this.#compareShown(life, outcome)
    life.owner.isDone = true
  }

  async #compareShown({ process }: Life, { regions }: Outcome): Promise<void> {
    const isDelivered = Object.values(regions).every(
      ({ health, undelivered }) => health !== 'quarantined' && undelivered === 0,
    )
    if (!isDelivered) this.mix.add('a region given up')
    // another owner may have gone on meanwhile
    if (!isDelivered || this.#given.owners > 1) return
    await this.#compared(this.#shown.compare(`after ${process.name}`))
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
        process.frozenUntil = now + this.#between(10, 15_000)
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
        this.#redis.reconnect()
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
    this.#redis.goAway(downMs)
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

  #landed(token: string, group: Group): void {
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
    const life = this.#lives.get(token)!
    life.lose(isTakenOver, this.#ledger.frontier)
    if (!isTakenOver) return
    this.mix.add(life.process.isDead ? 'taken over from a dead owner' : 'taken over from one that lives')
  }

  #rows(): Rows {
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
