/** A database as naive as can be: a map per table, changed by whole groups, read at moments that the test chooses. */
import type { Group, TableGroup } from '../../src/staging/batch.ts'
import { comparator, parseOrder } from '../../src/staging/order.ts'
import type { FindQuery, Reader } from '../../src/staging/reader.ts'
import { handedOut, keyIdOfRow } from '../../src/staging/table-row.ts'
import type { KeyId, Row, TableModel } from '../../src/staging/table.ts'
import { evaluate } from '../../src/staging/where.ts'

/** What a real database says about an insert of a key it has. */
export class DuplicateKey extends Error {}

export class MemoryDatabase implements Reader {
  readonly #rows: ReadonlyMap<TableModel, Map<KeyId, Row>>
  readonly #pause: (what: string) => Promise<unknown> | undefined
  /** Every question, as `get table keys` or `find table`. */
  readonly questions: string[] = []

  /** @param pause before a question reaches the database, and again before its answer is heard */
  constructor(
    models: readonly TableModel[],
    pause: (what: string) => Promise<unknown> | undefined = () => undefined,
  ) {
    this.#rows = new Map(models.map((model) => [model, new Map<KeyId, Row>()]))
    this.#pause = pause
  }

  async byKeys(model: TableModel, keys: readonly Row[]): Promise<readonly Row[]> {
    this.questions.push(`get ${model.name} ${keys.length}`)
    await this.#pause(`get ${model.name}`)
    const rows = keys
      .map((key) => this.#rows.get(model)!.get(keyIdOfRow(model, key)))
      .filter((row) => row !== undefined)
    const copies = rows.map((row) => fresh(model, row))
    await this.#pause(`got ${model.name}`)
    return copies
  }

  async find(model: TableModel, { predicate, order, limit }: FindQuery): Promise<readonly Row[]> {
    this.questions.push(`find ${model.name} ${limit ?? 'all'}`)
    await this.#pause(`find ${model.name}`)
    const rows = [...this.#rows.get(model)!.values()].filter((row) => evaluate(predicate, row) === true)
    const copies = rows
      .toSorted(comparator(order))
      .slice(0, limit)
      .map((row) => fresh(model, row))
    await this.#pause(`found ${model.name}`)
    return copies
  }

  /**
   * @param written called after each slice
   * @throws DuplicateKey, and then nothing of the group is there
   */
  apply(group: Group, written: (checkpoint: number | null) => void = () => undefined): void {
    const before = new Map([...this.#rows].map(([model, rows]) => [model, new Map(rows)]))
    try {
      for (const { checkpoint, tables } of group.slices) {
        for (const table of tables) this.#applyTable(table)
        written(checkpoint)
      }
    } catch (error) {
      for (const [model, rows] of before) {
        const now = this.#rows.get(model)!
        now.clear()
        for (const [id, row] of rows) now.set(id, row)
      }
      throw error
    }
  }

  #applyTable({ model, inserts, upserts, deletes }: TableGroup): void {
    const rows = this.#rows.get(model)!
    for (const row of inserts) {
      const id = keyIdOfRow(model, row)
      if (rows.has(id)) throw new DuplicateKey(`${model.name} ${String(id)}`)
      rows.set(id, fresh(model, row))
    }
    for (const row of upserts) rows.set(keyIdOfRow(model, row), fresh(model, row))
    for (const row of deletes) rows.delete(keyIdOfRow(model, row))
  }

  /** Puts a row there that nobody staged. */
  put(model: TableModel, row: Row): void {
    this.#rows.get(model)!.set(keyIdOfRow(model, row), fresh(model, row))
  }

  row(model: TableModel, key: Row): Row | undefined {
    return this.#rows.get(model)!.get(keyIdOfRow(model, key))
  }

  /** Rows of every table, in key order. */
  contents(): Map<string, Row[]> {
    return new Map(
      [...this.#rows].map(([model, rows]) => [
        model.name,
        [...rows.values()].toSorted(comparator(parseOrder(model, undefined))),
      ]),
    )
  }
}

/** As read from a socket: equal, and no object of the one who wrote it. */
function fresh(model: TableModel, row: Row): Row {
  return Object.freeze({ ...handedOut(model, row) })
}
