/**
 * Every order of everything that workers, host and clock may say to the root chart, at small sizes. The invariants
 * are checked on every edge as it is drawn (test/support/model-invariants.ts); here is what a whole walk shows.
 */
import { describe, expect, test } from 'vitest'
import type { AnyMachineSnapshot, AnyTransitionDefinition } from 'xstate'
import { indexerMachine } from '../../machines/indexer.machine.ts'
import { isEnding } from '../../machines/facts.ts'
import {
  cannotReach,
  describeTransition,
  stateNodes,
  stuckAmong,
  transitionDefinitions,
  walk,
} from '../support/model.ts'
import type { Walk } from '../support/model.ts'
import { factsOf, indexerModel } from '../support/model-indexer.ts'
import type { Bounds, IndexerState, World } from '../support/model-indexer.ts'
import { checkIndexerEdge, lanesOf } from '../support/model-invariants.ts'

const small: Bounds = {
  budget: 1,
  forks: 1,
  failures: 1,
  undelivered: 0,
  partial: true,
  readAhead: false,
  crashes: false,
}

const walks: Record<string, Bounds> = {
  // three staged batches, a fork and a lower one during its drain, one failure, stop and abort anywhere
  'flow, forks and failure': { ...small, budget: 3, forks: 2, partial: false },
  'a worker breaks its word': { ...small, readAhead: true, crashes: true },
  'a second error': { ...small, forks: 0, failures: 2, undelivered: 1, crashes: true },
  'regions and delivery marks': { ...small, undelivered: 1, partial: false },
  // groups of two, of which one lands, and is delivered before the other
  'a prefix lands': { ...small, budget: 3, forks: 0, undelivered: 1 },
  'a region is required': { ...small, forks: 0, undelivered: 1, offers: 1, requireRegions: true },
}

/** Transitions that no walk takes, each with its reason. */
const neverTaken: Record<string, string> = {
  'indexer.active ─ batch.failed → ·':
    'a worker fails a batch only between pull and its last word, where the compute lane itself listens; kept so that an error out of turn is recorded rather than lost',
}

const walked = new Map<string, Walk<World>>()
const names = Object.keys(walks)

/** Walked when a test first asks for it, so that what an edge breaks is the failure of a test. */
function of(name: string): Walk<World> {
  let all = walked.get(name)
  if (all === undefined) {
    all = walk(indexerModel(walks[name]!), checkIndexerEdge)
    walked.set(name, all)
  }
  return all
}
const everything = () => names.map(of)
const isFinal = (state: IndexerState) => state.status === 'done'

describe('I1 I2 I3 I5 I6 I7 I11 hold on every edge', { timeout: 60_000 }, () => {
  test.each(names)('%s', (name) => {
    const { states, ways } = of(name)
    console.log(`indexer, ${name}: ${states.size} states, ${ways.length} transitions`)
    expect(states.size).toBeGreaterThan(250)
    expect([...states.values()].every(({ status }) => status === 'active' || status === 'done')).toBe(true)
  })
})

describe('nothing is drawn in vain', () => {
  test('every state is entered', () => {
    const entered = new Set<string>()
    for (const { states, taken } of everything()) {
      for (const { chart } of states.values()) for (const { id } of nodesOf(chart)) entered.add(id)
      // a state that is left in the step that enters it is never seen at rest
      for (const { source } of taken) entered.add((source as { id: string }).id)
    }
    expect(
      stateNodes(indexerMachine)
        .filter(({ id }) => !entered.has(id))
        .map(({ id }) => id),
    ).toEqual([])
  })

  test('every transition and every branch of it is taken', () => {
    const taken = new Set<AnyTransitionDefinition>(everything().flatMap((each) => [...each.taken]))
    const untaken = transitionDefinitions(indexerMachine).filter((definition) => !taken.has(definition))
    expect(untaken.map(describeTransition).sort()).toEqual(Object.keys(neverTaken).sort())
  })
})

describe('every run can end', () => {
  test.each(names)('I16 from every state an end is reachable: %s', (name) => {
    expect(cannotReach(of(name), isFinal)).toEqual([])
  })

  test.each(names)('after stop, abort or an error every order of the answers ends it: %s', (name) => {
    const { starts, stuck } = stuckAmong(
      of(name),
      (state) => isOpeningAsked(state) || factsOf(state).exit !== null || isEnding(factsOf(state)),
      ({ event }) => isAnswer(event.type),
    )
    expect(stuck).toBeNull()
    expect(starts).toBeGreaterThan(100)
  })

  test.each(names)('a drain and a failure end even when no worker answers before it is cut: %s', (name) => {
    const all = of(name)
    const { starts, stuck } = stuckAmong(
      all,
      (state) => isEnding(factsOf(state)) || lanesOf(state.chart)?.control.startsWith('draining') === true,
      ({ from, event }) => {
        if (event.type.startsWith('xstate.after')) return true
        const state = all.states.get(from)!
        // a rollback has its own deadline: the committer's (committer-walk.test.ts)
        if (event.type === 'xstate.done.actor.restorer')
          return (event['output'] as { status: string }).status === 'failed'
        return isCut(state) && isLastWord(event.type)
      },
    )
    expect(stuck).toBeNull()
    expect(starts).toBeGreaterThan(100)
  })
})

describe('snapshots are plain JSON', () => {
  test.each(names)('small, serialisable, the same after a round trip: %s', (name) => {
    let largest = 0
    for (const { chart } of of(name).states.values()) {
      const persisted: unknown = indexerMachine.getPersistedSnapshot(chart as never)
      const text = JSON.stringify(persisted)
      largest = Math.max(largest, text.length)
      // what is undefined has no place in JSON; everything else comes back as it was
      if (JSON.stringify(JSON.parse(text)) !== text) expect(JSON.parse(text)).toEqual(persisted)
      expect(plain(chart.context)).toBeNull()
    }
    expect(largest).toBeLessThan(6_000)
  })
})

function nodesOf(chart: AnyMachineSnapshot): readonly { readonly id: string }[] {
  return (chart as unknown as { _nodes: readonly { id: string }[] })._nodes
}

function isOpeningAsked(state: IndexerState): boolean {
  return state.world.opener === 'cancelled'
}

/** Words that somebody owes, whatever they are; new trouble and deadlines are left out. */
function isAnswer(type: string): boolean {
  if (type.startsWith('xstate.after')) return type.includes('handOver')
  if (type.startsWith('xstate.error')) return false
  return !['stop', 'abort', 'source.fork', 'source.failed', 'source.full', 'source.room'].includes(type)
}

function isLastWord(type: string): boolean {
  const lastWords = ['source.closed', 'batch.cancelled', 'publish.parked', 'xstate.done.actor.committer']
  return lastWords.includes(type)
}

/** The deadline of the failing state has passed: every lane has been cut. */
function isCut({ chart, timers }: IndexerState): boolean {
  return lanesOf(chart)?.control === 'failing' && !timers.some((id) => id.includes('failDeadline'))
}

/** The path to the first value that JSON cannot carry. */
function plain(value: unknown, path = 'context'): string | null {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return null
  if (typeof value === 'number') return Number.isFinite(value) ? null : path
  if (typeof value !== 'object') return `${path}: ${typeof value}`
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== Array.prototype) return `${path}: not plain`
  for (const [key, inner] of Object.entries(value)) {
    const found = plain(inner, `${path}.${key}`)
    if (found !== null) return found
  }
  return null
}
