/**
 * The strongest check of the overlay: random programs, random batches, every moment of freeze, answer, retry, abort and
 * fork, loads that are answered whenever the schedule says, budgets from nothing to plenty. Every value that is read,
 * and the database in the end, equal those of the naive sequential run.
 *
 * SEED=… replays a run that failed (the failure names it), RUNS=… shakes it harder.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { BlockRef } from '../../src/block.ts'
import { programOf, type ProgramParts } from '../../src/compute/program.ts'
import { BatchRunner } from '../../src/compute/runner.ts'
import { silentLog } from '../../src/log.ts'
import type { NumberedBlock } from '../../src/source/feed.ts'
import type { Group } from '../../src/staging/batch.ts'
import { Staging } from '../../src/staging/staging.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import type { Row } from '../../src/staging/table.ts'
import { workspace } from '../../src/staging/workspace.ts'
import { referenceRun } from '../../src/testing/reference-run.ts'
import { slicesOf } from '../support/change-log.ts'
import { MemoryDatabase } from '../support/memory-database.ts'
import { programHandler, programOps, programTables, type Op, type Readings } from '../support/programs.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const numRuns = Number(process.env['RUNS'] ?? 300)

interface Block {
  readonly number: number
  readonly items: readonly { readonly id: string; readonly ops: readonly Op[] }[]
  readonly ends: readonly Op[]
}

interface World {
  readonly blocks: readonly (readonly (readonly Op[])[])[]
  /** Blocks per batch, cyclic. */
  readonly sizes: readonly number[]
  /** So many blocks, the newest ones, can fork; undefined: none ever. */
  readonly depth: number | undefined
  readonly budget: number
  readonly preload: boolean
  /** After how many batches, how many blocks are orphaned at most, and what comes instead. */
  readonly forks: readonly {
    readonly after: number
    readonly depth: number
    readonly blocks: World['blocks']
  }[]
  /** Batches (by attempt) that are aborted while they run. */
  readonly aborts: readonly boolean[]
  /** What happens to each attempt to commit. */
  readonly wire: readonly { readonly batches: number; readonly end: 'landed' | 'lost' | 'answer lost' }[]
}

const chain = (maxLength: number) =>
  fc.array(fc.array(programOps, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength })
const world: fc.Arbitrary<World> = fc.record({
  blocks: chain(8),
  sizes: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 4 }),
  depth: fc.constantFrom(undefined, 1, 2, 3, 1000, 1000),
  budget: fc.constantFrom(0, 0, 400, 1000, 3000, 1_000_000),
  preload: fc.boolean(),
  forks: fc.array(
    fc.record({
      after: fc.integer({ min: 1, max: 6 }),
      depth: fc.integer({ min: 1, max: 3 }),
      blocks: chain(2),
    }),
    { maxLength: 2 },
  ),
  aborts: fc.array(fc.boolean(), { maxLength: 6 }),
  wire: fc.array(
    fc.record({
      batches: fc.integer({ min: 1, max: 4 }),
      end: fc.constantFrom('landed' as const, 'landed' as const, 'lost' as const, 'answer lost' as const),
    }),
    { maxLength: 12 },
  ),
})

test(
  `I4, I15, I17, H5, H6, H11–H18, H73: a pipelined run reads and writes what a sequential one does (seed ${seed})`,
  { timeout: 20_000 + numRuns * 100 },
  async () => {
    await fc.assert(
      fc.asyncProperty(world, fc.scheduler(), async (given, schedule) => {
        const run = new PipelinedRun(given, schedule)
        await schedule.waitFor(run.done())
        const readings: Readings = new Map()
        const tables = await reference(run.processed, readings)
        for (const [call, value] of readings) expect([call, run.readings.get(call)]).toEqual([call, value])
        expect(run.database.contents()).toEqual(tables)
      }),
      { seed, numRuns },
    )
  },
)

function reference(blocks: readonly Block[], readings: Readings): Promise<Map<string, Row[]>> {
  const handle = programHandler(readings)
  return referenceRun({
    blocks: blocks.map((block) => ({ number: block.number, items: block.items })),
    tables: programTables,
    handle,
    handleBlock: (block, context) =>
      handle(endOf(blocks.find(({ number }) => number === block.number)!), context),
  })
}

function endOf(block: Block): { readonly id: string; readonly ops: readonly Op[] } {
  return { id: `${block.items[0]!.id}/end`, ops: block.ends }
}

/** Compute and commit side by side, as the chart would have them; every pause is the schedule's. */
class PipelinedRun {
  readonly readings: Readings = new Map()
  readonly database: MemoryDatabase
  /** Blocks that were handled and survived. */
  processed: Block[] = []
  readonly #given: World
  readonly #schedule: fc.Scheduler
  readonly #staging: Staging
  readonly #runner: BatchRunner
  #queue: Block[] = []
  #running: readonly Block[] = []
  readonly #refs = new Map<Block, BlockRef>()
  #number = 0
  #made = 0
  #checkpoint = 0
  /** Heights, and checkpoints, that cannot fork any more. */
  #final = 0
  #safe = 0
  #committed = 0
  #idle: Promise<void> = Promise.resolve()
  #wireStep = 0
  #changed: () => void = () => undefined

  constructor(given: World, schedule: fc.Scheduler) {
    this.#given = given
    this.#schedule = schedule
    const models = Object.entries(programTables).map(([name, table]) => tableModelOf(name, table))
    this.#staging = new Staging(models, given.budget)
    this.database = new MemoryDatabase(models, (what) => schedule.schedule(Promise.resolve(), what))
    const handle = programHandler(this.readings)
    const parts: ProgramParts = {
      handle: handle as never,
      handleBlock: ((block: Block, context: never) => handle(endOf(block), context)) as never,
      preload: given.preload ? undefined : false,
    }
    this.#runner = new BatchRunner(programOf(parts), workspace(this.#staging, this.database), silentLog)
    this.#enqueue(given.blocks)
  }

  async done(): Promise<void> {
    const { forks, sizes } = this.#given
    let batches = 0
    let attempts = 0
    while (this.#queue.length > 0) {
      while (this.#staging.uncommittedBytes > this.#given.budget) await this.#untilChanged()
      const blocks = this.#cut(sizes[batches % sizes.length]!)
      this.#running = blocks
      while (!(await this.#attempt(blocks, this.#given.aborts[attempts++] === true))) continue
      this.processed.push(...blocks)
      this.#running = []
      batches++
      this.#commitIfIdle()
      for (const fork of forks) if (fork.after === batches) await this.#fork(fork.depth, fork.blocks)
    }
    while (this.#staging.batches.length > 0) {
      this.#commitIfIdle()
      await this.#idle
    }
  }

  #enqueue(blocks: World['blocks'], inFront = false): void {
    if (inFront) this.#number = this.processed.at(-1)?.number ?? 0
    const made = blocks.map((items) => {
      const id = ++this.#made
      return {
        number: 0,
        items: items.map((ops, index) => ({ id: `${id}/${index}`, ops })),
        ends: items[0]!.filter(({ op }) => op === 'find'),
      }
    })
    this.#queue = [...(inFront ? [...made, ...this.#queue] : [...this.#queue, ...made])].map(
      (block, index) => ({
        ...block,
        number: this.#number + index + 1,
      }),
    )
  }

  /** The next batch: never blocks that can fork beside others. */
  #cut(size: number): Block[] {
    const blocks: Block[] = []
    let first: boolean | undefined
    for (const block of this.#queue.slice(0, size)) {
      const safe = this.#safeAt(block.number)
      first ??= safe > this.#checkpoint
      if (first !== safe > this.#checkpoint) break
      this.#safe = safe
      const checkpoint = ++this.#checkpoint
      this.#refs.set(block, {
        checkpoint,
        source: 's',
        number: block.number,
        hash: String(checkpoint),
        ...(this.#given.depth === undefined ? {} : { safe }),
      })
      blocks.push(block)
    }
    this.#queue.splice(0, blocks.length)
    this.#number += blocks.length
    return blocks
  }

  /** The safe checkpoint when the block of that number is given its own. */
  #safeAt(number: number): number {
    const { depth } = this.#given
    if (depth === undefined) return this.#checkpoint + 1
    this.#final = Math.max(this.#final, number - depth)
    if (number <= this.#final) return this.#checkpoint + 1
    const final = [...this.#refs]
      .filter(([block]) => this.processed.includes(block) && block.number <= this.#final)
      .map(([, { checkpoint }]) => checkpoint)
    return Math.max(this.#safe, ...final)
  }

  async #attempt(blocks: readonly Block[], aborted: boolean): Promise<boolean> {
    const controller = new AbortController()
    if (aborted) void this.#schedule.schedule(Promise.resolve(), 'abort').then(() => controller.abort())
    const numbered = blocks.map((block): NumberedBlock => ({ ref: this.#refs.get(block)!, block }))
    const before = this.#staging.uncommittedBytes
    try {
      await this.#runner.run(numbered, controller.signal, () => undefined)
      return true
    } catch (error) {
      if (!controller.signal.aborted) throw error
      expect(this.#staging.uncommittedBytes).toBeLessThanOrEqual(before)
      return false
    }
  }

  async #fork(depth: number, blocks: World['blocks']): Promise<void> {
    await this.#idle
    const orphans = this.processed.slice(-depth).filter((block) => {
      const { checkpoint, safe } = this.#refs.get(block)!
      return checkpoint > this.#committed && safe !== undefined && block.number > this.#final
    })
    if (orphans.length === 0) return
    this.#staging.cut(this.#refs.get(orphans[0]!)!.checkpoint - 1)
    this.processed = this.processed.slice(0, -orphans.length)
    this.#enqueue(blocks, true)
  }

  #commitIfIdle(): void {
    if (this.#committing || this.#staging.batches.length === 0) return
    this.#committing = true
    this.#idle = this.#commit().finally(() => {
      this.#committing = false
      this.#changed()
    })
  }
  #committing = false

  async #commit(): Promise<void> {
    for (;;) {
      const step = this.#given.wire[this.#wireStep++] ?? { batches: 4, end: 'landed' }
      const count = Math.min(step.batches, this.#staging.batches.length)
      await this.#schedule.schedule(Promise.resolve(), 'before the group')
      let group = this.#staging.freeze(count)
      const sent = spelled(group)
      await this.#schedule.schedule(Promise.resolve(), 'on the wire')
      expect(spelled(group)).toEqual(sent)
      if (step.end === 'lost') {
        await this.#schedule.schedule(Promise.resolve(), 'before the retry')
        group = this.#staging.freeze(count)
        expect(spelled(group)).toEqual(sent)
      }
      await this.#apply(group)
      await this.#schedule.schedule(Promise.resolve(), 'answer')
      if (step.end === 'answer lost') await this.#schedule.schedule(Promise.resolve(), 'resolving')
      this.#staging.land(count)
      this.#committed = group.upTo
      this.#changed()
      return
    }
  }

  /** After each slice the tables are those of its checkpoint: a fork may go back to it (I15). */
  async #apply(group: Group): Promise<void> {
    const tables = new Map<number, unknown>()
    this.database.apply(group, (checkpoint) => {
      if (checkpoint !== null) tables.set(checkpoint, this.database.contents())
    })
    const blocks = [...this.processed, ...this.#running]
    for (const [checkpoint, rows] of tables) {
      const below = blocks.filter((block) => this.#refs.get(block)!.checkpoint <= checkpoint)
      expect([checkpoint, rows]).toEqual([checkpoint, await reference(below, new Map())])
    }
  }

  async #untilChanged(): Promise<void> {
    this.#commitIfIdle()
    await new Promise<void>((resolve) => {
      this.#changed = resolve
    })
  }
}

function spelled(group: Group): unknown {
  return structuredClone(slicesOf(group))
}
