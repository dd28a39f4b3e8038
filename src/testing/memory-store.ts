/**
 * A store in memory that outlives its runs, for tests that need many of them. It keeps the contract of the real one:
 * a group lands whole or not at all, under the epoch and commit number of the session; a new session takes the
 * pipeline over, and the old one's writes no longer land.
 */
import { FatalError, SupersededError } from '../errors.ts'
import type { OpenStore, ResolveEnd, Resume, Store, StoreSession, WriteEnd } from '../commit/store.ts'
import type { Group, TableGroup } from '../staging/batch.ts'
import { comparator, parseOrder } from '../staging/order.ts'
import type { Reader } from '../staging/reader.ts'
import type { Casing } from '../staging/table-model.ts'
import { describeKey, keyIdOfRow, keyOf } from '../staging/table-row.ts'
import type { KeyId, Row, TableModel } from '../staging/table.ts'
import { evaluate } from '../staging/where.ts'

type Table = Map<KeyId, Row>
type StoredPositions = Map<string, { number: number; hash: string; cursor?: string; checkpoint: number }[]>

export interface MemoryStore extends Store {
  /** Rows of a table in key order, as committed. */
  rows(table: string): Row[]
  readonly committed: number
  readonly commits: number
}

export function memoryStore(options: { readonly casing?: Casing | undefined } = {}): MemoryStore {
  const database = new Database()
  return {
    casing: options.casing,
    open: (request) => Promise.resolve(database.open(request)),
    rows: (table) => database.rows(table),
    get committed() {
      return database.committed
    },
    get commits() {
      return database.commitNumber
    },
  }
}

class Database {
  readonly tables = new Map<string, Table>()
  readonly models = new Map<string, TableModel>()
  readonly positions: StoredPositions = new Map()
  epoch = 0
  commitNumber = 0
  committed = 0
  counter = 0

  open(request: OpenStore): StoreSession {
    request.signal.throwIfAborted()
    for (const model of request.models) {
      this.models.set(model.name, model)
      if (!this.tables.has(model.name)) this.tables.set(model.name, new Map())
    }
    this.epoch++
    return new MemorySession(this)
  }

  rows(name: string): Row[] {
    if (this.models.size === 0) return []
    const model = this.models.get(name)
    const table = this.tables.get(name)
    if (model === undefined || table === undefined) throw new Error(`there is no table '${name}'`)
    return [...table.values()].toSorted(comparator(parseOrder(model, undefined)))
  }

  get resume(): Resume {
    const positions = new Map([...this.positions].map(([source, stored]) => [source, [...stored]]))
    return { epoch: this.epoch, committed: this.committed, counter: this.counter, positions }
  }

  readonly reader: Reader = {
    byKeys: (model, keys) => {
      const table = this.tables.get(model.name)!
      const rows = keys.map((key) => table.get(keyIdOfRow(model, key)))
      return Promise.resolve(rows.filter((row) => row !== undefined))
    },
    find: (model, { predicate, order, limit }) => {
      const rows = [...this.tables.get(model.name)!.values()].filter(
        (row) => evaluate(predicate, row) === true,
      )
      return Promise.resolve(rows.toSorted(comparator(order)).slice(0, limit))
    },
  }

  /** @throws FatalError `DUPLICATE_KEY`; then nothing has changed */
  apply(group: Group): void {
    for (const { model, inserts } of group.tables) this.#refuseDuplicates(model, inserts)
    for (const table of group.tables) this.#applyTable(table)
    this.commitNumber++
    this.committed = group.upTo
    this.counter = Math.max(this.counter, group.upTo)
    const cursors = group.cursors.filter((cursor) => cursor.finalBelow === undefined)
    for (const { source, checkpoint, number, hash, cursor, finalBelow } of [...group.positions, ...cursors]) {
      const position = { checkpoint, number, hash, ...(cursor === undefined ? {} : { cursor }) }
      const stored = [position, ...(finalBelow === undefined ? [] : (this.positions.get(source) ?? []))]
      const anchor = stored.findIndex((candidate) => candidate.number <= (finalBelow ?? Infinity))
      this.positions.set(source, anchor === -1 ? stored : stored.slice(0, anchor + 1))
    }
  }

  #refuseDuplicates(model: TableModel, inserts: readonly Row[]): void {
    const duplicate = inserts.find((row) => this.tables.get(model.name)!.has(keyIdOfRow(model, row)))
    if (duplicate === undefined) return
    const key = keyOf(model, duplicate)
    throw new FatalError(
      'DUPLICATE_KEY',
      `The row with key ${describeKey(model, key)} is already in table \`${model.name}\`.`,
      { phase: 'commit', table: model.name, key },
    )
  }

  #applyTable({ model, inserts, upserts, deletes }: TableGroup): void {
    const table = this.tables.get(model.name)!
    for (const row of inserts) table.set(keyIdOfRow(model, row), row)
    for (const row of upserts) table.set(keyIdOfRow(model, row), row)
    for (const key of deletes) table.delete(keyIdOfRow(model, key))
  }
}

class MemorySession implements StoreSession {
  readonly resume: Resume
  readonly reader: Reader
  readonly #database: Database
  readonly #epoch: number
  #commitNumber: number

  constructor(database: Database) {
    this.#database = database
    this.resume = database.resume
    this.reader = database.reader
    this.#epoch = database.epoch
    this.#commitNumber = database.commitNumber
  }

  write(group: Group, flushed: () => void): Promise<WriteEnd> {
    flushed()
    const { epoch, commitNumber } = this.#database
    if (epoch !== this.#epoch || commitNumber !== this.#commitNumber) {
      const error = new SupersededError('SUPERSEDED', 'Another session has the pipeline.', {
        phase: 'commit',
      })
      return Promise.resolve({ end: 'refused', error })
    }
    try {
      this.#database.apply(group)
    } catch (error) {
      return Promise.resolve({ end: 'refused', error })
    }
    this.#commitNumber++
    return Promise.resolve({ end: 'landed' })
  }

  resolve(): Promise<ResolveEnd> {
    const { epoch, commitNumber } = this.#database
    if (epoch !== this.#epoch) return Promise.resolve({ end: 'superseded', owner: null })
    if (commitNumber === this.#commitNumber) return Promise.resolve({ end: 'notLanded' })
    this.#commitNumber = commitNumber
    return Promise.resolve({ end: 'landed' })
  }

  destroyWriter(): void {}

  close(): Promise<void> {
    return Promise.resolve()
  }
}
