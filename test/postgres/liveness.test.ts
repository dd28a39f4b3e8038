/** Does an owner live? Decided from looks at its row, by the database's clock alone. */
import { spawnSync } from 'node:child_process'
import { hostname } from 'node:os'
import { expect, test } from 'vitest'
import { leastWatchMs, registerHere, Watch, type Look } from '../../src/commit/liveness.ts'

const staleMs = 15_000

/** Of a process on another host that spoke a moment ago. */
const look = (change: Partial<Look> = {}): Look => ({
  epoch: 3,
  token: 'theirs',
  host: 'elsewhere',
  pid: 42,
  beat: 'b1',
  direct: true,
  nowMs: 1_000_000,
  silentMs: 100,
  backendGone: false,
  ...change,
})

/** Looks at the same silence at intervals; the last verdict. */
function judged(looks: readonly Partial<Look>[], watch = new Watch(staleMs)) {
  return looks.map((change) => watch.judge(look(change))).at(-1)
}

/** A pid that nobody has: of a process that has ended just now. */
const deadPid = () => spawnSync(process.execPath, ['--version']).pid

test('nobody’s: free, whatever else the row says', () => {
  expect(judged([{ token: null, silentMs: 10 * staleMs, backendGone: true }])).toBe('free')
  expect(judged([{ token: null, host: hostname(), pid: process.pid }])).toBe('free')
})

test('H72: dead when silent for staleMs, and not before its silence has been watched', () => {
  const silent = { silentMs: staleMs + 1 }
  expect(judged([{ silentMs: staleMs - 1 }])).toBe('alive')
  expect(judged([silent])).toBe('silent')
  const later = { ...silent, nowMs: 1_000_000 + leastWatchMs }
  expect(judged([silent, { ...later, nowMs: later.nowMs - 1 }])).toBe('silent')
  expect(judged([silent, later])).toBe('dead')
  // watched while it was not yet long enough: that counts
  expect(judged([{ silentMs: staleMs - 10 }, later])).toBe('dead')
})

test('H72: after an outage everybody was silent: one that speaks while it is watched lives', () => {
  const silent = { silentMs: 60_000 }
  const watch = new Watch(staleMs)
  expect(judged([silent, { ...silent, nowMs: 1_000_900 }], watch)).toBe('silent')
  expect(judged([{ beat: 'b2', silentMs: 5, nowMs: 1_001_100 }], watch)).toBe('alive')
  // and a new silence is watched anew, as is a new owner's
  expect(judged([{ beat: 'b2', silentMs: 60_000, nowMs: 1_001_900 }], watch)).toBe('silent')
  expect(judged([{ epoch: 4, beat: 'b2', silentMs: 60_000, nowMs: 1_003_000 }], watch)).toBe('silent')
})

test('its connection is gone: dead after one and a half heartbeats, for an idle owner does not reconnect', () => {
  const gone = { backendGone: true }
  const missed = { ...gone, silentMs: 4_500, nowMs: 1_000_000 + leastWatchMs }
  expect(judged([gone])).toBe('alive')
  expect(judged([gone, { ...missed, silentMs: 4_499 }])).toBe('alive')
  expect(judged([gone, missed])).toBe('dead')
  expect(judged([gone, { ...missed, backendGone: false }])).toBe('alive')
  // it beats on without a connection
  const watch = new Watch(staleMs)
  for (let beat = 0; beat < 10; beat++) {
    expect(watch.judge(look({ ...gone, beat: `b${beat}`, silentMs: 2_900, nowMs: beat * 3_000 }))).toBe(
      'alive',
    )
  }
})

test('a process on this host that is no more is dead at once, if its connection is gone as well', () => {
  const here = { host: hostname(), pid: deadPid() }
  expect(judged([{ ...here, backendGone: true }])).toBe('dead')
  // behind a pooler it has none that could be looked at
  expect(judged([{ ...here, direct: false }])).toBe('dead')
  // another host of the same name, perhaps
  expect(judged([here])).toBe('alive')
  expect(judged([{ host: hostname(), pid: 1, backendGone: true }])).toBe('alive')
  expect(judged([{ host: 'elsewhere', pid: here.pid, backendGone: true }])).toBe('alive')
  expect(judged([{ host: hostname(), pid: null, backendGone: true }])).toBe('alive')
})

test('H72: pids repeat in containers: ours, under a token that is not, was a process of another life', () => {
  const sameAsUs = { host: hostname(), pid: process.pid }
  expect(judged([{ ...sameAsUs, backendGone: true }])).toBe('dead')
  expect(judged([{ ...sameAsUs, direct: false }])).toBe('dead')
  const forget = registerHere('theirs')
  expect(judged([{ ...sameAsUs, backendGone: true, silentMs: 10 * staleMs }])).toBe('alive')
  forget()
  expect(judged([{ ...sameAsUs, backendGone: true }])).toBe('dead')
})

test('the shortest staleMs: still watched for a second', () => {
  const watch = new Watch(500)
  expect(judged([{ silentMs: 510 }], watch)).toBe('silent')
  expect(judged([{ silentMs: 1_400, nowMs: 1_000_900 }], watch)).toBe('silent')
  expect(judged([{ silentMs: 1_510, nowMs: 1_001_000 }], watch)).toBe('dead')
})
