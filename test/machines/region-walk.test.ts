/**
 * Every order of everything that an outbox, a delivery worker, a parent and a clock may say to a region: three snapshots,
 * three attempts. What must hold is checked on every edge as it is drawn (test/support/model-region.ts).
 */
import { describe, expect, test } from 'vitest'
import { regionMachine } from '../../machines/region.machine.ts'
import {
  cannotReach,
  describeTransition,
  endingAt,
  stateNodes,
  stuckAmong,
  transitionDefinitions,
  walk,
} from '../support/model.ts'
import type { ModelEvent, Walk } from '../support/model.ts'
import { checkRegionEdge, owed, regionModel } from '../support/model-region.ts'
import type { DeliveryWorld, RegionState } from '../support/model-region.ts'

let known: Walk<DeliveryWorld> | undefined

/** Walked when a test first asks for it, so that what an edge breaks is the failure of a test. */
function walked(): Walk<DeliveryWorld> {
  known ??= walk(regionModel({ offers: 3, attempts: 3, crashes: true, parts: 1 }), checkRegionEdge)
  return known
}

test('I7 I13 hold on every edge', () => {
  console.log(`region: ${walked().states.size} states, ${walked().ways.length} transitions`)
  expect(walked().states.size).toBeGreaterThan(500)
})

test('every state is entered, every transition and every branch of it is taken', () => {
  expect(
    transitionDefinitions(regionMachine)
      .filter((definition) => !walked().taken.has(definition))
      .map(describeTransition),
  ).toEqual([])
  const taken = [...walked().taken]
  const entered = taken.flatMap(({ source, target }) => [source, ...(target ?? [])] as { id: string }[])
  const ids = new Set(entered.map(({ id }) => id))
  expect(
    stateNodes(regionMachine)
      .filter(({ id }) => !ids.has(id))
      .map(({ id }) => id),
  ).toEqual([])
})

describe('every snapshot comes to something', () => {
  test('from every state `parked` is reachable, and nothing leaves it', () => {
    expect(cannotReach(walked(), isParked)).toEqual([])
    const left = walked().ways.filter(
      ({ from, to }) => isParked(walked().states.get(from)!) && !isParked(walked().states.get(to)!),
    )
    expect(left).toEqual([])
  })

  test('I13 unless it is halted, every order of the answers settles all that was offered', () => {
    const { starts, stuck } = stuckAmong(
      endingAt(walked(), isSettled),
      ({ world }) => !world.halted,
      ({ event }) => isAnswer(event),
    )
    expect(stuck).toBeNull()
    expect(starts).toBeGreaterThan(100)
  })

  test('H55 what is on the wire and never answered is settled by its deadline', () => {
    const { starts, stuck } = stuckAmong(
      endingAt(walked(), isSettled),
      ({ world, chart }) => !world.halted && !chart.matches({ persisting: 'reading' }),
      // reading is the database's affair, and the worker bounds it
      ({ event }) => isClock(event) || event.type === 'delivery.sent',
    )
    expect(stuck).toBeNull()
    expect(starts).toBeGreaterThan(50)
  })

  test('I7 halted, every order of the answers parks it', () => {
    const { starts, stuck } = stuckAmong(
      endingAt(walked(), isParked),
      ({ world }) => world.halted,
      ({ event }) => isAnswer(event),
    )
    expect(stuck).toBeNull()
    expect(starts).toBeGreaterThan(50)
  })
})

test('snapshots are plain JSON', () => {
  for (const { chart } of walked().states.values()) {
    const persisted: unknown = regionMachine.getPersistedSnapshot(chart as never)
    expect(JSON.parse(JSON.stringify(persisted))).toEqual(persisted)
  }
})

function isSettled(state: RegionState): boolean {
  return owed(state) === 0
}

function isParked({ chart }: RegionState): boolean {
  return chart.value === 'parked'
}

/** A pause ends by itself; deadlines and probes are what is to be shown unnecessary. */
function isAnswer({ type }: ModelEvent): boolean {
  return type.startsWith('delivery.') || type.startsWith('xstate.after.retryIn')
}

function isClock({ type }: ModelEvent): boolean {
  return type.startsWith('xstate.after.') && !type.includes('probeIn')
}
