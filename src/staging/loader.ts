/**
 * Loads by key: those of one microtask become one query per table, a key that is being loaded is not asked for
 * again, and an absent row is remembered (H19). A result of before a cut is not remembered.
 */
import type { Reader } from './reader.ts'
import { keyIdOfRow } from './table-row.ts'
import type { Staging } from './staging.ts'
import type { KeyId, Row } from './table.ts'
import type { TableLog } from './table-log.ts'

interface Wanted {
  readonly key: Row
  readonly promise: Promise<Row | undefined>
  resolve(row: Row | undefined): void
  reject(error: unknown): void
}

export class Loader {
  readonly #staging: Staging
  readonly #reader: Reader
  readonly #wanted = new Map<TableLog, Map<KeyId, Wanted>>()
  readonly #inFlight = new Map<TableLog, Map<KeyId, Wanted>>()
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
    const loading = this.#inFlight.get(log)?.get(id) ?? this.#wanted.get(log)?.get(id)
    if (loading !== undefined) return loading.promise
    let wanted = this.#wanted.get(log)
    if (wanted === undefined) {
      wanted = new Map()
      this.#wanted.set(log, wanted)
      queueMicrotask(() => void this.#flush(log))
    }
    const want = deferred(key)
    wanted.set(id, want)
    this.#misses++
    return want.promise
  }

  async #flush(log: TableLog): Promise<void> {
    const batch = this.#wanted.get(log)!
    this.#wanted.delete(log)
    const inFlight = this.#inFlight.get(log) ?? new Map<KeyId, Wanted>()
    this.#inFlight.set(log, inFlight)
    for (const [id, want] of batch) inFlight.set(id, want)
    const generation = this.#staging.generation
    this.#staging.loadStarted()
    try {
      const rows = await this.#reader.byKeys(
        log.model,
        [...batch.values()].map((want) => want.key),
      )
      const found = new Map<KeyId, Row>()
      for (const row of rows) found.set(keyIdOfRow(log.model, row), row)
      if (generation === this.#staging.generation) {
        for (const [id, want] of batch) log.remember(id, want.key, found.get(id) ?? null)
      }
      for (const [id, want] of batch) want.resolve(found.get(id))
    } catch (error) {
      for (const want of batch.values()) want.reject(error)
    } finally {
      this.#staging.loadEnded()
      for (const id of batch.keys()) inFlight.delete(id)
    }
  }
}

function deferred(key: Row): Wanted {
  let resolve!: (row: Row | undefined) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<Row | undefined>((yes, no) => {
    resolve = yes
    reject = no
  })
  // a read that nobody awaits may fail without ending the host's process
  promise.catch(() => undefined)
  return { key, promise, resolve, reject }
}
