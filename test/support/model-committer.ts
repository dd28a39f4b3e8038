/**
 * The world around a committer: a wire that answers every `write` and every `resolve` with one of its words, late
 * or never, and a parent that may halt, recall or cut at any time. Every batch is ten checkpoints.
 */
import { committerMachine } from '../../machines/committer.machine.ts'
import type { CommitterContext, CommitterInput } from '../../machines/committer.machine.ts'
import type { Model, ModelEvent, ModelState, Step } from './model.ts'

export interface WireWorld {
  readonly wire: 'quiet' | 'writing' | 'resolving' | 'gone'
  /** The socket was destroyed by the chart: the answer can only be that it was lost, or one that crossed. */
  readonly destroyed: boolean
  /** Whether it is known on this side what became of the last write. */
  readonly fate: 'known' | 'open'
  /** Batches that the world knows to have landed. */
  readonly landed: number
}

export type CommitterState = ModelState<WireWorld>

export const committerGroups: readonly Pick<CommitterInput, 'kind' | 'batches'>[] = [
  { kind: 'commit', batches: 3 },
  { kind: 'commit', batches: 1 },
  // a last delivery mark, with no batch
  { kind: 'commit', batches: 0 },
  { kind: 'rollback', batches: 1 },
]

export function committerModel(group: Pick<CommitterInput, 'kind' | 'batches'>): Model<WireWorld> {
  const from = 100
  const upTo = group.kind === 'rollback' ? from - 10 : from + 10 * group.batches
  const input: CommitterInput = { ...group, from, upTo, commitDeadlineMs: 1_000 }
  return {
    machine: committerMachine,
    input,
    world: { wire: 'writing', destroyed: false, fate: 'open', landed: 0 },
    says: (state) => [...says(state, group.kind)],
    hears,
    key,
  }
}

export function contextOf(state: CommitterState): CommitterContext {
  return state.chart.context as CommitterContext
}

function* says(state: CommitterState, kind: CommitterInput['kind']): Generator<ModelEvent> {
  const { wire } = state.world
  const context = contextOf(state)
  const landing = {
    batches: context.window,
    committed: kind === 'rollback' ? context.upTo : context.committed + 10 * context.window,
    stagedBatches: 0,
    stagedBytes: 0,
    groupLimit: 2,
    snapshots: 0,
  }
  yield { type: 'halt' }
  if (kind === 'commit') yield { type: 'recall' }
  yield { type: 'cut' }
  if (wire === 'writing') {
    yield { type: 'frames.flushed' }
    yield { type: 'write.started', upTo: context.upTo }
    yield { type: 'write.landed', ...landing }
    yield { type: 'write.lost', error: 'lost', retryInMs: 1 }
    yield { type: 'write.deferred', error: 'deferred', retryInMs: 1 }
    yield { type: 'write.refused', error: 'refused', retryInMs: 1 }
  }
  if (wire === 'resolving') {
    // a refusal is a definite answer: only a write whose answer was lost can turn out to have landed
    if (!context.refused) yield { type: 'resolve.landed', ...landing }
    yield { type: 'resolve.notLanded', retryInMs: 1 }
    yield { type: 'resolve.lost', error: 'resolve lost', retryInMs: 1 }
    yield { type: 'resolve.superseded', owner: { epoch: 2, host: 'other', pid: 2 } }
    yield { type: 'resolve.reverted', error: 'reverted' }
  }
  if (wire !== 'gone') yield { type: 'xstate.error.actor.wire', error: 'wire broke' }
}

function hears(before: CommitterState, event: ModelEvent, step: Step): WireWorld {
  let world = afterWord(before, event)
  for (const { to, type } of step.commands) {
    if (to !== 'wire') continue
    if (type === 'write' || type === 'resolve') {
      if (world.wire !== 'quiet') throw new Error(`I10: ${type} while the wire is ${world.wire}`)
      const wire = type === 'write' ? 'writing' : 'resolving'
      world = { ...world, wire, destroyed: false, fate: type === 'write' ? 'open' : world.fate }
    } else if (type === 'destroy') {
      world = { ...world, destroyed: true }
    } else if (type === 'cut') {
      world = { ...world, wire: 'gone' }
    } else {
      throw new Error(`the wire does not know ${type}`)
    }
  }
  return world
}

function afterWord({ world }: CommitterState, event: ModelEvent): WireWorld {
  const quiet: WireWorld = { ...world, wire: 'quiet', destroyed: false }
  switch (event.type) {
    case 'write.landed':
    case 'resolve.landed':
      return { ...quiet, fate: 'known', landed: world.landed + (event['batches'] as number) }
    case 'write.lost':
    case 'resolve.lost':
      return quiet
    // nothing landed: Postgres said so itself
    case 'write.deferred':
      return { ...quiet, fate: 'known' }
    // not believed before the row still names us
    case 'write.refused':
      return quiet
    case 'resolve.notLanded':
    case 'resolve.superseded':
    case 'resolve.reverted':
      return { ...quiet, fate: 'known' }
    case 'xstate.error.actor.wire':
      return { ...world, wire: 'gone' }
    default:
      return world
  }
}

function key(state: CommitterState): string {
  const { chart, world, timers } = state
  const context = contextOf(state)
  const { landed, window, lostInARow, refused, halted, recalled, expired } = context
  const facts = [landed, window, Math.min(lostInARow, 3), refused, halted, recalled, expired]
  return JSON.stringify([
    chart.value,
    facts,
    context.error !== null,
    context.inDoubt !== null,
    Object.values(world),
    timers.map((id) => id.split('.').slice(2).join('.')),
  ])
}
