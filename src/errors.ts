/**
 * One base class; subclasses say what the caller should do about it. The first error of a run wins,
 * later ones are attached to the outcome (`suppressed`), none is swallowed.
 */

/** Where in the run an error arose. */
export type Phase = 'options' | 'opening' | 'source' | 'compute' | 'commit' | 'rollback' | 'publish' | 'exit'

/** Facts that locate an error; every one of them is optional and serialisable. */
export interface ErrorFacts {
  readonly cause?: unknown
  readonly phase?: Phase | undefined
  /** First and last checkpoint of the batch or group concerned. */
  readonly batch?: { readonly from: bigint; readonly upTo: bigint } | undefined
  /** Block concerned: source id and height. */
  readonly block?: { readonly source: string; readonly number: number } | undefined
  /** Zero-based index of the item inside its block; `undefined` for `handleBlock`. */
  readonly item?: number | undefined
  readonly table?: string | undefined
  readonly column?: string | undefined
  readonly key?: unknown
}

/** Base of every error that tailrace raises. `code` is stable; the message says what to do. */
export class TailraceError extends Error {
  override readonly name: string = 'TailraceError'
  readonly code: string
  // declared only: a fact that is not known is not a property, so that a printed error shows what there is
  declare readonly phase?: Phase | undefined
  declare readonly batch?: ErrorFacts['batch']
  declare readonly block?: ErrorFacts['block']
  declare readonly item?: number | undefined
  declare readonly table?: string | undefined
  declare readonly column?: string | undefined
  declare readonly key?: unknown

  constructor(code: string, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.code = code
    const { cause: _, ...known } = facts
    for (const [name, fact] of Object.entries(known)) {
      if (fact !== undefined) Object.defineProperty(this, name, { value: fact, enumerable: true })
    }
  }

  /** The first error in the chain of causes (this one included) that `matches`. */
  walk(matches: (error: unknown) => boolean): unknown {
    let current: unknown = this
    while (current !== undefined) {
      if (matches(current)) return current
      current = current instanceof Error ? current.cause : undefined
    }
    return undefined
  }

  /** Plain JSON: bigints become decimal strings, the cause its message. Keeps snapshots serialisable. */
  toJSON(): Record<string, unknown> {
    return JSON.parse(
      JSON.stringify(
        {
          name: this.name,
          code: this.code,
          message: this.message,
          phase: this.phase,
          batch: this.batch,
          block: this.block,
          item: this.item,
          table: this.table,
          column: this.column,
          key: this.key,
          cause: this.cause instanceof Error ? this.cause.message : this.cause,
        },
        (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
      ),
    ) as Record<string, unknown>
  }
}

/** The options, the schema, the database or the endpoint do not fit; change them and start again. */
export class ConfigurationError extends TailraceError {
  override readonly name = 'ConfigurationError'
}

/** The user's own code failed or misused its context; the message names block and item. */
export class HandlerError extends TailraceError {
  override readonly name = 'HandlerError'
}

/** A fault that may pass (connection lost, too many connections, time-outs); a retry is sensible. */
export class RetryableError extends TailraceError {
  override readonly name = 'RetryableError'
}

/** Another owner has the pipeline; this process must not go on. */
export class SupersededError extends TailraceError {
  override readonly name = 'SupersededError'
}

/** Retrying does not help: the data or the database is at odds with what tailrace must guarantee. */
export class FatalError extends TailraceError {
  override readonly name = 'FatalError'
}

/** Turns whatever was thrown into a TailraceError, keeping one that already is. */
export function asTailraceError(
  thrown: unknown,
  code: string,
  message: string,
  facts: ErrorFacts = {},
): TailraceError {
  if (thrown instanceof TailraceError) return thrown
  return new FatalError(code, message, { ...facts, cause: thrown })
}

/** The message of anything thrown, for use inside our own messages. */
export function messageOf(thrown: unknown): string {
  if (thrown instanceof AggregateError && thrown.message === '')
    return thrown.errors.map(messageOf).join('; ')
  return thrown instanceof Error ? thrown.message : String(thrown)
}
