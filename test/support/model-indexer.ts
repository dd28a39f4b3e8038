/**
 * The world around the root chart: five workers that keep their protocol (docs/spec.md, "Who answers what"), a
 * host that may stop or abort at any time, and nothing else. Every batch is ten checkpoints and one byte.
 */
import { indexerMachine } from '../../machines/indexer.machine.ts'
import type { IndexerFacts } from '../../machines/facts.ts'
import { isEnding } from '../../machines/facts.ts'
import { defaultLimits } from '../../machines/limits.ts'
import type { CommitOutcome } from '../../machines/outcome.ts'
import type { Command, Model, ModelEvent, ModelState, Step } from './model.ts'

export const batchWidth = 10

export interface Bounds {
  /** Batches that fill the budget. */
  readonly budget: number
  /** Fork announcements in one run, of two sources. */
  readonly forks: number
  /** Things that go wrong in one run; `abort` is one of them. */
  readonly failures: number
  /** Whether a worker may break its word altogether and throw. */
  readonly crashes: boolean
  /** Undelivered snapshots at a time; 0 leaves the regions out. */
  readonly undelivered: number
  /** Whether a commit that ends badly may have landed a prefix, or be in doubt without having been cut. */
  readonly partial: boolean
  /** Whether the read-ahead may fill up. */
  readonly readAhead: boolean
}

/** A worker that was told something and has not answered yet, or one that is gone. */
interface Lane {
  readonly told: readonly string[]
}

export interface World {
  readonly opener: 'busy' | 'cancelled' | 'gone'
  readonly sources: 'closed' | 'open' | 'closing' | 'gone'
  readonly saidFull: boolean
  /** `free` after a batch or a last word; `cancelling` until the last word. */
  readonly computer: 'free' | 'pulling' | 'pulled' | 'running' | 'cancelling' | 'gone'
  readonly committer: (Lane & { readonly batches: number }) | null
  readonly restorer: Lane | null
  readonly publisher: 'free' | 'parking' | 'parked' | 'gone'
  /** Ground truth, kept beside the chart's own facts. */
  readonly staged: number
  readonly marksUnsaved: boolean
  readonly marksInFlight: boolean
  readonly forksLeft: number
  readonly failuresLeft: number
}

export type IndexerState = ModelState<World>

export function factsOf(state: IndexerState): IndexerFacts {
  return state.chart.context as IndexerFacts
}

const landedNothing = {
  landed: 0,
  stagedBatches: 0,
  stagedBytes: -1,
  groupLimit: -1,
  snapshots: 0,
  error: null,
  inDoubt: null,
  owner: null,
} as const

/**
 * How a committer may end, given what it was told. test/machines/walk.test.ts shows that the real one has no
 * other ends than these.
 */
export function committerEnds(
  told: readonly string[],
  batches: number,
  facts: { readonly committed: number; readonly uncommitted: number },
): CommitOutcome[] {
  const landing = (landed: number): Omit<CommitOutcome, 'status'> => ({
    ...landedNothing,
    landed,
    committed: facts.committed + landed * batchWidth,
    stagedBytes: landed === 0 ? -1 : facts.uncommitted - landed,
    groupLimit: landed === 0 ? -1 : 2,
  })
  // a prefix lands only when the group was split
  const prefixes = batches > 1 ? [0, batches - 1] : [0]
  const inDoubt = batches > 0 ? { from: facts.committed, upTo: facts.committed + batches * batchWidth } : null
  return [
    { ...landing(batches), status: 'committed' },
    ...prefixes.flatMap((landed): CommitOutcome[] => [
      { ...landing(landed), status: 'superseded', owner: { epoch: 2, host: 'other', pid: 2 } },
      { ...landing(landed), status: 'failed', error: 'commit failed' },
      { ...landing(landed), status: 'failed', error: 'commit failed', inDoubt },
      ...(told.includes('recall') ? [{ ...landing(landed), status: 'recalled' as const }] : []),
      ...(told.includes('halt') ? [{ ...landing(landed), status: 'failed' as const }] : []),
      ...(told.includes('cut') ? [{ ...landing(landed), status: 'failed' as const, inDoubt }] : []),
    ]),
  ]
}

/** How a rollback may end: like a commit of one batch; it says what is still staged. */
function restorerEnds(told: readonly string[], facts: IndexerFacts): CommitOutcome[] {
  const target = facts.fork ?? facts.processed
  const committed = Math.min(facts.committed, target)
  const staged = Math.max(0, Math.min(facts.processed, target) - committed) / batchWidth
  const { committed: before } = facts
  return committerEnds(told, 1, { committed: before, uncommitted: staged })
    .filter((end) => end.status !== 'recalled')
    .map((end) =>
      end.status === 'committed'
        ? { ...end, committed, stagedBatches: staged, stagedBytes: staged }
        : { ...end, committed: before },
    )
}

export function indexerModel(bounds: Bounds, machine: typeof indexerMachine = indexerMachine): Model<World> {
  return {
    machine,
    input: { limits: { ...defaultLimits, stagedBytes: bounds.budget } },
    world: {
      opener: 'busy',
      sources: 'closed',
      saidFull: false,
      computer: 'free',
      committer: null,
      restorer: null,
      publisher: 'free',
      staged: 0,
      marksUnsaved: false,
      marksInFlight: false,
      forksLeft: bounds.forks,
      failuresLeft: bounds.failures,
    },
    says: (state) => [...says(state, bounds)],
    hears: (before, event, step) => hears(before, event, step),
    key,
  }
}

function* says(state: IndexerState, bounds: Bounds): Generator<ModelEvent> {
  const { world } = state
  const facts = factsOf(state)
  const mayFail = world.failuresLeft > 0
  const mayCrash = mayFail && bounds.crashes

  // asked twice, it changes nothing: shown in the smaller walks
  if (facts.exit === null || bounds.partial) yield { type: 'stop' }
  if (mayFail) yield { type: 'abort', error: 'abort' }
  if ('opening' in (state.chart.value as object)) {
    if (world.opener === 'cancelled') yield { type: 'open.cancelled' }
    yield { type: 'opened', committed: 100 }
    if (mayFail || world.opener === 'cancelled') yield { type: 'open.failed', error: 'open failed' }
    if (mayCrash) yield { type: 'xstate.error.actor.opener', error: 'opener broke' }
    return
  }
  if (mayFail) yield { type: 'ownership.lost', owner: null }

  if (world.sources === 'open' || world.sources === 'closing') {
    if (bounds.readAhead) yield { type: world.saidFull ? 'source.room' : 'source.full' }
    yield { type: 'source.ended' }
    if (mayCrash) yield { type: 'source.failed', error: 'source failed' }
    if (world.forksLeft > 0) yield* forks(facts)
    if (world.sources === 'closing') yield { type: 'source.closed' }
  }
  if (world.sources !== 'gone' && mayCrash) {
    yield { type: 'xstate.error.actor.sources', error: 'sources broke' }
  }

  const { computer } = world
  // a word that was said before the cancel was heard
  const mayCross = computer === 'cancelling'
  if (computer === 'pulling' || mayCross) {
    yield pull(facts)
    if (facts.sourcesEnded) yield { type: 'pull.ended' }
  }
  if (computer === 'running' || mayCross) {
    yield { type: 'batch.preloaded' }
    if (facts.running !== null) {
      yield { type: 'batch.handled', upTo: facts.running.upTo, stagedBytes: facts.stagedBytes + 1 }
    }
  }
  // a cancelled handler may well fail because of the cancel: that costs nothing
  if (mayCross || (mayFail && (computer === 'pulling' || computer === 'running'))) {
    yield { type: 'batch.failed', error: 'batch failed' }
  }
  if (computer === 'cancelling') yield { type: 'batch.cancelled' }
  if (computer !== 'gone' && mayCrash) yield { type: 'xstate.error.actor.computer', error: 'computer broke' }

  if (world.committer !== null) {
    yield { type: 'frames.flushed' }
    const { told, batches } = world.committer
    const uncommitted = world.staged + batches
    for (const end of committerEnds(told, batches, { committed: facts.committed, uncommitted })) {
      if (isBad(end, told) && !(mayFail && (bounds.partial || isPlain(end)))) continue
      for (const snapshots of snapshotCounts(end, facts, bounds)) {
        yield { type: 'xstate.done.actor.committer', output: { ...end, snapshots } }
      }
    }
    if (mayCrash) yield { type: 'xstate.error.actor.committer', error: 'committer broke' }
  }
  if (world.restorer !== null) {
    for (const end of restorerEnds(world.restorer.told, facts)) {
      if (isBad(end, world.restorer.told) && !(mayFail && (bounds.partial || isPlain(end)))) continue
      for (const snapshots of snapshotCounts(end, facts, bounds)) {
        yield { type: 'xstate.done.actor.restorer', output: { ...end, snapshots } }
      }
    }
    if (mayCrash) yield { type: 'xstate.error.actor.restorer', error: 'restorer broke' }
  }

  if (world.publisher === 'free' && facts.undelivered > 0) {
    yield { type: 'region.settled', delivered: true }
    yield { type: 'region.settled', delivered: false }
  }
  if (world.publisher === 'parking') yield { type: 'publish.parked' }
  if (world.publisher !== 'gone' && mayCrash) {
    yield { type: 'xstate.error.actor.publisher', error: 'publisher broke' }
  }
}

/** An end that the committer was not asked for: it costs one of the failures of the run. */
function isBad(end: CommitOutcome, told: readonly string[]): boolean {
  if (end.status === 'superseded') return true
  return end.status === 'failed' && !(told.includes('halt') || told.includes('cut'))
}

function isPlain(end: CommitOutcome): boolean {
  return end.landed === 0 && end.inDoubt === null
}

function snapshotCounts(end: CommitOutcome, facts: IndexerFacts, bounds: Bounds): number[] {
  const mayHold = end.landed > 0 && facts.undelivered < bounds.undelivered
  return mayHold ? [0, 1] : [0]
}

/** Two sources, so two targets at each moment: high enough to spare what runs, or low enough to hurt. */
function* forks(facts: IndexerFacts): Generator<ModelEvent> {
  const { processed, committed, running } = facts
  const targets = new Set([
    running === null ? processed + batchWidth : running.upTo,
    Math.min(processed, committed + batchWidth),
    committed - batchWidth,
  ])
  for (const target of targets) yield { type: 'source.fork', source: target < processed ? 'a' : 'b', target }
}

function pull(facts: IndexerFacts): ModelEvent {
  const { processed } = facts
  return { type: 'batch.pulled', from: processed + 1, upTo: processed + batchWidth, items: 1 }
}

// ── the world hears ─────────────────────────────────────────────────────────────────────────────────────────

function hears(before: IndexerState, event: ModelEvent, step: Step): World {
  let world = afterWord(before, event)
  for (const id of step.spawned.map((child) => child.id)) world = afterSpawn(before, world, id, step)
  for (const command of step.commands) world = afterCommand(world, command)
  if (step.chart.status === 'done') return world
  return 'active' in (step.chart.value as object) ? { ...world, opener: 'gone' } : world
}

/** What saying it does to the one who says it. */
function afterWord({ world, chart }: IndexerState, event: ModelEvent): World {
  const facts = chart.context as IndexerFacts
  const costly: World = { ...world, failuresLeft: Math.max(0, world.failuresLeft - 1) }
  switch (event.type) {
    case 'abort':
    case 'ownership.lost':
    case 'source.failed':
    case 'open.failed':
      return costly
    case 'source.full':
      return { ...world, saidFull: true }
    case 'source.room':
      return { ...world, saidFull: false }
    case 'source.ended':
    case 'source.closed':
      return { ...world, sources: 'closed', saidFull: false }
    case 'source.fork':
      return { ...world, forksLeft: world.forksLeft - 1 }
    case 'batch.pulled':
      return world.computer === 'cancelling' ? world : { ...world, computer: 'pulled' }
    case 'pull.ended':
      return world.computer === 'cancelling' ? world : { ...world, computer: 'free' }
    case 'batch.handled': {
      const staged = world.staged + 1
      return { ...world, staged, computer: world.computer === 'cancelling' ? 'cancelling' : 'free' }
    }
    case 'batch.failed':
      return world.computer === 'cancelling' ? world : { ...costly, computer: 'free' }
    case 'batch.cancelled':
      return { ...world, computer: 'free' }
    case 'xstate.done.actor.committer': {
      const output = event['output'] as CommitOutcome
      const { told, batches } = world.committer!
      const landedAll = output.status === 'committed'
      return {
        ...(isBad(output, told) ? costly : world),
        committer: null,
        staged: world.staged + batches - output.landed,
        marksUnsaved: world.marksUnsaved || (!landedAll && world.marksInFlight),
        marksInFlight: false,
      }
    }
    case 'xstate.done.actor.restorer': {
      const output = event['output'] as CommitOutcome
      const { told } = world.restorer!
      const staged = output.status === 'committed' ? output.stagedBatches : world.staged
      return { ...(isBad(output, told) ? costly : world), restorer: null, staged }
    }
    case 'region.settled':
      return { ...world, marksUnsaved: world.marksUnsaved || event['delivered'] === true }
    case 'publish.parked':
      return { ...world, publisher: 'parked' }
    case 'xstate.error.actor.opener':
      return { ...costly, opener: 'gone' }
    case 'xstate.error.actor.sources':
      return { ...costly, sources: 'gone' }
    case 'xstate.error.actor.computer':
      return { ...costly, computer: 'gone' }
    case 'xstate.error.actor.publisher':
      return { ...costly, publisher: 'gone' }
    case 'xstate.error.actor.committer':
      return { ...costly, committer: null, staged: world.staged + facts.flightBatches }
    case 'xstate.error.actor.restorer':
      return { ...costly, restorer: null }
    default:
      return world
  }
}

function afterSpawn(before: IndexerState, world: World, id: string, step: Step): World {
  if (id === 'committer') {
    inTurn(world.committer === null && world.restorer === null, 'I1: a commit starts beside another', before)
    const { batches } = step.spawned.find((child) => child.id === id)!.input as { batches: number }
    return {
      ...world,
      committer: { told: [], batches },
      staged: world.staged - batches,
      marksInFlight: world.marksUnsaved,
      marksUnsaved: false,
    }
  }
  if (id === 'restorer') {
    inTurn(
      world.committer === null && (world.computer === 'free' || world.computer === 'gone'),
      'I5: a rollback starts beside a commit or a batch',
      before,
    )
    inTurn(
      world.sources === 'closed' || world.sources === 'gone',
      'I5: a rollback starts beside a source',
      before,
    )
    return { ...world, restorer: { told: [] } }
  }
  return world
}

/** A worker is told: it must be in a position to do so. */
function afterCommand(world: World, { to, type }: Command): World {
  const outOfTurn = (): never => {
    throw new Error(`out of turn: ${type} to ${to}, while the world is ${JSON.stringify(world)}`)
  }
  const tellLane = <L extends Lane>(lane: L | null): L | null => {
    if (lane === null) return outOfTurn()
    return lane.told.includes(type) ? lane : { ...lane, told: [...lane.told, type].sort() }
  }
  switch (`${to}.${type}`) {
    case 'opener.cancel':
      return { ...world, opener: 'cancelled' }
    case 'sources.open':
      return world.sources === 'closed' ? { ...world, sources: 'open' } : outOfTurn()
    case 'sources.close':
    case 'sources.cut':
      return world.sources === 'open' ? { ...world, sources: 'closing' } : world
    case 'computer.pull':
      return world.computer === 'free' ? { ...world, computer: 'pulling' } : outOfTurn()
    case 'computer.run':
      return world.computer === 'pulled' ? { ...world, computer: 'running' } : outOfTurn()
    case 'computer.cancel':
      return world.computer === 'gone' ? world : { ...world, computer: 'cancelling' }
    case 'computer.cut':
      return world
    case 'committer.recall':
    case 'committer.halt':
    case 'committer.cut':
      return { ...world, committer: tellLane(world.committer) }
    case 'restorer.halt':
    case 'restorer.cut':
      return { ...world, restorer: tellLane(world.restorer) }
    case 'publisher.halt':
    case 'publisher.cut':
      return world.publisher === 'free' ? { ...world, publisher: 'parking' } : world
    default:
      return outOfTurn()
  }
}

function inTurn(condition: boolean, message: string, before: IndexerState): void {
  if (!condition) throw new Error(`${message}, at ${key(before)}`)
}

// ── the abstraction ─────────────────────────────────────────────────────────────────────────────────────────

function key(state: IndexerState): string {
  const { chart, world, timers } = state
  const facts = factsOf(state)
  if (state.status !== 'active') return String(chart.value)
  const clock = timers.map((id) => id.split('.').at(-1))
  if (!isEnding(facts)) return JSON.stringify([chart.value, relative(facts), Object.values(world), clock])
  // once the run is ending, only where the lanes are and who still owes a last word can matter
  const { sources, computer, committer, restorer, publisher, failuresLeft } = world
  const owes = [sources, computer, committer?.told, restorer?.told, publisher, failuresLeft]
  return JSON.stringify([chart.value, 'ending', facts.superseded, facts.running !== null, owes, clock])
}

/** Checkpoints count from the committed frontier. A fork matters as far as it reaches into what is not committed. */
function relative(facts: IndexerFacts): unknown[] {
  const from = facts.committed
  const ahead = (facts.running?.upTo ?? facts.processed + batchWidth) - from
  return [
    facts.processed - from,
    facts.running === null ? null : facts.running.upTo - from,
    facts.stagedBatches,
    facts.flightBatches,
    facts.stagedBytes,
    facts.groupLimit,
    facts.sourcesEnded,
    facts.exit,
    facts.fork === null ? null : Math.max(0, Math.min(facts.fork - from, ahead)),
    facts.undelivered,
    facts.marksDirty,
  ]
}
