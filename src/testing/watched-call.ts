/** One call of a handler, and the context that it is given. */
import type { Context } from '../compute/context.ts'
import { HandlerError, messageOf } from '../errors.ts'
import { sourceId } from './shown-chain.ts'
import type { Handler, HandlerWatch } from './watched-handlers.ts'

type Method = string | symbol

const writes: ReadonlySet<Method> = new Set(['insert', 'set', 'delete', 'update'])
/** Who leaves one of these alone and it fails has an unhandled rejection; of a read that nobody awaits nothing is heard. */
const heeded: ReadonlySet<Method> = new Set(['update', 'getOrThrow'])

export class WatchedCall {
  readonly #name: string
  readonly #subject: unknown
  readonly #context: Context
  readonly #watch: HandlerWatch
  #isOver = false
  /** Rows that it waits for. */
  #reads = 0

  constructor(name: string, subject: unknown, context: Context, watch: HandlerWatch) {
    this.#name = name
    this.#subject = subject
    this.#context = context
    this.#watch = watch
  }

  /** Settles as the handler does, and in the same turn. */
  run(handler: Handler): unknown {
    this.#watch.working?.(1)
    let result: unknown
    try {
      result = handler(this.#subject, this.#watched())
    } catch (error) {
      this.#settled()
      throw error
    }
    if (!isThenable(result)) {
      this.#settled()
      return result
    }
    return result.then(
      (value) => {
        this.#settled()
        return value
      },
      (error: unknown) => {
        this.#settled()
        throw error
      },
    )
  }

  #settled(): void {
    this.#isOver = true
    if (this.#reads === 0) this.#watch.working?.(-1)
  }

  #watched(): Context {
    const { log, signal, block, checkpoint, preloading, region } = this.#context
    const db = new Proxy(this.#context.db, {
      get: (tables, table) => {
        const access: unknown = Reflect.get(tables, table)
        return typeof access === 'object' && access !== null ? this.#table(access, String(table)) : access
      },
    })
    const watchedRegion: Context['region'] = (id) => ({
      publish: (body) => {
        if (this.#isOver) {
          void this.#late()
        } else {
          region(id).publish(body)
          if (!preloading) this.#watch.published?.(id, body)
        }
      },
    })
    return { db, log, signal, block, checkpoint, preloading, region: watchedRegion }
  }

  #table(access: object, table: string): object {
    return new Proxy(access, {
      get: (methods, name) => {
        const method: unknown = Reflect.get(methods, name)
        if (typeof method !== 'function') return method
        return (...args: readonly unknown[]): unknown => {
          if (this.#isOver) return this.#late()
          if (writes.has(name)) this.#watch.wrote?.(table)
          const result: unknown = Reflect.apply(method, methods, args)
          return result instanceof Promise ? this.#answered(result, name) : result
        }
      },
    })
  }

  /** It waits for rows meanwhile, and not for the outside world. */
  #answered(answer: Promise<unknown>, method: Method): Promise<unknown> {
    const { preloading, signal } = this.#context
    if (this.#reads++ === 0) this.#watch.working?.(-1)
    const done = () => {
      if (--this.#reads === 0 && !this.#isOver) this.#watch.working?.(1)
    }
    const heard = answer.then(
      (value) => {
        done()
        return value
      },
      (error: unknown) => {
        done()
        const isAlone = this.#isOver && heeded.has(method) && !preloading && !signal.aborted
        if (!isAlone) throw error
        this.#watch.late(this.#unheard(error))
      },
    )
    if (preloading || !heeded.has(method)) heard.catch(() => undefined)
    return heard
  }

  /** @returns what never resolves: whoever waits for it is to do no more */
  #late(): Promise<unknown> {
    const what = `${this.#label} used its context after it had settled; await every call on \`db\` inside the handler, and every function of your own that makes one.`
    // of the speculative pass nothing counts; the ordered one says it again
    if (!this.#context.preloading) this.#watch.late(this.#error('CONTEXT_SETTLED', what))
    return new Promise(() => undefined)
  }

  #unheard(error: unknown): HandlerError {
    const what = `${this.#label} did not await a call that then failed: ${messageOf(error)}`
    return this.#error('HANDLER_FAILED', what, error)
  }

  #error(code: string, message: string, cause?: unknown): HandlerError {
    const { table, key } = cause instanceof HandlerError ? cause : {}
    return new HandlerError(code, message, {
      cause,
      phase: 'compute',
      block: { source: sourceId, number: this.#context.block.number },
      item: this.#item === -1 ? undefined : this.#item,
      table,
      key,
    })
  }

  get #item(): number {
    return this.#context.block.items.indexOf(this.#subject)
  }

  get #label(): string {
    const place = `block ${this.#context.block.number} of source '${sourceId}'`
    return this.#item === -1 ? `${this.#name} at ${place}` : `${this.#name} at item ${this.#item} of ${place}`
  }
}

function isThenable(value: unknown): value is Promise<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  )
}
