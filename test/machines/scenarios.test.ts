/** Single runs of the real root chart, with real children and scripted workers, on a faked clock. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createActor, fromCallback } from 'xstate'
import type { EventObject } from 'xstate'
import { committerMachine } from '../../machines/committer.machine.ts'
import type { CommitterInput } from '../../machines/committer.machine.ts'
import type { IndexerEvent, WireCommand, WireEvent } from '../../machines/events.ts'
import type { IndexerInput } from '../../machines/facts.ts'
import { indexerMachine } from '../../machines/indexer.machine.ts'
import type { Limits } from '../../machines/limits.ts'
import { defaultLimits, handOverMs } from '../../machines/limits.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  expect(vi.getTimerCount(), 'I16: a timer is left').toBe(0)
  vi.useRealTimers()
})

interface Wire {
  readonly input: CommitterInput
  readonly heard: string[]
  say(event: WireEvent): void
}

/** A run whose workers are silent: the test speaks for them and reads what they were told. */
function start(limits: Partial<Limits> = {}, input: Partial<IndexerInput> = {}) {
  const heard: string[] = []
  const wires: Wire[] = []
  const listener = (name: string) =>
    fromCallback<EventObject>(({ receive }) =>
      receive((command) => void heard.push(`${name}.${command.type}`)),
    )
  const committer = committerMachine.provide({
    actors: {
      wire: fromCallback<WireCommand, CommitterInput>(({ sendBack, receive, input }) => {
        const wire: Wire = { input, heard: [], say: sendBack }
        wires.push(wire)
        receive((command) => void wire.heard.push(command.type))
      }),
    },
  })
  const machine = indexerMachine.provide({
    actors: {
      opener: listener('opener'),
      sources: listener('sources'),
      computer: listener('computer'),
      publisher: listener('publisher'),
      committer,
      restorer: committer,
    } as never,
  })
  const actor = createActor(machine, { input: { limits: { ...defaultLimits, ...limits }, ...input } })
  const errors: unknown[] = []
  actor.subscribe({ error: (error) => errors.push(error) })
  actor.start()
  return {
    heard,
    say: (...events: IndexerEvent[]) => events.forEach((event) => actor.send(event)),
    wire: () => wires.at(-1)!,
    value: () => JSON.stringify(actor.getSnapshot().value),
    outcome: () => {
      const snapshot = actor.getSnapshot()
      expect(errors).toEqual([])
      expect(snapshot.status, `not at its end: ${JSON.stringify(snapshot.value)}`).toBe('done')
      expect(Object.keys(snapshot.children), 'I16: a child is left').toEqual([])
      return snapshot.output!
    },
  }
}

const opened = { type: 'opened', committed: 100 } as const
const pulled = { type: 'batch.pulled', from: 101, upTo: 110, items: 1 } as const
const handled = { type: 'batch.handled', upTo: 110, stagedBytes: 1 } as const
const closed = { type: 'source.closed' } as const
const cancelled = { type: 'batch.cancelled' } as const
const fork = { type: 'source.fork', source: 'a', target: 100 } as const
const delivered = { type: 'region.settled', settled: 1, delivered: true, error: null } as const
const abort = { type: 'abort', error: 'abort' } as const
const landed = {
  type: 'write.landed',
  batches: 1,
  committed: 110,
  stagedBatches: 0,
  stagedBytes: 0,
  groupLimit: 1,
  snapshots: 0,
} as const

describe('the exit', () => {
  test('I6 a batch that runs when stop is asked is finished, committed, and the run is stopped', () => {
    const run = start()
    run.say(opened, pulled, { type: 'stop' }, handled, closed)
    expect(run.wire().heard).toEqual(['write'])
    run.wire().say(landed)
    // the frames were never said to be flushed: its 10 ms, and the end of the commit, are enough
    expect(run.outcome()).toMatchObject({ status: 'stopped', committed: 110, processed: 110, error: null })
  })

  test('I6 a stop after everything was read still ends as finished', () => {
    const run = start()
    run.say(
      opened,
      { type: 'source.ended' },
      pulled,
      handled,
      { type: 'frames.flushed' },
      { type: 'pull.ended' },
    )
    run.say({ type: 'stop' })
    run.wire().say(landed)
    expect(run.outcome()).toMatchObject({ status: 'finished', committed: 110 })
  })

  test('I14 a mark delivered while a commit is on the wire goes with the next one', () => {
    const run = start()
    run.say(opened, { type: 'source.ended' }, pulled, handled, { type: 'frames.flushed' })
    run.wire().say({ ...landed, snapshots: 1 })
    run.say({ ...pulled, from: 111, upTo: 120 }, { ...handled, upTo: 120 }, { type: 'frames.flushed' })
    run.say(delivered, { type: 'pull.ended' })
    run.wire().say({ ...landed, committed: 120 })
    expect(run.wire().input).toMatchObject({ batches: 0, from: 120, upTo: 120 })
    run.wire().say({ ...landed, batches: 0, committed: 120 })
    expect(run.outcome()).toMatchObject({ status: 'finished', committed: 120 })
  })

  test('I7 a mark alone that Postgres refuses fails the run instead of being retried', () => {
    const run = start()
    run.say(opened, pulled, handled, { type: 'frames.flushed' })
    run.wire().say({ ...landed, snapshots: 1 })
    run.say(delivered, { type: 'stop' }, cancelled, closed)
    expect(run.wire().input.batches).toBe(0)
    run.wire().say({ type: 'write.refused', error: 'refused', retryInMs: 1 })
    run.wire().say({ type: 'resolve.notLanded', retryInMs: 1 })
    expect(run.outcome()).toMatchObject({ status: 'failed', error: 'refused', inDoubt: null })
  })
})

describe('regions', () => {
  const quarantined = {
    type: 'region.settled',
    settled: 1,
    delivered: false,
    error: 'unreachable',
  } as const
  const published = (requireRegions: boolean) => {
    const run = start({}, { requireRegions })
    run.say(opened, pulled, handled, { type: 'frames.flushed' })
    run.wire().say({ ...landed, snapshots: 1 })
    expect(run.value()).toContain('"publish":"publishing"')
    return run
  }

  test('I13 one that is quarantined costs the run nothing', () => {
    const run = published(false)
    run.say(quarantined)
    expect(run.value()).toContain('flowing')
    run.say({ type: 'stop' }, cancelled, closed)
    expect(run.outcome()).toMatchObject({ status: 'stopped', error: null, suppressed: [] })
  })

  test('I7 one that is required and quarantined fails the run, with its error first', () => {
    const run = published(true)
    run.say(quarantined, { type: 'source.failed', error: 'second' })
    expect(run.heard).toContain('publisher.halt')
    run.say(cancelled, closed)
    expect(run.outcome()).toMatchObject({
      status: 'failed',
      error: 'unreachable',
      suppressed: ['second'],
      committed: 110,
    })
  })

  test('I6 what a look finds is settled before the end', () => {
    const run = start()
    run.say(opened, { type: 'publish.offered', snapshots: 2 }, { type: 'stop' }, cancelled, closed)
    run.say({ ...delivered, settled: 0, delivered: false })
    expect(run.value()).toContain('draining')
    run.say({ ...delivered, settled: 2, delivered: false })
    expect(run.outcome()).toMatchObject({ status: 'stopped', committed: 100 })
  })

  test('I6 one that is delivered between the halves of a commit is settled before the commit is told', () => {
    const run = start()
    run.say(opened, pulled, handled, delivered, { type: 'stop' })
    run.say(closed)
    run.wire().say({ ...landed, snapshots: 1 })
    // its mark was not in the group: it goes by itself
    expect(run.wire().input).toMatchObject({ batches: 0, from: 110, upTo: 110 })
    run.wire().say({ ...landed, batches: 0 })
    expect(run.outcome()).toMatchObject({ status: 'stopped', committed: 110 })
  })
})

describe('handing over', () => {
  test('I3 lasts at most 10 ms', () => {
    const run = start()
    run.say(opened, pulled, handled)
    expect(run.value()).toContain('handingOver')
    vi.advanceTimersByTime(handOverMs - 1)
    expect(run.value()).toContain('handingOver')
    vi.advanceTimersByTime(1)
    expect(run.value()).toContain('"compute":"pulling"')
    run.say(abort, closed, cancelled)
    vi.advanceTimersByTime(defaultLimits.failDeadlineMs)
    expect(run.outcome().status).toBe('failed')
  })

  test('I5 a fork that arrives meanwhile waits for it', () => {
    const run = start()
    run.say(opened, pulled, handled, { ...fork, target: 110 })
    expect(run.value()).toContain('handingOver')
    run.wire().say({ type: 'frames.flushed' })
    expect(run.value()).toContain('"compute":"parked"')
    run.wire().say(landed)
    run.say({ type: 'stop' }, closed)
    expect(run.wire().input).toMatchObject({ kind: 'rollback', from: 110, upTo: 110 })
    run.wire().say(landed)
    expect(run.outcome()).toMatchObject({ status: 'stopped', committed: 110 })
  })
})

describe('failing', () => {
  test('I7 with failDeadlineMs 0 every lane is cut in the next turn, and the doubt is said', () => {
    const run = start({ failDeadlineMs: 0 })
    run.say(opened, pulled, handled, abort)
    expect(run.heard).not.toContain('sources.cut')
    vi.advanceTimersByTime(0)
    expect(run.heard).toEqual(expect.arrayContaining(['sources.cut', 'computer.cut', 'publisher.cut']))
    expect(run.wire().heard).toEqual(['write', 'cut'])
    run.say(closed)
    vi.advanceTimersByTime(handOverMs)
    expect(run.outcome()).toMatchObject({
      status: 'failed',
      error: 'abort',
      suppressed: [],
      committed: 100,
      processed: 110,
      inDoubt: { from: 100, upTo: 110 },
    })
  })

  test('I7 the first error stays, later ones are attached, and superseded keeps them', () => {
    const run = start()
    run.say(opened, pulled, handled, { type: 'frames.flushed' }, { ...pulled, from: 111, upTo: 120 })
    run.say({ type: 'batch.failed', error: 'first' }, { type: 'source.failed', error: 'second' }, closed)
    run.wire().say({ type: 'write.lost', error: 'lost', retryInMs: 1 })
    run.wire().say({ type: 'resolve.superseded', owner: { epoch: 7, host: 'other', pid: 2 } })
    expect(run.outcome()).toMatchObject({
      status: 'superseded',
      owner: { epoch: 7 },
      error: 'first',
      suppressed: ['second'],
    })
  })

  test('I7 an error of a cancelled pull is not swallowed by stop', () => {
    const run = start()
    run.say(opened, { type: 'stop' }, { type: 'batch.failed', error: 'pull failed' }, cancelled, closed)
    expect(run.outcome()).toMatchObject({ status: 'failed', error: 'pull failed' })
  })

  test('a deaf handler meets the drain deadline, then the cut', () => {
    const run = start({ drainDeadlineMs: 500, failDeadlineMs: 100 })
    run.say(opened, pulled, fork, closed)
    vi.advanceTimersByTime(500)
    expect(run.value()).toContain('failing')
    expect(run.heard).not.toContain('computer.cut')
    vi.advanceTimersByTime(100)
    expect(run.heard).toContain('computer.cut')
    run.say(cancelled)
    expect(run.outcome()).toMatchObject({
      status: 'failed',
      error: { code: 'DRAIN_DEADLINE', drain: 'rollback' },
    })
  })

  test('stop while opening: an opener that does not answer meets the drain deadline', () => {
    const run = start({ drainDeadlineMs: 500 })
    run.say({ type: 'stop' }, { type: 'stop' })
    expect(run.heard).toEqual(['opener.cancel'])
    vi.advanceTimersByTime(500)
    expect(run.outcome()).toMatchObject({
      status: 'failed',
      error: { code: 'DRAIN_DEADLINE', drain: 'opening' },
    })
  })
})

describe('rolling back', () => {
  const rollingBack = (limits: Partial<Limits> = {}) => {
    const run = start(limits)
    run.say(opened, pulled, handled, { type: 'frames.flushed' })
    run.wire().say(landed)
    run.say(fork, cancelled, closed)
    expect(run.value()).toContain('restoring')
    return run
  }

  test('I7 an abort halts it; what it comes to is waited for', () => {
    const run = rollingBack()
    run.say(abort)
    expect(run.heard).toContain('publisher.halt')
    run.wire().say({ ...landed, committed: 100 })
    expect(run.outcome()).toMatchObject({ status: 'failed', error: 'abort', committed: 100, inDoubt: null })
  })

  test('I7 past the deadline it is cut, and the checkpoints it may have taken are in doubt', () => {
    const run = rollingBack({ failDeadlineMs: 100 })
    run.say(abort)
    vi.advanceTimersByTime(100)
    expect(run.wire().heard).toEqual(['write', 'cut'])
    expect(run.outcome()).toMatchObject({
      status: 'failed',
      committed: 110,
      inDoubt: { from: 100, upTo: 110 },
    })
  })

  test('sources and compute go on afterwards, each started once', () => {
    const run = rollingBack()
    run.heard.length = 0
    run.wire().say({ ...landed, committed: 100 })
    expect(run.heard.sort()).toEqual(['computer.pull', 'sources.open'])
    run.say({ type: 'stop' }, cancelled, closed)
    expect(run.outcome()).toMatchObject({ status: 'stopped', committed: 100, processed: 100 })
  })
})

describe('a commit', () => {
  test('I10 a question about the row that is never answered meets the attempt deadline', () => {
    const run = start({ commitDeadlineMs: 200_000 })
    run.say(opened, pulled, handled)
    run.wire().say({ type: 'frames.flushed' })
    run.wire().say({ type: 'write.lost', error: 'lost', retryInMs: 1 })
    expect(run.wire().heard).toEqual(['write', 'resolve'])
    vi.advanceTimersByTime(120_000)
    expect(run.wire().heard).toEqual(['write', 'resolve', 'destroy'])
    run.wire().say({ type: 'resolve.lost', error: 'resolve lost', retryInMs: 1 })
    vi.advanceTimersByTime(1)
    expect(run.wire().heard).toEqual(['write', 'resolve', 'destroy', 'resolve'])
    run.wire().say({ ...landed, type: 'resolve.landed' })
    run.say({ type: 'stop' }, cancelled, closed)
    expect(run.outcome()).toMatchObject({ status: 'stopped', committed: 110 })
  })
})
