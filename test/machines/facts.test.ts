/** What the root chart makes of each thing that becomes known, and what its guards see in it: fact by fact. */
import { describe, expect, test } from 'vitest'
import * as facts from '../../machines/facts.ts'
import type { IndexerFacts } from '../../machines/facts.ts'
import { defaultLimits, defaultRegionLimits } from '../../machines/limits.ts'
import type { CommitOutcome } from '../../machines/outcome.ts'

const none = facts.initialFacts({ limits: defaultLimits })
const knowing = (known: Partial<IndexerFacts>): IndexerFacts => ({ ...none, ...known })
const owner = { epoch: 2, host: 'other', pid: 7 }
const outcome: CommitOutcome = {
  status: 'committed',
  landed: 2,
  committed: 120,
  stagedBatches: 0,
  stagedBytes: 5,
  groupLimit: 3,
  snapshots: 1,
  error: null,
  inDoubt: null,
  owner: null,
}
const endings = [{ failed: true }, { superseded: true }]

test('a run begins knowing nothing', () => {
  const { limits, regionLimits, suppressed, ...rest } = none
  expect([limits, regionLimits, suppressed]).toEqual([defaultLimits, defaultRegionLimits, []])
  const { requireRegions, marksDirty, flightMarks, sourcesEnded, failed, superseded, ...known } = rest
  expect([requireRegions, marksDirty, flightMarks, sourcesEnded, failed, superseded]).toEqual(
    Array(6).fill(false),
  )
  const { groupLimit, running, exit, fork, error, owner: holder, inDoubt, ...counts } = known
  expect(groupLimit).toBe(1)
  expect([running, exit, fork, error, holder, inDoubt]).toEqual(Array(6).fill(null))
  expect(Object.values(counts)).toEqual(Array(6).fill(0))
  const regionLimitsGiven = { attempts: 1, attemptMs: 2, probeMs: 3 }
  expect(
    facts.initialFacts({ limits: defaultLimits, regionLimits: regionLimitsGiven, requireRegions: true }),
  ).toEqual({ ...none, regionLimits: regionLimitsGiven, requireRegions: true })
})

describe('I7: errors', () => {
  test('the first one stays, others are attached, itself said again is none', () => {
    expect(facts.failedWith(none, 'first')).toEqual({ failed: true, error: 'first' })
    const failed = knowing({ failed: true, error: 'first', suppressed: ['second'] })
    expect(facts.failedWith(failed, 'third')).toEqual({ suppressed: ['second', 'third'] })
    expect(facts.failedWith(failed, 'first')).toEqual({})
  })

  test('sixteen are attached, no more', () => {
    const with15 = knowing({ failed: true, error: 'first', suppressed: Array(15).fill('x') })
    expect(facts.failedWith(with15, 'y').suppressed).toHaveLength(16)
    expect(facts.failedWith({ ...with15, suppressed: Array(16).fill('x') }, 'y')).toEqual({})
  })

  test('an owner that is known is not forgotten', () => {
    expect(facts.superseded(none, owner)).toEqual({ superseded: true, owner })
    expect(facts.superseded(knowing({ owner }), null)).toEqual({ superseded: true, owner })
    expect(facts.superseded(knowing({ owner }), { ...owner, pid: 8 }).owner).toEqual({ ...owner, pid: 8 })
  })
})

describe('a batch', () => {
  test('is where it was pulled, and counts once it is handled', () => {
    expect(facts.opened(none, { type: 'opened', committed: 9 })).toEqual({ committed: 9, processed: 9 })
    expect(facts.pulled(none, { type: 'batch.pulled', from: 1, upTo: 4, items: 2 })).toEqual({
      running: { from: 1, upTo: 4 },
    })
    const handled = { type: 'batch.handled', upTo: 4, stagedBytes: 70 } as const
    expect(facts.handled(knowing({ stagedBatches: 2 }), handled)).toEqual({
      running: null,
      processed: 4,
      stagedBatches: 3,
      stagedBytes: 70,
    })
  })

  test('the end of what is read does not replace a stop', () => {
    expect(facts.readToTheEnd(none)).toEqual({ exit: 'ended' })
    expect(facts.readToTheEnd(knowing({ exit: 'stop' }))).toEqual({ exit: 'stop' })
  })

  test('H24: of several forks the lowest target wins', () => {
    const to = (target: number) => ({ type: 'source.fork', source: 's', target }) as const
    expect(facts.forked(none, to(7))).toEqual({ fork: 7 })
    expect(facts.forked(knowing({ fork: 5 }), to(7))).toEqual({ fork: 5 })
    expect(facts.forked(knowing({ fork: 9 }), to(7))).toEqual({ fork: 7 })
  })
})

describe('I2: a commit', () => {
  test('takes what its limit allows, and the marks', () => {
    expect(facts.grouped(knowing({ stagedBatches: 3, groupLimit: 2, marksDirty: true }))).toEqual({
      flightBatches: 2,
      stagedBatches: 1,
      flightMarks: true,
      marksDirty: false,
    })
    const grouped = facts.grouped(knowing({ stagedBatches: 1, groupLimit: 2 }))
    expect(grouped).toMatchObject({ flightBatches: 1, stagedBatches: 0, flightMarks: false })
  })

  const flying = knowing({
    stagedBatches: 1,
    flightBatches: 2,
    flightMarks: true,
    committed: 100,
    undelivered: -1,
    groupLimit: 9,
    stagedBytes: 40,
  })
  const landed = { committed: 120, stagedBytes: 5, groupLimit: 3, undelivered: 0 }

  test('that landed leaves what is staged beside it', () => {
    expect(facts.committed(flying, outcome)).toEqual({
      ...landed,
      flightBatches: 0,
      flightMarks: false,
      stagedBatches: 1,
      marksDirty: false,
    })
  })

  test('I14: a mark is due again unless its commit landed; one that came meanwhile is due in any case', () => {
    const recalled = { ...outcome, status: 'recalled', landed: 1 } as const
    expect(facts.committed(flying, recalled)).toMatchObject({ stagedBatches: 2, marksDirty: true })
    expect(facts.committed({ ...flying, flightMarks: false }, recalled).marksDirty).toBe(false)
    expect(facts.committed({ ...flying, flightMarks: false, marksDirty: true }, outcome).marksDirty).toBe(
      true,
    )
  })

  test('that never reached the change log says nothing of bytes and of the next limit', () => {
    const silent = { ...outcome, stagedBytes: -1, groupLimit: -1 }
    expect(facts.committed(flying, silent)).toMatchObject({ stagedBytes: 40, groupLimit: 9 })
    const empty = { ...outcome, stagedBytes: 0, groupLimit: 0 }
    expect(facts.committed(flying, empty)).toMatchObject({ stagedBytes: 0, groupLimit: 9 })
    expect(facts.committed(flying, { ...outcome, groupLimit: 1 }).groupLimit).toBe(1)
  })

  test('I7, I9: that ended badly says how', () => {
    const inDoubt = { from: 100, upTo: 120 }
    const failed = { ...outcome, status: 'failed', error: 'why', inDoubt } as const
    expect(facts.committed(flying, failed)).toMatchObject({ failed: true, error: 'why', inDoubt })
    expect(facts.committed(flying, { ...failed, error: null })).not.toHaveProperty('failed')
    expect(facts.committed({ ...flying, inDoubt }, { ...failed, inDoubt: null }).inDoubt).toBe(inDoubt)
    const lost = facts.committed(flying, { ...outcome, status: 'superseded', owner, error: 'why' })
    expect(lost).toMatchObject({ superseded: true, owner })
    expect(lost).not.toHaveProperty('error')
    expect(facts.committed(flying, { ...failed, status: 'recalled' })).not.toHaveProperty('failed')
  })
})

describe('I5: a rollback', () => {
  const forked = knowing({
    fork: 90,
    processed: 120,
    committed: 110,
    running: { from: 1, upTo: 2 },
    sourcesEnded: true,
    exit: 'ended',
    undelivered: 2,
  })
  const restored: CommitOutcome = { ...outcome, committed: 90, stagedBatches: 4 }

  test('H71: goes back to its fork, and forgets the end of the sources', () => {
    expect(facts.restored(forked, restored)).toEqual({
      committed: 90,
      stagedBytes: 5,
      groupLimit: 3,
      undelivered: 3,
      processed: 90,
      stagedBatches: 4,
      running: null,
      fork: null,
      sourcesEnded: false,
      exit: null,
    })
    expect(facts.restored({ ...forked, exit: 'stop', fork: 130 }, restored)).toMatchObject({
      exit: 'stop',
      processed: 120,
    })
    expect(facts.restored({ ...forked, fork: null }, restored).processed).toBe(120)
  })

  test('that did not land keeps its fork', () => {
    const failed = { ...restored, status: 'failed', error: 'why' } as const
    expect(facts.restored(forked, failed)).toEqual({ inDoubt: null, failed: true, error: 'why' })
    expect(facts.restored(forked, { ...restored, status: 'recalled' })).toEqual({})
  })
})

describe('I13: regions', () => {
  const settled = { type: 'region.settled', settled: 2, delivered: true, error: null } as const

  test('what is offered and settled is counted; what is delivered asks for a mark', () => {
    const waiting = knowing({ undelivered: 3 })
    expect(facts.offered(waiting, 2)).toEqual({ undelivered: 5 })
    expect(facts.regionSettled(waiting, settled)).toEqual({ undelivered: 1, marksDirty: true })
    const undelivered = { ...settled, delivered: false, error: 'why' }
    expect(facts.regionSettled(waiting, undelivered)).toEqual({ undelivered: 1, marksDirty: false })
    expect(facts.regionSettled(knowing({ marksDirty: true }), undelivered).marksDirty).toBe(true)
  })

  test('only one that is required fails the run, and only with an error', () => {
    const required = knowing({ requireRegions: true })
    expect(facts.regionSettled(required, { ...settled, error: 'why' })).toMatchObject({ error: 'why' })
    expect(facts.regionSettled(required, settled)).not.toHaveProperty('failed')
  })
})

describe('what guards ask', () => {
  test.each(endings)('a run that is ending parks, and commits nothing: %j', (known) => {
    expect(facts.isEnding(knowing(known))).toBe(true)
    expect(facts.mustPark(knowing(known))).toBe(true)
    expect(facts.mayCommit(knowing({ ...known, stagedBatches: 1 }))).toBe(false)
    expect(facts.isDoomed(knowing({ ...known, running: { from: 1, upTo: 2 } }))).toBe(true)
    expect(facts.isDoomed(knowing(known))).toBe(false)
  })

  test('lanes park for a fork and for an exit', () => {
    expect(facts.isEnding(none)).toBe(false)
    expect(facts.mustPark(none)).toBe(false)
    expect(facts.mustPark(knowing({ fork: 0 }))).toBe(true)
    expect(facts.mustPark(knowing({ exit: 'stop' }))).toBe(true)
  })

  test('H31: a fork dooms a batch that reaches above it', () => {
    const running = { from: 5, upTo: 8 }
    expect(facts.isDoomed(knowing({ running }))).toBe(false)
    expect(facts.isDoomed(knowing({ running, fork: 8 }))).toBe(false)
    expect(facts.isDoomed(knowing({ running, fork: 7 }))).toBe(true)
  })

  test('I5, I14: a commit needs something staged, or a mark that is left at the exit, and no fork', () => {
    expect(facts.mayCommit(none)).toBe(false)
    expect(facts.mayCommit(knowing({ stagedBatches: 1 }))).toBe(true)
    expect(facts.mayCommit(knowing({ stagedBatches: 1, fork: 0 }))).toBe(false)
    const mark = { exit: 'stop', undelivered: 0, marksDirty: true } as const
    expect(facts.mayCommit(knowing(mark))).toBe(true)
    expect(facts.mayCommit(knowing({ ...mark, exit: null }))).toBe(false)
    expect(facts.mayCommit(knowing({ ...mark, undelivered: 1 }))).toBe(false)
    expect(facts.mayCommit(knowing({ ...mark, marksDirty: false }))).toBe(false)
  })

  test('I11: the budget is full when it is reached', () => {
    const { stagedBytes } = defaultLimits
    expect(facts.isBudgetFull(knowing({ stagedBytes: stagedBytes - 1 }))).toBe(false)
    expect(facts.isBudgetFull(knowing({ stagedBytes }))).toBe(true)
  })

  test('I6: everything is settled when nothing is staged, undelivered or unmarked', () => {
    expect(facts.isEverythingSettled(none)).toBe(true)
    for (const known of [{ stagedBatches: 1 }, { undelivered: 1 }, { marksDirty: true }]) {
      expect(facts.isEverythingSettled(knowing(known))).toBe(false)
    }
  })
})
