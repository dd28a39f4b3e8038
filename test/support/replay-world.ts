/**
 * A path of the walk, step by step on the real indexer: each word of the model becomes something that is done to a port
 * (a gate that lets one pass, a chain that forks, a timer that fires), and what the chart then heard, where it stands,
 * what it knows, what it told the host and what the store holds is compared with the model and the sequential reference.
 */
import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { AnyMachineSnapshot, InspectionEvent } from 'xstate'
import type { IndexerFacts } from '../../machines/facts.ts'
import { attemptDeadlineMs, handOverMs } from '../../machines/limits.ts'
import type { CommitOutcome } from '../../machines/outcome.ts'
import {
  createIndexer,
  type Block,
  type Context,
  type Indexer,
  type Outcome,
  type Store,
} from '../../src/index.ts'
import { Gate, gatedStore } from '../../src/testing/index.ts'
import { heldSource } from './held-source.ts'
import { HeldStore, type Fate } from './held-store.ts'
import type { HeldTimers } from './held-timers.ts'
import { lanesOf } from './model-invariants.ts'
import { describeEvent, type ModelEvent } from './model.ts'
import {
  base,
  baseBlocks,
  blockAt,
  handle,
  history,
  prepare,
  reference,
  replayName,
  replayTables,
  width,
  type ReplayItem,
  type ReplayTables,
  type Rows,
} from './replay-blocks.ts'
import { nextInTurn, type ReplayState } from './replay-model.ts'

export interface StoreUnderReplay {
  readonly store: Store
  rows(): Promise<Rows>
  /** Another owner takes the pipeline. */
  takeAway(): Promise<void>
}

/** One step of a path: the model before, what is said, the model after. */
export interface Step {
  readonly before: ReplayState
  readonly event: ModelEvent
  readonly after: ReplayState
}

const deadlines = { commitDeadlineMs: 300_001, drainDeadlineMs: 200_001, failDeadlineMs: 100_001 }
/** For an answer that takes I/O; in memory a few turns of the event loop are enough. */
const patienceMs = 20_000

interface Heard {
  readonly type: string
  readonly event: ModelEvent
  readonly chart: AnyMachineSnapshot
}

interface Pulled {
  /** Last checkpoint, in the model and really. */
  readonly model: number
  readonly real: number
  readonly blocks: readonly Block<ReplayItem>[]
}

class ReplayedWorld {
  readonly #under: StoreUnderReplay
  readonly #held: HeldStore
  readonly #written: Gate
  readonly #restored: Gate
  readonly #source = heldSource<ReplayItem>('chain', history)
  readonly #preload = new Gate('preload')
  readonly #handle = new Gate('handle')
  readonly #timers: HeldTimers
  readonly #indexer: Indexer
  readonly #batchBytes: number
  readonly #variant: number
  readonly #heard: Heard[] = []
  /** What the host was told, and what it is to be told. */
  readonly #told: unknown[] = []
  readonly #toldExpected: unknown[] = []
  /** Batches whose changes are staged or committed, and the one that runs. */
  #lineage: readonly Pulled[] = Array.from({ length: base.batches }, (_, batch) => ({
    model: base.model - 10 * (base.batches - 1 - batch),
    real: width * (batch + 1),
    blocks: baseBlocks.slice(width * batch, width * (batch + 1)),
  }))
  /** Real numbers and heights of the model's checkpoints. */
  readonly #real = new Map<number, number>()
  readonly #height = new Map<number, number>()
  #counter = width * base.batches
  #branch = 1
  #fork: number | null = null
  #executedEarly = false
  #isFirstItem = false
  #outcome: Outcome | undefined

  constructor(
    under: StoreUnderReplay,
    timers: HeldTimers,
    batchBytes: number,
    budget: number,
    variant: number,
  ) {
    this.#under = under
    this.#timers = timers
    this.#batchBytes = batchBytes
    this.#variant = variant
    this.#held = new HeldStore(under.store)
    const gated = gatedStore(this.#held.store)
    this.#written = gated.gates.written
    this.#restored = gated.gates.restored
    for (const gate of [this.#written, this.#preload, this.#handle]) gate.hold()
    // before it is opened
    this.#real.set(0, 0)
    for (let batch = 0; batch <= base.batches; batch++) {
      this.#real.set(base.model - 10 * batch, this.#counter - width * batch)
      this.#height.set(base.model - 10 * batch, this.#counter - width * batch)
    }
    this.#source.chain.append(baseBlocks)
    this.#indexer = createIndexer({
      name: replayName,
      source: this.#source.source,
      tables: replayTables,
      preload: () => this.#beforeHandling(),
      handle: async (item: ReplayItem, context: Context<ReplayTables>) => {
        await this.#beforeItem()
        await handle(item, context)
      },
      store: gated.store,
      limits: {
        batchItems: width,
        stagedBytes: budget * batchBytes,
        groupLatencyMs: 1_000_000_000,
        ...deadlines,
      },
      inspect: (inspected: InspectionEvent) => this.#hear(inspected),
    })
    this.#listen()
    void this.#indexer.run().then((outcome) => {
      this.#outcome = outcome
    })
  }

  /** @throws AssertionError that names the path */
  async replay(path: readonly Step[]): Promise<void> {
    let at = 0
    try {
      await this.#arrived(this.#held.opened)
      assert.equal(this.#indexer.status().state, 'opening')
      for (; at < path.length; at++) await this.#step(path, at)
      await this.#finish(path.at(-1)!.after)
    } catch (error) {
      const words = path.map(({ event }, index) => `${index === at ? '>>> ' : ''}${describeEvent(event)}`)
      const heard = this.#heard.map(({ event }) => event.type)
      const message = `${(error as Error).message}\npath: ${words.join(' → ')}\nheard: ${heard.join(' → ')}`
      throw new Error(message, { cause: error })
    } finally {
      await this.#leave()
    }
  }

  // ── a step ────────────────────────────────────────────────────────────────────────────────────────────────

  async #step(path: readonly Step[], at: number): Promise<void> {
    const { before, event, after } = path[at]!
    const heardBefore = this.#cursor
    if (nextInTurn(before) === null) {
      assert.equal(this.#heard.length, this.#cursor, `said by itself: ${this.#heard.at(-1)?.type}`)
      await this.#act(path, at)
    }
    await this.#until(() => this.#heard.length > heardBefore, `hears ${describeEvent(event)}`)
    this.#skipEchoes(before, event)
    await this.#until(() => this.#heard.length > this.#cursor, `hears ${describeEvent(event)}`)
    const heard = this.#heard[this.#cursor++]!
    assert.equal(heard.type, event.type, 'another word was said')
    this.#account(before, event, after)
    assert.deepEqual(heard.chart.value, after.chart.value)
    assert.deepEqual(this.#factsHeard(heard), this.#factsOf(after))
    if (nextInTurn(after) !== null || after.status !== 'active') return
    assert.deepEqual(this.#told, this.#toldExpected)
    this.#compareStatus(after)
    await this.#compareRows()
  }

  #cursor = 0

  /** A cut is answered by a computer that has nothing to cancel, too: the chart does not listen. */
  #skipEchoes(before: ReplayState, event: ModelEvent): void {
    const heard = this.#heard[this.#cursor]!
    if (heard.type !== 'batch.cancelled' || event.type === 'batch.cancelled') return
    assert.equal(lanesOf(before.chart)?.control, 'failing', 'cancelled out of turn')
    this.#cursor++
  }

  #hear(inspected: InspectionEvent): void {
    if (inspected.type !== '@xstate.snapshot' || inspected.rootId !== inspected.actorRef.sessionId) return
    const event = inspected.event as ModelEvent
    if (event.type === 'xstate.init') return
    this.#heard.push({ type: event.type, event, chart: inspected.snapshot as AnyMachineSnapshot })
  }

  #listen(): void {
    const on = this.#indexer.on.bind(this.#indexer)
    on('batch.processed', ({ checkpoint }) => this.#told.push(['processed', Number(checkpoint)]))
    on('batch.committed', ({ checkpoint }) => this.#told.push(['committed', Number(checkpoint)]))
    on('fork', ({ target }) => this.#told.push(['fork', Number(target)]))
    on('rollback.started', ({ target }) => this.#told.push(['rollback', Number(target)]))
    on('rollback.committed', ({ target, droppedBatches }) =>
      this.#told.push(['rolled back', Number(target), droppedBatches]),
    )
  }

  // ── what is compared ──────────────────────────────────────────────────────────────────────────────────────

  #factsHeard({ chart, event }: Heard): unknown {
    const facts = chart.context as IndexerFacts
    const output = event['output'] as CommitOutcome | undefined
    return {
      ...sameFacts(facts),
      running: facts.running?.upTo ?? null,
      stagedBytes: facts.stagedBytes,
      processed: facts.processed,
      committed: facts.committed,
      fork: facts.fork,
      ended: output?.status ?? null,
      landed: output?.landed ?? null,
    }
  }

  #factsOf({ chart }: ReplayState): unknown {
    const facts = chart.context as IndexerFacts
    return {
      ...sameFacts(facts),
      running: facts.running === null ? null : this.#real.get(facts.running.upTo),
      stagedBytes: facts.stagedBytes * this.#batchBytes,
      processed: this.#real.get(facts.processed),
      committed: this.#real.get(facts.committed),
      fork: facts.fork === null ? null : this.#fork,
      ended: this.#ended?.status ?? null,
      landed: this.#ended?.landed ?? null,
    }
  }

  #compareStatus({ chart }: ReplayState): void {
    const { lanes, processed, committed, stagedBatches } = this.#indexer.status()
    const facts = chart.context as IndexerFacts
    assert.deepEqual(lanes ?? null, lanesOf(chart))
    if (lanes === undefined) return
    assert.equal(Number(processed), this.#real.get(facts.processed))
    assert.equal(Number(committed), this.#real.get(facts.committed))
    assert.equal(stagedBatches, facts.stagedBatches + facts.flightBatches)
  }

  async #compareRows(): Promise<void> {
    const executed = this.#lineage.filter(({ real }) => real <= this.#held.executedUpTo)
    const expected = await reference(executed.flatMap(({ blocks }) => blocks))
    assert.deepEqual(await this.#under.rows(), expected, 'the rows stored')
  }

  // ── what a word means for what is to come ─────────────────────────────────────────────────────────────────

  #ended: CommitOutcome | undefined

  #account(before: ReplayState, event: ModelEvent, after: ReplayState): void {
    const facts = before.chart.context as IndexerFacts
    this.#ended = event['output'] as CommitOutcome | undefined
    switch (event.type) {
      case 'batch.handled':
        this.#toldExpected.push(['processed', this.#real.get(event['upTo'] as number)])
        break
      case 'batch.failed':
      case 'batch.cancelled':
        if (facts.running !== null && this.#lineage.at(-1)?.model === facts.running.upTo)
          this.#lineage = this.#lineage.slice(0, -1)
        break
      case 'source.fork':
        this.#toldExpected.push(['fork', this.#fork])
        break
      case 'xstate.done.actor.committer': {
        const { landed, committed } = event['output'] as CommitOutcome
        if (landed > 0) this.#toldExpected.push(['committed', this.#real.get(committed)])
        break
      }
      case 'xstate.done.actor.restorer': {
        const { status } = event['output'] as CommitOutcome
        if (status !== 'committed') break
        const target = facts.fork!
        // the next commit may have begun in the same step
        const { stagedBatches, flightBatches } = after.chart.context as IndexerFacts
        this.#toldExpected.push([
          'rolled back',
          this.#fork,
          facts.stagedBatches - stagedBatches - flightBatches,
        ])
        this.#lineage = this.#lineage.filter(({ model }) => model <= target)
        break
      }
      default:
    }
    if (before.world.restorer === null && after.world.restorer !== null)
      this.#toldExpected.push(['rollback', this.#fork])
  }

  // ── saying a word ─────────────────────────────────────────────────────────────────────────────────────────

  async #act(path: readonly Step[], at: number): Promise<void> {
    const { before, event } = path[at]!
    switch (event.type) {
      case 'stop':
        return void this.#indexer.stop()
      case 'abort':
        return void this.#indexer.abort('replay')
      case 'opened':
        return this.#pass(this.#held.opened)
      case 'open.failed':
      case 'open.cancelled':
        await this.#arrived(this.#held.opened)
        return this.#held.opened.fail(new Error('it could not be opened'))
      case 'source.closed':
        return this.#pass(this.#source.closing)
      case 'source.ended':
        return this.#source.chain.end()
      case 'source.failed':
        return this.#source.fail(new Error('the source failed'))
      case 'source.fork':
        return this.#announceFork(before, event['target'] as number)
      case 'batch.pulled':
        return this.#give(event['upTo'] as number)
      case 'batch.preloaded':
        return this.#pass(this.#preload)
      case 'batch.handled':
        return this.#pass(this.#handle)
      case 'batch.cancelled':
        return (await this.#whereHandlersWait()).releaseOne()
      case 'batch.failed':
        return (await this.#whereHandlersWait()).fail(new Error('a handler failed'))
      case 'frames.flushed':
        return this.#flush(path, at)
      case 'xstate.done.actor.committer':
        return this.#endCommit(before, event['output'] as CommitOutcome)
      case 'xstate.done.actor.restorer':
        return this.#endRollback(before, event['output'] as CommitOutcome)
      case 'ownership.lost':
        return this.#held.lose()
      default:
        return this.#fire(event.type)
    }
  }

  #fire(type: string): void {
    const delay = /^xstate\.after\.(\w+)\./.exec(type)?.[1]
    const delays: Record<string, number> = {
      handOver: handOverMs,
      drainDeadline: deadlines.drainDeadlineMs,
      failDeadline: deadlines.failDeadlineMs,
    }
    const ms = delays[delay ?? '']
    assert.ok(ms !== undefined && this.#timers.fire((armed) => armed === ms), `no such timer: ${type}`)
  }

  /** The next blocks arrive, exactly when a batch is pulled. */
  #give(upTo: number): void {
    const { chain } = this.#source
    const head = chain.blocks.at(-1)?.number ?? 0
    const blocks = Array.from({ length: width }, (_, index) => blockAt(head + 1 + index, this.#branch))
    this.#counter += width
    this.#real.set(upTo, this.#counter)
    this.#height.set(upTo, head + width)
    this.#lineage = [...this.#lineage, { model: upTo, real: this.#counter, blocks }]
    chain.append(blocks)
  }

  #announceFork(before: ReplayState, target: number): void {
    const { chain } = this.#source
    const facts = before.chart.context as IndexerFacts
    this.#branch++
    const newest = facts.running?.upTo ?? facts.processed
    // what is above the newest number is orphaned unnumbered: the target is the newest number
    this.#fork = this.#real.get(Math.min(target, newest))!
    const height = this.#height.get(Math.min(target, newest))!
    const head = chain.blocks.at(-1)!
    if (height < head.number) chain.fork({ above: height, blocks: [] })
    else this.#source.say({ type: 'fork', validTo: { number: head.number, hash: head.hash! } })
  }

  /** Sometimes the group is executed right away, and only its answer is on the way. */
  async #flush(path: readonly Step[], at: number): Promise<void> {
    await this.#arrived(this.#held.executing)
    const next = path.slice(at + 1).find(({ event }) => event.type === 'xstate.done.actor.committer')
    const output = next?.event['output'] as CommitOutcome | undefined
    const mayBeExecuted =
      output === undefined ||
      output.status === 'committed' ||
      (output.landed === 0 &&
        (output.status === 'superseded' || next!.before.world.committer!.told.includes('cut')))
    if (mayBeExecuted && this.#variant % 2 === 1) {
      this.#executedEarly = true
      this.#held.executing.releaseOne()
      await this.#arrived(this.#written)
    }
    this.#held.flush()
  }

  /** Brings the commit on the wire to that end, by what becomes of its writes and of the questions about them. */
  async #endCommit(before: ReplayState, output: CommitOutcome): Promise<void> {
    const { told, batches } = before.world.committer!
    const isEarly = this.#executedEarly
    this.#executedEarly = false
    const { status, landed, inDoubt } = output
    let executed = 0
    let losesAnswer = isEarly && (status === 'superseded' || this.#variant % 4 === 3)
    let writes = 0
    this.#held.fate = async (group): Promise<Fate> => {
      writes++
      const isLast = executed + group.batches.length === batches
      if (landed > 0 && status !== 'committed' && writes === 1) return 'refused'
      if ((!isLast && landed > 0) || status === 'committed') {
        if (status === 'committed' && writes === 1 && told.length === 0 && this.#variant % 3 === 1)
          return 'deferred'
        executed += group.batches.length
        return 'executed'
      }
      if (status === 'superseded') {
        await this.#under.takeAway()
        return 'executed'
      }
      if (status === 'recalled') return this.#variant % 2 === 0 ? 'deferred' : 'lost'
      if (inDoubt !== null) {
        this.#held.resolution = { end: 'lost', error: new Error('no answer') }
        return 'lost'
      }
      if (told.includes('halt')) return 'deferred'
      if (told.includes('recall')) {
        this.#held.resolution = { end: 'reverted', error: new Error('the database went back') }
        return 'lost'
      }
      return 'refused'
    }
    if (isEarly && status === 'superseded') await this.#under.takeAway()
    await this.#untilFlightEnds('xstate.done.actor.committer', () => {
      if (losesAnswer) this.#written.fail(new Error('the answer was lost'))
      else this.#written.releaseOne()
      losesAnswer = false
    })
    this.#held.fate = () => 'executed'
  }

  /** The same for the rollback on the wire. */
  async #endRollback(before: ReplayState, { status, inDoubt }: CommitOutcome): Promise<void> {
    const { told } = before.world.restorer!
    let flights = 0
    if (status === 'committed' && this.#variant % 4 === 3) {
      this.#restored.fail(new Error('the answer was lost'))
    }
    this.#held.restoreFate = async (): Promise<Fate> => {
      flights++
      if (status === 'committed') {
        return flights === 1 && told.length === 0 && this.#variant % 3 === 1 ? 'deferred' : 'executed'
      }
      if (status === 'superseded') {
        await this.#under.takeAway()
        return 'executed'
      }
      if (inDoubt !== null) {
        this.#held.resolution = { end: 'lost', error: new Error('no answer') }
        return 'lost'
      }
      return told.includes('halt') ? 'deferred' : 'refused'
    }
    await this.#untilFlightEnds('xstate.done.actor.restorer', () => undefined)
    this.#held.restoreFate = () => 'executed'
  }

  /** @param answer lets the answer through that waits */
  async #untilFlightEnds(done: string, answer: () => void): Promise<void> {
    const heard = this.#heard.length
    const isOver = () => this.#heard.slice(heard).some(({ type }) => type === done)
    await this.#until(() => {
      if (isOver()) return true
      if (this.#held.executing.waiting > 0) this.#held.executing.releaseOne()
      else if (this.#written.waiting > 0) answer()
      else if (this.#timers.armed.some(isPause)) {
        if (this.#held.resolution?.end === 'lost')
          this.#timers.fire((ms) => ms === deadlines.commitDeadlineMs)
        else this.#timers.fire(isPause)
      }
      return isOver()
    }, 'the flight ends')
    this.#held.resolution = undefined
  }

  // ── handlers ──────────────────────────────────────────────────────────────────────────────────────────────

  async #beforeHandling(): Promise<void> {
    await this.#preload.enter()
    this.#isFirstItem = true
  }

  /** Deaf to the abort: a batch is over when the gate says so. */
  async #beforeItem(): Promise<void> {
    if (!this.#isFirstItem) return
    this.#isFirstItem = false
    await this.#handle.enter()
  }

  async #whereHandlersWait(): Promise<Gate> {
    await this.#until(() => this.#preload.waiting + this.#handle.waiting > 0, 'a handler waits')
    return this.#preload.waiting > 0 ? this.#preload : this.#handle
  }

  // ── the end of a path ─────────────────────────────────────────────────────────────────────────────────────

  /** Where the path leaves off, the run is stopped; its end is compared, too. */
  async #finish(last: ReplayState): Promise<void> {
    const facts = last.chart.context as IndexerFacts
    await this.#leave()
    const outcome = this.#outcome!
    const committed = Number(outcome.committed)
    if (last.status === 'done') {
      assert.equal(outcome.status, last.chart.value)
      assert.deepEqual(this.#told, this.#toldExpected)
    } else if (facts.superseded) assert.equal(outcome.status, 'superseded')
    else if (facts.failed) assert.equal(outcome.status, 'failed')
    else {
      if (outcome.status === 'failed') throw outcome.error
      assert.ok(outcome.status === 'stopped' || outcome.status === 'finished', outcome.status)
      assert.equal(outcome.committed, outcome.processed, 'I6')
    }
    const isKnown = outcome.status !== 'superseded' && outcome.inDoubt === undefined
    if (isKnown && committed > 0) assert.equal(committed, this.#held.executedUpTo)
    // a path may end between a cut and the end of the commit that it cuts
    const isCut = nextInTurn(last) !== null
    if (outcome.inDoubt !== undefined) assert.ok(isCut || facts.inDoubt !== null, 'in doubt of what?')
    await this.#compareRows()
    assert.equal(this.#held.sessions, 0, 'I16: a session is left open')
    assert.deepEqual(this.#timers.armed.filter(isOurs), [], 'I16: a timer is left')
  }

  async #leave(): Promise<void> {
    this.#held.fate = () => 'executed'
    this.#held.restoreFate = () => 'executed'
    this.#held.resolution = undefined
    const gates = [this.#held.opened, this.#held.executing, this.#written]
    for (const gate of [...gates, this.#preload, this.#handle, this.#source.closing]) gate.release()
    void this.#indexer.stop()
    await this.#until(() => {
      this.#held.flush()
      if (this.#outcome === undefined) this.#timers.fire(isPause)
      return this.#outcome !== undefined && this.#held.sessions === 0
    }, 'the run ends')
  }

  // ── quiet ─────────────────────────────────────────────────────────────────────────────────────────────────

  async #arrived(gate: Gate): Promise<void> {
    await this.#until(() => gate.waiting > 0, `somebody waits at ${gate.name}`)
  }

  async #pass(gate: Gate): Promise<void> {
    await this.#arrived(gate)
    gate.releaseOne()
  }

  async #until(isSo: () => boolean, what: string): Promise<void> {
    const began = performance.now()
    for (let turns = 0; !isSo(); turns++) {
      if (turns > 200 && performance.now() - began > patienceMs) throw new Error(`in vain: ${what}`)
      await nextTurn()
    }
  }
}

/** Facts that are the same numbers in the model and really. */
function sameFacts(facts: IndexerFacts): object {
  const { stagedBatches, flightBatches, sourcesEnded, exit, failed, superseded, undelivered, marksDirty } =
    facts
  return {
    stagedBatches,
    flightBatches,
    sourcesEnded,
    exit,
    failed,
    superseded,
    undelivered,
    marksDirty,
    inDoubt: facts.inDoubt !== null,
    // the model knows groups of one and of two
    groupLimit: Math.min(facts.groupLimit, 2),
  }
}

function isPause(ms: number): boolean {
  return ms !== handOverMs && ms < 1_000
}

function isOurs(ms: number): boolean {
  return isPause(ms) || [handOverMs, attemptDeadlineMs, ...Object.values(deadlines)].includes(ms)
}

/**
 * @param variant which of several ways to the same word is taken
 * @throws when the real indexer differs
 */
export async function replayPath(
  path: readonly Step[],
  under: StoreUnderReplay,
  timers: HeldTimers,
  budget: number,
  variant: number,
): Promise<void> {
  const batchBytes = await prepare(under.store)
  await new ReplayedWorld(under, timers, batchBytes, budget, variant).replay(path)
}
