/**
 * What happens to one case of `testIndexer`, as data: limits, stalls, forks, and what disturbs each run. A seed makes
 * one; a failing one is made small by leaving things out.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Block } from '../source/port.ts'
import { plannedFork, type PlannedFork } from './branch.ts'
import { Seeded } from './seeded.ts'

/** What a call of a port is about; each kind has its own stalls. */
export type PortKind = 'open' | 'load' | 'flight' | 'source' | 'head' | 'handler' | 'publish' | 'close'

/** Of each kind, for how many turns its calls are held up, one after the other and from the first again. */
export type Stalls = Readonly<Partial<Record<PortKind, readonly number[]>>>

export type Disturbance = {
  /** It happens at the port call that is so many calls after the run began, or after the disturbance before it. */
  readonly after: number
  /** Counted are calls of this kind only; undefined: all. */
  readonly of?: PortKind | undefined
} & (
  | { readonly what: 'answer lost' | 'connection lost' | 'stop' | 'abort' | 'handler fails' }
  /** @param lands whether what is on the wire then arrives nevertheless */
  | { readonly what: 'crash'; readonly lands: boolean }
)

export interface PlannedRun {
  readonly batchItems: number
  readonly stagedBytes: number
  readonly groupLatencyMs: number
  /** Whether the speculative pass takes place, where the user has said nothing about it. */
  readonly preload: boolean
  /** One after the other. */
  readonly disturbances: readonly Disturbance[]
}

export interface Plan {
  /** Of the choices that are made while it runs. */
  readonly seed: number
  /** What is to follow when a run was ended; the last one runs to its end. */
  readonly runs: readonly PlannedRun[]
  readonly forks: readonly PlannedFork[]
  readonly stalls: Stalls
  /** Blocks in a message of the source. */
  readonly width: number
  readonly tellsHead: boolean
  /** Blocks that may fork, beyond those that do. */
  readonly spareDepth: number
}

/** Far above any commit in memory: a group may always grow, whatever the clock says. */
const anyLatencyMs = 1_000_000
const ample = 64 * 1024 * 1024

/** Block by block, each committed by itself: a difference shows at the very block. */
const plainRun: PlannedRun = {
  batchItems: 1,
  stagedBytes: ample,
  groupLatencyMs: 0,
  preload: true,
  disturbances: [],
}

const leastRun: PlannedRun = { ...plainRun, preload: false }

function isPlainRun(run: PlannedRun): boolean {
  return isDeepStrictEqual(run, { ...leastRun, disturbances: run.disturbances })
}

export const undisturbed: Plan = {
  seed: 0,
  runs: [plainRun],
  forks: [],
  stalls: {},
  width: 1,
  tellsHead: true,
  spareDepth: 0,
}

export function planOf(seed: number, blocks: readonly Block[], mayFork: boolean): Plan {
  // spread: cases of neighbouring seeds have nothing in common
  const random = new Seeded(Math.imul(seed, 0xc2b2ae35))
  const items = blocks.reduce((count, block) => count + block.items.length, 0)
  // about as many calls as the ports of a run get: most disturbances find something to disturb
  const calls = items + 4 * blocks.length + 8
  const forks = mayFork && blocks.length > 0 ? random.pick([0, 0, 0, 1, 1, 1, 2]) : 0
  const ends = random.pick([0, 0, 1, 1, 1, 2, 3])
  return {
    seed: random.below(2 ** 32),
    forks: Array.from({ length: forks }, (_, nth) => plannedFork(random, blocks, calls, nth)),
    runs: [
      ...Array.from({ length: ends }, () => runOf(random, [...losses(random, calls), end(random, calls)])),
      runOf(random, losses(random, calls)),
    ],
    stalls: random.chance(0.2) ? {} : stalls(random),
    width: random.pick([1, 1, 2, 100]),
    tellsHead: random.chance(0.5),
    spareDepth: random.pick([0, 0, 1, 100]),
  }
}

function runOf(random: Seeded, disturbances: readonly Disturbance[]): PlannedRun {
  return {
    batchItems: random.pick([1, 1, 2, 5, 100, 2_000]),
    stagedBytes: random.pick([1, 2_000, ample, ample]),
    groupLatencyMs: random.pick([0, anyLatencyMs, anyLatencyMs]),
    preload: random.chance(0.5),
    disturbances,
  }
}

/** Early ones are likelier, so that several find room. */
function after(random: Seeded, calls: number): number {
  return Math.floor(calls * random.next() ** 2)
}

function losses(random: Seeded, calls: number): Disturbance[] {
  return Array.from({ length: random.pick([0, 0, 0, 1, 1, 2]) }, () => ({
    what: random.pick(['answer lost', 'connection lost'] as const),
    after: after(random, calls),
  }))
}

function end(random: Seeded, calls: number): Disturbance {
  const what = random.pick(['crash', 'crash', 'crash', 'stop', 'abort', 'handler fails'] as const)
  // of all calls few are about a flight, and many a fault is there
  const when = random.chance(0.4)
    ? { after: random.below(6), of: 'flight' as const }
    : { after: after(random, calls) }
  return what === 'crash' ? { what, lands: random.chance(0.5), ...when } : { what, ...when }
}

function stalls(random: Seeded): Stalls {
  const some = () => random.some(1, 8, () => random.pick([1, 1, 1, 1, 2, 6, 30]))
  return { open: some(), load: some(), flight: some(), source: some(), handler: some(), publish: some() }
}

/** The same with one thing less, the weightiest things first. */
export function* smallerThan(plan: Plan): Generator<Plan> {
  const { runs, forks } = plan
  const isPlain = Object.keys(plan.stalls).length === 0 && runs.every(isPlainRun)
  if (!isPlain) {
    // most failures need nothing of it; otherwise it is tried bit by bit below
    yield {
      ...plan,
      stalls: {},
      width: 1,
      runs: runs.map(({ disturbances }) => ({ ...leastRun, disturbances })),
    }
  }
  const without = <T>(list: readonly T[], at: number) => list.filter((_, index) => index !== at)
  for (const at of forks.keys()) yield { ...plan, forks: without(forks, at) }
  // the last run has to be one that comes to its end
  for (const at of runs.keys()) if (at < runs.length - 1) yield { ...plan, runs: without(runs, at) }
  const changed = (at: number, change: Partial<PlannedRun>): Plan => ({
    ...plan,
    runs: runs.map((run, index) => (index === at ? { ...run, ...change } : run)),
  })
  for (const [at, { disturbances }] of runs.entries()) {
    for (const [which, { what }] of disturbances.entries()) {
      if (what.endsWith('lost')) yield changed(at, { disturbances: without(disturbances, which) })
    }
  }
  if (Object.keys(plan.stalls).length > 0) yield { ...plan, stalls: {} }
  if (plan.width !== 1) yield { ...plan, width: 1 }
  for (const [at, run] of runs.entries()) {
    const { batchItems, stagedBytes, groupLatencyMs } = leastRun
    if (run.groupLatencyMs !== groupLatencyMs) yield changed(at, { groupLatencyMs })
    if (run.stagedBytes !== stagedBytes) yield changed(at, { stagedBytes })
    if (run.batchItems !== batchItems) yield changed(at, { batchItems })
    if (run.preload) yield changed(at, { preload: false })
  }
  for (const [at, fork] of forks.entries()) {
    const change = (branch: readonly Block[]) => ({
      ...plan,
      forks: forks.map((one, index) => (index === at ? { ...fork, branch } : one)),
    })
    if (fork.branch.length > 1) yield change(fork.branch.slice(0, -1))
  }
}
