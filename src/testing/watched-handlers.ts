/**
 * The user's handlers, each call of one watched: held up before it, heard when it writes or publishes, known to be at work
 * or to wait for rows, and noticed when it leaves something behind that nobody awaits. In production that is an unhandled
 * rejection; here it is the test's failure.
 */
import type { Context } from '../compute/context.ts'
import type { HandlerError } from '../errors.ts'
import { WatchedCall } from './watched-call.ts'

export type Handler = (subject: unknown, context: Context) => unknown

export interface HandlerParts {
  readonly handlers?: Readonly<Record<string, Handler>> | undefined
  readonly handle?: Handler | undefined
  readonly handleBlock?: Handler | undefined
}

/** Who watches. */
export interface HandlerWatch {
  /** Before a call; a promise: it has to wait, or fails in the handler's place. */
  calling?(context: Context): Promise<void> | undefined
  /** One more is at work, or one less: it has settled, or waits for rows. */
  working?(change: 1 | -1): void
  /** What a handler does to a table, or to a region. */
  wrote?(table: string): void
  published?(region: string, body: unknown): void
  /** The handler had settled, and something of it went on. */
  late(error: HandlerError): void
}

export function watchedHandlers(parts: HandlerParts, watch: HandlerWatch): HandlerParts {
  const { handlers, handle, handleBlock } = parts
  const watched =
    (name: string, handler: Handler): Handler =>
    (subject, context) => {
      const call = () => new WatchedCall(name, subject, context, watch).run(handler)
      const waiting = watch.calling?.(context)
      if (waiting === undefined) return call()
      return waiting.then(() => {
        // given up while it waited: it would not have been called
        context.signal.throwIfAborted()
        return call()
      })
    }
  const byType =
    handlers &&
    Object.fromEntries(
      Object.entries(handlers).map(([type, handler]) => [type, watched(`handlers['${type}']`, handler)]),
    )
  return {
    ...(byType === undefined ? {} : { handlers: byType }),
    ...(handle === undefined ? {} : { handle: watched('handle', handle) }),
    ...(handleBlock === undefined ? {} : { handleBlock: watched('handleBlock', handleBlock) }),
  }
}
