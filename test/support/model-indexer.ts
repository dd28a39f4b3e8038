/**
 * The world around the root chart: five workers that keep their protocol (docs/spec.md, "Who answers what"), a
 * host that may stop or abort at any time, and nothing else. Every batch is ten checkpoints and one byte.
 */
import { indexerMachine } from '../../machines/indexer.machine.ts'
import type { IndexerFacts } from '../../machines/facts.ts'
import { defaultLimits } from '../../machines/limits.ts'
import type { CommitOutcome } from '../../machines/outcome.ts'
import { batchWidth, committerEnds, isBad, isPlain, restorerEnds } from './model-ends.ts'
import { indexerKey } from './model-indexer-key.ts'
import type { Command, Model, ModelEvent, ModelState, Step } from './model.ts'

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
  /** What the publisher says beyond the commits: a snapshot offered, or a quarantined region delivered after all. */
  readonly offers?: number | undefined
  /** A region that is quarantined is one of the failures. */
  readonly requireRegions?: boolean | undefined
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
  /** `early`: snapshots of its first half that are settled before its end is told. */
  readonly committer: (Lane & { readonly batches: number; readonly early: number }) | null
  readonly restorer: Lane | null
  readonly publisher: 'free' | 'parking' | 'parked' | 'gone'
  /** Ground truth, kept beside the chart's own facts. */
  readonly staged: number
  readonly unsettled: number
  readonly marksUnsaved: boolean
  readonly marksInFlight: boolean
  readonly forksLeft: number
  readonly offersLeft: number
  readonly failuresLeft: number
}

export type IndexerState = ModelState<World>

export function factsOf(state: IndexerState): IndexerFacts {
  return state.chart.context as IndexerFacts
}

export function indexerModel(bounds: Bounds, machine: typeof indexerMachine = indexerMachine): Model<World> {
  return {
    machine,
    input: {
      limits: { ...defaultLimits, stagedBytes: bounds.budget },
      requireRegions: bounds.requireRegions,
    },
    world: {
      opener: 'busy',
      sources: 'closed',
      saidFull: false,
      computer: 'free',
      committer: null,
      restorer: null,
      publisher: 'free',
      staged: 0,
      unsettled: 0,
      marksUnsaved: false,
      marksInFlight: false,
      forksLeft: bounds.forks,
      offersLeft: bounds.offers ?? 0,
      failuresLeft: bounds.failures,
    },
    says: (state) => [...says(state, bounds)],
    hears: (before, event, step) => hears(before, event, step),
    key: indexerKey,
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
      for (const snapshots of snapshotCounts(end, facts, bounds, world.committer.early)) {
        yield { type: 'xstate.done.actor.committer', output: { ...end, snapshots } }
      }
    }
    if (mayCrash) yield { type: 'xstate.error.actor.committer', error: 'committer broke' }
  }
  if (world.restorer !== null) {
    for (const end of restorerEnds(world.restorer.told, facts)) {
      if (isBad(end, world.restorer.told) && !(mayFail && (bounds.partial || isPlain(end)))) continue
      // a look: what was published above the fork is to be replaced
      for (const snapshots of snapshotCounts(end, facts, bounds, 0)) {
        yield { type: 'xstate.done.actor.restorer', output: { ...end, snapshots } }
      }
    }
    if (mayCrash) yield { type: 'xstate.error.actor.restorer', error: 'restorer broke' }
  }

  if (bounds.undelivered > 0) yield* regions(world, facts, bounds)
  if (world.publisher === 'parking') yield { type: 'publish.parked' }
  if (world.publisher !== 'gone' && mayCrash) {
    yield { type: 'xstate.error.actor.publisher', error: 'publisher broke' }
  }
}

function snapshotCounts(end: CommitOutcome, facts: IndexerFacts, bounds: Bounds, early: number): number[] {
  if (end.landed === 0) return early === 0 ? [0] : []
  return facts.undelivered < bounds.undelivered ? [early, early + 1] : [early]
}

/** What is on the wire settles also after a halt; nothing more is offered then. */
function* regions(world: World, facts: IndexerFacts, bounds: Bounds): Generator<ModelEvent> {
  if (world.publisher !== 'free' && world.publisher !== 'parking') return
  const settles = (settled: number, delivered: boolean, error: unknown = null): ModelEvent => ({
    type: 'region.settled',
    settled,
    delivered,
    error,
  })
  const isFree = world.publisher === 'free'
  const mayQuarantine = !facts.requireRegions || world.failuresLeft > 0
  // the first half of a group may be settled before the end of the whole is told
  const isEarly = isFree && facts.undelivered === 0 && (world.committer?.batches ?? 0) > 1
  if (facts.undelivered > 0 || isEarly) {
    yield settles(1, true)
    yield settles(1, false)
    if (mayQuarantine) yield settles(1, false, 'unreachable')
  }
  if (mayQuarantine) yield settles(0, false, 'unreachable')
  if (isFree && world.offersLeft > 0) {
    if (facts.undelivered < bounds.undelivered) yield { type: 'publish.offered', snapshots: 1 }
    yield settles(0, true)
  }
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
        unsettled: world.unsettled + output.snapshots,
        marksUnsaved: world.marksUnsaved || (!landedAll && world.marksInFlight),
        marksInFlight: false,
      }
    }
    case 'xstate.done.actor.restorer': {
      const output = event['output'] as CommitOutcome
      const { told } = world.restorer!
      const staged = output.status === 'committed' ? output.stagedBatches : world.staged
      const unsettled = world.unsettled + output.snapshots
      return { ...(isBad(output, told) ? costly : world), restorer: null, staged, unsettled }
    }
    case 'publish.offered':
      return {
        ...world,
        unsettled: world.unsettled + (event['snapshots'] as number),
        offersLeft: world.offersLeft - 1,
      }
    case 'region.settled':
      return afterSettled(facts.requireRegions && event['error'] !== null ? costly : world, event)
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

function afterSettled(world: World, event: ModelEvent): World {
  const settled = event['settled'] as number
  const isDelivered = event['delivered'] === true
  const unsettled = world.unsettled - settled
  const { committer } = world
  return {
    ...world,
    unsettled,
    marksUnsaved: world.marksUnsaved || isDelivered,
    offersLeft: world.offersLeft - (isDelivered && settled === 0 ? 1 : 0),
    committer: unsettled < 0 && committer !== null ? { ...committer, early: -unsettled } : committer,
  }
}

function afterSpawn(before: IndexerState, world: World, id: string, step: Step): World {
  if (id === 'committer') {
    inTurn(world.committer === null && world.restorer === null, 'I1: a commit starts beside another', before)
    const { batches } = step.spawned.find((child) => child.id === id)!.input as { batches: number }
    return {
      ...world,
      committer: { told: [], batches, early: 0 },
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
  if (!condition) throw new Error(`${message}, at ${indexerKey(before)}`)
}
