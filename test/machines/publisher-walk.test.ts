/**
 * Every order of everything that an outbox, an indexer, two delivery workers and a clock may say to a publisher and its
 * two regions, the real machines all three. What must hold is checked on every edge as it is drawn
 * (test/support/model-publisher.ts; of each region: model-region.ts).
 */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createActor, fromCallback, setup } from 'xstate'
import type { EventObject } from 'xstate'
import type { DeliveryCommand, DeliveryEvent, OutboxEvent } from '../../machines/events.ts'
import { defaultRegionLimits } from '../../machines/limits.ts'
import { publisherMachine } from '../../machines/publisher.machine.ts'
import { regionMachine } from '../../machines/region.machine.ts'
import type { RegionInput } from '../../machines/region.machine.ts'
import {
  cannotReach,
  describeTransition,
  endingAt,
  stuckAmong,
  transitionDefinitions,
  walk,
} from '../support/model.ts'
import type { ModelEvent, Walk } from '../support/model.ts'
import {
  checkPublisherEdge,
  owedTo,
  publisherModel,
  regionNames,
  regionWord,
} from '../support/model-publisher.ts'
import type { PublisherState, PublisherWorld } from '../support/model-publisher.ts'

let known: Walk<PublisherWorld> | undefined

/** Walked when a test first asks for it, so that what an edge breaks is the failure of a test. */
function walked(): Walk<PublisherWorld> {
  const regions = { a: { offers: 2, crashes: false }, b: { offers: 1, crashes: true } }
  known ??= walk(publisherModel({ attempts: 2, regions }), checkPublisherEdge)
  return known
}

test('I7 I13 hold on every edge', () => {
  console.log(`publisher: ${walked().states.size} states, ${walked().ways.length} transitions`)
  expect(walked().states.size).toBeGreaterThan(1_000)
})

test('every transition and every branch of it is taken', () => {
  expect(
    transitionDefinitions(publisherMachine)
      .filter((definition) => !walked().taken.has(definition))
      .map(describeTransition),
  ).toEqual([])
})

describe('no region waits for another', () => {
  test.each(regionNames)(
    'H55, I13: %s is settled by its own worker alone, whatever the other one does',
    (name) => {
      const { starts, stuck } = stuckAmong(
        endingAt(walked(), (state) => owedTo(state, name) === 0),
        ({ world }) => !world.halted && world.regions[name] !== undefined,
        ({ from, event }) => isHeardAlone(walked().states.get(from)!, event) || isAnswerOf(name, event),
      )
      expect(stuck).toBeNull()
      expect(starts).toBeGreaterThan(100)
    },
  )
})

describe('it parks', () => {
  test('from every state, and stays so', () => {
    expect(cannotReach(walked(), isParked)).toEqual([])
    const left = walked().ways.filter(
      ({ from, to }) => isParked(walked().states.get(from)!) && !isParked(walked().states.get(to)!),
    )
    expect(left).toEqual([])
  })

  test('I7 halted, in every order of the answers', () => {
    const { starts, stuck } = stuckAmong(
      endingAt(walked(), isParked),
      ({ world }) => world.halted,
      ({ from, event }) =>
        isHeardAlone(walked().states.get(from)!, event) ||
        regionNames.some((name) => isAnswerOf(name, event)),
    )
    expect(stuck).toBeNull()
    expect(starts).toBeGreaterThan(100)
  })

  test('H55 cut, even when no worker answers', () => {
    const { starts, stuck } = stuckAmong(
      endingAt(walked(), isParked),
      ({ world }) => world.cut,
      ({ from, event }) => isHeardAlone(walked().states.get(from)!, event),
    )
    expect(stuck).toBeNull()
    expect(starts).toBeGreaterThan(50)
  })
})

describe('with real actors and a faked clock', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => {
    expect(vi.getTimerCount(), 'I16: a timer is left').toBe(0)
    vi.useRealTimers()
  })

  test('H55 a region that never answers has its own deadline, its attempts and its probes', () => {
    const run = start()
    const { attempts, attemptMs, probeMs } = defaultRegionLimits
    run.offer({ type: 'region.offered', region: 'a', snapshots: 1 })
    for (let attempt = 1; attempt <= attempts; attempt++) {
      expect(run.told).toEqual([`a: deliver ${attempt}`])
      run.deliveries['a']!({ type: 'delivery.sent' })
      vi.advanceTimersByTime(attemptMs - 1)
      expect(run.told).toHaveLength(1)
      vi.advanceTimersByTime(1)
      expect(run.told.splice(0, 2)[1]).toBe('a: cut')
      // after a late attempt there is no pause
      if (attempt < attempts) vi.advanceTimersByTime(1)
    }
    expect(run.heard).toEqual([
      { ...settled, region: 'a', delivered: false, error: { code: 'REGION_DEADLINE', ms: attemptMs } },
    ])
    vi.advanceTimersByTime(probeMs - 1)
    expect(run.told).toEqual([])
    vi.advanceTimersByTime(1)
    expect(run.told).toEqual([`a: deliver ${attempts}`])
    run.deliveries['a']!({ type: 'delivery.done' })
    expect(run.heard[1]).toEqual({ ...settled, region: 'a', settled: 0 })
    run.stop()
  })

  test('H55, I13: one that waits for its next attempt delays no other', () => {
    const run = start()
    run.offer({ type: 'region.offered', region: 'a', snapshots: 1 })
    run.deliveries['a']!({ type: 'delivery.failed', error: 'unreachable', permanent: false, retryInMs: 70 })
    run.offer({ type: 'region.offered', region: 'b', snapshots: 1 })
    run.deliveries['b']!({ type: 'delivery.done' })
    expect(run.heard).toEqual([{ ...settled, region: 'b' }])
    vi.advanceTimersByTime(69)
    expect(run.told).toEqual(['a: deliver 1', 'b: deliver 1'])
    vi.advanceTimersByTime(1)
    expect(run.told.at(-1)).toBe('a: deliver 2')
    run.stop()
  })

  test('I7 an outbox that throws breaks the publisher, and stops every delivery with it', () => {
    const run = start()
    for (const region of regionNames) run.offer({ type: 'region.offered', region, snapshots: 1 })
    run.breakOutbox()
    expect(run.heard).toEqual([new Error('outbox broke')])
    expect(run.stopped).toEqual(['a', 'b'])
    run.stop()
  })
})

const settled = { type: 'region.settled', settled: 1, delivered: true, error: null } as const

/** A publisher whose workers are silent: the test speaks for them and reads what they were told. */
function start() {
  const told: string[] = []
  const heard: unknown[] = []
  const stopped: string[] = []
  const deliveries: Record<string, (event: DeliveryEvent) => void> = {}
  let offer = (_event: OutboxEvent): void => undefined
  const outbox = fromCallback<EventObject>(({ sendBack, receive }) => {
    offer = sendBack
    receive(() => {
      throw new Error('outbox broke')
    })
  })
  const delivery = fromCallback<DeliveryCommand, RegionInput>(({ input: { region }, sendBack, receive }) => {
    deliveries[region] = sendBack
    receive((command) => {
      told.push(`${region}: ${command.type}${command.type === 'deliver' ? ` ${command.attempt}` : ''}`)
    })
    return () => void stopped.push(region)
  })
  const region = regionMachine.provide({ actors: { delivery } })
  const publisher = publisherMachine.provide({ actors: { outbox, region } })
  const host = setup({ actors: { publisher } }).createMachine({
    invoke: {
      id: 'publisher',
      src: 'publisher',
      input: { limits: defaultRegionLimits },
      onError: { actions: ({ event }) => void heard.push(event.error) },
    },
    on: { '*': { actions: ({ event }) => void heard.push(event) } },
  })
  const actor = createActor(host).start()
  return {
    told,
    heard,
    stopped,
    deliveries,
    offer: (event: OutboxEvent) => offer(event),
    breakOutbox: () => actor.getSnapshot().children.publisher!.send({ type: 'halt' }),
    stop: () => actor.stop(),
  }
}

function isParked({ chart }: PublisherState): boolean {
  return chart.value === 'parked'
}

/** What was said by a region is heard before anything else. */
function isHeardAlone({ world }: PublisherState, event: ModelEvent): boolean {
  return world.mailbox[0] === event
}

/** A pause ends by itself; deadlines and probes are what is to be shown unnecessary. */
function isAnswerOf(name: string, event: ModelEvent): boolean {
  const to = regionWord(event)
  if (to?.name !== name) return false
  return to.word.startsWith('delivery.') || to.word.startsWith('xstate.after.retryIn')
}
