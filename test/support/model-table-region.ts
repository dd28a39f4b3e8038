/** A region, cell by cell: three attempts, nothing offered and none failed unless a row or a case says otherwise. */
import type { SnapshotFrom } from 'xstate'
import type { RegionEvent } from '../../machines/events.ts'
import type { RegionFacts, regionMachine } from '../../machines/region.machine.ts'
import type { Dotted, Row, Table, WordTypes } from './model-table.ts'

type RegionStateName = Dotted<SnapshotFrom<typeof regionMachine>['value']>

export const regionWords = {
  outbox: { offer: 'offer' },
  delivery: {
    sent: 'delivery.sent',
    done: 'delivery.done',
    failed: 'delivery.failed',
    breaks: 'xstate.error.actor.delivery',
  },
  publisher: { halt: 'halt', cut: 'cut' },
  clock: {
    attemptDeadline: 'xstate.after.attemptDeadline.region.persisting.sending',
    tryAgain: 'xstate.after.retryIn.region.backingOff',
    probe: 'xstate.after.probeIn.region.quarantined',
  },
} as const

/** A compile error here names an event of the chart that no row has. */
const _everyEventHasAWord: Exclude<RegionEvent['type'], WordTypes<typeof regionWords>> extends never
  ? true
  : Exclude<RegionEvent['type'], WordTypes<typeof regionWords>> = true

type RegionTable = Table<typeof regionWords, RegionStateName, never, RegionFacts, undefined>
type Cells = Row<typeof regionWords, RegionStateName, RegionFacts, undefined>

const _ = 'ignored'

const noTimer: Cells['clock'] = { attemptDeadline: _, tryAgain: _, probe: _ }
const onTheWire = { taken: 1 } as const
const lastAttempt = { facts: { ...onTheWire, failures: 2 } } as const
const permanent = { permanent: true } as const

const doneCases = [
  { when: 'nothing waits', to: 'idle' },
  { when: 'more waits: it goes too', facts: { ...onTheWire, waiting: 1 }, to: 'persisting.reading' },
] as const

const failedCases = [
  { when: 'may pass', to: 'backingOff' },
  { when: 'may pass, more waits', facts: { ...onTheWire, waiting: 1 }, to: 'backingOff' },
  { when: 'may pass, the last attempt', ...lastAttempt, to: 'quarantined' },
  {
    when: 'may pass, the last attempt, more waits',
    facts: { ...lastAttempt.facts, waiting: 1 },
    to: 'quarantined',
  },
  { when: 'permanent', event: permanent, to: 'quarantined' },
  {
    when: 'permanent, more waits: it may be sound',
    facts: { ...onTheWire, waiting: 1 },
    event: permanent,
    to: 'persisting.reading',
  },
] as const

export const regionTable: RegionTable = {
  idle: {
    on: {
      outbox: { offer: 'persisting.reading' },
      delivery: { sent: _, done: _, failed: _, breaks: 'broken' },
      publisher: { halt: 'parked', cut: _ },
      clock: noTimer,
    },
  },
  'persisting.reading': {
    facts: onTheWire,
    on: {
      outbox: { offer: 'stays' },
      delivery: { sent: 'persisting.sending', done: doneCases, failed: failedCases, breaks: 'broken' },
      publisher: { halt: 'settling', cut: _ },
      clock: noTimer,
    },
  },
  'persisting.sending': {
    facts: onTheWire,
    on: {
      outbox: { offer: 'stays' },
      delivery: { sent: 'stays', done: doneCases, failed: failedCases, breaks: 'broken' },
      publisher: { halt: 'settling', cut: _ },
      clock: {
        ...noTimer,
        attemptDeadline: [
          { when: 'not the last attempt', to: 'backingOff' },
          { when: 'the last attempt', ...lastAttempt, to: 'quarantined' },
        ],
      },
    },
  },
  backingOff: {
    facts: { ...onTheWire, failures: 1, error: 'unreachable' },
    on: {
      outbox: { offer: 'stays' },
      delivery: { sent: _, done: _, failed: _, breaks: 'broken' },
      publisher: { halt: 'parked', cut: _ },
      clock: { ...noTimer, tryAgain: 'persisting.reading' },
    },
  },
  quarantined: {
    facts: { failures: 3, error: 'unreachable' },
    on: {
      outbox: {
        offer: [
          { when: 'it cannot be reached: settled', to: 'stays' },
          { when: 'another was refused: tried at once', facts: permanent, to: 'persisting.reading' },
          {
            when: 'a look has reached the server: tried after no pause',
            event: { found: true },
            to: 'backingOff',
          },
        ],
      },
      delivery: { sent: _, done: _, failed: _, breaks: 'broken' },
      publisher: { halt: 'parked', cut: _ },
      clock: { ...noTimer, probe: 'persisting.reading' },
    },
  },
  settling: {
    facts: onTheWire,
    on: {
      outbox: { offer: 'stays' },
      delivery: { sent: 'parked', done: 'parked', failed: 'parked', breaks: 'parked' },
      publisher: { halt: 'stays', cut: 'parked' },
      clock: noTimer,
    },
  },
  broken: {
    facts: { error: 'its worker threw' },
    on: {
      outbox: { offer: 'stays' },
      delivery: { sent: _, done: _, failed: _, breaks: 'stays' },
      publisher: { halt: 'parked', cut: _ },
      clock: noTimer,
    },
  },
  parked: {
    on: {
      outbox: { offer: 'stays' },
      delivery: { sent: _, done: _, failed: _, breaks: 'stays' },
      publisher: { halt: 'stays', cut: 'stays' },
      clock: noTimer,
    },
  },
}
