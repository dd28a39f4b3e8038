/**
 * One random case: a program, the limits it runs under, and what disturbs it; run on the real indexer with every port
 * scheduled by fast-check, then resumed until it finishes. Ends in a verdict against the sequential reference.
 */
import assert from 'node:assert/strict'
import fc, { type Scheduler } from 'fast-check'
import { createIndexer, type Block, type Outcome, type Store } from '../../src/index.ts'
import { gatedStore, memoryStore, referenceRun } from '../../src/testing/index.ts'
import { runToItsEnd, scheduledPort, scheduledStore, watchedSession, Wire, type Delays } from './ports.ts'
import {
  programHandler,
  crowdedOps,
  forgetfulOps,
  narrowProgramOps,
  programOps,
  rankingOps,
  programTables as tables,
  type ProgramItem,
  type Readings,
} from '../support/programs.ts'

export interface Case extends Delays {
  readonly blocks: readonly Block<ProgramItem>[]
  readonly batchItems: number
  readonly stagedBytes: number
  readonly groupLatencyMs: number
  readonly preload: boolean
  /** One after the other, over as many runs as it takes. */
  readonly disturbances: readonly Disturbance[]
}

export interface Disturbance {
  readonly what: 'stop' | 'abort' | 'answer lost' | 'connection lost' | 'handler fails'
  /** It happens so many port calls after the run began, or after the disturbance before it. */
  readonly after: number
}

/** Blocks of random programs; empty blocks among them. */
function blocksOf(ops: fc.Arbitrary<ProgramItem['ops']>): fc.Arbitrary<readonly Block<ProgramItem>[]> {
  return fc.array(fc.array(ops, { maxLength: 3 }), { minLength: 1, maxLength: 8 }).map((all) =>
    all.map((items, index) => ({
      number: index + 1,
      items: items.map((one, item) => ({ id: `${index + 1}.${item}`, ops: one })),
    })),
  )
}

const disturbance: fc.Arbitrary<Disturbance> = fc.record({
  what: fc.constantFrom(
    'stop',
    'abort',
    'answer lost',
    'connection lost',
    'connection lost',
    'handler fails',
  ),
  after: fc.integer({ min: 0, max: 25 }),
})

const delays = fc.array(fc.constantFrom(1, 1, 1, 1, 2, 6, 30), { minLength: 1, maxLength: 15 })

function casesOf(
  ops: fc.Arbitrary<ProgramItem['ops']>,
  limits: { readonly [N in keyof Case]?: fc.Arbitrary<Case[N]> } = {},
): fc.Arbitrary<Case> {
  return fc.record({
    blocks: blocksOf(ops),
    batchItems: fc.constantFrom(1, 1, 1, 2, 100),
    stagedBytes: fc.constantFrom(1, 1, 700, 2_000, 1_000_000, 1_000_000, 1_000_000),
    groupLatencyMs: fc.constantFrom(0, 1_000, 1_000),
    preload: fc.boolean(),
    delays,
    loadDelays: delays,
    disturbances: fc.oneof(
      { weight: 2, arbitrary: fc.constant([]) },
      { weight: 3, arbitrary: fc.array(disturbance, { minLength: 1, maxLength: 2 }) },
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

/** A load may well outlive its batch, and the commit of the next. */
const slowLoads = {
  delays: fc.constant([1]),
  stagedBytes: fc.constant(1),
  loadDelays: fc.array(fc.constantFrom(1, 12, 20), { minLength: 1, maxLength: 15 }),
}

export const cases: fc.Arbitrary<Case> = fc.oneof(
  { weight: 4, arbitrary: casesOf(programOps) },
  { weight: 4, arbitrary: casesOf(narrowProgramOps) },
  { weight: 1, arbitrary: casesOf(crowdedOps) },
  { weight: 1, arbitrary: casesOf(rankingOps) },
  { weight: 2, arbitrary: casesOf(rankingOps, forgetting) },
  { weight: 4, arbitrary: casesOf(forgetfulOps, { ...forgetting, ...slowLoads }) },
)

/** What happened in a case; a soak counts these, so that nobody believes in cases that never occur. */
export interface Mix {
  commitDuringRead: boolean
  severalStaged: boolean
  fullBudget: boolean
  abort: boolean
}

/** Rows by table, in key order. */
export type Rows = Readonly<Record<string, readonly unknown[]>>

export interface StoreUnderTest {
  readonly store: Store
  rows(): Promise<Rows>
}

export function inMemory(): StoreUnderTest {
  const store = memoryStore()
  return {
    store,
    rows: () =>
      Promise.resolve(Object.fromEntries(Object.keys(tables).map((name) => [name, store.rows(name)]))),
  }
}

/**
 * Runs the case to its end, over as many runs as it takes, and compares: every value that a handler read, in runs that
 * were cut short as well; the tables each time a commit has landed; the tables at the end of every run.
 * @throws when a run ends as it must not, does not end, or something differs
 */
export async function check(given: Case, schedule: Scheduler, under: StoreUnderTest): Promise<Mix> {
  const mix: Mix = { commitDuringRead: false, severalStaged: false, fullBudget: false, abort: false }
  const expected = new Expected(given.blocks)
  const whole = await expected.upTo(Infinity)
  const reads: Readings = new Map()
  const disturbances = [...given.disturbances]
  for (let runs = 1; ; runs++) {
    const before = disturbances.length
    const outcome = await runOnce(given, disturbances, schedule, under, expected, reads, mix)
    for (const [read, value] of reads) assert.deepEqual(value, whole.reads.get(read), `what ${read} read`)
    if (outcome.status === 'finished') break
    const { committed } = outcome
    const { rows } = await expected.upTo(Number(committed))
    assert.deepEqual(
      await under.rows(),
      rows,
      `the tables after a run that ${outcome.status} at ${committed}`,
    )
    if (before > disturbances.length) continue
    throw outcome.status === 'failed' ? outcome.error : new Error(`run ${runs} ended ${outcome.status}`)
  }
  assert.deepEqual([...reads.keys()].toSorted(), [...whole.reads.keys()].toSorted(), 'what was read')
  assert.deepEqual(await under.rows(), whole.rows, 'the tables at the end')
  return mix
}

/** What the naive executor reads, and arrives at, after each block. */
class Expected {
  /** The last checkpoint of what has landed so far. */
  landed = 0
  readonly #blocks: readonly Block<ProgramItem>[]
  readonly #known = new Map<number, Promise<{ readonly reads: Readings; readonly rows: Rows }>>()

  constructor(blocks: readonly Block<ProgramItem>[]) {
    this.#blocks = blocks
  }

  upTo(last: number): Promise<{ readonly reads: Readings; readonly rows: Rows }> {
    let known = this.#known.get(last)
    if (known === undefined) {
      known = this.#run(this.#blocks.filter((block) => block.number <= last))
      this.#known.set(last, known)
    }
    return known
  }

  async #run(blocks: readonly Block<ProgramItem>[]): Promise<{ reads: Readings; rows: Rows }> {
    const reads: Readings = new Map()
    const rows = await referenceRun({ blocks, tables, handle: programHandler(reads) })
    return { reads, rows: Object.fromEntries(rows) }
  }
}

/** The same store; each time a commit has landed the tables are looked at, before anybody hears of it. */
function watched(
  { store, rows }: StoreUnderTest,
  expected: Expected,
  differs: (error: unknown) => void,
): Store {
  return {
    casing: store.casing,
    async open(request) {
      const session = await store.open(request)
      return watchedSession(session, {
        async write(group, flushed) {
          const ended = await session.write(group, flushed)
          if (ended.end !== 'landed') return ended
          const there = await rows()
          try {
            const first = group.batches[0]!.blocks[0]!.checkpoint
            assert.equal(first, expected.landed + 1, 'every block is committed once, in order')
            expected.landed = group.upTo
            assert.deepEqual(there, (await expected.upTo(group.upTo)).rows, `the tables at ${group.upTo}`)
          } catch (error) {
            differs(error)
          }
          return ended
        },
      })
    },
  }
}

/** @param disturbances those that happen are taken out */
async function runOnce(
  given: Case,
  disturbances: Disturbance[],
  schedule: Scheduler,
  under: StoreUnderTest,
  expected: Expected,
  reads: Readings,
  mix: Mix,
): Promise<Outcome> {
  const differences: unknown[] = []
  const differs = (error: unknown) => differences.push(error)
  const { store, gates } = gatedStore(watched(under, expected, differs))
  const program = programHandler(reads)
  const wire = new Wire(differs)
  let calls = 0
  let failing = false
  const port = scheduledPort(given, schedule, () => {
    const [next] = disturbances
    if (next === undefined || calls++ < next.after) return
    calls = 0
    disturbances.shift()
    disturb(next.what)
  })
  const scheduled = scheduledStore(store, port, wire, () => {
    if (wire.group !== undefined) mix.commitDuringRead = true
  })
  const indexer = createIndexer({
    name: 'case',
    source: {
      id: 'blocks',
      async *open({ from, signal }) {
        for (const block of given.blocks) {
          if (block.number <= (from?.number ?? 0)) continue
          await port('block')
          if (signal.aborted) return
          yield { type: 'blocks' as const, blocks: [block] }
        }
        await port('end')
        yield { type: 'end' as const }
      },
    },
    tables,
    ...(given.preload ? {} : { preload: false as const }),
    async handle(item: ProgramItem, context) {
      if (!context.preloading) await port('handler')
      if (failing) {
        failing = false
        throw new Error('a fault in the handler')
      }
      await program(item, context)
    },
    store: scheduled,
    limits: {
      batchItems: given.batchItems,
      stagedBytes: given.stagedBytes,
      groupLatencyMs: given.groupLatencyMs,
      failDeadlineMs: 60_000,
    },
  })
  const disturb = (what: Disturbance['what']) => {
    switch (what) {
      case 'stop':
        return void indexer.stop()
      case 'abort':
        mix.abort = true
        return void indexer.abort('disturbed')
      case 'answer lost':
        return gates.written.fail(new Error('the answer was lost'))
      case 'connection lost':
        return gates.write.fail(new Error('the connection was lost'))
      case 'handler fails':
        failing = true
        return
      default:
        throw new Error(`unreachable: ${String(what satisfies never)}`)
    }
  }
  indexer.on('state', (status) => {
    if (status.stagedBatches >= 2) mix.severalStaged = true
    const { control, compute } = status.lanes ?? {}
    if (compute === 'waiting') mix.fullBudget = true
    if (control === 'failing' && (compute === 'waiting' || compute === 'pulling')) {
      differences.push(new Error('compute goes on after the first error'))
    }
  })
  const outcome = await runToItsEnd(indexer, schedule)
  if (differences.length > 0) throw differences[0]
  return outcome
}
