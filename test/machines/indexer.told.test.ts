/** What the root chart tells its workers, and what it comes to, word by word. */
import { describe, expect, test } from 'vitest'
import { indexerMachine } from '../../machines/indexer.machine.ts'
import { defaultLimits, defaultRegionLimits } from '../../machines/limits.ts'
import { talk } from './talk.ts'
import type { Talk } from './talk.ts'

describe('the indexer', () => {
  const input = { limits: { ...defaultLimits, commitDeadlineMs: 7_000 } }
  const opened = { type: 'opened', committed: 100 }
  const pulled = { type: 'batch.pulled', from: 101, upTo: 110, items: 1 }
  const handled = { type: 'batch.handled', upTo: 110, stagedBytes: 1 }
  const fork = { type: 'source.fork', source: 'a', target: 100 }
  const abort = { type: 'abort', error: 'why' }
  const landed = {
    status: 'committed',
    landed: 1,
    committed: 110,
    stagedBatches: 0,
    stagedBytes: 0,
    groupLimit: 1,
    snapshots: 0,
    error: null,
    inDoubt: null,
    owner: null,
  }
  const committed = { type: 'xstate.done.actor.committer', output: landed }
  const restored = { type: 'xstate.done.actor.restorer', output: { ...landed, committed: 100 } }
  const opening: Talk = [[opened, ['+sources', '+computer', '+publisher', 'sources.open', 'computer.pull']]]
  const committing: Talk = [
    ...opening,
    [pulled, ['computer.run']],
    ['batch.preloaded', []],
    [handled, ['+committer', '~handOver']],
  ]

  test('I1, I3: handles, commits, pulls again, and stops', () => {
    const lines: Talk = [
      ...committing,
      ['frames.flushed', ['computer.pull']],
      [committed, []],
      ['source.full', []],
      ['source.room', []],
      ['stop', ['sources.close', 'computer.cancel', '~drainDeadline']],
      ['batch.cancelled', []],
      ['source.closed', []],
    ]
    expect(talk(indexerMachine, input, ['+opener'], lines).chart.output).toEqual({
      status: 'stopped',
      committed: 110,
      processed: 110,
      error: null,
      suppressed: [],
      inDoubt: null,
      owner: null,
    })
  })

  test('I2, I5: what a commit and a rollback are told', () => {
    const commit = talk(indexerMachine, input, ['+opener'], committing)
    expect(commit.spawned[0]!.input).toEqual({
      kind: 'commit',
      batches: 1,
      from: 100,
      upTo: 110,
      commitDeadlineMs: 7_000,
    })
    const rollback = talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ...committing,
        [fork, ['sources.close', 'committer.recall', '~drainDeadline']],
        ['frames.flushed', []],
        [committed, []],
        ['source.closed', ['+restorer']],
      ],
    )
    expect(rollback.spawned[0]!.input).toEqual({
      kind: 'rollback',
      batches: 1,
      from: 110,
      upTo: 100,
      commitDeadlineMs: 7_000,
    })
    const publisher = talk(indexerMachine, input, ['+opener'], opening).spawned[2]!
    expect(publisher.input).toEqual({ limits: defaultRegionLimits })
  })

  test('I7: a failure during a rollback halts it, then cuts it', () => {
    const step = talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ...opening,
        [fork, ['sources.close', 'computer.cancel', '~drainDeadline']],
        ['source.closed', []],
        ['batch.cancelled', ['+restorer']],
        [abort, ['restorer.halt', 'publisher.halt', '~failDeadline']],
        ['xstate.after.failDeadline.indexer.active.control.rollingBack.halting', ['restorer.cut']],
        [
          { ...restored, output: { ...landed, status: 'failed', error: 'cut' } },
          ['sources.close', 'publisher.halt'],
        ],
      ],
    )
    expect(step.chart.output).toMatchObject({ status: 'failed', error: 'why', suppressed: ['cut'] })
  })

  test('after a rollback sources and compute begin again', () => {
    talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ...opening,
        [fork, ['sources.close', 'computer.cancel', '~drainDeadline']],
        ['source.closed', []],
        ['batch.cancelled', ['+restorer']],
        [restored, ['sources.open', 'computer.pull']],
      ],
    )
  })

  test('I7: a failure halts every lane, and cuts every lane at its deadline', () => {
    talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ...committing,
        [{ type: 'publish.offered', snapshots: 1 }, []],
        [abort, ['sources.close', 'committer.halt', 'publisher.halt', '~failDeadline']],
        [
          'xstate.after.failDeadline.indexer.active.control.failing',
          ['sources.cut', 'computer.cut', 'committer.cut', 'publisher.cut'],
        ],
      ],
    )
  })

  test('I7: no word goes to a committer that is not there', () => {
    talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ...opening,
        [abort, ['sources.close', 'publisher.halt', 'computer.cancel', '~failDeadline']],
        [
          'xstate.after.failDeadline.indexer.active.control.failing',
          ['sources.cut', 'computer.cut', 'publisher.cut'],
        ],
      ],
    )
  })

  test('a drain past its deadline fails, naming itself', () => {
    const exit = talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ...opening,
        ['stop', ['sources.close', 'computer.cancel', '~drainDeadline']],
        [
          'xstate.after.drainDeadline.indexer.active.control.draining.exit',
          ['sources.close', 'publisher.halt', '~failDeadline'],
        ],
      ],
    )
    expect(exit.chart.context.error).toEqual({ code: 'DRAIN_DEADLINE', drain: 'exit' })
    const rollback = talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ...opening,
        [fork, ['sources.close', 'computer.cancel', '~drainDeadline']],
        [
          'xstate.after.drainDeadline.indexer.active.control.draining.rollback',
          ['sources.close', 'publisher.halt', '~failDeadline'],
        ],
      ],
    )
    expect(rollback.chart.context.error).toEqual({ code: 'DRAIN_DEADLINE', drain: 'rollback' })
  })

  test('an opening is cancelled once, whoever asks', () => {
    const stopped = talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ['stop', ['opener.cancel', '~drainDeadline']],
        ['open.cancelled', []],
      ],
    )
    expect(stopped.chart.output).toMatchObject({ status: 'stopped' })
    const aborted = talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        [abort, ['opener.cancel', '~failDeadline']],
        [opened, []],
      ],
    )
    expect(aborted.chart.output).toMatchObject({ status: 'failed', error: 'why', committed: 100 })
    const refused = talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ['stop', ['opener.cancel', '~drainDeadline']],
        [{ type: 'open.failed', error: 'told to stop' }, []],
      ],
    )
    expect(refused.chart.output).toMatchObject({ status: 'stopped', error: null })
  })

  test('I7: whatever goes wrong while it opens is said, and what was opened is known', () => {
    const ends: readonly (readonly [Talk, object])[] = [
      [[[{ type: 'xstate.error.actor.opener', error: 'broke' }, []]], { status: 'failed', error: 'broke' }],
      [[[{ type: 'open.failed', error: 'refused' }, []]], { status: 'failed', error: 'refused' }],
      [
        [
          ['stop', ['opener.cancel', '~drainDeadline']],
          [opened, []],
        ],
        { status: 'stopped', committed: 100, processed: 100 },
      ],
      [
        [
          ['stop', ['opener.cancel', '~drainDeadline']],
          [abort, ['~failDeadline']],
          ['open.cancelled', []],
        ],
        { status: 'failed', error: 'why' },
      ],
      [
        [
          [abort, ['opener.cancel', '~failDeadline']],
          [{ type: 'open.failed', error: 'second' }, []],
        ],
        { status: 'failed', error: 'why', suppressed: ['second'] },
      ],
    ]
    for (const [lines, output] of ends) {
      expect(talk(indexerMachine, input, ['+opener'], lines).chart.output).toMatchObject(output)
    }
  })

  test('I7: a restorer that breaks fails the run with its error', () => {
    const step = talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ...opening,
        [fork, ['sources.close', 'computer.cancel', '~drainDeadline']],
        ['source.closed', []],
        ['batch.cancelled', ['+restorer']],
        [{ type: 'xstate.error.actor.restorer', error: 'broke' }, ['sources.close', 'publisher.halt']],
      ],
    )
    expect(step.chart.output).toMatchObject({ status: 'failed', error: 'broke' })
  })

  test('I2: a batch counts as handled wherever its end is heard', () => {
    const beside = talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ...committing,
        ['frames.flushed', ['computer.pull']],
        [{ ...pulled, from: 111, upTo: 120 }, ['computer.run']],
        ['stop', ['sources.close', '~drainDeadline']],
        [{ ...handled, upTo: 120, stagedBytes: 2 }, []],
      ],
    )
    const counted = { processed: 120, stagedBatches: 1, stagedBytes: 2, running: null }
    expect(beside.chart.context).toMatchObject(counted)
    const doomed = talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ...opening,
        [pulled, ['computer.run']],
        [fork, ['sources.close', 'computer.cancel', '~drainDeadline']],
        [handled, []],
        ['batch.cancelled', []],
      ],
    )
    expect(doomed.chart.context).toMatchObject({ processed: 110, stagedBatches: 1, running: null })
    const cancelled = talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ...opening,
        [pulled, ['computer.run']],
        [fork, ['sources.close', 'computer.cancel', '~drainDeadline']],
        ['batch.cancelled', []],
      ],
    )
    expect(cancelled.chart.context).toMatchObject({ processed: 100, running: null })
  })

  test('I7: an error of a doomed batch is an echo of the fork, and counts once the run has failed', () => {
    const echo: Talk = [
      ...opening,
      [pulled, ['computer.run']],
      [fork, ['sources.close', 'computer.cancel', '~drainDeadline']],
      [{ type: 'batch.failed', error: 'echo' }, []],
    ]
    const forked = talk(indexerMachine, input, ['+opener'], echo)
    expect(forked.chart.context).toMatchObject({ failed: false, error: null })
    const failing = talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ...echo,
        [abort, ['sources.close', 'publisher.halt', '~failDeadline']],
        [{ type: 'batch.failed', error: 'second' }, []],
      ],
    )
    expect(failing.chart.context).toMatchObject({ error: 'why', suppressed: ['second'] })
  })

  test('I9: a run that lost its pipeline says to whom', () => {
    const owner = { epoch: 3, host: 'other', pid: 9 }
    const step = talk(
      indexerMachine,
      input,
      ['+opener'],
      [
        ...opening,
        [
          { type: 'ownership.lost', owner },
          ['sources.close', 'publisher.halt', 'computer.cancel', '~failDeadline'],
        ],
        ['batch.cancelled', []],
        ['source.closed', []],
      ],
    )
    expect(step.chart.output).toMatchObject({ status: 'superseded', owner, error: null })
  })
})
