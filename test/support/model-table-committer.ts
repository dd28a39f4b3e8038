/** The committer, cell by cell: a group of two batches, both in the current write, unless a case says otherwise. */
import type { SnapshotFrom } from 'xstate'
import type { CommitterContext, committerMachine } from '../../machines/committer.machine.ts'
import type { CommitterEvent } from '../../machines/events.ts'
import type { Dotted, Row, Table, WordTypes } from './model-table.ts'

/** `bisecting` is left in the step that enters it, so no word ever finds it. */
export const passedThrough = 'bisecting'
export type CommitterStateName = Exclude<
  Dotted<SnapshotFrom<typeof committerMachine>['value']>,
  typeof passedThrough
>

export const committerWords = {
  parent: { halt: 'halt', recall: 'recall', cut: 'cut' },
  write: {
    started: 'write.started',
    flushed: 'frames.flushed',
    landed: 'write.landed',
    lost: 'write.lost',
    deferred: 'write.deferred',
    refused: 'write.refused',
  },
  resolve: {
    landed: 'resolve.landed',
    notLanded: 'resolve.notLanded',
    lost: 'resolve.lost',
    superseded: 'resolve.superseded',
    reverted: 'resolve.reverted',
  },
  wire: { breaks: 'xstate.error.actor.wire' },
  clock: {
    commitDeadline: 'xstate.after.commitDeadline.committer',
    writeDeadline: 'xstate.after.attemptDeadline.committer.writing',
    resolveDeadline: 'xstate.after.attemptDeadline.committer.resolving.asking',
    askAgain: 'xstate.after.retryIn.committer.resolving.pausing',
    writeAgain: 'xstate.after.retryIn.committer.retrying',
  },
} as const

/** A compile error here names an event of the chart that no row has. */
const _everyEventHasAWord: Exclude<CommitterEvent['type'], WordTypes<typeof committerWords>> extends never
  ? true
  : Exclude<CommitterEvent['type'], WordTypes<typeof committerWords>> = true

type CommitterTable = Table<typeof committerWords, CommitterStateName, never, CommitterContext, undefined>

const _ = 'ignored'

const nothing: Row<typeof committerWords, never, CommitterContext, undefined> = {
  parent: { halt: _, recall: _, cut: _ },
  write: { started: _, flushed: _, landed: _, lost: _, deferred: _, refused: _ },
  resolve: { landed: _, notLanded: _, lost: _, superseded: _, reverted: _ },
  wire: { breaks: _ },
  clock: { commitDeadline: _, writeDeadline: _, resolveDeadline: _, askAgain: _, writeAgain: _ },
}

const halted = { facts: { halted: true } } as const
const recalled = { facts: { recalled: true } } as const
const expired = { facts: { expired: true } } as const
const firstHalf = { batches: 1, committed: 110 } as const

const landedCases = [
  { when: 'all of it', to: 'committed' },
  { when: 'a prefix', event: firstHalf, to: 'writing' },
  { when: 'a prefix, halted', ...halted, event: firstHalf, to: 'failed' },
  { when: 'a prefix, recalled', ...recalled, event: firstHalf, to: 'recalled' },
] as const

const notLandedCases = [
  { when: 'the answer was lost', to: 'retrying' },
  { when: 'lost three times in a row', facts: { lostInARow: 3 }, to: 'writing' },
  { when: 'refused, several batches', facts: { refused: true }, to: 'writing' },
  { when: 'refused, one batch', facts: { refused: true, window: 1, batches: 1 }, to: 'failed' },
  { when: 'refused, a mark alone', facts: { refused: true, window: 0, batches: 0 }, to: 'failed' },
  { when: 'halted', ...halted, to: 'failed' },
  { when: 'recalled', ...recalled, to: 'recalled' },
] as const

export const committerTable: CommitterTable = {
  writing: {
    on: {
      parent: { halt: 'stays', recall: 'stays', cut: 'failed' },
      write: {
        started: 'stays',
        flushed: 'stays',
        landed: [
          { when: 'all of it', to: 'committed' },
          { when: 'a prefix: the rest goes', event: firstHalf, to: 'stays' },
          { when: 'a prefix, halted', ...halted, event: firstHalf, to: 'failed' },
          { when: 'a prefix, recalled', ...recalled, event: firstHalf, to: 'recalled' },
        ],
        lost: 'resolving.asking',
        deferred: [
          { when: 'nothing else', to: 'retrying' },
          { when: 'halted', ...halted, to: 'failed' },
          { when: 'recalled', ...recalled, to: 'recalled' },
          { when: 'past the deadline', ...expired, to: 'failed' },
        ],
        refused: 'resolving.asking',
      },
      resolve: { landed: _, notLanded: _, lost: _, superseded: _, reverted: _ },
      wire: { breaks: 'failed' },
      clock: {
        commitDeadline: 'stays',
        writeDeadline: 'stays',
        resolveDeadline: _,
        askAgain: _,
        writeAgain: _,
      },
    },
  },
  'resolving.asking': {
    on: {
      parent: { halt: 'stays', recall: 'stays', cut: 'failed' },
      write: { started: 'stays', flushed: 'stays', landed: _, lost: _, deferred: _, refused: _ },
      resolve: {
        landed: landedCases,
        notLanded: [...notLandedCases, { when: 'past the deadline', ...expired, to: 'failed' }],
        lost: [
          { when: 'nothing else', to: 'resolving.pausing' },
          { when: 'halted', ...halted, to: 'resolving.pausing' },
          { when: 'past the deadline', ...expired, to: 'failed' },
        ],
        superseded: 'superseded',
        reverted: 'failed',
      },
      wire: { breaks: 'failed' },
      clock: {
        commitDeadline: 'stays',
        writeDeadline: _,
        resolveDeadline: 'stays',
        askAgain: _,
        writeAgain: _,
      },
    },
  },
  'resolving.pausing': {
    on: {
      parent: { halt: 'stays', recall: 'stays', cut: 'failed' },
      write: { started: 'stays', flushed: 'stays', landed: _, lost: _, deferred: _, refused: _ },
      resolve: {
        landed: landedCases,
        notLanded: notLandedCases,
        lost: _,
        superseded: 'superseded',
        reverted: 'failed',
      },
      wire: { breaks: 'failed' },
      clock: {
        commitDeadline: 'failed',
        writeDeadline: _,
        resolveDeadline: _,
        askAgain: 'resolving.asking',
        writeAgain: _,
      },
    },
  },
  retrying: {
    on: {
      parent: { halt: 'failed', recall: 'recalled', cut: 'failed' },
      write: { started: 'stays', flushed: 'stays', landed: _, lost: _, deferred: _, refused: _ },
      resolve: { landed: _, notLanded: _, lost: _, superseded: _, reverted: _ },
      wire: { breaks: 'failed' },
      clock: {
        commitDeadline: 'failed',
        writeDeadline: _,
        resolveDeadline: _,
        askAgain: _,
        writeAgain: 'writing',
      },
    },
  },
  committed: { on: nothing },
  recalled: { on: nothing },
  superseded: { on: nothing },
  failed: { on: nothing },
}
