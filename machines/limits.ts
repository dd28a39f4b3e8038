/** Limits of a run. Bytes and milliseconds are in the names; `src/options.ts` validates what a user gives. */

export interface Limits {
  /** Uncommitted changes, the group on the wire included; compute waits when it is reached. */
  readonly stagedBytes: number
  /** Blocks read ahead of the handlers, all sources together. */
  readonly readAheadBytes: number
  /** A batch is closed when it holds this many items; a block is never split. */
  readonly batchItems: number
  /** A batch is closed when its blocks hold this many bytes. */
  readonly batchBytes: number
  /** Groups are sized so that one commit takes about this long; 0 commits every batch by itself. */
  readonly groupLatencyMs: number
  /** How long a commit is retried before the run fails. May be Infinity. */
  readonly commitDeadlineMs: number
  /** How long a drain (rollback, exit, stop) may take before the run fails. May be Infinity. */
  readonly drainDeadlineMs: number
  /** How long a failing run waits for the lanes to settle; 0 cuts at once. */
  readonly failDeadlineMs: number
}

export const defaultLimits: Limits = {
  stagedBytes: 64 * 1024 * 1024,
  readAheadBytes: 32 * 1024 * 1024,
  batchItems: 2_000,
  batchBytes: 8 * 1024 * 1024,
  groupLatencyMs: 1_000,
  commitDeadlineMs: 300_000,
  drainDeadlineMs: 300_000,
  failDeadlineMs: 1_000,
}

/** How regions are delivered. */
export interface RegionLimits {
  /** Attempts before a region is quarantined. */
  readonly attempts: number
  /** One attempt; past it, it is given up and tried again. */
  readonly attemptMs: number
  /** A quarantined region is tried again so often. */
  readonly probeMs: number
}

export const defaultRegionLimits: RegionLimits = { attempts: 5, attemptMs: 5_000, probeMs: 30_000 }

/** Each is an actor, and has its own keys in Redis: meant for tens, not for one per row. */
export const maxRegions = 100

/** How long compute waits at most for a commit's frames to reach the kernel before it goes on. */
export const handOverMs = 10

/** One attempt of a commit; past it its socket is destroyed and its fate resolved. */
export const attemptDeadlineMs = 120_000

/** A group that loses its connection this often in a row is split, in case it is what kills the backend. */
export const maxLostAttempts = 3

/** Timers take 32 bits; a longer one (or Infinity) would fire at once. 24.8 days. */
const longestTimerMs = 2 ** 31 - 1

export function timerMs(milliseconds: number): number {
  return Math.min(Math.max(0, milliseconds), longestTimerMs)
}
