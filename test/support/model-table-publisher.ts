/** The publisher, cell by cell: with one region, which is not parked, unless a row or a case says otherwise. */
import type { SnapshotFrom } from 'xstate'
import type { PublisherEvent } from '../../machines/events.ts'
import type { PublisherFacts, publisherMachine } from '../../machines/publisher.machine.ts'
import type { Dotted, Table, WordTypes } from './model-table.ts'

type PublisherStateName = Dotted<SnapshotFrom<typeof publisherMachine>['value']>

export const publisherWords = {
  outbox: { more: 'publish.offered', offered: 'region.offered', looked: 'outbox.looked' },
  regions: { settled: 'region.settled', parked: 'region.parked' },
  indexer: { halt: 'halt', cut: 'cut' },
} as const

/** A compile error here names an event of the chart that no row has. */
const _everyEventHasAWord: Exclude<PublisherEvent['type'], WordTypes<typeof publisherWords>> extends never
  ? true
  : Exclude<PublisherEvent['type'], WordTypes<typeof publisherWords>> = true

type PublisherTable = Table<typeof publisherWords, PublisherStateName, never, PublisherFacts, undefined>

const _ = 'ignored'

export const publisherTable: PublisherTable = {
  open: {
    on: {
      outbox: {
        more: 'stays',
        offered: [
          { when: 'of a region that has an actor', to: 'stays' },
          { when: 'of a new one', event: { region: 'b' }, to: 'stays' },
        ],
        looked: 'stays',
      },
      regions: { settled: 'stays', parked: 'stays' },
      indexer: {
        halt: [
          { when: 'a region is not parked', to: 'parking' },
          { when: 'there is no region yet', facts: { regions: [], unparked: [] }, to: 'parked' },
        ],
        cut: _,
      },
    },
  },
  parking: {
    on: {
      outbox: { more: _, offered: _, looked: _ },
      regions: {
        settled: 'stays',
        parked: [
          { when: 'the last one', to: 'parked' },
          { when: 'another is not', facts: { regions: ['a', 'b'], unparked: ['a', 'b'] }, to: 'stays' },
        ],
      },
      indexer: { halt: _, cut: 'stays' },
    },
  },
  parked: {
    facts: { unparked: [] },
    on: {
      outbox: { more: _, offered: _, looked: _ },
      regions: { settled: 'stays', parked: 'stays' },
      indexer: { halt: 'stays', cut: 'stays' },
    },
  },
}
