/**
 * One run of one handler. It ends when the handler has settled *and* every update it has begun is applied, whether
 * it was awaited or not: what a handler writes depends on its program, never on what happened to be cached.
 */
import { HandlerError } from '../errors.ts'
import type { Origin } from './staging.ts'
import type { KeyId, Row } from './table.ts'
import type { TableLog } from './table-log.ts'

export class Scope implements Origin {
  readonly checkpoint: number
  readonly item: number
  /** Speculative runs write here and nowhere else; then it is thrown away. */
  readonly overlay: Map<TableLog, Map<KeyId, Row | null>> | undefined
  /** Names the handler and where it runs, for messages. */
  readonly label: () => string
  #closed = false
  #pending: Map<TableLog, Map<KeyId, Promise<void>>> | undefined
  #failure: { readonly error: unknown } | undefined

  constructor(origin: Origin, speculative: boolean, label: () => string) {
    this.checkpoint = origin.checkpoint
    this.item = origin.item
    this.overlay = speculative ? new Map() : undefined
    this.label = label
  }

  get speculative(): boolean {
    return this.overlay !== undefined
  }

  /** @throws HandlerError `CONTEXT_SETTLED` when the handler has settled (H10) */
  assertOpen(): void {
    if (!this.#closed) return
    throw new HandlerError(
      'CONTEXT_SETTLED',
      `${this.label()} used its context after it had settled; await every call on \`db\` inside the handler.`,
      { item: this.item },
    )
  }

  /** The last change of this row that is still being worked out, if there is one. */
  pendingOn(log: TableLog, id: KeyId): Promise<void> | undefined {
    return this.#pending?.get(log)?.get(id)
  }

  pendingOf(log: TableLog): readonly Promise<void>[] {
    return [...(this.#pending?.get(log)?.values() ?? [])]
  }

  /** Runs `change` after every earlier change of this row. Its failure is the caller's to see. */
  enqueue<T>(log: TableLog, id: KeyId, change: () => Promise<T> | T): Promise<T> {
    this.#pending ??= new Map()
    let ofTable = this.#pending.get(log)
    if (ofTable === undefined) {
      ofTable = new Map()
      this.#pending.set(log, ofTable)
    }
    const before = ofTable.get(id)
    const result = before === undefined ? Promise.resolve().then(change) : before.then(change)
    const tail: Promise<void> = result.then(
      () => this.#applied(ofTable, id, tail),
      () => this.#applied(ofTable, id, tail),
    )
    ofTable.set(id, tail)
    return result
  }

  /** A synchronous change that had to wait and then failed: the handler fails with it. */
  fail(error: unknown): void {
    this.#failure ??= { error }
  }

  /** Closes, after what is still being applied. A promise only if there is something to wait for, or to throw. */
  settle(): Promise<void> | undefined {
    if (this.#pending !== undefined || this.#failure !== undefined) return this.#settleLater()
    this.#closed = true
    return undefined
  }

  async #settleLater(): Promise<void> {
    const pending = [...(this.#pending?.values() ?? [])]
    while (pending.some((ofTable) => ofTable.size > 0)) {
      await Promise.all(pending.flatMap((ofTable) => [...ofTable.values()]))
    }
    this.#closed = true
    if (this.#failure !== undefined) throw this.#failure.error
  }

  #applied(ofTable: Map<KeyId, Promise<void>>, id: KeyId, tail: Promise<void>): void {
    if (ofTable.get(id) === tail) ofTable.delete(id)
  }
}
