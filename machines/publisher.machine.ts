/**
 * The regions of one run, or of one `publishRegions`: an actor for each, all at once. It settles when all have settled,
 * errors included; none of them costs another anything (I13).
 *
 * What is to be delivered is said by the outbox, the worker that knows the committed snapshots.
 */
import { assign, enqueueActions, fromCallback, sendParent, sendTo, setup } from 'xstate'
import type { PublisherEvent } from './events.ts'
import type { RegionLimits } from './limits.ts'
import { regionMachine } from './region.machine.ts'

export interface PublisherInput {
  readonly limits: RegionLimits
}

export interface PublisherFacts extends PublisherInput {
  /** Those that have an actor, in the order in which they came; and those that are not parked yet. */
  readonly regions: readonly string[]
  readonly unparked: readonly string[]
}

const setupPublisher = setup({
  types: {
    context: {} as PublisherFacts,
    events: {} as PublisherEvent,
    input: {} as PublisherInput,
  },
  actors: { outbox: fromCallback(() => undefined), region: regionMachine },
  guards: { allParked: ({ context }) => context.unparked.length === 0 },
  actions: {
    offer: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'region.offered') return
      const { region, snapshots, found } = event
      if (!context.regions.includes(region)) {
        enqueue.spawnChild('region', { id: actorOf(region), input: { region, limits: context.limits } })
        enqueue.assign({
          regions: [...context.regions, region],
          unparked: [...context.unparked, region],
        })
      }
      enqueue.sendTo(actorOf(region), { type: 'offer', snapshots, found })
    }),
    haltRegions: enqueueActions(({ context, enqueue }) => {
      for (const region of context.regions) enqueue.sendTo(actorOf(region), { type: 'halt' })
    }),
    cutRegions: enqueueActions(({ context, enqueue }) => {
      for (const region of context.unparked) enqueue.sendTo(actorOf(region), { type: 'cut' })
    }),
    recordParked: assign(({ context, event }) =>
      event.type === 'region.parked'
        ? { unparked: context.unparked.filter((region) => region !== event.region) }
        : {},
    ),
    stopOutbox: sendTo('outbox', { type: 'halt' }),
    tellSettled: sendParent(({ event }: { event: PublisherEvent }) => event),
    tellOffered: sendParent(({ event }: { event: PublisherEvent }) => event),
    tellLooked: sendParent(({ event }: { event: PublisherEvent }) => ({
      type: 'region.settled',
      settled: event.type === 'outbox.looked' ? event.snapshots : 0,
      delivered: false,
      error: null,
    })),
    tellParked: sendParent({ type: 'publish.parked' }),
  },
})

/** Of a region's actor, as an inspector shows it. */
export function actorOf(region: string): string {
  return `region:${region}`
}

export const publisherMachine = setupPublisher.createMachine({
  id: 'publisher',
  context: ({ input }) => ({ ...input, regions: [], unparked: [] }),
  options: { maxIterations: 1_000 },
  // one that throws takes the publisher with it: its parent hears the error, and every delivery is stopped
  invoke: { id: 'outbox', src: 'outbox' },
  initial: 'open',
  on: {
    'region.settled': { actions: 'tellSettled' },
    'region.parked': { actions: 'recordParked' },
  },
  states: {
    open: {
      description: 'what is committed is handed to its region',
      on: {
        'publish.offered': { actions: 'tellOffered' },
        'region.offered': { actions: 'offer' },
        'outbox.looked': { actions: 'tellLooked' },
        halt: 'parking',
      },
    },
    parking: {
      description: 'nothing new starts; what is on the wire settles, or is cut',
      entry: ['stopOutbox', 'haltRegions'],
      always: { guard: 'allParked', target: 'parked' },
      on: { cut: { actions: 'cutRegions' } },
    },
    parked: {
      description: 'nothing is on the wire, and nothing will be',
      entry: 'tellParked',
      on: { halt: { actions: 'tellParked' }, cut: { actions: 'tellParked' } },
    },
  },
})
