/** Groups for the twin test, as the real change log makes them: programs run over what one of the stores holds. */
import type { BlockRef } from '../../src/block.ts'
import type { Reader } from '../../src/staging/reader.ts'
import type { Group, RegionMark } from '../../src/staging/batch.ts'
import type { Deliver } from '../../src/staging/snapshots.ts'
import { Staging } from '../../src/staging/staging.ts'
import { keyIdOfRow } from '../../src/staging/table-row.ts'
import type { Row, TableModel } from '../../src/staging/table.ts'
import { workspace } from '../../src/staging/workspace.ts'
import { programHandler, type Op } from './programs.ts'

export interface GivenBatch {
  readonly blocks: readonly { readonly source: string; readonly ops: readonly Op[] }[]
  /** Null: nothing of it can be taken back; else so many checkpoints below it still can. */
  readonly lag: number | null
  readonly publishes: readonly (readonly [region: string, value: number])[]
}

export class Stager {
  /** Highest checkpoint that was given. */
  counter = 0
  readonly #models: readonly TableModel[]
  readonly #deliver: Deliver
  readonly #forks: boolean
  #safe = 0
  #blocks = 0

  constructor(models: readonly TableModel[], deliver: Deliver, forks: boolean) {
    this.#models = models
    this.#deliver = deliver
    this.#forks = forks
  }

  async group(reader: Reader, given: readonly GivenBatch[], marks: readonly RegionMark[]): Promise<Group> {
    const staging = new Staging(this.#models, 1e9, this.#deliver)
    const space = workspace(staging, reader, (_region, body) => JSON.stringify(body))
    const handler = programHandler(new Map())
    for (const batch of given) {
      const blocks = this.#blocksOf(batch)
      space.begin(blocks)
      for (const [at, { ops }] of batch.blocks.entries()) {
        const { checkpoint, hash } = blocks[at]!
        const scope = space.scope(checkpoint, 0, false, () => hash)
        await handler({ id: hash, ops }, { db: scope.db, preloading: false } as never)
        for (const [region, value] of batch.publishes) scope.publish(region, { value })
        await scope.settle()
      }
      space.end()
    }
    return { ...staging.freeze(given.length), marks }
  }

  /** One block that inserts a row as new, whether the database has it or not. */
  inserting(table: string, row: Row): Group {
    const staging = new Staging(this.#models, 1e9, this.#deliver)
    const [block] = this.#blocksOf({ blocks: [{ source: 'a', ops: [] }], lag: null, publishes: [] })
    staging.begin([block!], true)
    const log = staging.tables.get(table)!
    const origin = { checkpoint: block!.checkpoint, item: 0 }
    staging.stage(log, keyIdOfRow(log.model, row), row, row, true, origin)
    staging.publish('north', '1', origin)
    staging.end()
    return staging.freeze(1)
  }

  #blocksOf({ blocks, lag }: GivenBatch): BlockRef[] {
    const next = this.counter + 1
    if (this.#forks && lag !== null) this.#safe = Math.max(this.#safe, this.counter - lag)
    return blocks.map(({ source }, at): BlockRef => {
      const checkpoint = next + at
      const number = ++this.#blocks
      this.counter = checkpoint
      if (this.#forks && lag === null) this.#safe = checkpoint
      return {
        checkpoint,
        source,
        number,
        hash: `${source}${number}`,
        timestamp: number,
        ...(this.#forks ? { safe: this.#safe } : {}),
      }
    })
  }
}
