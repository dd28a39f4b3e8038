/**
 * What has really landed, commit by commit and rollback by rollback: the sequence of checkpoints that survives, cut at
 * each rollback's target. Every state of the tables, and every value that a handler read, is compared with the naive
 * sequential run over exactly that sequence.
 */
import assert from 'node:assert/strict'
import type { BlockRef } from '../../src/block.ts'
import type { Resume } from '../../src/commit/store.ts'
import { referenceRun } from '../../src/testing/index.ts'
import type { KnownBlocks } from './forks-chains.ts'
import { programHandler, programTables as tables, type ProgramItem, type Readings } from './programs.ts'

/** Rows by table, in key order. */
export type Rows = Readonly<Record<string, readonly unknown[]>>

export class Ledger {
  /** Committed, and not taken back. */
  survivors: readonly BlockRef[] = []
  /** The committed frontier: of the last commit, or of the last rollback. */
  frontier = 0
  /** Highest checkpoint that ever landed. */
  counter = 0
  restorableFrom = 0
  /** What handlers have read, by checkpoint. */
  readonly readings = new Map<number, Readings>()
  /** Of the valid blocks, whichever arrived first: by time, ties by source. */
  readonly #sorted: boolean
  readonly #known: KnownBlocks
  /** The tables as they were after so many survivors; compared all at once. */
  #seen: { readonly after: number; readonly rows: Rows; readonly when: string }[] = []

  constructor(known: KnownBlocks, sorted: boolean) {
    this.#sorted = sorted
    this.#known = known
  }

  /** Checkpoints above are given anew: they never reached the database (I12). */
  opened(resume: Resume): void {
    const { committed, counter, restorableFrom, positions } = resume
    assert.equal(committed, this.frontier, 'the stored frontier')
    assert.equal(counter, this.counter, 'I12: the stored counter')
    assert.equal(restorableFrom, this.restorableFrom, 'how far a rollback reaches')
    for (const checkpoint of this.readings.keys()) if (checkpoint > counter) this.readings.delete(checkpoint)
    this.#comparePositions(positions)
  }

  readingsOf(checkpoint: number): Readings {
    let readings = this.readings.get(checkpoint)
    if (readings === undefined) this.readings.set(checkpoint, (readings = new Map()))
    return readings
  }

  landed(blocks: readonly BlockRef[], safe: number | undefined, rows: Rows): void {
    const before = this.counter
    for (const block of blocks) {
      assert.ok(block.checkpoint > this.counter, `I12: checkpoint ${block.checkpoint} after ${this.counter}`)
      this.counter = block.checkpoint
      const last = this.survivors.findLast(({ source }) => source === block.source)
      const { parent } = this.#known.get(block.hash)!
      assert.equal(last?.hash, parent, `I2: ${block.hash} was committed after ${last?.hash}`)
      if (this.#sorted) this.#compareTimes(this.survivors.at(-1), block)
      this.survivors = [...this.survivors, block]
    }
    this.frontier = this.counter
    this.restorableFrom = Math.max(this.restorableFrom, Math.min(safe ?? this.frontier, this.frontier))
    this.see(rows, `after the commit of ${before + 1}–${this.frontier}`)
  }

  /** @throws when something differed before, which the rollback would hide */
  async restored(target: number, rows: Rows): Promise<void> {
    await this.compare()
    this.survivors = this.survivors.filter(({ checkpoint }) => checkpoint <= target)
    this.frontier = target
    this.see(rows, `after the rollback to ${target}`)
  }

  see(rows: Rows, when: string): void {
    this.#seen.push({ after: this.survivors.length, rows, when })
  }

  /** What was seen so far, and what survivors' handlers read, against the sequential run. */
  async compare(): Promise<void> {
    const seen = this.#seen
    this.#seen = []
    const states: Rows[] = []
    const reads: Readings[] = this.survivors.map(() => new Map())
    const look = (all: { readonly [N in keyof typeof tables]: { find(): Promise<unknown[]> } }) =>
      Promise.all(Object.keys(tables).map(async (name) => [name, await all[name as 'event'].find()] as const))
    await referenceRun({
      blocks: [{ number: 0, items: [] }, ...this.survivors.map(({ hash }) => this.#known.get(hash)!.block)],
      tables,
      handle: (item: ProgramItem, context) =>
        programHandler(reads[Number(context.checkpoint) - 2]!)(item, context),
      handleBlock: async (_, { db }) => void states.push(Object.fromEntries(await look(db as never))),
    })
    for (const { after, rows, when } of seen) assert.deepEqual(rows, states[after], `the tables ${when}`)
    for (const [index, { checkpoint, hash }] of this.survivors.entries()) {
      assert.deepEqual(this.readingsOf(checkpoint), reads[index], `what ${hash} read at ${checkpoint}`)
    }
  }

  #compareTimes(before: BlockRef | undefined, block: BlockRef): void {
    if (before === undefined) return
    const [first, second] = [before, block].map(({ hash }) => this.#known.get(hash)!.block.timestamp!)
    const isInOrder = first! < second! || (first === second && before.source <= block.source)
    assert.ok(isInOrder, `${block.hash} of ${second} was committed after ${before.hash} of ${first}`)
  }

  #comparePositions(positions: Resume['positions']): void {
    const stored = new Map<string, readonly string[]>()
    for (const [source, all] of positions) {
      const hashes = all.map(({ hash }) => hash)
      if (hashes.length > 0) stored.set(source, hashes)
    }
    const expected = new Map<string, readonly string[]>()
    for (const { source } of this.survivors) {
      const own = this.survivors.filter((survivor) => survivor.source === source)
      const anchor = own.findLastIndex(({ checkpoint }) => checkpoint <= this.restorableFrom)
      const needed = own.slice(Math.max(0, anchor)).map(({ hash }) => hash)
      expected.set(source, needed.toReversed())
    }
    assert.deepEqual(stored, expected, 'the stored positions')
  }
}
