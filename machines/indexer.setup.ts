/**
 * The root chart's vocabulary: workers, guards, actions and delays by name. Guards ask facts or the lanes' states, actions
 * record facts or tell a worker; what follows from what is in `indexer.machine.ts`.
 */
import { assign, enqueueActions, fromCallback, sendTo, setup, stateIn } from 'xstate'
import { committerMachine } from './committer.machine.ts'
import type { ComputeCommand, IndexerEvent, OpenerCommand, PublishCommand, SourceCommand } from './events.ts'
import * as facts from './facts.ts'
import type { IndexerFacts, IndexerInput } from './facts.ts'
import { handOverMs, timerMs } from './limits.ts'
import type { IndexerOutcome } from './outcome.ts'
import type { PublisherInput } from './publisher.machine.ts'

const inert = () => undefined

/** Says it to the commit in flight, if there is one: an absent actor may not be spoken to. */
function tellCommitter(type: 'recall' | 'halt' | 'cut') {
  return enqueueActions<
    IndexerFacts,
    IndexerEvent,
    undefined,
    IndexerEvent,
    never,
    never,
    never,
    never,
    never
  >(({ enqueue, check }) => {
    const inFlight = stateIn('#indexer.active.commit.committing')
    if (check(inFlight as never)) enqueue.sendTo('committer', { type })
  })
}

export const setupIndexer = setup({
  types: {
    context: {} as IndexerFacts,
    events: {} as IndexerEvent,
    input: {} as IndexerInput,
    output: {} as IndexerOutcome,
  },
  actors: {
    opener: fromCallback<OpenerCommand>(inert),
    sources: fromCallback<SourceCommand>(inert),
    computer: fromCallback<ComputeCommand>(inert),
    publisher: fromCallback<PublishCommand, PublisherInput>(inert),
    committer: committerMachine,
    restorer: committerMachine,
  },
  guards: {
    ending: ({ context }) => facts.isEnding(context),
    superseded: ({ context }) => context.superseded,
    forkPending: ({ context }) => context.fork !== null,
    exitRequested: ({ context }) => context.exit !== null,
    readToTheEnd: ({ context }) => context.exit === 'ended',
    stopRequested: ({ context }) => context.exit === 'stop',
    mustPark: ({ context }) => facts.mustPark(context),
    doomed: ({ context }) => facts.isDoomed(context),
    mayRead: ({ context }) => !facts.mustPark(context) && !context.sourcesEnded,
    mayCommit: ({ context }) => facts.mayCommit(context),
    budgetFull: ({ context }) => facts.isBudgetFull(context),
    everythingSettled: ({ context }) => facts.isEverythingSettled(context),
    undelivered: ({ context }) => context.undelivered > 0,
    computeParked: stateIn('#indexer.active.compute.parked'),
    commitIdle: stateIn('#indexer.active.commit.idle'),
    sourceClosed: stateIn('#indexer.active.source.closed'),
    publishIdle: stateIn('#indexer.active.publish.idle'),
  },
  actions: {
    recordOpened: assign(({ context, event }) =>
      event.type === 'opened' ? facts.opened(context, event) : {},
    ),
    recordError: assign(({ context, event }) =>
      'error' in event ? facts.failedWith(context, event.error) : {},
    ),
    recordStop: assign({ exit: ({ context }) => context.exit ?? 'stop' }),
    recordDeadline: assign(({ context }, { drain }: { drain: string }) =>
      facts.failedWith(context, { code: 'DRAIN_DEADLINE', drain }),
    ),
    recordLoss: assign(({ context, event }) =>
      event.type === 'ownership.lost' ? facts.superseded(context, event.owner) : {},
    ),
    recordFork: assign(({ context, event }) =>
      event.type === 'source.fork' ? facts.forked(context, event) : {},
    ),
    recordSourcesEnded: assign({ sourcesEnded: true }),
    recordPulled: assign(({ context, event }) =>
      event.type === 'batch.pulled' ? facts.pulled(context, event) : {},
    ),
    recordHandled: assign(({ context, event }) =>
      event.type === 'batch.handled' ? facts.handled(context, event) : {},
    ),
    recordReadToTheEnd: assign(({ context }) => facts.readToTheEnd(context)),
    recordNothingRunning: assign({ running: null }),
    recordGroup: assign(({ context }) => facts.grouped(context)),
    recordCommit: assign(({ context, event }) =>
      event.type === 'xstate.done.actor.committer' ? facts.committed(context, event.output) : {},
    ),
    recordRestored: assign(({ context, event }) =>
      event.type === 'xstate.done.actor.restorer' ? facts.restored(context, event.output) : {},
    ),
    recordRegion: assign(({ context, event }) =>
      event.type === 'region.settled' ? facts.regionSettled(context, event) : {},
    ),
    recordOffered: assign(({ context, event }) =>
      event.type === 'publish.offered' ? facts.offered(context, event.snapshots) : {},
    ),
    cancelOpening: sendTo('opener', { type: 'cancel' }),
    openSources: sendTo('sources', { type: 'open' }),
    closeSources: sendTo('sources', { type: 'close' }),
    pull: sendTo('computer', { type: 'pull' }),
    runBatch: sendTo('computer', { type: 'run' }),
    cancelBatch: sendTo('computer', { type: 'cancel' }),
    haltRestorer: sendTo('restorer', { type: 'halt' }),
    cutRestorer: sendTo('restorer', { type: 'cut' }),
    recallGroup: tellCommitter('recall'),
    haltCommitter: tellCommitter('halt'),
    cutCommitter: tellCommitter('cut'),
    haltPublisher: sendTo('publisher', { type: 'halt' }),
    cutSources: sendTo('sources', { type: 'cut' }),
    cutBatch: sendTo('computer', { type: 'cut' }),
    cutPublisher: sendTo('publisher', { type: 'cut' }),
  },
  delays: {
    handOver: handOverMs,
    drainDeadline: ({ context }) => timerMs(context.limits.drainDeadlineMs),
    failDeadline: ({ context }) => timerMs(context.limits.failDeadlineMs),
  },
})
