/**
 * One random case with forks: programs over one to three chains that grow and fork while the real indexer reads them, under
 * a random schedule of every port, disturbed, resumed until it finishes. The verdict is the ledger's: whatever happened,
 * each state of the tables is that of a sequential run over the checkpoints that survive, and in the end these are the
 * valid blocks of every chain.
 */
import assert from 'node:assert/strict'
import type { Scheduler } from 'fast-check'
import { createIndexer, type Outcome, type Store } from '../../src/index.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { gatedStore, type StoreGates } from '../../src/testing/index.ts'
import { LivingChain, type KnownBlocks } from '../support/forks-chains.ts'
import { Ledger } from '../support/forks-ledger.ts'
import { programHandler, programTables as tables, type ProgramItem } from '../support/programs.ts'
import { noForksMix, type Disturbance, type ForkNow, type ForksCase, type ForksMix } from './forks-cases.ts'
import { runToItsEnd, scheduledPort, scheduledStore, watchedSession, Wire } from './ports.ts'
import type { StoreUnderTest } from './world.ts'

/**
 * Runs the case to its end, over as many runs as it takes.
 * @throws when a run ends as it must not, does not end, or something differs
 */
export async function checkForks(
  given: ForksCase,
  schedule: Scheduler,
  under: StoreUnderTest,
): Promise<ForksMix> {
  const world = new ForksWorld(given, schedule, under)
  await world.toTheEnd()
  return world.mix
}

class ForksWorld {
  readonly mix = noForksMix()
  readonly #given: ForksCase
  readonly #schedule: Scheduler
  readonly #under: StoreUnderTest
  readonly #chains: readonly LivingChain[]
  readonly #ledger: Ledger
  readonly #disturbances: Disturbance[]
  readonly #between: (ForkNow | null)[]
  readonly #meanwhile: (ForkNow | null)[]
  /** First and last checkpoint of every group that landed. */
  readonly #groups: { readonly from: number; readonly upTo: number }[] = []
  /** The same of every batch that this run has handled. */
  #batches: { readonly from: number; readonly upTo: number }[] = []
  /** The first thing of a run that must not be. */
  #difference: { readonly error: unknown } | undefined
  /** Target of the forks that were told and are not rolled back yet. */
  #fork: number | undefined
  #wire = new Wire(() => undefined)

  constructor(given: ForksCase, schedule: Scheduler, under: StoreUnderTest) {
    const known: KnownBlocks = new Map()
    this.#given = given
    this.#schedule = schedule
    this.#under = under
    const isFaithful = given.chains.every(({ steps }) => steps.every(({ excess }) => excess === 0))
    this.#ledger = new Ledger(known, given.ordering === 'timestamp' && isFaithful)
    this.#chains = given.chains.map((chain, index) => new LivingChain('abc'[index]!, chain, known))
    this.#disturbances = [...given.disturbances]
    this.#between = [...given.between]
    this.#meanwhile = [...given.meanwhile]
    this.mix.severalSources = given.chains.length > 1
  }

  async toTheEnd(): Promise<void> {
    for (const chain of this.#chains) void chain.live(this.#schedule)
    for (let runs = 1; ; runs++) {
      const before = this.#disturbances.length
      const outcome = await this.#run()
      if (this.#difference !== undefined) throw this.#difference.error
      const ledger = this.#ledger
      ledger.see(await this.#under.rows(), `after run ${runs}, which ${outcome.status}`)
      await ledger.compare()
      if (outcome.status !== 'superseded' && outcome.inDoubt === undefined) {
        assert.equal(Number(outcome.committed), ledger.frontier, `the frontier of run ${runs}`)
      }
      if (outcome.status === 'finished') break
      const isBeyond = outcome.status === 'failed' && outcome.error.code === 'FORK_BEYOND_HISTORY'
      if (isBeyond && this.#chains.some(({ faithless }) => faithless)) {
        // what is staged is gone with the run; what is committed and orphaned stays, and is told again
        if (this.mix.beyond) return
        this.mix.beyond = true
      } else if (before === this.#disturbances.length) {
        throw outcome.status === 'failed' ? outcome.error : new Error(`run ${runs} ended ${outcome.status}`)
      }
      this.#pause()
    }
    await this.#compareWithChains()
  }

  /** Nobody runs. */
  #pause(): void {
    if (this.#isCommitted(this.#forkNow(this.#between.shift()), Infinity)) this.mix.forkBetweenRuns = true
  }

  async #compareWithChains(): Promise<void> {
    for (const chain of this.#chains) {
      const survivors = this.#ledger.survivors.filter(({ source }) => source === chain.id)
      assert.deepEqual(
        survivors.map(({ hash }) => hash),
        chain.blocks.map(({ hash }) => hash),
        `the blocks of ${chain.id} that survive`,
      )
    }
    const session = await this.#under.store.open({
      pipeline: 'case',
      models: Object.entries(tables).map(([name, table]) => tableModelOf(name, table)),
      sources: this.#chains.map(({ id }) => ({ id, historyDepth: 1 })),
      staleMs: 15_000,
      ownershipTimeoutMs: 0,
      signal: new AbortController().signal,
      log: { debug() {}, info() {}, warn() {}, error() {} },
    })
    this.#ledger.opened(session.resume)
    await session.close()
  }

  // ── one run ───────────────────────────────────────────────────────────────────────────────────────────────

  async #run(): Promise<Outcome> {
    const { batchItems, stagedBytes, groupLatencyMs, preload, ordering } = this.#given
    const { store, gates } = gatedStore(this.#watched())
    const wire = (this.#wire = new Wire((error) => this.#differs(error)))
    this.#fork = undefined
    this.#batches = []
    let calls = 0
    let failing = false
    const port = scheduledPort(this.#given, this.#schedule, () => {
      const [next] = this.#disturbances
      if (next === undefined || calls++ < next.after) return
      calls = 0
      this.#disturbances.shift()
      if (next.what === 'handler fails') failing = true
      else if (next.what === 'stop') void indexer.stop()
      else if (next.what === 'abort') void indexer.abort('disturbed')
      else disturbStore(gates, next.what)
    })
    const indexer = createIndexer({
      name: 'case',
      source: this.#chains.map((chain) => chain.source(port)),
      ordering,
      tables,
      ...(preload ? {} : { preload: false as const }),
      handle: async (item: ProgramItem, context) => {
        if (!context.preloading) await port('handler')
        if (failing) {
          failing = false
          throw new Error('a fault in the handler')
        }
        await programHandler(this.#ledger.readingsOf(Number(context.checkpoint)))(item, context)
      },
      store: this.#guarded(scheduledStore(store, port, wire, () => undefined)),
      limits: { batchItems, stagedBytes, groupLatencyMs, failDeadlineMs: 60_000 },
    })
    indexer.on('fork', ({ target }) => this.#forked(Number(target), indexer.status().stagedBatches))
    indexer.on('batch.processed', ({ checkpoint, blocks }) => {
      const upTo = Number(checkpoint)
      this.#batches.push({ from: upTo + 1 - blocks, upTo })
    })
    indexer.on('state', ({ lanes }) => {
      if (lanes?.control === 'draining.rollback' || lanes?.control.startsWith('rollingBack') === true) {
        this.#forkMeanwhile()
      }
    })
    indexer.on('rollback.committed', () => {
      this.#fork = undefined
      wire.thawed()
    })
    return runToItsEnd(indexer, this.#schedule)
  }

  #differs(error: unknown): void {
    this.#difference ??= { error }
  }

  #forked(target: number, stagedBatches: number): void {
    const { mix } = this
    const { group } = this.#wire
    mix.fork = true
    if (group !== undefined) mix.commitAtFork = true
    if (stagedBatches - (group?.batches.length ?? 0) >= 2) mix.stagedAtFork = true
    const sent = group === undefined ? [] : [rangeOf(group.batches.flatMap(({ blocks }) => blocks))]
    const straddles = ({ from, upTo }: (typeof sent)[number]) => from <= target && target < upTo
    if ([...this.#groups, ...sent].some(straddles)) mix.straddling = true
    const sentUpTo = sent[0]?.upTo ?? this.#ledger.frontier
    if (this.#batches.some((batch) => batch.from > sentUpTo && straddles(batch))) mix.stagedStraddling = true
    this.#fork = Math.min(this.#fork ?? Infinity, target)
  }

  #forkMeanwhile(): void {
    if (this.#fork === undefined) return
    if (this.#isCommitted(this.#forkNow(this.#meanwhile.shift()), this.#fork)) this.mix.forkInRollback = true
  }

  /** @returns what it orphaned: hashes */
  #forkNow(next: ForkNow | null | undefined): readonly string[] {
    if (next === undefined || next === null) return []
    const block = { gap: 0, seconds: 1, items: [], again: true }
    const chain = this.#chains[next.chain % this.#chains.length]!
    return chain.fork({ orphans: next.orphans, excess: 0, blocks: [block, block] })
  }

  /** Then the fork has to be told, whatever else happens. */
  #isCommitted(hashes: readonly string[], upTo: number): boolean {
    return this.#ledger.survivors.some(({ hash, checkpoint }) => checkpoint <= upTo && hashes.includes(hash))
  }

  // ── the store ─────────────────────────────────────────────────────────────────────────────────────────────

  /** In front of every port: what is begun although it must not be. */
  #guarded(store: Store): Store {
    return {
      casing: store.casing,
      open: async (request) => {
        const session = await store.open(request)
        const check = (assertion: () => void) => {
          try {
            assertion()
          } catch (error) {
            this.#differs(error)
          }
        }
        return watchedSession(session, {
          write: (group, flushed) => {
            check(() => assert.equal(this.#fork, undefined, 'I5, H29: a group is sent beside a fork'))
            return session.write(group, flushed)
          },
          restore: async (target) => {
            check(() => this.#checkTarget(target))
            const ended = await session.restore(target)
            if (ended.end === 'lost') this.mix.restoreLost = true
            return ended
          },
        })
      },
    }
  }

  #checkTarget(target: number): void {
    const { survivors, frontier, restorableFrom } = this.#ledger
    assert.equal(target, this.#fork, 'the rollback goes to the lowest fork')
    assert.ok(target < frontier, 'H69: a rollback of nothing')
    assert.ok(target >= restorableFrom, 'H33: a rollback beyond history')
    // what comes instead may belong before blocks of other sources
    if (this.#given.ordering === 'timestamp' && this.#chains.length > 1) return
    const first = survivors.find(({ checkpoint }) => checkpoint > target)
    const chain = this.#chains.find(({ id }) => id === first?.source)
    assert.ok(
      first === undefined || !chain!.isValid(first.hash),
      `H25: ${first?.hash} is valid, and taken back`,
    )
  }

  /** Right at the database: what has landed, before anybody hears of it. */
  #watched(): Store {
    const { store, rows } = this.#under
    return {
      casing: store.casing,
      open: async (request) => {
        const session = await store.open(request)
        this.#ledger.opened(session.resume)
        const note = async (noting: (there: Awaited<ReturnType<typeof rows>>) => void | Promise<void>) => {
          try {
            await noting(await rows())
          } catch (error) {
            this.#differs(error)
          }
        }
        return watchedSession(session, {
          write: async (group, flushed) => {
            const blocks = group.batches.flatMap((batch) => batch.blocks)
            const ended = await session.write(group, flushed)
            if (ended.end === 'landed') {
              this.#groups.push(rangeOf(blocks))
              await note((there) => this.#ledger.landed(blocks, group.safe, there))
            }
            return ended
          },
          restore: async (target) => {
            const ended = await session.restore(target)
            if (ended.end === 'landed') {
              this.mix.restored = true
              await note((there) => this.#ledger.restored(target, there))
            }
            return ended
          },
        })
      },
    }
  }
}

function disturbStore(
  gates: StoreGates,
  what: Exclude<Disturbance['what'], 'stop' | 'abort' | 'handler fails'>,
): void {
  switch (what) {
    case 'answer lost':
      return gates.written.fail(new Error('the answer was lost'))
    case 'connection lost':
      return gates.write.fail(new Error('the connection was lost'))
    case 'rollback answer lost':
      return gates.restored.fail(new Error('the answer was lost'))
    case 'rollback connection lost':
      return gates.restore.fail(new Error('the connection was lost'))
    default:
      throw new Error(`unreachable: ${String(what satisfies never)}`)
  }
}

function rangeOf(blocks: readonly { readonly checkpoint: number }[]): {
  readonly from: number
  readonly upTo: number
} {
  return { from: blocks[0]!.checkpoint, upTo: blocks.at(-1)!.checkpoint }
}
