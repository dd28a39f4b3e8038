/** Random cases with forks: what is generated, and what is counted of what happened in them. */
import fc from 'fast-check'
import { chains, faithlessChains, lateForkingChains, type GivenChain } from '../support/forks-chains.ts'
import type { Delays } from './ports.ts'

export interface ForksCase extends Delays {
  readonly chains: readonly GivenChain[]
  readonly batchItems: number
  readonly stagedBytes: number
  readonly groupLatencyMs: number
  readonly preload: boolean
  readonly ordering: 'arrival' | 'timestamp'
  /** One after the other, over as many runs as it takes. */
  readonly disturbances: readonly Disturbance[]
  /** Between two runs, one after the other: a chain that forks. */
  readonly between: readonly (ForkNow | null)[]
  /** While a rollback is under way, one after the other: a chain that forks, too. */
  readonly meanwhile: readonly (ForkNow | null)[]
}

/** Which chain forks, and how many of its blocks are orphaned at most. */
export interface ForkNow {
  readonly chain: number
  readonly orphans: number
}

export interface Disturbance {
  readonly what:
    | 'stop'
    | 'abort'
    | 'answer lost'
    | 'connection lost'
    | 'rollback answer lost'
    | 'rollback connection lost'
    | 'handler fails'
  /** It happens so many port calls after the run began, or after the disturbance before it. */
  readonly after: number
}

const disturbances: readonly Disturbance['what'][] = [
  'stop',
  'abort',
  'answer lost',
  'connection lost',
  'connection lost',
  'rollback answer lost',
  'rollback connection lost',
  'handler fails',
]

function disturbanceOf(what: readonly Disturbance['what'][], latest: number): fc.Arbitrary<Disturbance> {
  return fc.record({ what: fc.constantFrom(...what), after: fc.integer({ min: 0, max: latest }) })
}

const delays = fc.array(fc.constantFrom(1, 1, 1, 1, 2, 6, 30), { minLength: 1, maxLength: 15 })
const slowly = fc.array(fc.constantFrom(10, 30, 60), { minLength: 1, maxLength: 8 })
const forkNow = fc.record({ chain: fc.nat({ max: 2 }), orphans: fc.constantFrom(1, 3, 100) })
const deepForkNow = forkNow.map((now) => ({ ...now, orphans: 100 }))
const forksNow = fc.array(fc.option(forkNow, { nil: null, freq: 3 }), { maxLength: 3 })

function casesOf(
  given: fc.Arbitrary<readonly GivenChain[]>,
  limits: { readonly [N in keyof ForksCase]?: fc.Arbitrary<NonNullable<ForksCase[N]>> } = {},
): fc.Arbitrary<ForksCase> {
  return fc.record({
    chains: given,
    batchItems: fc.constantFrom(1, 2, 4, 100, 100),
    stagedBytes: fc.constantFrom(1, 2_000, 1_000_000, 1_000_000, 1_000_000),
    groupLatencyMs: fc.constantFrom(0, 1_000, 1_000),
    preload: fc.boolean(),
    ordering: fc.constantFrom('arrival', 'arrival', 'timestamp'),
    delays,
    loadDelays: delays,
    wireDelays: fc.oneof(delays, slowly),
    disturbances: fc.oneof(
      { weight: 2, arbitrary: fc.constant([]) },
      { weight: 3, arbitrary: fc.array(disturbanceOf(disturbances, 40), { minLength: 1, maxLength: 3 }) },
    ),
    between: forksNow,
    meanwhile: forksNow,
    ...limits,
  })
}

/** Batches of one block or two gather while a commit is on the wire. */
const slowWire = {
  batchItems: fc.constantFrom(1, 1, 2, 100),
  groupLatencyMs: fc.constantFrom(0, 0, 1_000),
  stagedBytes: fc.constant(1_000_000),
  delays: fc.constant([1]),
  loadDelays: fc.constant([1]),
  wireDelays: slowly,
}

/** Every rollback is met by another fork, and so is every pause between two runs. */
const forkAfterFork = {
  disturbances: fc.array(disturbanceOf([...disturbances, 'stop', 'stop', 'abort'], 100), {
    minLength: 1,
    maxLength: 3,
  }),
  between: fc.array(deepForkNow, { minLength: 2, maxLength: 3 }),
  meanwhile: fc.array(forkNow, { minLength: 2, maxLength: 4 }),
}

export const forksCases: fc.Arbitrary<ForksCase> = fc.oneof(
  { weight: 6, arbitrary: casesOf(chains) },
  { weight: 11, arbitrary: casesOf(chains, slowWire) },
  { weight: 10, arbitrary: casesOf(lateForkingChains, forkAfterFork) },
  { weight: 1, arbitrary: casesOf(faithlessChains) },
)

/** What happened in a case; a soak counts these, so that nobody believes in cases that never occur. */
export interface ForksMix {
  fork: boolean
  /** A group on the wire when a fork was told. */
  commitAtFork: boolean
  /** A group, on the wire or committed, with checkpoints on both sides of a fork's target. */
  straddling: boolean
  /** The same of a batch that is staged and not on the wire. */
  stagedStraddling: boolean
  /** Two or more batches staged and not on the wire when a fork was told. */
  stagedAtFork: boolean
  severalSources: boolean
  /** Committed blocks that survive the rollback under way were orphaned meanwhile. */
  forkInRollback: boolean
  /** Committed blocks were orphaned while nobody ran. */
  forkBetweenRuns: boolean
  /** Committed checkpoints were taken back. */
  restored: boolean
  restoreLost: boolean
  /** Refused, since it goes deeper than history. */
  beyond: boolean
}

export function noForksMix(): ForksMix {
  return {
    fork: false,
    commitAtFork: false,
    straddling: false,
    stagedStraddling: false,
    stagedAtFork: false,
    severalSources: false,
    forkInRollback: false,
    forkBetweenRuns: false,
    restored: false,
    restoreLost: false,
    beyond: false,
  }
}
