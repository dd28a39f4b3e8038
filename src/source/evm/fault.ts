/**
 * What went wrong with a request, classed by what the reader should do about it. Internal to the EVM source.
 */

export type FaultKind =
  /** No connection, or it broke. Sent again. */
  | 'unreachable'
  /** No complete answer in time. Sent again; a range of blocks is made smaller. */
  | 'timeout'
  /** Asked to slow down. Sent again, later. */
  | 'busy'
  /** An answer that is not what the protocol says. Sent again. */
  | 'malformed'
  /** An error of the node's that may pass. Sent again. */
  | 'server'
  /**
   * The node lags, or its chain moves while it is read. Sent again a few times; then the reader looks for a
   * fork.
   */
  | 'unsteady'
  /** `eth_getLogs` over too many blocks or with too many results. Not sent again as it is. */
  | 'tooMany'
  /** The endpoint does not take batches of that size. Sent again in smaller ones. */
  | 'batch'
  /** Asking again cannot help: unknown method, invalid parameters, no permission. */
  | 'refused'

export class Fault extends Error {
  override readonly name = 'Fault'
  readonly kind: FaultKind
  /** The endpoint said when to come back. */
  readonly retryAfterMs: number | undefined
  /** Of a `tooMany`: a number of blocks that the endpoint said would do. */
  readonly blocks: number | undefined
  /** Of a `tooMany`: whether `blocks` is a limit for any request, not for this one alone. */
  readonly always: boolean

  constructor(
    kind: FaultKind,
    message: string,
    facts: {
      cause?: unknown
      retryAfterMs?: number | undefined
      blocks?: number | undefined
      always?: boolean
    } = {},
  ) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.kind = kind
    this.retryAfterMs = facts.retryAfterMs
    this.blocks = facts.blocks
    this.always = facts.always ?? false
  }
}

/** The chain moved, or the node lags: ask again. */
export function unsteady(message: string): Fault {
  return new Fault('unsteady', message)
}

/** Not what the protocol promises: ask again. */
export function malformed(message: string): Fault {
  return new Fault('malformed', message)
}

export function isFault(thrown: unknown, kind: FaultKind): thrown is Fault {
  return thrown instanceof Fault && thrown.kind === kind
}
