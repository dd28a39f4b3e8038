/**
 * The model of the root chart (model-indexer.ts), with everything left out that the workers of this version cannot be
 * made to say. What is left out has a reason each, so that the walk of the chart can be told what of it was replayed.
 */
import type { IndexerFacts } from '../../machines/facts.ts'
import type { CommitOutcome } from '../../machines/outcome.ts'
import { factsOf, indexerModel, type Bounds, type World } from './model-indexer.ts'
import { lanesOf } from './model-invariants.ts'
import type { Model, ModelEvent, ModelState, Step } from './model.ts'

export interface ReplayWorld extends World {
  /** The frames of the write on the wire are said to be flushed. */
  readonly flushed: boolean
  /** The running batch has failed: its last word follows in the same turn. */
  readonly batchFailed: boolean
  /** The source has thrown: no iterator is left to wait for. */
  readonly sourceFailed: boolean
}

export type ReplayState = ModelState<ReplayWorld>

/** Why a transition of the walk is not replayed on the real indexer. */
export type Reason =
  | 'a worker that throws'
  | 'regions'
  | 'between two words of one turn'
  | 'a word that crosses a command'
  | 'a rollback that goes wrong'
  | 'read-ahead full or with room again'
  | 'frames flushed twice'
  | 'a commit that ends otherwise than its wire can'
  | 'split before it was told'
  | 'a pull that fails'
  | 'preloaded twice or not at all'

export function replayModel(bounds: Bounds): Model<ReplayWorld> {
  const base = indexerModel(bounds)
  return {
    ...base,
    world: { ...base.world, flushed: false, batchFailed: false, sourceFailed: false },
    says: (state) => realised(base, state).filter((event) => reasonAgainst(state, event) === null),
    fires: (state, type) => reasonAgainst(state, { type }) === null,
    hears: (before, event, step) => hears(base, before, event, step),
    key: (state) => {
      const { flushed, batchFailed, sourceFailed } = state.world
      if (state.status !== 'active') return base.key(state)
      return `${base.key(state)} ${flushed ? 'f' : ''}${batchFailed ? 'b' : ''}${sourceFailed ? 's' : ''}`
    },
  }
}

/** The model of the walk as it is, but for the numbers: a rollback starts the group size anew. */
export function wholeModel(bounds: Bounds): Model<World> {
  const base = indexerModel(bounds)
  return { ...base, says: (state) => realised(base, state) }
}

function realised(base: Model<World>, state: ModelState<World>): ModelEvent[] {
  return base.says(state).map((event) => {
    if (event.type !== 'xstate.done.actor.restorer') return event
    const output = event['output'] as CommitOutcome
    return output.status === 'committed' ? { ...event, output: { ...output, groupLimit: 1 } } : event
  })
}

function hears(base: Model<World>, before: ReplayState, event: ModelEvent, step: Step): ReplayWorld {
  const world = base.hears(before, event, step) as ReplayWorld
  const isNewCommit = step.spawned.some(({ id }) => id === 'committer')
  const wasCancelling = before.world.computer === 'cancelling'
  return {
    ...world,
    flushed: world.committer !== null && !isNewCommit && (world.flushed || event.type === 'frames.flushed'),
    batchFailed:
      world.computer === 'cancelling' &&
      (world.batchFailed || (wasCancelling && event.type === 'batch.failed')),
    sourceFailed: world.sourceFailed || event.type === 'source.failed',
  }
}

/** The word that a worker says in the same turn as the one before: nothing can come between. */
export function nextInTurn(state: ModelState<World>): string | null {
  const { world, chart, timers } = state
  const lanes = lanesOf(chart)
  if (lanes === null) return null
  const { batchFailed, sourceFailed } = world as Partial<ReplayWorld>
  const facts = factsOf(state)
  const isDue = !timers.some((id) => id.includes('failDeadline'))
  if (lanes.control === 'failing' && isDue) {
    if (world.sources === 'closing') return 'source.closed'
    if (world.computer === 'cancelling') return 'batch.cancelled'
    return 'xstate.done.actor.committer'
  }
  if (lanes.control === 'rollingBack.halting' && isDue) return 'xstate.done.actor.restorer'
  // a rollback of what is committed goes over the wire
  if (world.restorer !== null && !isBeyond(facts)) return 'xstate.done.actor.restorer'
  if (world.computer === 'cancelling' && (facts.running === null || batchFailed === true)) {
    return 'batch.cancelled'
  }
  if (world.sources === 'closing' && sourceFailed === true) return 'source.closed'
  return world.computer === 'pulling' && facts.sourcesEnded ? 'pull.ended' : null
}

export function reasonAgainst(state: ModelState<World>, event: ModelEvent): Reason | null {
  const { world } = state
  const { type } = event
  if (type.startsWith('xstate.error')) return 'a worker that throws'
  if (type.startsWith('region.') || type.startsWith('publish.')) return 'regions'
  const next = nextInTurn(state)
  if (next !== null && type !== next) return 'between two words of one turn'
  switch (type) {
    case 'open.failed':
      return world.opener === 'cancelled' ? 'a word that crosses a command' : null
    case 'source.full':
    case 'source.room':
      return 'read-ahead full or with room again'
    case 'source.ended':
    case 'source.failed':
    case 'source.fork':
      return world.sources === 'closing' ? 'a word that crosses a command' : null
    case 'batch.preloaded':
    case 'batch.handled': {
      if (world.computer === 'cancelling') return 'a word that crosses a command'
      const at = type === 'batch.preloaded' ? 'cpu.preloading' : 'cpu.handling'
      return lanesOf(state.chart)?.compute === at ? null : 'preloaded twice or not at all'
    }
    case 'batch.pulled':
    case 'pull.ended':
      return world.computer === 'cancelling' ? 'a word that crosses a command' : null
    case 'batch.failed':
      return world.computer === 'pulling' ? 'a pull that fails' : null
    case 'frames.flushed':
      return (world as Partial<ReplayWorld>).flushed === true ? 'frames flushed twice' : null
    case 'xstate.done.actor.committer': {
      const { told, batches } = world.committer!
      return againstCommit(event['output'] as CommitOutcome, told, batches)
    }
    case 'xstate.done.actor.restorer':
      return againstRollback(event['output'] as CommitOutcome, world.restorer!.told, factsOf(state))
    default:
      return null
  }
}

function againstCommit(output: CommitOutcome, told: readonly string[], batches: number): Reason | null {
  const { status, landed, error, inDoubt } = output
  if (status === 'committed') return told.includes('cut') ? 'between two words of one turn' : null
  if (told.includes('cut')) {
    if (landed > 0) return 'split before it was told'
    const isCut = status === 'failed' && error === null && (inDoubt !== null || batches === 0)
    return isCut ? null : 'between two words of one turn'
  }
  if (landed > 0 && told.length > 0) return 'split before it was told'
  if (status === 'failed' && error === null) return 'a commit that ends otherwise than its wire can'
  // a halted committer fails
  if (status === 'recalled' && told.includes('halt')) return 'a commit that ends otherwise than its wire can'
  return null
}

function againstRollback(output: CommitOutcome, told: readonly string[], facts: IndexerFacts): Reason | null {
  if (isBeyond(facts)) return againstCommit(output, told, 1)
  return output.status === 'committed' ? null : 'a rollback that goes wrong'
}

/** Something committed lies above the fork. */
export function isBeyond({ fork, committed }: IndexerFacts): boolean {
  return fork !== null && fork < committed
}
