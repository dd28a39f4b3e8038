/**
 * One random case: a program, the limits it runs under, and what disturbs it; run on the real indexer with every port
 * scheduled by fast-check, then resumed until it finishes. Ends in a verdict against the sequential reference.
 */
import assert from 'node:assert/strict'
import fc, { type Scheduler } from 'fast-check'
import { createIndexer, type Block, type Outcome, type Store } from '../../src/index.ts'
import { gatedStore, memoryStore, referenceRun } from '../../src/testing/index.ts'
import {
  programHandler,
  programOps,
  programTables as tables,
  type ProgramItem,
  type Readings,
} from '../support/programs.ts'

export interface Case {
  readonly blocks: readonly Block<ProgramItem>[]
  readonly batchItems: number
  readonly stagedBytes: number
  readonly groupLatencyMs: number
  readonly preload: boolean
  readonly disturbance: 'none' | 'stop' | 'abort' | 'answer lost' | 'connection lost' | 'handler fails'
  /** After this many scheduled port calls the disturbance happens. */
  readonly after: number
}

/** Blocks of random programs; empty blocks among them. */
const blocks: fc.Arbitrary<readonly Block<ProgramItem>[]> = fc
  .array(fc.array(programOps, { maxLength: 3 }), { minLength: 1, maxLength: 7 })
  .map((all) =>
    all.map((items, index) => ({
      number: index + 1,
      items: items.map((ops, item) => ({ id: `${index + 1}.${item}`, ops })),
    })),
  )

export const cases: fc.Arbitrary<Case> = fc.record({
  blocks,
  batchItems: fc.constantFrom(1, 1, 2, 100),
  stagedBytes: fc.constantFrom(1, 1, 2_000, 1_000_000),
  groupLatencyMs: fc.constantFrom(0, 1_000),
  preload: fc.boolean(),
  disturbance: fc.constantFrom(
    'none',
    'none',
    'stop',
    'abort',
    'answer lost',
    'connection lost',
    'handler fails',
  ),
  after: fc.integer({ min: 0, max: 40 }),
})

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
 * Runs the case to its end, over as many runs as it takes, and compares: every value that a handler read, the tables at
 * the end, and the tables each time a run was cut short.
 * @throws when a run ends as it must not, or something differs
 */
export async function check(given: Case, schedule: Scheduler, under: StoreUnderTest): Promise<Mix> {
  const mix: Mix = { commitDuringRead: false, severalStaged: false, fullBudget: false, abort: false }
  const reads: Readings = new Map()
  let outcome = await runOnce(given, schedule, under, reads, mix)
  for (let runs = 1; outcome.status !== 'finished'; runs++) {
    if (given.disturbance === 'none' || runs > 2) {
      throw outcome.status === 'failed' ? outcome.error : new Error(`ended ${outcome.status}`)
    }
    const { committed } = outcome
    const prefix = await reference(given.blocks.filter((block) => block.number <= committed))
    assert.deepEqual(await under.rows(), prefix.rows, `the tables after ${given.disturbance} at ${committed}`)
    outcome = await runOnce({ ...given, disturbance: 'none' }, schedule, under, reads, mix)
  }
  const whole = await reference(given.blocks)
  assert.deepEqual(Object.fromEntries(reads), Object.fromEntries(whole.reads))
  assert.deepEqual(await under.rows(), whole.rows)
  return mix
}

async function reference(of: readonly Block<ProgramItem>[]): Promise<{ reads: Readings; rows: Rows }> {
  const reads: Readings = new Map()
  const rows = await referenceRun({ blocks: of, tables, handle: programHandler(reads) })
  return { reads, rows: Object.fromEntries(rows) }
}

async function runOnce(
  given: Case,
  schedule: Scheduler,
  under: StoreUnderTest,
  reads: Readings,
  mix: Mix,
): Promise<Outcome> {
  const { store, gates } = gatedStore(under.store)
  const program = programHandler(reads)
  let calls = 0
  let writing = 0
  let failing = false
  const port = async (label: string) => {
    if (calls++ === given.after) disturb()
    await schedule.schedule(Promise.resolve(), label)
  }
  const scheduled: Store = {
    casing: store.casing,
    async open(request) {
      await port('open')
      const session = await store.open(request)
      const { reader } = session
      const read = async () => {
        if (writing > 0) mix.commitDuringRead = true
        await port('load')
      }
      return {
        ...session,
        reader: {
          byKeys: async (model, keys) => (await read(), reader.byKeys(model, keys)),
          find: async (model, query) => (await read(), reader.find(model, query)),
        },
        async write(group, flushed) {
          writing++
          await port('write')
          const ended = await session.write(group, flushed)
          await port('written')
          writing--
          return ended
        },
        resolve: async () => (await port('resolve'), session.resolve()),
        close: async () => (await port('close'), session.close()),
      }
    },
  }
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
  const disturb = () => {
    switch (given.disturbance) {
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
    }
  }
  indexer.on('state', (status) => {
    if (status.stagedBatches >= 2) mix.severalStaged = true
    if (status.lanes?.compute === 'waiting') mix.fullBudget = true
  })
  return schedule.waitFor(indexer.run())
}
