/** What a handler is given. Using it after the handler has settled throws. */
import type { Db, TablesInput } from '../db.ts'
import type { Logger } from '../log.ts'
import type { Block } from '../source/port.ts'
import type { HandlerScope } from './workspace.ts'

/** The second argument of every handler. */
export interface Context<Tables extends TablesInput = TablesInput> {
  /** The tables, read through everything staged. */
  readonly db: Db<Tables>
  /** Stages a snapshot of a region with this batch; it is delivered after the batch has committed. */
  region(id: string): { publish(body: unknown): void }
  readonly log: Logger
  /** Aborted when the batch is given up (a fork, an error, a stop that fails). Pass it to whatever you await. */
  readonly signal: AbortSignal
  /** The block that is being handled. */
  readonly block: Block
  /** Id of that block in this pipeline; grows, never reused. */
  readonly checkpoint: bigint
  /** True in the speculative pass: writes are thrown away, so leave out what touches the outside. */
  readonly preloading: boolean
}

export class HandlerContext {
  readonly db: object
  readonly log: Logger
  readonly signal: AbortSignal
  readonly block: Block
  readonly preloading: boolean
  readonly #checkpoint: number
  readonly #scope: HandlerScope

  constructor(
    scope: HandlerScope,
    block: Block,
    checkpoint: number,
    signal: AbortSignal,
    preloading: boolean,
    log: Logger,
  ) {
    this.#scope = scope
    this.#checkpoint = checkpoint
    this.db = scope.db
    this.block = block
    this.signal = signal
    this.preloading = preloading
    this.log = log
  }

  get checkpoint(): bigint {
    return BigInt(this.#checkpoint)
  }

  /** A getter, so that handlers can take it out of the context: `({ db, region }) => …`. */
  get region(): Context['region'] {
    return (id) => ({
      publish: (body) => this.#scope.publish(id, body),
    })
  }
}
