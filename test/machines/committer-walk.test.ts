/**
 * Every order of everything that a wire, a parent and a clock may say to a committer: groups of three batches, of
 * one, of none (a delivery mark alone), and a rollback. Invariants are checked on every edge as it is drawn.
 */
import { describe, expect, test } from 'vitest'
import type { AnyTransitionDefinition } from 'xstate'
import { committerMachine } from '../../machines/committer.machine.ts'
import type { CommitOutcome } from '../../machines/outcome.ts'
import {
  cannotReach,
  describeTransition,
  stateNodes,
  stuckAmong,
  transitionDefinitions,
  walk,
} from '../support/model.ts'
import type { ModelEvent, Walk } from '../support/model.ts'
import { committerGroups, committerModel, contextOf } from '../support/model-committer.ts'
import type { WireWorld } from '../support/model-committer.ts'
import { committerEnds } from '../support/model-ends.ts'
import { checkCommitterEdge } from '../support/model-invariants.ts'

const walked = new Map<string, Walk<WireWorld>>()
const groups = committerGroups.map((group) => ({ ...group, name: `${group.kind} of ${group.batches}` }))

/** Walked when a test first asks for it, so that what an edge breaks is the failure of a test. */
function of(name: string): Walk<WireWorld> {
  let all = walked.get(name)
  if (all === undefined) {
    all = walk(committerModel(groups.find((group) => group.name === name)!), checkCommitterEdge)
    walked.set(name, all)
  }
  return all
}
const everything = () => groups.map(({ name }) => of(name))

describe('I2 I5 I7 I10 hold on every edge', () => {
  test.each(groups)('$name', ({ name }) => {
    const { states, ways } = of(name)
    console.log(`committer, ${name}: ${states.size} states, ${ways.length} transitions`)
    expect(states.size).toBeGreaterThan(100)
  })
})

test('every state is entered, every transition and every branch of it is taken', () => {
  const taken = new Set<AnyTransitionDefinition>(everything().flatMap((each) => [...each.taken]))
  const entered = new Set(
    [...taken].flatMap(({ source, target }) => [source, ...(target ?? [])] as { id: string }[]),
  )
  const ids = new Set([...entered].map(({ id }) => id))
  expect(
    transitionDefinitions(committerMachine)
      .filter((definition) => !taken.has(definition))
      .map(describeTransition),
  ).toEqual([])
  expect(
    stateNodes(committerMachine)
      .filter(({ id }) => !ids.has(id))
      .map(({ id }) => id),
  ).toEqual([])
})

describe('every commit ends', () => {
  test.each(groups)('from every state an end is reachable: $name', ({ name }) => {
    expect(cannotReach(of(name), ({ status }) => status === 'done')).toEqual([])
  })

  test.each(groups)('I7 halted, every order of the answers ends it: $name', ({ name }) => {
    const { starts, stuck } = stuckAmong(
      of(name),
      (state) => contextOf(state).halted,
      // the row can be asked for as long as the deadline allows; sooner or later it answers
      ({ event }) => isAnswer(event) && event.type !== 'resolve.lost',
    )
    expect(stuck).toBeNull()
    expect(starts).toBeGreaterThan(10)
  })

  test.each(groups)('past its deadline, every order of the answers ends it: $name', ({ name }) => {
    const { starts, stuck } = stuckAmong(
      of(name),
      (state) => contextOf(state).expired,
      ({ event }) => isAnswer(event),
    )
    expect(stuck).toBeNull()
    expect(starts).toBeGreaterThan(10)
  })

  test.each(groups)(
    'past its deadline it ends even when the wire never answers by itself: $name',
    ({ name }) => {
      const all = of(name)
      const { stuck } = stuckAmong(
        all,
        (state) => contextOf(state).expired && state.world.wire !== 'gone',
        ({ from, event }) => {
          if (event.type.startsWith('xstate.after')) return true
          // the one thing that needs nobody at the other end: a destroyed socket is lost
          return all.states.get(from)!.world.destroyed && event.type.endsWith('.lost')
        },
      )
      expect(stuck).toBeNull()
    },
  )
})

describe('the two walks speak of the same committer', () => {
  test.each(groups.filter(({ kind, batches }) => kind === 'commit' && batches > 0))(
    'the indexer walk offers every end that a $name has',
    ({ name, batches }) => {
      const offered = new Set<string>()
      for (const told of toldSets) {
        for (const end of committerEnds(told, Math.min(batches, 2), { committed: 100, uncommitted: 0 })) {
          offered.add(classOf(end, Math.min(batches, 2), told))
        }
      }
      const all = of(name)
      const ends = new Set<string>()
      for (const { from, to, event } of all.ways) {
        const state = all.states.get(to)!
        if (state.status !== 'done') continue
        // a broken wire is a failure that nobody asked for
        const before = contextOf(all.states.get(from)!)
        ends.add(classOf(state.output as CommitOutcome, batches, toldBy(before, event)))
      }
      expect([...ends].filter((end) => !offered.has(end))).toEqual([])
      expect(ends.size).toBeGreaterThan(5)
    },
  )
})

test('snapshots are plain JSON', () => {
  for (const { states } of everything()) {
    for (const { chart } of states.values()) {
      const persisted: unknown = committerMachine.getPersistedSnapshot(chart as never)
      expect(JSON.parse(JSON.stringify(persisted))).toEqual(persisted)
    }
  }
})

const toldSets = [
  [],
  ['halt'],
  ['recall'],
  ['halt', 'recall'],
  ['cut'],
  ['cut', 'halt'],
  ['cut', 'halt', 'recall'],
]

function toldBy(context: { halted: boolean; recalled: boolean }, event: ModelEvent): string[] {
  const told = [...(context.halted ? ['halt'] : []), ...(context.recalled ? ['recall'] : [])]
  return event.type === 'cut' ? [...told, 'cut'] : told
}

/** What of an end the root chart can tell apart. */
function classOf(end: CommitOutcome, batches: number, told: readonly string[]): string {
  const landed = end.landed === batches ? 'all' : end.landed === 0 ? 'none' : 'some'
  const isTold = told.includes('halt') || told.includes('cut') ? 'told to end' : 'by itself'
  const why = end.status === 'failed' ? [end.error === null ? 'no error' : 'error', isTold] : []
  const doubt = end.inDoubt === null ? [] : ['in doubt']
  return [end.status, landed, ...why, ...doubt].join(', ')
}

function isAnswer({ type }: ModelEvent): boolean {
  if (type === 'xstate.error.actor.wire') return false
  // pauses end by themselves; deadlines are what is to be shown unnecessary
  if (type.startsWith('xstate.after')) return type.includes('retryIn')
  return type.startsWith('write.') || type.startsWith('resolve.')
}
