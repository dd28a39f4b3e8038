/** `db.<table>` of one handler run: reads through the change log, stages writes. */
import type { FindOptions } from '../db.ts'
import { HandlerError } from '../errors.ts'
import { parseFind, type Finder } from './find.ts'
import type { Loader } from './loader.ts'
import { keyRowOf, patchRow } from './patch.ts'
import type { Scope } from './scope.ts'
import type { Staging } from './staging.ts'
import type { KeyId, Row } from './table.ts'
import { completeRow, describeKey, handedOut, keyIdOfRow, keyOf } from './table-row.ts'
import type { TableLog } from './table-log.ts'

/** What every access shares; one per run. */
export interface AccessPorts {
  readonly staging: Staging
  readonly loader: Loader
  readonly finder: Finder
}

export class Access {
  readonly #ports: AccessPorts
  readonly #log: TableLog
  readonly #scope: Scope

  constructor(ports: AccessPorts, log: TableLog, scope: Scope) {
    this.#ports = ports
    this.#log = log
    this.#scope = scope
  }

  get(key: unknown): Promise<Row | undefined> {
    this.#scope.assertOpen()
    const canonical = keyRowOf(this.#log.model, key)
    return this.#readInLine(keyIdOfRow(this.#log.model, canonical), canonical)
  }

  getOrThrow(key: unknown): Promise<Row> {
    this.#scope.assertOpen()
    const canonical = keyRowOf(this.#log.model, key)
    const id = keyIdOfRow(this.#log.model, canonical)
    const known = this.#scope.isPending(this.#log, id) ? undefined : this.#known(id)
    // as nearly always: there is nothing to wait for
    if (known !== undefined && known !== null) return Promise.resolve(handedOut(this.#log.model, known))
    const found = this.#readInLine(id, canonical).then((row) => {
      if (row === undefined) throw this.#notFound(canonical)
      return row
    })
    return this.#harmless(found)
  }

  getMany(keys: readonly unknown[]): Promise<(Row | undefined)[]> {
    return quiet(Promise.all(keys.map((key) => this.get(key))))
  }

  find(options?: FindOptions<Row>): Promise<Row[]> {
    this.#scope.assertOpen()
    const log = this.#log
    const query = parseFind(log.model, options)
    // rows that are still being worked out take part with the value they will have at this point of the program
    const late = new Map<KeyId, Promise<Row | null | undefined>>()
    for (const id of this.#scope.pendingOf(log)) {
      late.set(
        id,
        this.#scope.enqueue(log, id, () => this.#known(id)),
      )
    }
    const { overlay } = this.#scope
    const found = this.#ports.finder.find(log, query, overlay && new Map(overlay.get(log)), late)
    if (log.model.copied.length === 0) return quiet(found)
    return quiet(found.then((rows) => rows.map((row) => handedOut(log.model, row))))
  }

  insert(row: unknown): void {
    this.#scope.assertOpen()
    const complete = completeRow(this.#log.model, row as Row)
    const id = keyIdOfRow(this.#log.model, complete)
    this.#write(id, complete, complete, true)
  }

  set(row: unknown): void {
    this.#scope.assertOpen()
    const complete = completeRow(this.#log.model, row as Row)
    const id = keyIdOfRow(this.#log.model, complete)
    this.#write(id, complete, complete, false)
  }

  delete(key: unknown): void {
    this.#scope.assertOpen()
    const canonical = keyRowOf(this.#log.model, key)
    const id = keyIdOfRow(this.#log.model, canonical)
    this.#write(id, canonical, null, false)
  }

  update(key: unknown, patch: unknown): Promise<Row> {
    this.#scope.assertOpen()
    const canonical = keyRowOf(this.#log.model, key)
    const id = keyIdOfRow(this.#log.model, canonical)
    const known = this.#known(id)
    if (known !== undefined && !this.#scope.isPending(this.#log, id)) {
      // applied now, not one microtask later: whatever is called next must see it
      try {
        return Promise.resolve(this.#patch(id, canonical, known, patch))
      } catch (error) {
        return this.#harmless(Promise.reject(error as Error))
      }
    }
    return this.#harmless(
      this.#scope.enqueue(this.#log, id, () => {
        const before = this.#known(id)
        if (before !== undefined) return this.#patch(id, canonical, before, patch)
        return this.#ports.loader
          .load(this.#log, id, canonical)
          .then((loaded) => this.#patch(id, canonical, loaded ?? null, patch))
      }),
    )
  }

  // ── below: rows by id ─────────────────────────────────────────────────────────────────────────────────────

  /** In its place among the changes of the row: after those called before it, before those called after it. */
  #readInLine(id: KeyId, key: Row): Promise<Row | undefined> {
    if (!this.#scope.isPending(this.#log, id)) return this.#read(id, key)
    return quiet(this.#scope.enqueue(this.#log, id, () => this.#read(id, key)))
  }

  #read(id: KeyId, key: Row): Promise<Row | undefined> {
    const known = this.#known(id)
    const { model } = this.#log
    if (known !== undefined) return Promise.resolve(known === null ? undefined : handedOut(model, known))
    const loading = this.#ports.loader.load(this.#log, id, key)
    if (model.copied.length === 0) return loading
    return quiet(loading.then((row) => row && handedOut(model, row)))
  }

  /** The row as this scope sees it; null: known to be absent; undefined: only the database knows. */
  #known(id: KeyId): Row | null | undefined {
    const overlaid = this.#scope.overlay?.get(this.#log)?.get(id)
    if (overlaid !== undefined) return overlaid
    const entry = this.#log.entries.get(id)
    if (entry === undefined) return undefined
    entry.used = true
    return entry.row
  }

  /** Stages it now, or after the changes of this row that are still being worked out. */
  #write(id: KeyId, key: Row, row: Row | null, fresh: boolean): void {
    if (!this.#scope.isPending(this.#log, id)) return this.#stage(id, key, row, fresh)
    this.#scope
      .enqueue(this.#log, id, () => this.#stage(id, key, row, fresh))
      .catch((error: unknown) => this.#scope.fail(error))
  }

  #patch(id: KeyId, key: Row, row: Row | null, patch: unknown): Row {
    if (row === null) throw this.#notFound(key)
    const { model } = this.#log
    const given: unknown =
      typeof patch === 'function' ? (patch as (row: Row) => unknown)(handedOut(model, row)) : patch
    const patched = patchRow(model, row, given)
    this.#stage(id, patched, patched, false)
    return handedOut(model, patched)
  }

  /** @param fresh it was inserted: nothing may be known under its key */
  #stage(id: KeyId, key: Row, row: Row | null, fresh: boolean): void {
    if (fresh && (this.#known(id) ?? null) !== null) throw this.#duplicate(key)
    const { overlay } = this.#scope
    if (overlay === undefined) {
      this.#ports.staging.stage(this.#log, id, key, row, fresh, this.#scope)
      return
    }
    let rows = overlay.get(this.#log)
    if (rows === undefined) {
      rows = new Map()
      overlay.set(this.#log, rows)
    }
    rows.set(id, row)
  }

  /** In the speculative pass nothing that goes wrong matters, awaited or not. */
  #harmless<T>(promise: Promise<T>): Promise<T> {
    if (this.#scope.speculative) promise.catch(() => undefined)
    return promise
  }

  #notFound(keyRow: Row): HandlerError {
    const { model } = this.#log
    const key = keyOf(model, keyRow)
    return new HandlerError(
      'ROW_NOT_FOUND',
      `There is no row with key ${describeKey(model, key)} in table \`${model.name}\`.`,
      { table: model.name, key },
    )
  }

  #duplicate(row: Row): HandlerError {
    const { model } = this.#log
    const key = keyOf(model, row)
    return new HandlerError(
      'DUPLICATE_KEY',
      `Table \`${model.name}\` already has a row with key ${describeKey(model, key)}; use \`set\` or \`update\` to change it.`,
      { table: model.name, key },
    )
  }
}

/** A read that nobody awaits may fail without ending the host's process. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined)
  return promise
}

/** `db` of one handler run: one accessor per table, made when it is first used. */
export function dbFactory(ports: AccessPorts): (scope: Scope) => object {
  const logs = [...ports.staging.tables.values()]
  class RunDb {
    readonly #scope: Scope
    readonly #made: (Access | undefined)[] = []

    constructor(scope: Scope) {
      this.#scope = scope
    }

    static access(db: RunDb, table: number): Access {
      return (db.#made[table] ??= new Access(ports, logs[table]!, db.#scope))
    }
  }
  for (const [table, { model }] of logs.entries()) {
    Object.defineProperty(RunDb.prototype, model.name, {
      enumerable: true,
      get(this: RunDb) {
        return RunDb.access(this, table)
      },
    })
  }
  return (scope) => new RunDb(scope)
}
