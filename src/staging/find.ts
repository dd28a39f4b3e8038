/**
 * `find` through the staged changes. The view is fixed at the call:
 *
 *   candidates = rows of the database that no held entry shadows ∪ held entries whose value matches now
 *
 * The database is asked for `limit + offset` rows and one more for every held entry that may displace a hit. A
 * commit that lands meanwhile changes nothing: what was held at the call is answered by its held value, and
 * nothing is released before the batch has ended (H11, H12, H14, H17).
 */
import type { FindOptions } from '../db.ts'
import { comparator, parseOrder, type OrderTerm } from './order.ts'
import type { Reader } from './reader.ts'
import { keyIdOfRow } from './table-row.ts'
import type { Staging } from './staging.ts'
import type { Row, TableModel } from './table.ts'
import type { TableLog } from './table-log.ts'
import type { Entry } from './entry.ts'
import { evaluate, invalid, parseWhere, type Predicate } from './where.ts'

export interface ParsedFind {
  readonly predicate: Predicate
  readonly order: readonly OrderTerm[]
  readonly limit: number | undefined
  readonly offset: number
  /** Equal for equal questions. */
  readonly text: string
}

/** The database's share of an answer, good for as long as nothing is released: one batch. */
interface Answer {
  readonly rows: Promise<readonly Row[]>
  /** Rows asked for; `undefined`: all. */
  readonly asked: number | undefined
}

/** @throws HandlerError `INVALID_WHERE` */
export function parseFind(model: TableModel, options: FindOptions<Row> = {}): ParsedFind {
  const limit = countOf(model, 'limit', options.limit)
  return {
    predicate: parseWhere(model, options.where),
    order: parseOrder(model, options.orderBy),
    limit,
    offset: countOf(model, 'offset', options.offset) ?? 0,
    text: JSON.stringify([options.where, options.orderBy], distinctly),
  }
}

/** What JSON would confuse: bigints, and NaN with the infinities. */
function distinctly(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'number' && !Number.isFinite(value)) return `#${value}`
  return value
}

function countOf(model: TableModel, name: 'limit' | 'offset', value: number | undefined): number | undefined {
  if (value === undefined) return undefined
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw invalid(model, `expected a whole number ≥ 0, got ${String(value)}`, undefined, name)
}

export class Finder {
  readonly #staging: Staging
  readonly #reader: Reader
  #answers = new Map<TableLog, Map<string, Answer>>()
  #queries = 0

  constructor(staging: Staging, reader: Reader) {
    this.#staging = staging
    this.#reader = reader
  }

  /** Queries sent so far. */
  get queries(): number {
    return this.#queries
  }

  /** A batch begins: landed changes were released, so earlier answers no longer hold. */
  forget(): void {
    this.#answers = new Map()
  }

  /** @param overlay changes that only the caller sees (the speculative pass), by entry id */
  async find(log: TableLog, query: ParsedFind, overlay?: ReadonlyMap<unknown, Row | null>): Promise<Row[]> {
    const called = this.#staging.now
    const matches: Row[] = []
    let displacing = overlay?.size ?? 0
    for (const entry of log.held) {
      if (overlay?.has(entry.id) === true) continue
      if (entry.row !== null && evaluate(query.predicate, entry.row) === true) matches.push(entry.row)
      if (mayBeHit(entry, query.predicate)) displacing++
    }
    for (const row of overlay?.values() ?? []) {
      if (row !== null && evaluate(query.predicate, row) === true) matches.push(row)
    }
    const wanted = query.limit === undefined ? undefined : query.offset + query.limit
    if (wanted === 0) return []
    const hits = await this.#ask(log, query, wanted === undefined ? undefined : wanted + displacing)
    const rows = matches
    for (const row of hits) {
      const id = keyIdOfRow(log.model, row)
      const entry = log.entries.get(id)
      const shadowed = entry?.newest !== undefined && entry.heldSince <= called
      if (!shadowed && overlay?.has(id) !== true) rows.push(row)
    }
    return rows.toSorted(comparator(query.order)).slice(query.offset, wanted)
  }

  async #ask(log: TableLog, query: ParsedFind, limit: number | undefined): Promise<readonly Row[]> {
    let answers = this.#answers.get(log)
    if (answers === undefined) {
      answers = new Map()
      this.#answers.set(log, answers)
    }
    const known = answers.get(query.text)
    if (known !== undefined) {
      const rows = await known.rows
      const complete = known.asked === undefined || rows.length < known.asked
      if (complete || (limit !== undefined && limit <= known.asked)) return rows
    }
    const answer = { asked: limit, rows: this.#query(log, query, limit) }
    answer.rows.catch(() => answers.delete(query.text))
    answers.set(query.text, answer)
    return answer.rows
  }

  async #query(log: TableLog, query: ParsedFind, limit: number | undefined): Promise<readonly Row[]> {
    this.#queries++
    const generation = this.#staging.generation
    this.#staging.loadStarted()
    try {
      const rows = await this.#reader.find(log.model, {
        predicate: query.predicate,
        order: query.order,
        limit,
      })
      if (generation === this.#staging.generation) {
        for (const row of rows) log.remember(keyIdOfRow(log.model, row), row, row)
      }
      return rows
    } finally {
      this.#staging.loadEnded()
    }
  }
}

/** Could the database answer with this held row, only for it to be shadowed? */
function mayBeHit(entry: Entry, predicate: Predicate): boolean {
  const { base } = entry
  if (base !== undefined && base !== null && evaluate(predicate, base) === true) return true
  let version = entry.newest
  while (version !== undefined) {
    if (version.row !== null && evaluate(predicate, version.row) === true) return true
    // nothing is known of what the first change replaced, unless it was an insert
    if (version.older === undefined) return base === undefined && version.inserted === null
    version = version.older
  }
  return false
}
