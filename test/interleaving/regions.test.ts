/**
 * Random programs that publish to regions, over chains that fork, under random schedules of every port and with faults of
 * the store, of the publisher and of the run. Whatever happened, readers end up with what the last surviving block
 * published. A failure prints its seed; `SEED=<n>` replays it, `SHRINK=0` leaves it as it was found.
 */
import assert from 'node:assert/strict'
import fc, { type Scheduler } from 'fast-check'
import { expect, test } from 'vitest'
import type { StoredSnapshot, StoreSession } from '../../src/commit/store.ts'
import { FatalError, RetryableError } from '../../src/errors.ts'
import { createIndexer, type Outcome, type Store } from '../../src/index.ts'
import { memoryRegions, type MemoryRegions } from '../../src/publish/memory.ts'
import type { Outgoing, RegionPublisher } from '../../src/publish/port.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { compareStamps, type Stamp } from '../../src/stamp.ts'
import { gatedStore, memoryStore } from '../../src/testing/index.ts'
import {
  chains,
  lateForkingChains,
  LivingChain,
  type GivenBlock,
  type GivenChain,
  type KnownBlocks,
} from '../support/forks-chains.ts'
import { row } from '../support/indexers.ts'
import { runToItsEnd, scheduledPort, scheduledStore, watchedSession, Wire, type Delays } from './ports.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const runs = Number(process.env['CASES'] ?? 100)

const regions = ['north', 'south', 'west'] as const

// ── a case ──────────────────────────────────────────────────────────────────────────────────────────────────

interface RegionsCase extends Delays {
  readonly chains: readonly GivenChain[]
  readonly deliver: 'newest' | 'every'
  /** Former snapshots that the publisher keeps. */
  readonly keep: number
  readonly attempts: number
  /** Block by block, from the first again: of each region what is shown, one after the other. */
  readonly publishes: readonly (readonly (readonly number[])[])[]
  readonly batchItems: number
  readonly stagedBytes: number
  readonly groupLatencyMs: number
  readonly disturbances: readonly Disturbance[]
}

const whats = [
  'stop',
  'abort',
  'handler fails',
  'answer lost',
  'connection lost',
  'rollback answer lost',
  'rollback connection lost',
  'persist fails',
  'persist refused',
  'persist answer lost',
  // it arrives when nobody waits for it any more
  'persist late',
  'look fails',
  'emptied',
] as const
type What = (typeof whats)[number]

interface Disturbance {
  readonly what: What
  /** It happens so many port calls after the run began, or after the disturbance before it. */
  readonly after: number
}

const isOfPersist = (what: What) => what.startsWith('persist ')

const delays = fc.array(fc.constantFrom(1, 1, 1, 1, 2, 4, 12), { minLength: 1, maxLength: 12 })
/** Few, so that a region shows the same again, and what it showed before. */
const content = fc.nat({ max: 3 })
const shows = fc.oneof(
  { weight: 3, arbitrary: fc.constant([]) },
  { weight: 5, arbitrary: fc.tuple(content) },
  { weight: 1, arbitrary: fc.tuple(content, content) },
)
/** What is in a block plays no part here. */
const plain = (all: readonly GivenChain[]) =>
  all.map((chain) => ({
    ...chain,
    first: chain.first.map(emptied),
    steps: chain.steps.map((step) => ({ ...step, blocks: step.blocks.map(emptied) })),
  }))
const emptied = (block: GivenBlock): GivenBlock => ({ ...block, items: block.items.map(() => []) })
/** It only grows. */
const steady = chains.map((all) => all.map((chain) => ({ ...chain, historyDepth: 0 })))

const cases: fc.Arbitrary<RegionsCase> = fc.record({
  chains: fc.oneof(
    { weight: 4, arbitrary: chains.map(plain) },
    { weight: 4, arbitrary: lateForkingChains.map(plain) },
    { weight: 3, arbitrary: steady.map(plain) },
  ),
  deliver: fc.constantFrom('newest', 'every'),
  keep: fc.constantFrom(0, 1, 1_000, 1_000, 1_000),
  attempts: fc.constantFrom(1, 2, 5, 5),
  publishes: fc.array(fc.tuple(shows, shows, shows), { minLength: 1, maxLength: 9 }),
  batchItems: fc.constantFrom(1, 1, 2, 100),
  stagedBytes: fc.constantFrom(2_000, 1_000_000, 1_000_000),
  groupLatencyMs: fc.constantFrom(0, 0, 1_000),
  delays,
  loadDelays: delays,
  wireDelays: fc.oneof(delays, fc.array(fc.constantFrom(10, 30), { minLength: 1, maxLength: 5 })),
  disturbances: fc.array(
    fc.record({ what: fc.constantFrom(...whats), after: fc.integer({ min: 0, max: 40 }) }),
    { maxLength: 6 },
  ),
})

/** What happened in all cases: nobody is to believe in what never occurs. */
const tally = new Map<string, number>()
const count = (what: string) => void tally.set(what, (tally.get(what) ?? 0) + 1)

// ── its world ───────────────────────────────────────────────────────────────────────────────────────────────

class RegionsWorld {
  readonly #given: RegionsCase
  readonly #schedule: Scheduler
  readonly #known: KnownBlocks = new Map()
  readonly #chains: readonly LivingChain[]
  readonly #store = memoryStore()
  readonly #inner: MemoryRegions
  readonly #disturbances: Disturbance[]
  /** Of committed checkpoints that were not taken back: their block. */
  #survivors: readonly { readonly checkpoint: number; readonly hash: string }[] = []
  /** Every snapshot that was committed, under each stamp that it was given. */
  readonly #committed = new Set<string>()
  /** Ids, with their region, of what the publisher has taken. */
  readonly #taken = new Set<string>()
  /** Of each region the stamp of what was told last. */
  readonly #told = new Map<string, Stamp>()
  /** On their way although nobody waits. */
  readonly #late: Promise<unknown>[] = []
  #wasRestored = false
  #wasEmptied = false
  /** How often a run may not have seen that the publisher had lost everything. */
  #blind = 0
  #difference: { readonly error: unknown } | undefined

  constructor(given: RegionsCase, schedule: Scheduler) {
    this.#given = given
    this.#schedule = schedule
    this.#chains = given.chains.map((chain, index) => new LivingChain('abc'[index]!, chain, this.#known))
    this.#inner = memoryRegions({
      deliver: given.deliver,
      history: { count: given.keep },
      attempts: given.attempts,
      backoffMs: 0,
      maxBackoffMs: 0,
    })
    this.#disturbances = [...given.disturbances]
  }

  async toTheEnd(): Promise<void> {
    for (const chain of this.#chains) void chain.live(this.#schedule)
    for (let run = 1; ; run++) {
      const before = this.#disturbances.length
      const blind = this.#blind
      const outcome = await this.#run(`run ${run}`)
      if (outcome.status === 'finished') {
        const isDelivered = Object.values(outcome.regions).every(
          ({ health, undelivered }) => health !== 'quarantined' && undelivered === 0,
        )
        if (isDelivered && blind === this.#blind) await this.#compareShown('a finished run')
        if (before === this.#disturbances.length) break
      } else if (before === this.#disturbances.length) {
        throw outcome.status === 'failed' ? outcome.error : new Error(`run ${run} ended ${outcome.status}`)
      }
    }
    this.#disturbances.length = 0
    await this.#schedule.waitFor(Promise.all(this.#late))
    const outcome = await this.#run('the last run')
    assert.equal(outcome.status, 'finished', 'the last run')
    for (const [region, { health, error }] of Object.entries(outcome.regions)) {
      // one that shows nothing may never have shown anything
      assert.ok(health !== 'quarantined', `region ${region} is ${health}: ${error?.message}`)
    }
    await this.#compareShown('the last run')
    await this.#compareStamps()
    if (this.#given.deliver === 'every') await this.#compareHistory()
  }

  // ── what must be shown ──────────────────────────────────────────────────────────────────────────────────

  /** In the order of the blocks that survive. */
  #published(region: (typeof regions)[number]): { readonly id: string; readonly body: unknown }[] {
    return this.#survivors.flatMap(({ checkpoint, hash }) => {
      const bodies = this.#publishedBy(hash)[regions.indexOf(region)]!.map((value) => ({ value }))
      const shown = this.#given.deliver === 'every' ? bodies : bodies.slice(-1)
      return shown.map((body, seq) => ({ id: `1-${checkpoint}-${seq}`, body }))
    })
  }

  #publishedBy(hash: string): readonly (readonly number[])[] {
    const { publishes } = this.#given
    return publishes[Number(hash.slice(1)) % publishes.length]!
  }

  async #compareShown(when: string): Promise<void> {
    const shown = await this.#inner.read(regions)
    for (const region of regions) {
      const last = this.#published(region).at(-1)
      assert.deepEqual(
        shown.get(region)?.body,
        last?.body,
        `H59, H75, H77: what ${region} shows after ${when}`,
      )
    }
  }

  /** Of every region the current row is delivered, and readers see it under its own stamp; a tombstone, too. */
  async #compareStamps(): Promise<void> {
    const session = await this.#openStore()
    const rows = await session.regions()
    const standing = await this.#inner.standing(regions)
    for (const { region, stamp, isDelivered } of rows) {
      assert.deepEqual(standing.get(region)?.stamp, stamp, `the stamp that ${region} shows`)
      assert.ok(isDelivered, `the mark of ${region} was not saved`)
    }
    assert.deepEqual([...standing.keys()].toSorted(), rows.map(({ region }) => region).toSorted())
    for (const { body } of await session.snapshots(regions, 'newest'))
      if (body === null) count('tombstone shown')
  }

  /** Nothing was passed over; where nothing was taken back, what was kept is every publish, in order. */
  async #compareHistory(): Promise<void> {
    for (const region of regions) {
      const all = this.#published(region)
      const missing = all.filter(({ id }) => !this.#taken.has(`${region} ${id}`))
      assert.deepEqual(missing, [], `what was never delivered of ${region}`)
      if (this.#wasRestored || this.#wasEmptied || this.#given.keep < all.length) continue
      const kept = (await this.#inner.history(region, all.length + 1)).map(({ body }) => body).toReversed()
      const bodies = all.map(({ body }) => body as { readonly value: number })
      const changes = bodies.filter(({ value }, at) => bodies[at - 1]?.value !== value)
      assert.deepEqual(kept, changes, `every publish of ${region}, in order`)
      if (changes.length > 1) count('a whole history')
    }
  }

  #openStore(): Promise<StoreSession> {
    return this.#store.open({
      pipeline: 'case',
      models: [tableModelOf('row', row)],
      sources: this.#chains.map(({ id }) => ({ id, historyDepth: 1 })),
      staleMs: 15_000,
      ownershipTimeoutMs: 0,
      signal: new AbortController().signal,
      log: { debug() {}, info() {}, warn() {}, error() {} },
    })
  }

  // ── one run ─────────────────────────────────────────────────────────────────────────────────────────────

  async #run(what: string): Promise<Outcome> {
    const { batchItems, stagedBytes, groupLatencyMs } = this.#given
    const { store, gates } = gatedStore(this.#watched())
    const faults: What[] = []
    let failing = false
    let isOver = false
    let calls = 0
    const port = scheduledPort(this.#given, this.#schedule, () => {
      const [next] = this.#disturbances
      if (next === undefined || calls++ < next.after) return
      calls = 0
      this.#disturbances.shift()
      count(next.what)
      disturb(next.what)
    })
    const lost = new Error('lost')
    const disturb = (disturbance: What): void => {
      switch (disturbance) {
        case 'stop':
          return void indexer.stop()
        case 'abort':
          return void indexer.abort('disturbed')
        case 'handler fails':
          failing = true
          return
        case 'answer lost':
          return gates.written.fail(lost)
        case 'connection lost':
          return gates.write.fail(lost)
        case 'rollback answer lost':
          return gates.restored.fail(lost)
        case 'rollback connection lost':
          return gates.restore.fail(lost)
        case 'emptied':
          this.#wasEmptied = true
          this.#blind++
          this.#told.clear()
          return this.#inner.empty()
        default:
          faults.push(disturbance)
      }
    }
    const wire = new Wire((error) => this.#differs(error))
    const indexer = createIndexer({
      name: 'case',
      source: this.#chains.map((chain) => chain.source(port)),
      tables: { row },
      handleBlock: async ({ hash }: { readonly hash?: string | undefined }, { db, region, preloading }) => {
        if (!preloading) await port('handler')
        if (failing) {
          failing = false
          throw new Error('a fault in the handler')
        }
        db.row.set({ id: 1, value: Number(hash!.slice(1)) })
        for (const [at, values] of this.#publishedBy(hash!).entries()) {
          for (const value of values) region(regions[at]!).publish({ value })
        }
      },
      store: this.#scheduledReads(
        scheduledStore(store, port, wire, () => undefined),
        port,
      ),
      regions: this.#publisher(port, faults, (region) => {
        this.#check(() => assert.ok(!isOver, `I7: ${region} is delivered by nobody's run`))
        if (indexer.status().lanes?.control !== 'failing') return
        this.#check(() => assert.fail(`I7: a delivery of ${region} begins after the first error`))
      }),
      limits: { batchItems, stagedBytes, groupLatencyMs, failDeadlineMs: 60_000 },
    })
    indexer.on('rollback.committed', () => wire.thawed())
    const outcome = await runToItsEnd(indexer, this.#schedule)
    isOver = true
    if (this.#difference !== undefined) {
      const { error } = this.#difference
      throw new Error(`in ${what}: ${String(error)}`, { cause: error })
    }
    return outcome
  }

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

  // ── the store ───────────────────────────────────────────────────────────────────────────────────────────

  /** Right at the database: what has landed, before anybody hears of it. */
  #watched(): Store {
    return {
      casing: this.#store.casing,
      open: async (request) => {
        const session = await this.#store.open(request)
        const remember = async () => {
          for (const stored of await session.snapshots(regions, 'every')) this.#committed.add(nameOf(stored))
        }
        return watchedSession(session, {
          write: async (group, flushed) => {
            const ended = await session.write(group, flushed)
            if (ended.end !== 'landed') return ended
            this.#survivors = [...this.#survivors, ...group.batches.flatMap(({ blocks }) => blocks)]
            await remember()
            return ended
          },
          restore: async (target) => {
            const ended = await session.restore(target)
            if (ended.end !== 'landed') return ended
            count('rollback')
            this.#wasRestored = true
            this.#survivors = this.#survivors.filter(({ checkpoint }) => checkpoint <= target)
            await remember()
            return ended
          },
        })
      },
    }
  }

  /** Rows of regions are read while others write. */
  #scheduledReads(store: Store, port: (label: string) => Promise<void>): Store {
    const held = async <T>(question: () => Promise<T>) => {
      await port('load')
      const answer = await question()
      await port('loaded')
      return answer
    }
    return {
      casing: store.casing,
      open: async (request) => {
        const session = await store.open(request)
        const reads: Pick<StoreSession, 'regions' | 'snapshots'> = {
          regions: () => held(() => session.regions()),
          snapshots: (names, deliver) => held(() => session.snapshots(names, deliver)),
        }
        return Object.assign(watchedSession(session, {}), reads)
      },
    }
  }

  // ── the publisher ───────────────────────────────────────────────────────────────────────────────────────

  /** @param begins told of every persist */
  #publisher(
    port: (label: string) => Promise<void>,
    faults: What[],
    begins: (region: string) => void,
  ): RegionPublisher {
    const inner = this.#inner
    const take = (accept: (what: What) => boolean) => {
      const at = faults.findIndex(accept)
      return at === -1 ? undefined : faults.splice(at, 1)[0]
    }
    return {
      address: inner.address,
      settings: inner.settings,
      isConnected: true,
      connect: () => inner.connect(),
      persist: async (outgoing) => {
        begins(outgoing.region)
        await port('persist')
        const fault = take(isOfPersist)
        if (fault === 'persist refused') throw new FatalError('REFUSED', 'refused')
        if (fault === 'persist fails') throw new RetryableError('DOWN', 'down')
        if (fault === 'persist late') {
          this.#late.push(this.#arriveLate(outgoing))
          throw new RetryableError('LOST', 'not answered in time')
        }
        const delivery = await this.#persist(outgoing)
        await port('persisted')
        if (fault === 'persist answer lost') throw new RetryableError('LOST', 'the answer was lost')
        count(delivery.status)
        return delivery
      },
      standing: async (names) => {
        await port('load')
        if (take((what) => what === 'look fails') !== undefined) {
          this.#blind++
          throw new RetryableError('DOWN', 'down')
        }
        const standing = await inner.standing(names)
        await port('loaded')
        return standing
      },
      nextRun: () => inner.nextRun(),
      read: (names) => inner.read(names),
      history: (region, limit) => inner.history(region, limit),
      watch: (names, options) => inner.watch(names, options),
      plan: (outgoing) => inner.plan(outgoing),
      onReconnect: (listener) => inner.onReconnect(listener),
      close: () => inner.close(),
      [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
    }
  }

  async #arriveLate(outgoing: Outgoing): Promise<void> {
    for (let turn = 0; turn < 40; turn++) await this.#schedule.schedule(Promise.resolve(), 'late')
    await this.#persist(outgoing)
  }

  async #persist(outgoing: Outgoing) {
    this.#check(() => {
      assert.ok(this.#committed.has(nameOf(outgoing)), `I13: ${nameOf(outgoing)} was never committed`)
    })
    const delivery = await this.#inner.persist(outgoing, new AbortController().signal)
    const { region, id, stamp } = outgoing
    if (delivery.status !== 'stale') this.#taken.add(`${region} ${id}`)
    if (delivery.status === 'persisted') {
      const before = this.#told.get(region)
      this.#told.set(region, stamp)
      this.#check(() => {
        assert.ok(before === undefined || compareStamps(before, stamp) < 0, `H51: ${region} was moved back`)
      })
    }
    return delivery
  }
}

function nameOf({
  region,
  id,
  stamp,
  body,
}: Pick<StoredSnapshot, 'region' | 'id' | 'stamp' | 'body'>): string {
  return `${region} ${id} ${Object.values(stamp).join('.')} ${body}`
}

test(
  'I7, I13, H51, H54, H58, H59, H75, H77: random programs with regions, under random schedules and faults',
  { timeout: 300_000 },
  async () => {
    console.log(`interleaving/regions: SEED=${seed}`)
    await fc.assert(
      fc.asyncProperty(cases, fc.scheduler(), async (given, schedule) => {
        await new RegionsWorld(given, schedule).toTheEnd()
      }),
      {
        seed,
        numRuns: runs,
        endOnFailure: process.env['SHRINK'] === '0',
        includeErrorInReport: true,
        interruptAfterTimeLimit: 240_000,
        markInterruptAsFailure: true,
      },
    )
    const mix = [...tally].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([what, times]) => `${what} ${times}`)
    console.log(`interleaving/regions: ${mix.join(', ')}`)
    if (runs >= 100) for (const what of whats) expect(tally.get(what), what).toBeGreaterThan(0)
  },
)
