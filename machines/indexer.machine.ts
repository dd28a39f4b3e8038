/**
 * The root chart: control ∥ source ∥ compute ∥ commit ∥ publish.
 *
 * Leaving a state neither waits for its work nor reports its late result. Therefore each lane's worker is
 * invoked by the lane itself and outlives its states, draining is a state *beside* the lanes, and every barrier
 * is a guard:
 *
 *   rollingBack         ⇐ compute parked ∧ commit idle ∧ source closed
 *   finished | stopped  ⇐ the same ∧ nothing staged ∧ every committed snapshot settled ∧ marks saved
 *   failed | superseded ⇐ compute parked ∧ commit idle ∧ source closed ∧ publish idle
 *
 * Facts are numbers, so a snapshot is plain JSON; rows, sockets and pools live behind the workers.
 */
import { and, not } from 'xstate'
import { initialFacts } from './facts.ts'
import type { IndexerOutcome } from './outcome.ts'
import { setupIndexer } from './indexer.setup.ts'

const lanesAtRest = and(['computeParked', 'commitIdle', 'sourceClosed'])

export const indexerMachine = setupIndexer.createMachine({
  id: 'indexer',
  context: ({ input }) => initialFacts(input),
  options: { maxIterations: 1_000 },
  initial: 'opening',
  states: {
    opening: {
      description: 'take or wait for ownership, check the tables, read the frontier',
      invoke: { id: 'opener', src: 'opener', onError: { target: 'failed', actions: 'recordError' } },
      initial: 'taking',
      on: {
        'open.failed': [
          { guard: 'stopRequested', target: 'stopped' },
          { target: 'failed', actions: 'recordError' },
        ],
      },
      states: {
        taking: {
          description: 'nothing asked yet',
          on: {
            opened: { target: '#indexer.active', actions: 'recordOpened' },
            stop: { target: 'cancelling', actions: 'recordStop' },
            abort: { target: 'cancelling', actions: 'recordError' },
          },
        },
        cancelling: {
          description: 'the opener undoes what it has begun; its answer is waited for',
          entry: 'cancelOpening',
          always: { guard: 'ending', target: 'aborting' },
          on: {
            opened: { target: '#indexer.stopped', actions: 'recordOpened' },
            'open.cancelled': '#indexer.stopped',
            abort: { target: 'aborting', actions: 'recordError' },
          },
          after: {
            drainDeadline: {
              target: '#indexer.failed',
              actions: { type: 'recordDeadline', params: { drain: 'opening' } },
            },
          },
        },
        aborting: {
          description: 'the same, but the run has failed: a shorter wait',
          on: {
            opened: { target: '#indexer.failed', actions: 'recordOpened' },
            'open.cancelled': '#indexer.failed',
            'open.failed': { target: '#indexer.failed', actions: 'recordError' },
          },
          after: { failDeadline: '#indexer.failed' },
        },
      },
    },

    active: {
      description: 'the lanes; each one is driven by its own worker',
      type: 'parallel',
      on: {
        stop: { actions: 'recordStop' },
        abort: { actions: 'recordError' },
        'ownership.lost': { actions: 'recordLoss' },
        'source.fork': { actions: 'recordFork' },
        'source.failed': { actions: 'recordError' },
        'batch.failed': { actions: 'recordError' },
      },
      states: {
        control: {
          initial: 'flowing',
          states: {
            flowing: {
              description: 'batch N+1 is computed while batch N commits',
              always: [
                { guard: 'ending', target: 'failing' },
                { guard: 'forkPending', target: 'draining.rollback' },
                { guard: 'exitRequested', target: 'draining.exit' },
              ],
            },
            draining: {
              description: 'what is in flight settles, nothing new starts',
              initial: 'exit',
              states: {
                rollback: {
                  description:
                    'a fork is pending: compute parks, sources close, the commit on the wire settles',
                  entry: ['closeSources', 'recallGroup'],
                  always: [
                    { guard: 'ending', target: '#indexer.active.control.failing' },
                    { guard: lanesAtRest, target: '#indexer.active.control.rollingBack' },
                  ],
                  after: {
                    drainDeadline: { actions: { type: 'recordDeadline', params: { drain: 'rollback' } } },
                  },
                },
                exit: {
                  description: 'everything staged is committed, every region settled, delivery marks saved',
                  entry: 'closeSources',
                  always: [
                    { guard: 'ending', target: '#indexer.active.control.failing' },
                    { guard: 'forkPending', target: 'rollback' },
                    {
                      guard: and([lanesAtRest, 'everythingSettled', 'readToTheEnd']),
                      target: '#indexer.finished',
                    },
                    { guard: and([lanesAtRest, 'everythingSettled']), target: '#indexer.stopped' },
                  ],
                  after: {
                    drainDeadline: { actions: { type: 'recordDeadline', params: { drain: 'exit' } } },
                  },
                },
              },
            },
            rollingBack: {
              description:
                'tables, cursors and frontier go back to the fork; only with no commit in flight (I5)',
              invoke: {
                id: 'restorer',
                src: 'restorer',
                input: ({ context }) => ({
                  kind: 'rollback',
                  batches: 1,
                  from: context.committed,
                  upTo: context.fork ?? context.committed,
                  commitDeadlineMs: context.limits.commitDeadlineMs,
                }),
                onDone: { target: 'flowing', actions: 'recordRestored' },
                onError: { target: 'failing', actions: 'recordError' },
              },
              initial: 'restoring',
              states: {
                restoring: {
                  description: 'the rollback is on the wire',
                  always: { guard: 'ending', target: 'halting' },
                },
                halting: {
                  description: 'the run fails while a rollback is on the wire: let it settle, or cut it',
                  entry: ['haltRestorer', 'haltPublisher'],
                  after: { failDeadline: { actions: 'cutRestorer' } },
                },
              },
            },
            failing: {
              description: 'first error kept; nothing new starts; lanes settle, or are cut at the deadline',
              entry: ['closeSources', 'haltCommitter', 'haltPublisher'],
              always: [
                { guard: and([lanesAtRest, 'publishIdle', 'superseded']), target: '#indexer.superseded' },
                { guard: and([lanesAtRest, 'publishIdle']), target: '#indexer.failed' },
              ],
              after: {
                failDeadline: { actions: ['cutSources', 'cutBatch', 'cutCommitter', 'cutPublisher'] },
              },
            },
          },
        },

        source: {
          invoke: { id: 'sources', src: 'sources', onError: { actions: 'recordError', target: '.closed' } },
          initial: 'closed',
          on: {
            'source.closed': '.closed',
            'source.ended': { target: '.closed', actions: 'recordSourcesEnded' },
          },
          states: {
            closed: {
              description: 'ended, or closed for a drain: every iterator is returned',
              always: { guard: 'mayRead', target: 'reading', actions: 'openSources' },
            },
            reading: { description: 'read-ahead pumps run, one per source', on: { 'source.full': 'full' } },
            full: { description: 'the read-ahead is full', on: { 'source.room': 'reading' } },
          },
        },

        compute: {
          invoke: { id: 'computer', src: 'computer', onError: { actions: 'recordError', target: '.parked' } },
          initial: 'parked',
          states: {
            parked: {
              description: 'nothing runs and nothing is pulled',
              entry: 'recordNothingRunning',
              // not straight to pulling: after a rollback the budget may still be full
              always: { guard: not('mustPark'), target: 'waiting' },
            },
            pulling: {
              description: 'takes the next blocks from the read-ahead',
              entry: 'pull',
              always: { guard: 'mustPark', target: 'cancelling' },
              on: {
                'batch.pulled': { target: 'cpu', actions: 'recordPulled' },
                'pull.ended': { target: 'parked', actions: 'recordReadToTheEnd' },
                'batch.failed': { target: 'parked', actions: 'recordError' },
              },
            },
            cpu: {
              description: 'the handlers of one batch run',
              entry: 'runBatch',
              initial: 'preloading',
              always: { guard: 'doomed', target: 'cancelling' },
              on: {
                'batch.handled': [
                  {
                    guard: and(['commitIdle', not('forkPending')]),
                    target: 'handingOver',
                    actions: 'recordHandled',
                  },
                  { guard: 'mustPark', target: 'parked', actions: 'recordHandled' },
                  { target: 'waiting', actions: 'recordHandled' },
                ],
                'batch.failed': { target: 'parked', actions: 'recordError' },
              },
              states: {
                preloading: {
                  description: 'handlers run speculatively and together, so that their loads merge',
                  on: { 'batch.preloaded': 'handling' },
                },
                handling: { description: 'handlers run in order' },
              },
            },
            handingOver: {
              description:
                'a commit starts at this end of a batch: its frames get into the kernel first (I3)',
              on: { 'frames.flushed': 'waiting', 'xstate.done.actor.committer': 'waiting' },
              after: { handOver: 'waiting' },
            },
            waiting: {
              description: 'the byte budget is full; a commit frees room',
              always: [
                { guard: 'mustPark', target: 'parked' },
                { guard: not('budgetFull'), target: 'pulling' },
              ],
            },
            cancelling: {
              description:
                'cooperative abort: the worker has the last word, its result and its error are seen',
              entry: 'cancelBatch',
              on: {
                'batch.handled': { actions: 'recordHandled' },
                // an error of a batch that a fork dooms is an echo of the fork; of any other it counts
                'batch.failed': [{ guard: and(['forkPending', not('ending')]) }, { actions: 'recordError' }],
                'batch.cancelled': 'parked',
              },
            },
          },
        },

        commit: {
          initial: 'idle',
          states: {
            idle: {
              description: 'nothing is on the wire',
              always: { guard: 'mayCommit', target: 'committing' },
            },
            committing: {
              description: 'exactly one committer; its group is frozen at its start (I1)',
              entry: 'recordGroup',
              invoke: {
                id: 'committer',
                src: 'committer',
                input: ({ context }) => ({
                  kind: 'commit',
                  batches: context.flightBatches,
                  from: context.committed,
                  upTo: context.processed,
                  commitDeadlineMs: context.limits.commitDeadlineMs,
                }),
                onDone: { target: 'idle', actions: 'recordCommit' },
                onError: { target: 'idle', actions: 'recordError' },
              },
            },
          },
        },

        publish: {
          invoke: {
            id: 'publisher',
            src: 'publisher',
            input: ({ context }) => ({ limits: context.regionLimits }),
            onError: { actions: 'recordError', target: '.idle' },
          },
          initial: 'idle',
          on: {
            'publish.offered': { actions: 'recordOffered' },
            'region.settled': { actions: 'recordRegion' },
          },
          states: {
            idle: {
              description: 'every committed snapshot is settled, or the run is ending',
              always: { guard: and(['undelivered', not('ending')]), target: 'publishing' },
            },
            publishing: {
              description: 'a committed snapshot is not delivered yet and its region is not quarantined',
              always: { guard: not('undelivered'), target: 'idle' },
              on: { 'publish.parked': 'idle' },
            },
          },
        },
      },
    },

    finished: {
      type: 'final',
      output: 'finished',
      description: 'read to the end, all of it committed and settled',
    },
    stopped: {
      type: 'final',
      output: 'stopped',
      description: 'asked to stop; what was handled is committed',
    },
    superseded: { type: 'final', output: 'superseded', description: 'another owner has the pipeline' },
    failed: { type: 'final', output: 'failed', description: 'the first error is in the output' },
  },
  output: ({ context, event }) => ({
    status: event.output as IndexerOutcome['status'],
    committed: context.committed,
    processed: context.processed,
    error: context.error,
    suppressed: context.suppressed,
    inDoubt: context.inDoubt,
    owner: context.owner,
  }),
})
