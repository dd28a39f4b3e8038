/**
 * One region: its committed snapshots on their way to Redis.
 *
 *   idle ─ offered ─► persisting ─ done ─► idle
 *                        │ ▲ └ permanent, or the last attempt ─► quarantined ─ probe, or another snapshot ─► persisting
 *        transient, late ▼ │ after a pause with full jitter
 *                      backingOff
 *
 * What must hold: every snapshot offered is settled exactly once, delivered or not; one attempt at a time, so that a
 * region's snapshots keep their order; whatever befalls a region is its own affair (I13): it never ends in an error.
 */
import { and, assign, fromCallback, not, or, sendParent, sendTo, setup, stateIn } from 'xstate'
import type { DeliveryCommand, RegionEvent } from './events.ts'
import { timerMs, type RegionLimits } from './limits.ts'

export interface RegionInput {
  readonly region: string
  readonly limits: RegionLimits
}

export interface RegionFacts extends RegionInput {
  /** Snapshots offered and in no attempt yet; snapshots that the attempt under way covers. */
  readonly waiting: number
  readonly taken: number
  /** Attempts in a row that came to nothing. */
  readonly failures: number
  readonly retryInMs: number
  readonly error: unknown
  /** No retry of the same snapshot helps. */
  readonly permanent: boolean
}

const setupRegion = setup({
  types: {
    context: {} as RegionFacts,
    events: {} as RegionEvent,
    input: {} as RegionInput,
  },
  actors: { delivery: fromCallback<DeliveryCommand, RegionInput>(() => undefined) },
  guards: {
    waiting: ({ context }) => context.waiting > 0,
    permanent: ({ event }) => event.type === 'delivery.failed' && event.permanent,
    refused: ({ context }) => context.permanent,
    found: ({ event }) => event.type === 'offer' && event.found === true,
    lastAttempt: ({ context }) => context.failures + 1 >= context.limits.attempts,
  },
  actions: {
    recordOffer: assign({
      waiting: ({ context, event }) => context.waiting + (event.type === 'offer' ? event.snapshots : 0),
    }),
    /** Whatever waits is in this attempt: of several, the newest counts, or each in its turn. */
    take: assign({ taken: ({ context }) => context.taken + context.waiting, waiting: 0 }),
    deliver: sendTo('delivery', ({ context }: { context: RegionFacts }) => ({
      type: 'deliver',
      attempt: context.failures + 1,
    })),
    cutDelivery: sendTo('delivery', { type: 'cut' }),
    stopDelivery: sendTo('delivery', { type: 'stop' }),
    recordProgress: assign(({ event }) =>
      event.type === 'delivery.sent' && event.progress === true ? { failures: 0 } : {},
    ),
    recordDone: assign({ failures: 0, error: null, permanent: false }),
    recordFailure: assign(({ context, event }) =>
      event.type === 'delivery.failed'
        ? {
            failures: context.failures + 1,
            error: event.error,
            permanent: event.permanent,
            retryInMs: event.retryInMs,
          }
        : {},
    ),
    recordLate: assign({
      failures: ({ context }) => context.failures + 1,
      error: ({ context }) => ({ code: 'REGION_DEADLINE', ms: context.limits.attemptMs }),
      permanent: false,
      retryInMs: 0,
    }),
    recordCrash: assign({ error: ({ event }) => ('error' in event ? event.error : null) }),
    /** Another snapshot may be a sound one; one that only comes back from its quarantine has a single try. */
    recordFresh: assign({ failures: 0 }),
    recordProbe: assign({
      failures: ({ context }) => Math.max(0, context.limits.attempts - 1),
      retryInMs: 0,
    }),
    tellDelivered: sendParent(({ context: { region, taken } }: { context: RegionFacts }) => ({
      type: 'region.settled',
      region,
      settled: taken,
      delivered: true,
      error: null,
    })),
    tellUndelivered: sendParent(
      ({ context: { region, taken, waiting, error } }: { context: RegionFacts }) => ({
        type: 'region.settled',
        region,
        settled: taken + waiting,
        delivered: false,
        error,
      }),
    ),
    /** Another one that waits already may be sound. */
    tellRefused: sendParent(({ context: { region, taken, error } }: { context: RegionFacts }) => ({
      type: 'region.settled',
      region,
      settled: taken,
      delivered: false,
      error,
    })),
    tellParked: sendParent(({ context: { region } }: { context: RegionFacts }) => ({
      type: 'region.parked',
      region,
    })),
    dropTaken: assign({ taken: 0 }),
    dropAll: assign({ taken: 0, waiting: 0 }),
  },
  delays: {
    attemptDeadline: ({ context }) => timerMs(context.limits.attemptMs),
    retryIn: ({ context }) => timerMs(context.retryInMs),
    probeIn: ({ context }) => timerMs(context.limits.probeMs),
  },
})

export const regionMachine = setupRegion.createMachine({
  id: 'region',
  context: ({ input }) => ({
    ...input,
    waiting: 0,
    taken: 0,
    failures: 0,
    retryInMs: 0,
    error: null,
    permanent: false,
  }),
  options: { maxIterations: 1_000 },
  invoke: {
    id: 'delivery',
    src: 'delivery',
    input: ({ context }) => context,
    onError: [
      {
        guard: or([stateIn('#region.settling'), stateIn('#region.parked')]),
        target: '.parked',
        actions: 'recordCrash',
      },
      { target: '.broken', actions: ['recordCrash', 'tellUndelivered', 'dropAll'] },
    ],
  },
  initial: 'idle',
  on: {
    offer: { actions: 'recordOffer' },
    halt: '.parked',
  },
  states: {
    idle: {
      description: 'nothing committed waits',
      always: { guard: 'waiting', target: 'persisting' },
    },
    persisting: {
      description: 'what is committed is on its way',
      entry: ['take', 'deliver'],
      initial: 'reading',
      on: {
        'delivery.done': { target: 'idle', actions: ['recordDone', 'tellDelivered', 'dropTaken'] },
        'delivery.failed': [
          {
            guard: 'permanent',
            target: 'quarantined',
            actions: ['recordFailure', 'tellRefused', 'dropTaken'],
          },
          {
            guard: 'lastAttempt',
            target: 'quarantined',
            actions: ['recordFailure', 'tellUndelivered', 'dropAll'],
          },
          { target: 'backingOff', actions: 'recordFailure' },
        ],
        halt: 'settling',
      },
      states: {
        reading: {
          description: 'its rows are read again: nothing that waits for Redis is kept in memory',
          on: { 'delivery.sent': 'sending' },
        },
        sending: {
          description: 'one script, one round trip',
          on: { 'delivery.sent': { target: 'sending', reenter: true, actions: 'recordProgress' } },
          after: {
            attemptDeadline: [
              {
                guard: 'lastAttempt',
                target: '#region.quarantined',
                actions: ['cutDelivery', 'recordLate', 'tellUndelivered', 'dropAll'],
              },
              { target: '#region.backingOff', actions: ['cutDelivery', 'recordLate'] },
            ],
          },
        },
      },
    },
    backingOff: {
      description: 'a fault that may pass; the next attempt takes whatever is the newest then',
      after: { retryIn: 'persisting' },
    },
    quarantined: {
      description: 'given up for now: nobody waits for it, and it is tried again from time to time',
      always: [
        // what was refused may have been that snapshot alone; a server that cannot be reached is left in peace
        { guard: and(['waiting', 'refused']), target: 'persisting', actions: 'recordFresh' },
        { guard: and(['waiting', not('refused')]), actions: ['tellUndelivered', 'dropAll'] },
      ],
      on: {
        offer: [
          {
            guard: and(['found', not('refused')]),
            // not at once: an answer of what was cut may stand in line
            target: 'backingOff',
            actions: ['recordOffer', 'recordProbe'],
          },
          { actions: 'recordOffer' },
        ],
      },
      after: { probeIn: { target: 'persisting', actions: 'recordProbe' } },
    },
    settling: {
      description: 'the run ends: the attempt under way is let settle, or cut; nothing else starts',
      on: {
        'delivery.done': { target: 'parked', actions: ['recordDone', 'tellDelivered', 'dropTaken'] },
        'delivery.failed': { target: 'parked', actions: 'recordFailure' },
        'delivery.sent': { target: 'parked', actions: 'stopDelivery' },
        cut: { target: 'parked', actions: 'cutDelivery' },
        // told again: not a reason to leave what is on the wire
        halt: {},
      },
    },
    broken: {
      description: 'its worker threw: nothing of it is delivered any more in this run',
      always: { guard: 'waiting', actions: ['tellUndelivered', 'dropAll'] },
    },
    parked: {
      description: 'nothing of it is on the wire, and nothing will be',
      entry: 'tellParked',
      on: { halt: { actions: 'tellParked' }, cut: { actions: 'tellParked' } },
    },
  },
})
