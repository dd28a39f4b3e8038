/** A change log over a naive database whose questions and answers can be held: what the staging tests work on. */
import type { BlockRef } from '../../src/block.ts'
import type { Workspace } from '../../src/compute/workspace.ts'
import type { Db, TablesInput } from '../../src/db.ts'
import type { Group } from '../../src/staging/batch.ts'
import { Staging } from '../../src/staging/staging.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { completeRow } from '../../src/staging/table-row.ts'
import type { Row, TableModel } from '../../src/staging/table.ts'
import { workspace } from '../../src/staging/workspace.ts'
import { Gate } from '../../src/testing/gate.ts'
import { MemoryDatabase } from './memory-database.ts'

export interface Blocks {
  readonly count?: number
  /** The pipeline's safe checkpoint as of each of the blocks; left out: no source ever forks. */
  readonly safe?: number
}

export class ChangeLog<Tables extends TablesInput> {
  readonly staging: Staging
  readonly database: MemoryDatabase
  readonly workspace: Workspace
  readonly models: ReadonlyMap<string, TableModel>
  /** Before a question is answered, and before the answer is heard. */
  readonly asked = new Gate('asked')
  readonly answered = new Gate('answered')
  #checkpoint = 0

  constructor(tables: Tables, budgetBytes = 1e9) {
    const models = Object.entries(tables).map(([name, table]) => tableModelOf(name, table))
    this.models = new Map(models.map((model) => [model.name, model]))
    this.staging = new Staging(models, budgetBytes)
    this.database = new MemoryDatabase(models, (what) =>
      /^(get|find) /.test(what) ? this.asked.enter() : this.answered.enter(),
    )
    this.workspace = workspace(this.staging, this.database)
  }

  /** Last checkpoint that was given to a block. */
  get checkpoint(): number {
    return this.#checkpoint
  }

  /** Opens a batch; its checkpoints follow the last ones. */
  begin({ count = 1, safe }: Blocks = {}): void {
    const blocks = Array.from({ length: count }, (): BlockRef => {
      const checkpoint = ++this.#checkpoint
      return {
        checkpoint,
        source: 's',
        number: checkpoint,
        hash: String(checkpoint),
        ...(safe === undefined ? {} : { safe: Math.min(safe, checkpoint) }),
      }
    })
    this.workspace.begin(blocks)
  }

  /** One handler, run to its end. */
  async handle<T>(
    handler: (db: Db<Tables>) => T,
    { checkpoint = this.#checkpoint, item = 0, speculative = false } = {},
  ): Promise<Awaited<T>> {
    const scope = this.workspace.scope(checkpoint, item, speculative, () => `handler at ${checkpoint}`)
    try {
      return await handler(scope.db as Db<Tables>)
    } finally {
      await scope.settle()
    }
  }

  /** One batch with one handler. */
  async batch<T>(handler: (db: Db<Tables>) => T, blocks?: Blocks): Promise<Awaited<T>> {
    this.begin(blocks)
    const result = await this.handle(handler)
    this.workspace.end()
    return result
  }

  /** The first batches, committed and heard of. */
  commit(count = this.staging.batches.length): Group {
    const group = this.staging.freeze(count)
    this.database.apply(group)
    this.staging.land(count)
    return group
  }

  /** Puts rows there that nobody staged. */
  store(table: keyof Tables & string, ...rows: readonly Row[]): void {
    for (const row of rows) this.database.put(this.model(table), completeRow(this.model(table), row))
  }

  stored(table: keyof Tables & string): readonly Row[] {
    return this.database.contents().get(table)!
  }

  model(table: keyof Tables & string): TableModel {
    return this.models.get(table)!
  }
}

export type WrittenTables = Record<string, Partial<Record<'inserts' | 'upserts' | 'deletes', Row[]>>>

/** What a group without history writes, per table. */
export function written(group: Group): WrittenTables {
  const [slice, ...others] = slicesOf(group)
  if (slice === undefined) return {}
  const [checkpoint, tables] = slice
  if (checkpoint !== null || others.length > 0) throw new Error('the group keeps history')
  return tables
}

/** What a group writes, slice by slice. */
export function slicesOf({ slices }: Group): (readonly [checkpoint: number | null, WrittenTables])[] {
  return slices.map(({ checkpoint, tables }) => [
    checkpoint,
    Object.fromEntries(
      tables.map(({ model, inserts, upserts, deletes }) => [
        model.name,
        Object.fromEntries(
          Object.entries({ inserts, upserts, deletes })
            .filter(([, rows]) => rows.length > 0)
            .map(([step, rows]) => [
              step,
              step === 'deletes' ? rows.map((row) => keyPart(model, row)) : [...rows],
            ]),
        ),
      ]),
    ),
  ])
}

function keyPart(model: TableModel, row: Row): Row {
  return Object.fromEntries(model.key.map(({ property }) => [property, row[property]]))
}
