/**
 * The source port: where blocks come from. A source is opened at a position, read as an async iterable, and
 * closed by returning the iterator. It is opened again after a rollback, from an earlier position.
 */

/** A place in one source. `hash` defaults to the number; `cursor` is opaque and stored (LSN, page token). */
export interface Position {
  readonly number: number
  readonly hash: string
  readonly cursor?: string | undefined
}

/** The items of one source at one height. Never split between batches. Numbers grow strictly; gaps are fine. */
export interface Block<Item = unknown> {
  readonly number: number
  /** Defaults to the number. */
  readonly hash?: string | undefined
  readonly cursor?: string | undefined
  readonly parentHash?: string | undefined
  /** Unix seconds. */
  readonly timestamp?: number | undefined
  readonly items: readonly Item[]
}

/** What a source says. `head` and `finalized` are heights. */
export type SourceMessage<Item = unknown> =
  | {
      readonly type: 'blocks'
      readonly blocks: readonly Block<Item>[]
      readonly head?: number | undefined
      readonly finalized?: number | undefined
    }
  /** Everything above `validTo` is orphaned; `null`: nothing survives. */
  | { readonly type: 'fork'; readonly validTo: Position | null }
  | { readonly type: 'caughtUp' }
  | { readonly type: 'end' }

/** What `open` is given. `from` is the last committed position, exclusive. */
export interface OpenSource {
  readonly from?: Position | undefined
  /** Every position stored for this source, newest first; to be verified before anything is pruned. */
  readonly recent: readonly Position[]
  /** Aborted when the source has to close; an `open` or `next` that waits should then end. */
  readonly signal: AbortSignal
}

/** Where blocks come from. Wrap anything that can resume at a position. */
export interface Source<Item = unknown> {
  /** Unique in the pipeline, stable between runs: the stored cursor is found by it. */
  readonly id: string
  /** Blocks below the head that may still be orphaned; 0 (the default) for sources that never fork. */
  readonly historyDepth?: number | undefined
  /**
   * Item types this source can emit, where it knows them; a missing handler is then an error at start. They
   * are a type-level witness too.
   */
  readonly itemTypes?: readonly string[] | undefined
  open(request: OpenSource): AsyncIterable<SourceMessage<Item>>
  /** Called after `position` is durable in Postgres (acknowledge there, flush a slot). Its failure ends the run. */
  committed?(position: Position): void | Promise<void>
}

/** A block's position, with the hash default applied. */
export function positionOf(block: Block | Position): Position {
  return {
    number: block.number,
    hash: block.hash ?? String(block.number),
    ...(block.cursor === undefined ? {} : { cursor: block.cursor }),
  }
}
