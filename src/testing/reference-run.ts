/**
 * The naive sequential executor: one item after the other, every change applied at once to plain maps, nothing staged,
 * nothing merged, nothing concurrent. What a pipelined run must equal, whatever happens to it.
 */
import type { Context } from '../compute/context.ts'
import { HandlerContext } from '../compute/context.ts'
import { programOf, type ProgramParts } from '../compute/program.ts'
import type { HandlerScope } from '../compute/workspace.ts'
import type { FindOptions, TablesInput } from '../db.ts'
import { HandlerError } from '../errors.ts'
import { silentLog } from '../log.ts'
import type { Handlers } from '../options.ts'
import type { Block } from '../source/port.ts'
import { parseFind } from '../staging/find.ts'
import type { TablesWithKeys } from '../staging/keyed.ts'
import { comparator, parseOrder } from '../staging/order.ts'
import { keyRowOf, patchRow } from '../staging/patch.ts'
import { tableModelOf, type Casing } from '../staging/table-model.ts'
import { completeRow, describeKey, handedOut, keyIdOfRow, keyOf } from '../staging/table-row.ts'
import type { KeyId, Row, TableModel } from '../staging/table.ts'
import { evaluate } from '../staging/where.ts'

export interface ReferenceRunOptions<Item, Tables extends TablesInput> {
  readonly blocks: Iterable<Block<Item>>
  readonly tables: Tables & TablesWithKeys<Tables>
  readonly handlers?: Handlers<Item, Tables> | undefined
  readonly handle?: ((item: Item, context: Context<Tables>) => unknown) | undefined
  readonly handleBlock?: ((block: Block<Item>, context: Context<Tables>) => unknown) | undefined
  readonly casing?: Casing | undefined
}

/**
 * @returns the final rows of every table, each in key order
 * @throws whatever a handler throws
 */
export async function referenceRun<Item, Tables extends TablesInput>(
  options: ReferenceRunOptions<Item, Tables>,
): Promise<Map<string, Row[]>> {
  const models = Object.entries(options.tables as TablesInput).map(([name, table]) =>
    tableModelOf(name, table, { casing: options.casing }),
  )
  const tables = new Map(models.map((model) => [model.name, new PlainTable(model)]))
  const db = Object.fromEntries(tables)
  const program = programOf({ ...(options as unknown as ProgramParts), preload: false })
  const { signal } = new AbortController()
  let checkpoint = 0
  for (const block of options.blocks) {
    checkpoint++
    const run = async (
      handler: ((subject: unknown, context: unknown) => unknown) | undefined,
      subject: unknown,
    ) => {
      if (handler === undefined) return
      const scope: HandlerScope = {
        db,
        // what is published is derived from the rows
        publish: () => undefined,
        settle: () => undefined,
      }
      await handler(subject, new HandlerContext(scope, block, checkpoint, signal, false, silentLog))
    }
    if (program.item !== undefined) for (const item of block.items) await run(program.item, item)
    await run(program.block, block)
  }
  return new Map([...tables].map(([name, table]) => [name, table.sorted()]))
}

class PlainTable {
  readonly #model: TableModel
  readonly #rows = new Map<KeyId, Row>()

  constructor(model: TableModel) {
    this.#model = model
  }

  sorted(): Row[] {
    return [...this.#rows.values()].toSorted(comparator(parseOrder(this.#model, undefined)))
  }

  async get(key: unknown): Promise<Row | undefined> {
    const row = this.#rows.get(this.#idOf(key))
    return row && handedOut(this.#model, row)
  }

  async getOrThrow(key: unknown): Promise<Row> {
    return (await this.get(key)) ?? this.#missing(key)
  }

  getMany(keys: readonly unknown[]): Promise<(Row | undefined)[]> {
    return Promise.all(keys.map((key) => this.get(key)))
  }

  async find(options?: FindOptions<Row>): Promise<Row[]> {
    const { predicate, order, offset, limit } = parseFind(this.#model, options)
    const matches = [...this.#rows.values()].filter((row) => evaluate(predicate, row) === true)
    return matches
      .toSorted(comparator(order))
      .slice(offset, limit === undefined ? undefined : offset + limit)
      .map((row) => handedOut(this.#model, row))
  }

  insert(input: Row): void {
    const row = completeRow(this.#model, input)
    const id = keyIdOfRow(this.#model, row)
    if (this.#rows.has(id)) {
      const key = keyOf(this.#model, row)
      throw new HandlerError(
        'DUPLICATE_KEY',
        `Table \`${this.#model.name}\` already has a row with key ${describeKey(this.#model, key)}.`,
        { table: this.#model.name, key },
      )
    }
    this.#rows.set(id, row)
  }

  set(input: Row): void {
    const row = completeRow(this.#model, input)
    this.#rows.set(keyIdOfRow(this.#model, row), row)
  }

  delete(key: unknown): void {
    this.#rows.delete(this.#idOf(key))
  }

  /** Not async: the change is there when the call returns, as everywhere. */
  update(key: unknown, patch: unknown): Promise<Row> {
    try {
      const id = this.#idOf(key)
      const row = this.#rows.get(id) ?? this.#missing(key)
      const given: unknown =
        typeof patch === 'function' ? (patch as (row: Row) => unknown)(handedOut(this.#model, row)) : patch
      const patched = patchRow(this.#model, row, given)
      this.#rows.set(id, patched)
      return Promise.resolve(handedOut(this.#model, patched))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #idOf(key: unknown): KeyId {
    return keyIdOfRow(this.#model, keyRowOf(this.#model, key))
  }

  #missing(key: unknown): never {
    throw new HandlerError(
      'ROW_NOT_FOUND',
      `There is no row with key ${describeKey(this.#model, key)} in table \`${this.#model.name}\`.`,
      { table: this.#model.name, key },
    )
  }
}
