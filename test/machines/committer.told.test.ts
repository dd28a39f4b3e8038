/** What the committer tells its wire and its parent, and what it comes to, word by word. */
import { describe, expect, test } from 'vitest'
import { committerMachine } from '../../machines/committer.machine.ts'
import { talk } from './talk.ts'
import type { Talk } from './talk.ts'

describe('the committer', () => {
  const input = { kind: 'commit', batches: 3, from: 100, upTo: 130, commitDeadlineMs: 5 }
  const begins = ['+wire', 'wire.write {"batches":3}', '~commitDeadline', '~attemptDeadline']
  const landed = {
    type: 'write.landed',
    batches: 1,
    committed: 110,
    stagedBatches: 2,
    stagedBytes: 20,
    groupLimit: 4,
    snapshots: 1,
  }

  test('its wire knows the group and where it is to land', () => {
    const started = talk(committerMachine, input, begins, [])
    expect(started.spawned[0]!.input).toMatchObject(input)
  })

  test('I10: an answer that was lost is asked for until it comes', () => {
    const step = talk(committerMachine, input, begins, [
      [{ type: 'write.started', upTo: 125 }, []],
      ['frames.flushed', ['#_parent.frames.flushed']],
      ['xstate.after.attemptDeadline.committer.writing', ['wire.destroy']],
      [{ type: 'write.lost', error: 'lost', retryInMs: 3 }, ['wire.resolve', '~attemptDeadline']],
      ['xstate.after.attemptDeadline.committer.resolving.asking', ['wire.destroy']],
      [{ type: 'resolve.lost', error: 'again', retryInMs: 4 }, ['~retryIn']],
      ['xstate.after.retryIn.committer.resolving.pausing', ['wire.resolve', '~attemptDeadline']],
      [{ type: 'resolve.notLanded', retryInMs: 6 }, ['~retryIn']],
      ['xstate.after.retryIn.committer.retrying', ['wire.write {"batches":3}', '~attemptDeadline']],
      [{ type: 'write.lost', error: 'twice', retryInMs: 3 }, ['wire.resolve', '~attemptDeadline']],
      ['cut', ['wire.cut']],
    ])
    expect(step.chart.output).toEqual({
      status: 'failed',
      landed: 0,
      committed: 100,
      stagedBatches: 0,
      stagedBytes: -1,
      groupLimit: -1,
      snapshots: 0,
      error: 'twice',
      inDoubt: { from: 100, upTo: 125 },
      owner: null,
    })
  })

  test('I2, H44: a refused group goes by halves, each of them counted', () => {
    const refused = { type: 'write.refused', error: 'refused', retryInMs: 1 }
    const notLanded = { type: 'resolve.notLanded', retryInMs: 1 }
    const asked = ['wire.resolve', '~attemptDeadline']
    const writes = (batches: number) => [`wire.write {"batches":${batches}}`, '~attemptDeadline']
    const step = talk(committerMachine, input, begins, [
      [refused, asked],
      [notLanded, writes(2)],
      [refused, asked],
      [notLanded, writes(1)],
      [landed, writes(1)],
      [refused, asked],
      [notLanded, []],
    ])
    expect(step.chart.output).toMatchObject({
      status: 'failed',
      landed: 1,
      committed: 110,
      stagedBatches: 2,
      stagedBytes: 20,
      groupLimit: 4,
      snapshots: 1,
      error: 'refused',
      inDoubt: null,
    })
  })

  test('H36: what an inspector sees of each answer; the first cause stays', () => {
    const lost = { type: 'write.lost', error: 'lost', retryInMs: 3 }
    const asked = ['wire.resolve', '~attemptDeadline']
    const seen = (lines: Talk) => talk(committerMachine, input, begins, lines).chart.context
    expect(seen([[lost, asked]])).toMatchObject({ error: 'lost', retryInMs: 3, lostInARow: 1 })
    const pausing: Talk = [
      [lost, asked],
      [{ type: 'resolve.lost', error: 'cannot connect', retryInMs: 4 }, ['~retryIn']],
    ]
    expect(seen(pausing)).toMatchObject({ error: 'lost', retryInMs: 4 })
    const retrying: Talk = [
      [lost, asked],
      [{ type: 'resolve.notLanded', retryInMs: 5 }, ['~retryIn']],
    ]
    expect(seen(retrying)).toMatchObject({ error: 'lost', retryInMs: 5, refused: false })
    const deferred = { type: 'write.deferred', error: 'deferred', retryInMs: 9 }
    expect(seen([[deferred, ['~retryIn']]])).toMatchObject({
      error: 'deferred',
      retryInMs: 9,
      refused: false,
      lostInARow: 0,
    })
    const landing: Talk = [
      [{ type: 'write.refused', error: 'refused', retryInMs: 1 }, asked],
      [{ ...landed, type: 'resolve.landed' }, ['wire.write {"batches":1}', '~attemptDeadline']],
    ]
    expect(seen(landing)).toMatchObject({ refused: false, lostInARow: 0, landed: 1, committed: 110 })
    const reverted: Talk = [
      [lost, asked],
      [{ type: 'resolve.reverted', error: 'the database went back' }, []],
    ]
    expect(talk(committerMachine, input, begins, reverted).chart.output).toMatchObject({
      status: 'failed',
      error: 'the database went back',
      inDoubt: null,
    })
  })

  test('past its deadline it cuts the wire that does not answer', () => {
    const step = talk(committerMachine, input, begins, [
      ['xstate.after.commitDeadline.committer', []],
      [{ type: 'write.lost', error: 'lost', retryInMs: 3 }, ['wire.resolve', '~attemptDeadline']],
      [{ type: 'resolve.lost', error: 'cannot connect', retryInMs: 4 }, ['wire.cut']],
    ])
    expect(step.chart.output).toMatchObject({ error: 'lost', inDoubt: { from: 100, upTo: 130 } })
  })

  test('what kills the backend is split, unless it is a batch alone', () => {
    const lost = { type: 'write.lost', error: 'lost', retryInMs: 3 }
    const notLanded = { type: 'resolve.notLanded', retryInMs: 5 }
    const asked = ['wire.resolve', '~attemptDeadline']
    const write = (batches: number) => [`wire.write {"batches":${batches}}`, '~attemptDeadline']
    const again = (batches: number): Talk => [
      [lost, asked],
      [notLanded, ['~retryIn']],
      ['xstate.after.retryIn.committer.retrying', write(batches)],
    ]
    const third: Talk = [[lost, asked]]
    talk(committerMachine, input, begins, [...again(3), ...again(3), ...third, [notLanded, write(2)]])
    const alone = { ...input, batches: 1 }
    const beginsAlone = begins.map((word) => word.replace('3', '1'))
    talk(committerMachine, alone, beginsAlone, [
      ...again(1),
      ...again(1),
      ...third,
      [notLanded, ['~retryIn']],
    ])
  })

  test('H44: after a sound prefix the rest is tried by halves', () => {
    const asked = ['wire.resolve', '~attemptDeadline']
    const refused: Talk = [[{ type: 'write.refused', error: 'refused', retryInMs: 1 }, asked]]
    const notLanded = { type: 'resolve.notLanded', retryInMs: 1 }
    const write = (batches: number) => [`wire.write {"batches":${batches}}`, '~attemptDeadline']
    talk(
      committerMachine,
      { ...input, batches: 5 },
      begins.map((word) => word.replace('3', '5')),
      [
        ...refused,
        [notLanded, write(3)],
        ...refused,
        [notLanded, write(2)],
        [{ ...landed, batches: 1 }, write(2)],
        [{ ...landed, batches: 2 }, write(1)],
        [{ ...landed, batches: 1 }, write(1)],
      ],
    )
  })

  test('H72: who has the row instead is told', () => {
    const owner = { epoch: 2, host: 'other', pid: 7 }
    const step = talk(committerMachine, input, begins, [
      [{ type: 'write.lost', error: 'lost', retryInMs: 1 }, ['wire.resolve', '~attemptDeadline']],
      [{ type: 'resolve.superseded', owner }, []],
    ])
    expect(step.chart.output).toMatchObject({ status: 'superseded', owner, inDoubt: null })
  })

  test('I7: what is cut or broken while it is on the wire is in doubt, and only that', () => {
    const broken = { type: 'xstate.error.actor.wire', error: 'broken' }
    const onTheWire = talk(committerMachine, input, begins, [[broken, []]])
    expect(onTheWire.chart.output).toMatchObject({ error: 'broken', inDoubt: { from: 100, upTo: 130 } })
    const deferred = { type: 'write.deferred', error: 'deferred', retryInMs: 9 }
    const atRest = talk(committerMachine, input, begins, [
      [deferred, ['~retryIn']],
      [broken, []],
    ])
    expect(atRest.chart.output).toMatchObject({ error: 'broken', inDoubt: null })
    const cut = talk(
      committerMachine,
      { ...input, kind: 'rollback', batches: 1, from: 130, upTo: 90 },
      ['+wire', 'wire.write {"batches":1}', '~commitDeadline', '~attemptDeadline'],
      [['cut', ['wire.cut']]],
    )
    expect(cut.chart.output).toMatchObject({ error: null, inDoubt: { from: 90, upTo: 130 } })
    const mark = talk(
      committerMachine,
      { ...input, batches: 0, upTo: 100 },
      ['+wire', 'wire.write {"batches":0}', '~commitDeadline', '~attemptDeadline'],
      [['cut', ['wire.cut']]],
    )
    expect(mark.chart.output).toMatchObject({ inDoubt: null })
  })
})
