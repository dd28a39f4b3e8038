/** What a simulated case is made of: chains and programs, limits, how slow everything is, and what goes wrong when. */
import fc from 'fast-check'
import { chains, lateForkingChains, type GivenChain } from '../support/forks-chains.ts'
import {
  crowdedOps,
  forgetfulOps,
  narrowProgramOps,
  programOps,
  rankingOps,
  type ProgramItem,
} from '../support/programs.ts'
import { whats, type Fault } from './faults.ts'

/** From … to, in milliseconds. */
export type Span = readonly [least: number, most: number]

/** How long it takes there and back. */
export interface Pace {
  readonly handler: Span
  readonly source: Span
  /** To a server, or from it. */
  readonly read: Span
  readonly wire: Span
  readonly regions: Span
  /** Between two things that happen to a chain. */
  readonly chain: Span
}

export interface SimulatedCase {
  /** Of all that is left to chance while it runs. */
  readonly seed: number
  readonly chains: readonly GivenChain[]
  readonly ordering: 'arrival' | 'timestamp'
  readonly preload: boolean
  readonly batchItems: number
  readonly stagedBytes: number
  readonly groupLatencyMs: number
  readonly pace: Pace
  /** One waits for the other. */
  readonly owners: 1 | 2
  readonly deliver: 'newest' | 'every'
  readonly attempts: number
  /** Former snapshots that are kept. */
  readonly keep: number
  /** Block by block, from the first again: of each region what is shown, one after the other. */
  readonly publishes: readonly (readonly (readonly number[])[])[]
  /** One after the other. */
  readonly faults: readonly Fault[]
}

const quick: Pace = {
  handler: [0, 2],
  source: [0, 3],
  read: [0, 2],
  wire: [0, 4],
  regions: [0, 4],
  chain: [0, 4],
}

const paces: fc.Arbitrary<Pace> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(quick) },
  // batches gather while a commit is on the wire
  { weight: 4, arbitrary: fc.constant({ ...quick, handler: [0, 1], source: [0, 1], wire: [10, 60] }) },
  // a load may outlive its batch, and the commit of the next
  { weight: 3, arbitrary: fc.constant({ ...quick, read: [0, 30] }) },
  { weight: 1, arbitrary: fc.constant({ ...quick, wire: [0, 40], read: [0, 12], regions: [0, 60] }) },
  // chains that live on while owners come and go
  { weight: 1, arbitrary: fc.constant({ ...quick, chain: [0, 200] }) },
)

type Ops = ProgramItem['ops']

/** Short enough for many cases a second. */
const longest = { first: 5, steps: 3, blocks: 3 }

/** What its items do: chains say where blocks are, not what is in them. */
function filled(given: readonly GivenChain[], programs: readonly Ops[]): readonly GivenChain[] {
  let next = 0
  const block = <B extends GivenChain['first'][number]>(one: B): B => ({
    ...one,
    items: one.items.map(() => programs[next++ % programs.length]!),
  })
  return given.map((chain) => ({
    ...chain,
    first: chain.first.slice(0, longest.first).map(block),
    steps: chain.steps
      .slice(0, longest.steps)
      .map((step) => ({ ...step, blocks: step.blocks.slice(0, longest.blocks).map(block) })),
  }))
}

const steady = chains.map((all) => all.map((chain) => ({ ...chain, historyDepth: 0 })))

function chainsOf(programs: fc.Arbitrary<Ops>): fc.Arbitrary<readonly GivenChain[]> {
  const shapes = fc.oneof(
    { weight: 4, arbitrary: chains },
    { weight: 3, arbitrary: lateForkingChains },
    { weight: 3, arbitrary: steady },
  )
  return fc
    .tuple(shapes, fc.array(programs, { minLength: 1, maxLength: 14 }))
    .map(([given, all]) => filled(given, all))
}

/** Few, so that a region shows the same again, and what it showed before. */
const content = fc.nat({ max: 3 })
const shows = fc.oneof(
  { weight: 6, arbitrary: fc.constant([]) },
  { weight: 4, arbitrary: fc.tuple(content) },
  { weight: 1, arbitrary: fc.tuple(content, content) },
)

const fault: fc.Arbitrary<Fault> = fc.record({
  what: fc.constantFrom(...whats),
  after: fc.oneof(fc.nat({ max: 12 }), fc.nat({ max: 40 })),
})

function casesOf(
  programs: fc.Arbitrary<Ops>,
  limits: { readonly [N in keyof SimulatedCase]?: fc.Arbitrary<SimulatedCase[N]> } = {},
): fc.Arbitrary<SimulatedCase> {
  return fc.record({
    seed: fc.noShrink(fc.nat({ max: 2 ** 31 - 1 })),
    chains: chainsOf(programs),
    ordering: fc.constantFrom('arrival', 'arrival', 'timestamp'),
    preload: fc.boolean(),
    batchItems: fc.constantFrom(1, 1, 2, 4, 100),
    stagedBytes: fc.constantFrom(1, 700, 2_000, 1_000_000, 1_000_000, 1_000_000),
    groupLatencyMs: fc.constantFrom(0, 1_000, 1_000),
    pace: paces,
    owners: fc.constantFrom(1, 1, 2),
    deliver: fc.constantFrom('newest', 'every'),
    attempts: fc.constantFrom(1, 2, 5, 5),
    keep: fc.constantFrom(0, 1, 1_000, 1_000),
    publishes: fc.array(fc.tuple(shows, shows), { minLength: 1, maxLength: 6 }),
    faults: fc.oneof(
      { weight: 1, arbitrary: fc.constant([]) },
      { weight: 4, arbitrary: fc.array(fault, { minLength: 2, maxLength: 10 }) },
    ),
    ...limits,
  })
}

/** Nothing is known of a row that was not just touched. */
const forgetting = {
  batchItems: fc.constant(1),
  stagedBytes: fc.constantFrom(1, 1, 700),
  preload: fc.constant(false),
}

export const simulatedCases: fc.Arbitrary<SimulatedCase> = fc.oneof(
  { weight: 4, arbitrary: casesOf(programOps) },
  { weight: 5, arbitrary: casesOf(narrowProgramOps) },
  { weight: 1, arbitrary: casesOf(crowdedOps) },
  { weight: 2, arbitrary: casesOf(rankingOps, forgetting) },
  {
    weight: 2,
    arbitrary: casesOf(forgetfulOps, {
      ...forgetting,
      pace: fc.constant({ ...quick, source: [0, 1], wire: [0, 2], read: [0, 30] }),
    }),
  },
)
