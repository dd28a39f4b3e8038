/**
 * The root chart, cell by cell. Each row is tried with the other lanes where `lanes` puts them (the rest: control
 * flowing, source reading, compute pulling, commit and publish idle; committed = processed = 100; budget of two).
 */
import type { SnapshotFrom } from 'xstate'
import type { IndexerEvent } from '../../machines/events.ts'
import type { IndexerFacts } from '../../machines/facts.ts'
import type { indexerMachine } from '../../machines/indexer.machine.ts'
import type { Dotted, Row, Table, WordTypes } from './model-table.ts'

type Value = SnapshotFrom<typeof indexerMachine>['value']
type Active = Extract<Value, { active: unknown }>['active']
type TopState = Dotted<Exclude<Value, { active: unknown }>>
type End = Exclude<TopState, `opening.${string}`>

export const indexerWords = {
  host: { stop: 'stop', abort: 'abort', lost: 'ownership.lost' },
  opener: {
    opened: 'opened',
    'open.failed': 'open.failed',
    'open.cancelled': 'open.cancelled',
    breaks: 'xstate.error.actor.opener',
  },
  sources: {
    full: 'source.full',
    room: 'source.room',
    ended: 'source.ended',
    fork: 'source.fork',
    failed: 'source.failed',
    closed: 'source.closed',
    breaks: 'xstate.error.actor.sources',
  },
  computer: {
    pulled: 'batch.pulled',
    'pull.ended': 'pull.ended',
    preloaded: 'batch.preloaded',
    handled: 'batch.handled',
    failed: 'batch.failed',
    cancelled: 'batch.cancelled',
    breaks: 'xstate.error.actor.computer',
  },
  committer: {
    flushed: 'frames.flushed',
    done: 'xstate.done.actor.committer',
    breaks: 'xstate.error.actor.committer',
  },
  restorer: { done: 'xstate.done.actor.restorer', breaks: 'xstate.error.actor.restorer' },
  publisher: {
    offered: 'publish.offered',
    settled: 'region.settled',
    parked: 'publish.parked',
    breaks: 'xstate.error.actor.publisher',
  },
  clock: {
    openingDrain: 'xstate.after.drainDeadline.indexer.opening.cancelling',
    openingFail: 'xstate.after.failDeadline.indexer.opening.aborting',
    rollbackDrain: 'xstate.after.drainDeadline.indexer.active.control.draining.rollback',
    exitDrain: 'xstate.after.drainDeadline.indexer.active.control.draining.exit',
    haltingFail: 'xstate.after.failDeadline.indexer.active.control.rollingBack.halting',
    failingFail: 'xstate.after.failDeadline.indexer.active.control.failing',
    handOver: 'xstate.after.handOver.indexer.active.compute.handingOver',
  },
} as const

/** A compile error here names an event of the chart that no row has. */
const _everyEventHasAWord: Exclude<IndexerEvent['type'], WordTypes<typeof indexerWords>> extends never
  ? true
  : Exclude<IndexerEvent['type'], WordTypes<typeof indexerWords>> = true

export interface LaneStates {
  readonly control: Dotted<Active['control']>
  readonly source: Dotted<Active['source']>
  readonly compute: Dotted<Active['compute']>
  readonly commit: Dotted<Active['commit']>
  readonly publish: Dotted<Active['publish']>
}

export type SiteLanes = Partial<LaneStates>
type LaneTable<State extends string, Targets extends string = never> = Table<
  typeof indexerWords,
  State,
  Targets,
  IndexerFacts,
  SiteLanes
>
type AnyRow = Row<typeof indexerWords, never, IndexerFacts, SiteLanes>

const _ = 'ignored'

// where the cases are set up
const stopping = { facts: { exit: 'stop' }, lanes: { control: 'draining.exit' } } as const
const draining = { ...stopping, lanes: { ...stopping.lanes, compute: 'parked' } } as const
const drainedBut = { control: 'draining.exit', source: 'closed', compute: 'parked' } as const
const forking = { facts: { fork: 100 }, lanes: { control: 'draining.rollback', compute: 'parked' } } as const
const restoring = {
  facts: { fork: 100 },
  lanes: { control: 'rollingBack.restoring', source: 'closed', compute: 'parked' },
} as const
const failing = {
  facts: { failed: true, error: 'first' },
  lanes: { control: 'failing', compute: 'parked' },
} as const
const failingBut = { control: 'failing', source: 'closed', compute: 'parked' } as const
const onTheWire = {
  facts: { flightBatches: 1, stagedBytes: 1, processed: 110 },
  lanes: { commit: 'committing' },
} as const
const full = {
  facts: { flightBatches: 2, stagedBytes: 2, processed: 120 },
  lanes: { commit: 'committing' },
} as const
const running = { facts: { running: { from: 101, upTo: 110 } } } as const
const landed = { output: { status: 'committed', landed: 1, committed: 110 } } as const
const lostOwner = { output: { status: 'superseded' } } as const
const refused = { output: { status: 'failed', error: 'commit failed' } } as const

/** A region that cannot be delivered costs the run nothing, unless it is required. */
function quarantined<To extends string>(to: To) {
  const event = { settled: 0, delivered: false, error: 'unreachable' } as const
  return [
    { when: 'quarantined', event, to: _ },
    { when: 'quarantined, and required', facts: { requireRegions: true }, event, to },
  ] as const
}

const nothing: AnyRow = {
  host: { stop: _, abort: _, lost: _ },
  opener: { opened: _, 'open.failed': _, 'open.cancelled': _, breaks: _ },
  sources: { full: _, room: _, ended: _, fork: _, failed: _, closed: _, breaks: _ },
  computer: { pulled: _, 'pull.ended': _, preloaded: _, handled: _, failed: _, cancelled: _, breaks: _ },
  committer: { flushed: _, done: _, breaks: _ },
  restorer: { done: _, breaks: _ },
  publisher: { offered: _, settled: _, parked: _, breaks: _ },
  clock: {
    openingDrain: _,
    openingFail: _,
    rollbackDrain: _,
    exitDrain: _,
    haltingFail: _,
    failingFail: _,
    handOver: _,
  },
}

/** Timers belong to one state each: elsewhere they are not armed. */
const { clock: noTimer, opener: noOpener } = nothing

export const topTable: LaneTable<TopState | 'active'> = {
  'opening.taking': {
    on: {
      host: { stop: 'opening.cancelling', abort: 'opening.aborting', lost: _ },
      opener: { opened: 'active', 'open.failed': 'failed', 'open.cancelled': _, breaks: 'failed' },
      sources: { full: _, room: _, ended: _, fork: _, failed: _, closed: _, breaks: _ },
      computer: { pulled: _, 'pull.ended': _, preloaded: _, handled: _, failed: _, cancelled: _, breaks: _ },
      committer: { flushed: _, done: _, breaks: _ },
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: _, parked: _, breaks: _ },
      clock: noTimer,
    },
  },
  'opening.cancelling': {
    facts: { exit: 'stop' },
    on: {
      host: { stop: _, abort: 'opening.aborting', lost: _ },
      opener: { opened: 'stopped', 'open.failed': 'stopped', 'open.cancelled': 'stopped', breaks: 'failed' },
      sources: { full: _, room: _, ended: _, fork: _, failed: _, closed: _, breaks: _ },
      computer: { pulled: _, 'pull.ended': _, preloaded: _, handled: _, failed: _, cancelled: _, breaks: _ },
      committer: { flushed: _, done: _, breaks: _ },
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: _, parked: _, breaks: _ },
      clock: { ...noTimer, openingDrain: 'failed' },
    },
  },
  'opening.aborting': {
    facts: { failed: true, error: 'first' },
    on: {
      host: { stop: _, abort: _, lost: _ },
      opener: { opened: 'failed', 'open.failed': 'failed', 'open.cancelled': 'failed', breaks: 'failed' },
      sources: { full: _, room: _, ended: _, fork: _, failed: _, closed: _, breaks: _ },
      computer: { pulled: _, 'pull.ended': _, preloaded: _, handled: _, failed: _, cancelled: _, breaks: _ },
      committer: { flushed: _, done: _, breaks: _ },
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: _, parked: _, breaks: _ },
      clock: { ...noTimer, openingFail: 'failed' },
    },
  },
  // what `active` itself records, whatever its lanes make of it
  active: {
    ...onTheWire,
    lanes: { ...onTheWire.lanes, compute: 'handingOver' },
    on: {
      host: { stop: 'stays', abort: 'stays', lost: 'stays' },
      opener: noOpener,
      sources: { full: _, room: _, ended: _, fork: 'stays', failed: 'stays', closed: _, breaks: _ },
      computer: {
        pulled: _,
        'pull.ended': _,
        preloaded: _,
        handled: _,
        failed: 'stays',
        cancelled: _,
        breaks: _,
      },
      committer: { flushed: _, done: _, breaks: _ },
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: _, parked: _, breaks: _ },
      clock: noTimer,
    },
  },
  finished: { on: nothing },
  stopped: { on: nothing },
  superseded: { on: nothing },
  failed: { on: nothing },
}

export const controlTable: LaneTable<LaneStates['control'], End> = {
  flowing: {
    on: {
      host: { stop: 'draining.exit', abort: 'failing', lost: 'failing' },
      opener: noOpener,
      sources: {
        full: _,
        room: _,
        ended: _,
        fork: 'draining.rollback',
        failed: 'failing',
        closed: _,
        breaks: 'failing',
      },
      computer: {
        pulled: _,
        'pull.ended': 'draining.exit',
        preloaded: _,
        handled: _,
        failed: 'failing',
        cancelled: _,
        breaks: 'failing',
      },
      committer: {
        flushed: _,
        done: [
          { when: 'committed', ...onTheWire, event: landed, to: _ },
          { when: 'superseded', ...onTheWire, event: lostOwner, to: 'failing' },
          { when: 'failed', ...onTheWire, event: refused, to: 'failing' },
        ],
        breaks: [{ when: 'it lives', ...onTheWire, to: 'failing' }],
      },
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: quarantined('failing'), parked: _, breaks: 'failing' },
      clock: noTimer,
    },
  },
  'draining.rollback': {
    ...forking,
    on: {
      host: { stop: _, abort: 'failing', lost: 'failing' },
      opener: noOpener,
      sources: {
        full: _,
        room: _,
        ended: 'rollingBack.restoring',
        fork: _,
        failed: 'failing',
        closed: [
          { when: 'lanes at rest', to: 'rollingBack.restoring' },
          { when: 'compute cancelling', lanes: { compute: 'cancelling' }, to: _ },
          { when: 'commit on the wire', ...onTheWire, to: _ },
        ],
        breaks: [
          { when: 'lanes at rest', to: 'failed' },
          { when: 'compute cancelling', lanes: { compute: 'cancelling' }, to: 'failing' },
        ],
      },
      computer: {
        pulled: _,
        'pull.ended': _,
        preloaded: _,
        handled: _,
        failed: 'failing',
        cancelled: [
          {
            when: 'source closed',
            lanes: { source: 'closed', compute: 'cancelling' },
            to: 'rollingBack.restoring',
          },
          { when: 'source open', lanes: { compute: 'cancelling' }, to: _ },
        ],
        breaks: 'failing',
      },
      committer: {
        flushed: _,
        done: [
          {
            when: 'recalled, source closed',
            facts: onTheWire.facts,
            lanes: { source: 'closed', commit: 'committing' },
            event: { output: { status: 'recalled', landed: 0 } },
            to: 'rollingBack.restoring',
          },
          { when: 'committed, source open', ...onTheWire, event: landed, to: _ },
          { when: 'superseded', ...onTheWire, event: lostOwner, to: 'failing' },
          { when: 'failed', ...onTheWire, event: refused, to: 'failing' },
        ],
        breaks: [{ when: 'it lives', ...onTheWire, to: 'failing' }],
      },
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: quarantined('failing'), parked: _, breaks: 'failing' },
      clock: { ...noTimer, rollbackDrain: 'failing' },
    },
  },
  'draining.exit': {
    ...draining,
    on: {
      host: { stop: _, abort: 'failing', lost: 'failing' },
      opener: noOpener,
      sources: {
        full: _,
        room: _,
        ended: 'stopped',
        fork: 'draining.rollback',
        failed: 'failing',
        closed: [
          { when: 'stop asked, all settled', to: 'stopped' },
          { when: 'read to the end, all settled', facts: { exit: 'ended' }, to: 'finished' },
          { when: 'compute cancelling', lanes: { compute: 'cancelling' }, to: _ },
          { when: 'commit on the wire', ...onTheWire, to: _ },
          {
            when: 'a region not settled',
            facts: { undelivered: 1 },
            lanes: { publish: 'publishing' },
            to: _,
          },
        ],
        breaks: 'failed',
      },
      computer: {
        pulled: _,
        'pull.ended': _,
        preloaded: _,
        handled: _,
        failed: 'failing',
        cancelled: [
          { when: 'source closed', lanes: { source: 'closed', compute: 'cancelling' }, to: 'stopped' },
          { when: 'source open', lanes: { compute: 'cancelling' }, to: _ },
        ],
        breaks: 'failing',
      },
      committer: {
        flushed: _,
        done: [
          {
            when: 'the last one, lanes at rest',
            facts: onTheWire.facts,
            lanes: { ...drainedBut, commit: 'committing' },
            event: landed,
            to: 'stopped',
          },
          {
            when: 'the last one, with a snapshot',
            facts: onTheWire.facts,
            lanes: { ...drainedBut, commit: 'committing' },
            event: { output: { ...landed.output, snapshots: 1 } },
            to: _,
          },
          {
            when: 'more is staged',
            facts: { ...onTheWire.facts, stagedBatches: 1, processed: 120 },
            lanes: { ...drainedBut, commit: 'committing' },
            event: landed,
            to: _,
          },
          { when: 'superseded', ...onTheWire, event: lostOwner, to: 'failing' },
          { when: 'failed', ...onTheWire, event: refused, to: 'failing' },
        ],
        breaks: [{ when: 'it lives', ...onTheWire, to: 'failing' }],
      },
      restorer: { done: _, breaks: _ },
      publisher: {
        offered: _,
        settled: [
          {
            when: 'the last one, not delivered',
            facts: { undelivered: 1 },
            lanes: { ...drainedBut, publish: 'publishing' },
            event: { delivered: false },
            to: 'stopped',
          },
          {
            when: 'the last one, delivered: its mark is to be committed',
            facts: { undelivered: 1 },
            lanes: { ...drainedBut, publish: 'publishing' },
            to: _,
          },
          ...quarantined('failing'),
        ],
        parked: _,
        breaks: 'failing',
      },
      clock: { ...noTimer, exitDrain: 'failing' },
    },
  },
  'rollingBack.restoring': {
    ...restoring,
    on: {
      host: { stop: _, abort: 'rollingBack.halting', lost: 'rollingBack.halting' },
      opener: noOpener,
      sources: {
        full: _,
        room: _,
        ended: _,
        fork: _,
        failed: 'rollingBack.halting',
        closed: _,
        breaks: 'rollingBack.halting',
      },
      computer: {
        pulled: _,
        'pull.ended': _,
        preloaded: _,
        handled: _,
        failed: 'rollingBack.halting',
        cancelled: _,
        breaks: 'rollingBack.halting',
      },
      committer: { flushed: _, done: _, breaks: _ },
      restorer: {
        done: [
          { when: 'committed', to: 'flowing' },
          { when: 'committed, stop asked', facts: { exit: 'stop' }, to: 'stopped' },
          { when: 'superseded', event: lostOwner, to: 'superseded' },
          { when: 'failed', event: refused, to: 'failed' },
        ],
        breaks: 'failed',
      },
      publisher: {
        offered: _,
        settled: quarantined('rollingBack.halting'),
        parked: _,
        breaks: 'rollingBack.halting',
      },
      clock: noTimer,
    },
  },
  'rollingBack.halting': {
    facts: { ...restoring.facts, ...failing.facts },
    lanes: { ...restoring.lanes, control: 'rollingBack.halting' },
    on: {
      host: { stop: _, abort: _, lost: _ },
      opener: noOpener,
      sources: { full: _, room: _, ended: _, fork: _, failed: _, closed: _, breaks: _ },
      computer: { pulled: _, 'pull.ended': _, preloaded: _, handled: _, failed: _, cancelled: _, breaks: _ },
      committer: { flushed: _, done: _, breaks: _ },
      restorer: {
        done: [
          { when: 'publish idle', to: 'failed' },
          {
            when: 'a region is being written',
            facts: { undelivered: 1 },
            lanes: { publish: 'publishing' },
            to: 'failing',
          },
          { when: 'superseded', event: lostOwner, to: 'superseded' },
        ],
        breaks: 'failed',
      },
      publisher: { offered: _, settled: _, parked: _, breaks: _ },
      clock: { ...noTimer, haltingFail: 'stays' },
    },
  },
  failing: {
    ...failing,
    on: {
      host: { stop: _, abort: _, lost: _ },
      opener: noOpener,
      sources: {
        full: _,
        room: _,
        ended: 'failed',
        fork: _,
        failed: _,
        closed: [
          { when: 'lanes at rest', to: 'failed' },
          { when: 'lanes at rest, superseded', facts: { superseded: true }, to: 'superseded' },
          { when: 'compute cancelling', lanes: { compute: 'cancelling' }, to: _ },
          { when: 'commit on the wire', ...onTheWire, to: _ },
          {
            when: 'a region is being written',
            facts: { undelivered: 1 },
            lanes: { publish: 'publishing' },
            to: _,
          },
        ],
        breaks: 'failed',
      },
      computer: {
        pulled: _,
        'pull.ended': _,
        preloaded: _,
        handled: _,
        failed: _,
        cancelled: [
          { when: 'source closed', lanes: { source: 'closed', compute: 'cancelling' }, to: 'failed' },
          { when: 'source open', lanes: { compute: 'cancelling' }, to: _ },
        ],
        breaks: [
          { when: 'source closed', lanes: { source: 'closed', compute: 'cancelling' }, to: 'failed' },
          { when: 'source open', lanes: { compute: 'cancelling' }, to: _ },
        ],
      },
      committer: {
        flushed: _,
        done: [
          {
            when: 'lanes at rest',
            facts: onTheWire.facts,
            lanes: { ...failingBut, commit: 'committing' },
            event: landed,
            to: 'failed',
          },
          {
            when: 'superseded, lanes at rest',
            facts: onTheWire.facts,
            lanes: { ...failingBut, commit: 'committing' },
            event: lostOwner,
            to: 'superseded',
          },
          { when: 'source open', ...onTheWire, event: landed, to: _ },
        ],
        breaks: [
          {
            when: 'lanes at rest',
            facts: onTheWire.facts,
            lanes: { ...failingBut, commit: 'committing' },
            to: 'failed',
          },
        ],
      },
      restorer: { done: _, breaks: _ },
      publisher: {
        offered: _,
        settled: _,
        parked: [
          {
            when: 'lanes at rest',
            facts: { undelivered: 1 },
            lanes: { ...failingBut, publish: 'publishing' },
            to: 'failed',
          },
        ],
        breaks: [
          {
            when: 'lanes at rest',
            facts: { undelivered: 1 },
            lanes: { ...failingBut, publish: 'publishing' },
            to: 'failed',
          },
        ],
      },
      clock: { ...noTimer, failingFail: 'stays' },
    },
  },
}

export const sourceTable: LaneTable<LaneStates['source']> = {
  closed: {
    // a region not settled keeps the run from ending under the test
    facts: { sourcesEnded: true, undelivered: 1 },
    lanes: { source: 'closed', publish: 'publishing' },
    on: {
      host: { stop: _, abort: _, lost: _ },
      opener: noOpener,
      sources: { full: _, room: _, ended: 'stays', fork: _, failed: _, closed: 'stays', breaks: 'stays' },
      computer: { pulled: _, 'pull.ended': _, preloaded: _, handled: _, failed: _, cancelled: _, breaks: _ },
      committer: { flushed: _, done: _, breaks: _ },
      restorer: {
        done: [
          { when: 'rolled back', ...restoring, to: 'reading' },
          {
            when: 'rolled back, stop asked',
            ...restoring,
            facts: { fork: 100, exit: 'stop', undelivered: 1 },
            to: _,
          },
        ],
        breaks: _,
      },
      publisher: { offered: _, settled: _, parked: _, breaks: _ },
      clock: noTimer,
    },
  },
  reading: {
    on: {
      host: { stop: _, abort: _, lost: _ },
      opener: noOpener,
      sources: {
        full: 'full',
        room: _,
        ended: 'closed',
        fork: _,
        failed: _,
        closed: [
          {
            when: 'draining',
            ...stopping,
            lanes: { ...stopping.lanes, compute: 'cancelling' },
            to: 'closed',
          },
          { when: 'nobody asked: opened again', to: 'stays' },
        ],
        breaks: 'closed',
      },
      computer: { pulled: _, 'pull.ended': _, preloaded: _, handled: _, failed: _, cancelled: _, breaks: _ },
      committer: { flushed: _, done: _, breaks: _ },
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: _, parked: _, breaks: _ },
      clock: noTimer,
    },
  },
  full: {
    lanes: { source: 'full' },
    on: {
      host: { stop: _, abort: _, lost: _ },
      opener: noOpener,
      sources: {
        full: _,
        room: 'reading',
        ended: 'closed',
        fork: _,
        failed: _,
        closed: [
          {
            when: 'draining',
            ...stopping,
            lanes: { ...stopping.lanes, compute: 'cancelling' },
            to: 'closed',
          },
          { when: 'nobody asked: opened again', to: 'reading' },
        ],
        breaks: 'closed',
      },
      computer: { pulled: _, 'pull.ended': _, preloaded: _, handled: _, failed: _, cancelled: _, breaks: _ },
      committer: { flushed: _, done: _, breaks: _ },
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: _, parked: _, breaks: _ },
      clock: noTimer,
    },
  },
}

type ComputeCell = LaneTable<LaneStates['compute']>['pulling']['on']['committer']

const handledCases = [
  { when: 'commit idle', to: 'handingOver' },
  { when: 'commit idle, stop asked', ...stopping, to: 'handingOver' },
  { when: 'commit on the wire, room left', ...onTheWire, event: { stagedBytes: 1 }, to: 'pulling' },
  { when: 'commit on the wire, budget full', ...onTheWire, event: { stagedBytes: 2 }, to: 'waiting' },
  {
    when: 'commit on the wire, stop asked',
    facts: { ...onTheWire.facts, exit: 'stop' },
    lanes: { ...stopping.lanes, commit: 'committing' },
    to: 'parked',
  },
  {
    when: 'fork above it pending',
    facts: { fork: 110 },
    lanes: { control: 'draining.rollback' },
    to: 'parked',
  },
] as const

/** A commit that ends badly interrupts whatever runs; one that lands does not. */
const endOfCommitInterrupts: ComputeCell = {
  flushed: _,
  done: [
    { when: 'committed', ...onTheWire, event: landed, to: _ },
    { when: 'superseded', ...onTheWire, event: lostOwner, to: 'cancelling' },
    { when: 'failed', ...onTheWire, event: refused, to: 'cancelling' },
  ],
  breaks: [{ when: 'it lives', ...onTheWire, to: 'cancelling' }],
}

const afterHandingOver = [
  { when: 'room left', to: 'pulling' },
  { when: 'budget full', ...full, to: 'waiting' },
  { when: 'stop asked', facts: { exit: 'stop' }, lanes: { control: 'draining.exit' }, to: 'parked' },
  { when: 'fork pending', facts: { fork: 110 }, lanes: { control: 'draining.rollback' }, to: 'parked' },
] as const

export const computeTable: LaneTable<LaneStates['compute']> = {
  parked: {
    facts: { ...draining.facts, undelivered: 1 },
    lanes: { ...draining.lanes, publish: 'publishing' },
    on: {
      host: { stop: _, abort: _, lost: _ },
      opener: noOpener,
      sources: { full: _, room: _, ended: _, fork: _, failed: _, closed: _, breaks: _ },
      computer: {
        pulled: _,
        'pull.ended': _,
        preloaded: _,
        handled: _,
        failed: _,
        cancelled: _,
        breaks: 'stays',
      },
      committer: { flushed: _, done: _, breaks: _ },
      restorer: {
        done: [
          { when: 'rolled back', ...restoring, facts: { fork: 100, exit: null }, to: 'pulling' },
          {
            when: 'rolled back, budget still full',
            ...restoring,
            facts: { fork: 120, exit: null, processed: 120, stagedBatches: 2, stagedBytes: 2 },
            event: { output: { stagedBatches: 2, stagedBytes: 2 } },
            to: 'waiting',
          },
          { when: 'rolled back, stop asked', ...restoring, facts: { fork: 100, undelivered: 1 }, to: _ },
        ],
        breaks: _,
      },
      publisher: { offered: _, settled: _, parked: _, breaks: _ },
      clock: noTimer,
    },
  },
  pulling: {
    on: {
      host: { stop: 'cancelling', abort: 'cancelling', lost: 'cancelling' },
      opener: noOpener,
      sources: {
        full: _,
        room: _,
        ended: _,
        fork: 'cancelling',
        failed: 'cancelling',
        closed: _,
        breaks: 'cancelling',
      },
      computer: {
        pulled: 'cpu.preloading',
        'pull.ended': 'parked',
        preloaded: _,
        handled: _,
        failed: 'parked',
        cancelled: _,
        breaks: 'parked',
      },
      committer: endOfCommitInterrupts,
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: quarantined('cancelling'), parked: _, breaks: 'cancelling' },
      clock: noTimer,
    },
  },
  'cpu.preloading': {
    ...running,
    on: {
      host: { stop: _, abort: 'cancelling', lost: 'cancelling' },
      opener: noOpener,
      sources: {
        full: _,
        room: _,
        ended: _,
        fork: [
          { when: 'below its end', event: { target: 105 }, to: 'cancelling' },
          { when: 'at or above its end', event: { target: 110 }, to: _ },
        ],
        failed: 'cancelling',
        closed: _,
        breaks: 'cancelling',
      },
      computer: {
        pulled: _,
        'pull.ended': _,
        preloaded: 'cpu.handling',
        handled: handledCases,
        failed: 'parked',
        cancelled: _,
        breaks: 'parked',
      },
      committer: endOfCommitInterrupts,
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: quarantined('cancelling'), parked: _, breaks: 'cancelling' },
      clock: noTimer,
    },
  },
  'cpu.handling': {
    ...running,
    on: {
      host: { stop: _, abort: 'cancelling', lost: 'cancelling' },
      opener: noOpener,
      sources: {
        full: _,
        room: _,
        ended: _,
        fork: [
          { when: 'below its end', event: { target: 105 }, to: 'cancelling' },
          { when: 'at or above its end', event: { target: 110 }, to: _ },
        ],
        failed: 'cancelling',
        closed: _,
        breaks: 'cancelling',
      },
      computer: {
        pulled: _,
        'pull.ended': _,
        preloaded: _,
        handled: handledCases,
        failed: 'parked',
        cancelled: _,
        breaks: 'parked',
      },
      committer: endOfCommitInterrupts,
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: quarantined('cancelling'), parked: _, breaks: 'cancelling' },
      clock: noTimer,
    },
  },
  handingOver: {
    ...onTheWire,
    on: {
      host: { stop: _, abort: _, lost: _ },
      opener: noOpener,
      sources: { full: _, room: _, ended: _, fork: _, failed: _, closed: _, breaks: _ },
      computer: {
        pulled: _,
        'pull.ended': _,
        preloaded: _,
        handled: _,
        failed: _,
        cancelled: _,
        breaks: 'parked',
      },
      committer: {
        flushed: afterHandingOver,
        done: [
          { when: 'committed', event: landed, to: 'pulling' },
          { when: 'superseded', event: lostOwner, to: 'parked' },
          { when: 'failed', event: refused, to: 'parked' },
        ],
        // nothing will be flushed any more; the 10 ms end it
        breaks: _,
      },
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: _, parked: _, breaks: _ },
      clock: { ...noTimer, handOver: afterHandingOver },
    },
  },
  waiting: {
    ...full,
    on: {
      host: { stop: 'parked', abort: 'parked', lost: 'parked' },
      opener: noOpener,
      sources: { full: _, room: _, ended: _, fork: 'parked', failed: 'parked', closed: _, breaks: 'parked' },
      computer: {
        pulled: _,
        'pull.ended': _,
        preloaded: _,
        handled: _,
        failed: 'parked',
        cancelled: _,
        breaks: 'parked',
      },
      committer: {
        flushed: _,
        done: [
          {
            when: 'it made room',
            event: { output: { status: 'committed', landed: 2, committed: 120, stagedBytes: 0 } },
            to: 'pulling',
          },
          {
            when: 'still full',
            facts: { flightBatches: 1, stagedBatches: 2, stagedBytes: 3, processed: 130 },
            event: { output: { ...landed.output, stagedBytes: 2 } },
            to: _,
          },
          { when: 'superseded', event: lostOwner, to: 'parked' },
          { when: 'failed', event: refused, to: 'parked' },
        ],
        breaks: 'parked',
      },
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: quarantined('parked'), parked: _, breaks: 'parked' },
      clock: noTimer,
    },
  },
  cancelling: {
    ...stopping,
    on: {
      host: { stop: _, abort: _, lost: _ },
      opener: noOpener,
      sources: { full: _, room: _, ended: _, fork: _, failed: _, closed: _, breaks: _ },
      computer: {
        pulled: _,
        'pull.ended': _,
        preloaded: _,
        handled: 'stays',
        failed: 'stays',
        cancelled: 'parked',
        breaks: 'parked',
      },
      committer: { flushed: _, done: _, breaks: _ },
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: _, parked: _, breaks: _ },
      clock: noTimer,
    },
  },
}

export const commitTable: LaneTable<LaneStates['commit']> = {
  idle: {
    on: {
      host: {
        stop: [
          { when: 'nothing staged', to: _ },
          { when: 'a delivery mark is left', facts: { marksDirty: true }, to: 'committing' },
        ],
        abort: _,
        lost: _,
      },
      opener: noOpener,
      sources: { full: _, room: _, ended: _, fork: _, failed: _, closed: _, breaks: _ },
      computer: {
        pulled: _,
        'pull.ended': [
          { when: 'nothing staged', to: _ },
          { when: 'a delivery mark is left', facts: { marksDirty: true }, to: 'committing' },
        ],
        preloaded: _,
        handled: [
          { when: 'control flows', ...running, lanes: { compute: 'cpu.handling' }, to: 'committing' },
          {
            when: 'stop asked',
            facts: { ...running.facts, exit: 'stop' },
            lanes: { ...stopping.lanes, compute: 'cpu.handling' },
            to: 'committing',
          },
          {
            when: 'fork pending',
            facts: { ...running.facts, fork: 110 },
            lanes: { control: 'draining.rollback', compute: 'cpu.handling' },
            to: _,
          },
        ],
        failed: _,
        cancelled: _,
        breaks: _,
      },
      committer: { flushed: _, done: _, breaks: _ },
      restorer: {
        done: [
          { when: 'nothing staged below the fork', ...restoring, to: _ },
          {
            when: 'something staged below the fork',
            ...restoring,
            facts: { fork: 110, processed: 110, stagedBatches: 1, stagedBytes: 1 },
            event: { output: { stagedBatches: 1, stagedBytes: 1 } },
            to: 'committing',
          },
        ],
        breaks: _,
      },
      publisher: {
        offered: _,
        settled: [
          { when: 'control flows', facts: { undelivered: 1 }, lanes: { publish: 'publishing' }, to: _ },
          {
            when: 'the last one at the exit, delivered',
            facts: { undelivered: 1, exit: 'stop' },
            lanes: { ...drainedBut, publish: 'publishing' },
            to: 'committing',
          },
        ],
        parked: _,
        breaks: _,
      },
      clock: noTimer,
    },
  },
  committing: {
    ...onTheWire,
    on: {
      host: { stop: _, abort: _, lost: _ },
      opener: noOpener,
      sources: { full: _, room: _, ended: _, fork: _, failed: _, closed: _, breaks: _ },
      computer: { pulled: _, 'pull.ended': _, preloaded: _, handled: _, failed: _, cancelled: _, breaks: _ },
      committer: {
        flushed: _,
        done: [
          { when: 'committed, nothing more staged', event: landed, to: 'idle' },
          {
            when: 'committed, more is staged',
            facts: { stagedBatches: 1, processed: 120, stagedBytes: 1 },
            event: landed,
            to: 'stays',
          },
          {
            when: 'recalled, fork pending',
            facts: { fork: 100 },
            lanes: { control: 'draining.rollback', compute: 'cancelling' },
            event: { output: { status: 'recalled', landed: 0 } },
            to: 'idle',
          },
          { when: 'superseded', event: lostOwner, to: 'idle' },
          { when: 'failed', event: refused, to: 'idle' },
        ],
        breaks: 'idle',
      },
      restorer: { done: _, breaks: _ },
      publisher: { offered: _, settled: _, parked: _, breaks: _ },
      clock: noTimer,
    },
  },
}

export const publishTable: LaneTable<LaneStates['publish']> = {
  idle: {
    on: {
      host: { stop: _, abort: _, lost: _ },
      opener: noOpener,
      sources: { full: _, room: _, ended: _, fork: _, failed: _, closed: _, breaks: _ },
      computer: { pulled: _, 'pull.ended': _, preloaded: _, handled: _, failed: _, cancelled: _, breaks: _ },
      committer: {
        flushed: _,
        done: [
          { when: 'no snapshot in it', ...onTheWire, event: landed, to: _ },
          {
            when: 'a snapshot in it',
            ...onTheWire,
            event: { output: { ...landed.output, snapshots: 1 } },
            to: 'publishing',
          },
          {
            when: 'a snapshot in it, but failing',
            facts: { ...onTheWire.facts, ...failing.facts },
            lanes: { ...failing.lanes, commit: 'committing' },
            event: { output: { ...landed.output, snapshots: 1 } },
            to: _,
          },
        ],
        breaks: _,
      },
      restorer: {
        done: [
          { when: 'no snapshot in it', ...restoring, to: _ },
          {
            when: 'an earlier snapshot is current again',
            ...restoring,
            event: { output: { snapshots: 1 } },
            to: 'publishing',
          },
        ],
        breaks: _,
      },
      publisher: {
        offered: [
          { when: 'control flows', to: 'publishing' },
          { when: 'failing', ...failing, to: 'stays' },
          {
            when: 'delivered before its commit is told',
            ...onTheWire,
            facts: { ...onTheWire.facts, undelivered: -1 },
            to: 'stays',
          },
        ],
        settled: [
          { when: 'a quarantined region delivered again', event: { settled: 0 }, to: 'stays' },
          { when: 'before its commit is told', ...onTheWire, to: 'stays' },
        ],
        parked: _,
        breaks: 'stays',
      },
      clock: noTimer,
    },
  },
  publishing: {
    facts: { undelivered: 1 },
    lanes: { publish: 'publishing' },
    on: {
      host: { stop: _, abort: _, lost: _ },
      opener: noOpener,
      sources: { full: _, room: _, ended: _, fork: _, failed: _, closed: _, breaks: _ },
      computer: { pulled: _, 'pull.ended': _, preloaded: _, handled: _, failed: _, cancelled: _, breaks: _ },
      committer: { flushed: _, done: _, breaks: _ },
      restorer: { done: _, breaks: _ },
      publisher: {
        offered: 'stays',
        settled: [
          { when: 'the last one', to: 'idle' },
          { when: 'more to come', facts: { undelivered: 2 }, to: 'stays' },
          { when: 'all of several', facts: { undelivered: 2 }, event: { settled: 2 }, to: 'idle' },
        ],
        parked: [
          { when: 'failing', ...failing, facts: { ...failing.facts, undelivered: 1 }, to: 'idle' },
          { when: 'nobody asked: goes on', to: 'stays' },
        ],
        breaks: 'idle',
      },
      clock: noTimer,
    },
  },
}

export const indexerTables = {
  top: topTable,
  control: controlTable,
  source: sourceTable,
  compute: computeTable,
  commit: commitTable,
  publish: publishTable,
} as const
