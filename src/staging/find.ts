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
import type { KeyId, Row, TableModel } from './table.ts'
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

/** The speculative pass asks for more than it needs: the batch goes on to change some of the rows it is told. */
const spareRows = 16

/** @throws HandlerError `INVALID_WHERE` */
export function parseFind(model: TableModel, options: FindOptions<Row> = {}): ParsedFind {
  const limit = countOf(model, 'limit', options.limit)
  const predicate = parseWhere(model, options.where)
  const order = parseOrder(model, options.orderBy)
  return {
    predicate,
    order,
    limit,
    offset: countOf(model, 'offset', options.offset) ?? 0,
    text: JSON.stringify([
      spelled(predicate),
      order.map((term) => [term.column.property, term.descending, term.nullsFirst]),
    ]),
  }
}

/** A predicate as plain data; values as Postgres would print them, so that no two are confused. */
function spelled(predicate: Predicate): unknown {
  switch (predicate.kind) {
    case 'and':
    case 'or':
      return [predicate.kind, ...predicate.parts.map(spelled)]
    case 'not':
      return ['not', spelled(predicate.part)]
    case 'isNull':
      return ['isNull', predicate.column.property, predicate.negated]
    case 'in': {
      const { codec, property } = predicate.column
      return ['in', property, ...predicate.values.map((value) => codec.print(value))]
    }
    case 'compare':
      return [predicate.op, predicate.column.property, predicate.column.codec.print(predicate.value)]
    default:
      throw new Error(`unreachable: ${String(predicate satisfies never)}`)
  }
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

  /**
   * @param overlay in the speculative pass: changes that only the caller sees, as of the call
   * @param late rows whose value as of the call is still being worked out; undefined: only the database knows it
   */
  async find(
    log: TableLog,
    query: ParsedFind,
    overlay: ReadonlyMap<KeyId, Row | null> | undefined,
    late: ReadonlyMap<KeyId, Promise<Row | null | undefined>>,
  ): Promise<Row[]> {
    const called = this.#staging.now
    const matches: Row[] = []
    const { entries, unseen } = log.held.concernedBy(query.predicate)
    let displacing = (overlay?.size ?? 0) + late.size + unseen
    for (const entry of entries) {
      if (overlay?.has(entry.id) === true || late.has(entry.id)) continue
      if (entry.row !== null && evaluate(query.predicate, entry.row) === true) matches.push(entry.row)
      if (mayBeHit(entry, query.predicate)) displacing++
    }
    for (const [id, row] of overlay ?? []) {
      if (row !== null && !late.has(id) && evaluate(query.predicate, row) === true) matches.push(row)
    }
    const wanted = query.limit === undefined ? undefined : query.offset + query.limit
    if (wanted === 0) return []
    const needed = wanted === undefined ? undefined : wanted + displacing
    const hits = await this.#ask(log, query, needed, overlay === undefined ? 0 : spareRows)
    const worked = new Set<KeyId>()
    for (const [id, working] of late) {
      const row = await working
      if (row === undefined) continue
      worked.add(id)
      if (row !== null && evaluate(query.predicate, row) === true) matches.push(row)
    }
    const rows = matches
    for (const row of hits) {
      const id = keyIdOfRow(log.model, row)
      const entry = log.entries.get(id)
      const shadowed = entry?.newest !== undefined && entry.heldSince <= called
      if (!shadowed && overlay?.has(id) !== true && !worked.has(id)) rows.push(row)
    }
    return rows.toSorted(comparator(query.order)).slice(query.offset, wanted)
  }

  async #ask(
    log: TableLog,
    query: ParsedFind,
    limit: number | undefined,
    spare: number,
  ): Promise<readonly Row[]> {
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
    const asked = limit === undefined ? undefined : limit + spare
    const answer = { asked, rows: this.#query(log, query, asked) }
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
