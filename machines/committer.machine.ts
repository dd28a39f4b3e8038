/**
 * One commit (or one rollback): from the frozen group to a certain end.
 *
 *   writing ─ landed ─────────────────────────────► committed
 *      │ ├─ lost, or past its own deadline ──► resolving ─ ours ─► committed
 *      │ │                                        │ ├─ not landed ─► retrying | bisecting | failed
 *      │ │                                        │ ├─ token not ours ─► superseded
 *      │ │                                        │ └─ neither number ─► failed
 *      │ └─ refused ──► resolving (an error is believed only after the row still names us)
 *      └─ deferred (serialisation failure, deadlock, starting up …) ──► retrying ──► writing
 *
 * What must hold: a commit whose answer was lost is resolved before anything else happens (I10); after `halt`
 * nothing is sent again (I7); after `recall` nothing that is not on the wire is sent (I5).
 */
import { assign, fromCallback, sendParent, sendTo, setup, stateIn } from 'xstate'
import type { CommitterEvent, WireCommand, WireEvent } from './events.ts'
import { attemptDeadlineMs, maxLostAttempts, timerMs } from './limits.ts'
import type { CommitOutcome, InDoubt, Owner } from './outcome.ts'

export interface CommitterInput {
  readonly kind: 'commit' | 'rollback'
  /** Batches in the frozen group; a rollback counts as one. */
  readonly batches: number
  /** Committed frontier it is built on, and the last checkpoint it may reach (the wire says the exact one). */
  readonly from: number
  readonly upTo: number
  readonly commitDeadlineMs: number
}

export interface CommitterContext extends CommitterInput {
  /** Batches landed so far, and how many the current write holds. */
  readonly landed: number
  readonly window: number
  readonly lostInARow: number
  readonly retryInMs: number
  /** Latest error, and whether it was Postgres' own refusal of this very write. */
  readonly error: unknown
  readonly refused: boolean
  readonly halted: boolean
  readonly recalled: boolean
  readonly expired: boolean
  readonly committed: number
  readonly stagedBatches: number
  readonly stagedBytes: number
  readonly groupLimit: number
  readonly snapshots: number
  readonly inDoubt: InDoubt | null
  readonly owner: Owner | null
}

/** Stands where `provide()` has put nothing: says nothing, does nothing. */
const inertWire = fromCallback<WireCommand, CommitterInput>(() => undefined)

const setupCommitter = setup({
  types: {
    context: {} as CommitterContext,
    events: {} as CommitterEvent,
    input: {} as CommitterInput,
    output: {} as CommitOutcome,
  },
  actors: { wire: inertWire },
  guards: {
    allLanded: ({ context, event }) => isLanded(event) && context.landed + event.batches === context.batches,
    halted: ({ context }) => context.halted,
    recalled: ({ context }) => context.recalled,
    expired: ({ context }) => context.expired,
    refusedAlone: ({ context }) => context.refused && context.window <= 1,
    refusedTogether: ({ context }) => context.refused && context.window > 1,
    killsBackend: ({ context }) => context.window > 1 && context.lostInARow >= maxLostAttempts,
  },
  actions: {
    write: sendTo('wire', ({ context }: { context: CommitterContext }) => ({
      type: 'write',
      batches: context.window,
    })),
    resolve: sendTo('wire', { type: 'resolve' }),
    destroySocket: sendTo('wire', { type: 'destroy' }),
    cutWire: sendTo('wire', { type: 'cut' }),
    tellFramesFlushed: sendParent({ type: 'frames.flushed' }),
    recordHalt: assign({ halted: true }),
    recordRecall: assign({ recalled: true }),
    recordExpiry: assign({ expired: true }),
    recordDoubt: assign({ inDoubt: ({ context }) => doubtful(context) }),
    recordCrash: assign({ error: ({ event }) => ('error' in event ? event.error : null) }),
    recordOwner: assign({ owner: ({ event }) => (event.type === 'resolve.superseded' ? event.owner : null) }),
    halveWindow: assign({ window: ({ context }) => Math.ceil(context.window / 2), lostInARow: 0 }),
    recordStart: assign({
      upTo: ({ context, event }) => (event.type === 'write.started' ? event.upTo : context.upTo),
    }),
    recordLanded: assign(({ context, event }) => {
      if (!isLanded(event)) return {}
      const landed = context.landed + event.batches
      return {
        landed,
        // after a sound prefix the rest is tried by halves, so that a refusal narrows down to one batch
        window: Math.max(1, Math.ceil((context.batches - landed) / 2)),
        lostInARow: 0,
        refused: false,
        committed: event.committed,
        stagedBatches: event.stagedBatches,
        stagedBytes: event.stagedBytes,
        groupLimit: event.groupLimit,
        snapshots: context.snapshots + event.snapshots,
      }
    }),
    recordError: assign(({ context, event }) => {
      switch (event.type) {
        case 'write.lost':
          return {
            error: event.error,
            refused: false,
            retryInMs: event.retryInMs,
            lostInARow: context.lostInARow + 1,
          }
        case 'write.deferred':
          return { error: event.error, refused: false, retryInMs: event.retryInMs, lostInARow: 0 }
        case 'write.refused':
          return { error: event.error, refused: true, retryInMs: event.retryInMs, lostInARow: 0 }
        case 'resolve.lost':
          // the first cause stays: "cannot connect" must not mask why the connection went
          return { error: context.error ?? event.error, retryInMs: event.retryInMs }
        case 'resolve.notLanded':
          return { retryInMs: event.retryInMs }
        case 'resolve.reverted':
          return { error: event.error }
        default:
          return {}
      }
    }),
  },
  delays: {
    commitDeadline: ({ context }) => timerMs(context.commitDeadlineMs),
    attemptDeadline: attemptDeadlineMs,
    retryIn: ({ context }) => timerMs(context.retryInMs),
  },
})

/** Checkpoints whose fate is open; null when none is, as with a delivery mark alone. */
function doubtful({ kind, committed, upTo }: CommitterContext): InDoubt | null {
  const range = kind === 'rollback' ? { from: upTo, upTo: committed } : { from: committed, upTo }
  return range.from < range.upTo ? range : null
}

type Landed = Extract<WireEvent, { type: 'write.landed' | 'resolve.landed' }>

function isLanded(event: CommitterEvent): event is Landed {
  return event.type === 'write.landed' || event.type === 'resolve.landed'
}

export const committerMachine = setupCommitter.createMachine({
  id: 'committer',
  context: ({ input }) => ({
    ...input,
    landed: 0,
    window: input.batches,
    lostInARow: 0,
    retryInMs: 0,
    error: null,
    refused: false,
    halted: false,
    recalled: false,
    expired: false,
    committed: input.from,
    stagedBatches: 0,
    stagedBytes: -1,
    groupLimit: -1,
    snapshots: 0,
    inDoubt: null,
    owner: null,
  }),
  options: { maxIterations: 1_000 },
  invoke: {
    id: 'wire',
    src: 'wire',
    input: ({ context }) => context,
    onError: [
      { guard: stateIn('#committer.retrying'), target: '.failed', actions: 'recordCrash' },
      { target: '.failed', actions: ['recordCrash', 'recordDoubt'] },
    ],
  },
  initial: 'writing',
  on: {
    halt: { actions: 'recordHalt' },
    recall: { actions: 'recordRecall' },
    'write.started': { actions: 'recordStart' },
    'frames.flushed': { actions: 'tellFramesFlushed' },
  },
  after: {
    commitDeadline: { actions: 'recordExpiry' },
  },
  states: {
    writing: {
      description: 'the frozen group is on the wire, as one flight',
      entry: 'write',
      on: {
        'write.landed': [
          { guard: 'allLanded', target: 'committed', actions: 'recordLanded' },
          // halted half way through a bisection: what landed stays, the rest is not sent
          { guard: 'halted', target: 'failed', actions: 'recordLanded' },
          { guard: 'recalled', target: 'recalled', actions: 'recordLanded' },
          { target: 'writing', reenter: true, actions: 'recordLanded' },
        ],
        'write.lost': { target: 'resolving', actions: 'recordError' },
        'write.refused': { target: 'resolving', actions: 'recordError' },
        'write.deferred': { target: 'retrying', actions: 'recordError' },
        cut: { target: '#committer.failed', actions: ['recordDoubt', 'cutWire'] },
      },
      after: { attemptDeadline: { actions: 'destroySocket' } },
    },
    resolving: {
      description:
        "take the pipeline's row again with the run's own token; the commit number tells what landed",
      initial: 'asking',
      states: {
        asking: {
          description: 'the question is on the wire',
          entry: 'resolve',
          on: { 'resolve.lost': { target: 'pausing', actions: 'recordError' } },
          after: { attemptDeadline: { actions: 'destroySocket' } },
        },
        pausing: {
          description: 'no answer; it is asked again after a pause',
          always: { guard: 'expired', target: '#committer.failed', actions: ['recordDoubt', 'cutWire'] },
          after: { retryIn: 'asking' },
        },
      },
      on: {
        'resolve.landed': [
          { guard: 'allLanded', target: 'committed', actions: 'recordLanded' },
          { guard: 'halted', target: 'failed', actions: 'recordLanded' },
          { guard: 'recalled', target: 'recalled', actions: 'recordLanded' },
          { target: 'writing', actions: 'recordLanded' },
        ],
        'resolve.notLanded': [
          { guard: 'halted', target: 'failed', actions: 'recordError' },
          { guard: 'recalled', target: 'recalled', actions: 'recordError' },
          { guard: 'refusedAlone', target: 'failed', actions: 'recordError' },
          { guard: 'refusedTogether', target: 'bisecting', actions: 'recordError' },
          { guard: 'killsBackend', target: 'bisecting', actions: 'recordError' },
          { target: 'retrying', actions: 'recordError' },
        ],
        'resolve.superseded': { target: 'superseded', actions: 'recordOwner' },
        'resolve.reverted': { target: 'failed', actions: 'recordError' },
        cut: { target: '#committer.failed', actions: ['recordDoubt', 'cutWire'] },
      },
    },
    retrying: {
      description: 'nothing is on the wire; the same frozen group goes again after a pause with full jitter',
      always: [
        { guard: 'halted', target: 'failed' },
        { guard: 'recalled', target: 'recalled' },
        { guard: 'expired', target: 'failed' },
      ],
      after: { retryIn: 'writing' },
      on: { cut: 'failed' },
    },
    bisecting: {
      description:
        'Postgres refuses the group: its first half goes by itself, so that the sound prefix lands',
      entry: 'halveWindow',
      always: 'writing',
    },
    committed: { type: 'final', output: 'committed', description: 'the whole group is durable' },
    recalled: {
      type: 'final',
      output: 'recalled',
      description: 'not landed, and not to be sent as it was: back to the change log',
    },
    superseded: { type: 'final', output: 'superseded', description: 'another owner has the row' },
    failed: {
      type: 'final',
      output: 'failed',
      description: 'a prefix may have landed; what is in doubt is said',
    },
  },
  output: ({ context, event }) => ({
    status: event.output as CommitOutcome['status'],
    landed: context.landed,
    committed: context.committed,
    stagedBatches: context.stagedBatches,
    stagedBytes: context.stagedBytes,
    groupLimit: context.groupLimit,
    snapshots: context.snapshots,
    error: context.error,
    inDoubt: context.inDoubt,
    owner: context.owner,
  }),
})
