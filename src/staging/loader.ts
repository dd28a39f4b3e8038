/**
 * Loads by key: those of one microtask become one query per table, a key that is being loaded is not asked for
 * again, and an absent row is remembered (H19). What was asked before a cut, or for a batch that is over, is
 * neither remembered nor shared with a later load (H16).
 */
import type { Reader } from './reader.ts'
import { keyIdOfRow } from './table-row.ts'
import type { Staging } from './staging.ts'
import type { KeyId, Row } from './table.ts'
import type { TableLog } from './table-log.ts'

interface Want {
  readonly key: Row
  readonly generation: number
  readonly promise: Promise<Row | undefined>
  resolve(row: Row | undefined): void
  reject(error: unknown): void
}

/** Keys of one table that become one query. */
interface Question {
  readonly generation: number
  readonly wants: Map<KeyId, Want>
}

export class Loader {
  readonly #staging: Staging
  readonly #reader: Reader
  /** Not sent yet. */
  readonly #gathering = new Map<TableLog, Question>()
  /** Sent or not. */
  readonly #loading = new Map<TableLog, Map<KeyId, Want>>()
  /** Keys asked of the database so far; tells whether a preload pass is worth its while. */
  #misses = 0

  constructor(staging: Staging, reader: Reader) {
    this.#staging = staging
    this.#reader = reader
  }

  get misses(): number {
    return this.#misses
  }

  load(log: TableLog, id: KeyId, key: Row): Promise<Row | undefined> {
    const { generation } = this.#staging
    const loading = this.#loadingOf(log)
    const shared = loading.get(id)
    if (shared?.generation === generation) return shared.promise
    const want = wantOf(key, generation)
    loading.set(id, want)
    this.#questionOf(log, generation).wants.set(id, want)
    this.#misses++
    return want.promise
  }

  #loadingOf(log: TableLog): Map<KeyId, Want> {
    let loading = this.#loading.get(log)
    if (loading === undefined) {
      loading = new Map()
      this.#loading.set(log, loading)
    }
    return loading
  }

  #questionOf(log: TableLog, generation: number): Question {
    const gathering = this.#gathering.get(log)
    if (gathering?.generation === generation) return gathering
    const question: Question = { generation, wants: new Map() }
    this.#gathering.set(log, question)
    this.#staging.loadStarted()
    queueMicrotask(() => void this.#ask(log, question))
    return question
  }

  async #ask(log: TableLog, question: Question): Promise<void> {
    if (this.#gathering.get(log) === question) this.#gathering.delete(log)
    const { wants, generation } = question
    try {
      const rows = await this.#reader.byKeys(
        log.model,
        [...wants.values()].map((want) => want.key),
      )
      const found = new Map<KeyId, Row>()
      for (const row of rows) found.set(keyIdOfRow(log.model, row), row)
      if (generation === this.#staging.generation) {
        for (const [id, want] of wants) log.remember(id, want.key, found.get(id) ?? null)
      }
      for (const [id, want] of wants) want.resolve(found.get(id))
    } catch (error) {
      for (const want of wants.values()) want.reject(error)
    } finally {
      this.#staging.loadEnded()
      const loading = this.#loadingOf(log)
      for (const [id, want] of wants) if (loading.get(id) === want) loading.delete(id)
    }
  }
}

function wantOf(key: Row, generation: number): Want {
  let resolve!: (row: Row | undefined) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<Row | undefined>((yes, no) => {
    resolve = yes
    reject = no
  })
  // a read that nobody awaits may fail without ending the host's process
  promise.catch(() => undefined)
  return { key, generation, promise, resolve, reject }
}
