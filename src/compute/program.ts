/** The user's program: which of their functions handles what. */
import { HandlerError } from '../errors.ts'
import type { Block } from '../source/port.ts'

type Handler = (subject: unknown, context: unknown) => unknown

export interface ProgramParts {
  readonly handlers?: Readonly<Record<string, Handler>> | undefined
  readonly handle?: Handler | undefined
  readonly handleBlock?: Handler | undefined
  /** `false`: no speculative pass. A function replaces it and is called once a batch. */
  readonly preload?: false | ((blocks: readonly Block[], context: unknown) => unknown) | undefined
}

export interface Program {
  /** undefined: only blocks are handled. */
  readonly item: Handler | undefined
  readonly block: Handler | undefined
  readonly preload: ProgramParts['preload']
  /** Names the handler of an item, for messages. */
  nameOf(item: unknown): string
}

export function programOf(parts: ProgramParts): Program {
  const { handlers, handle, handleBlock, preload } = parts
  const byType: Handler | undefined =
    handlers === undefined ? undefined : (item, context) => handlerOf(handlers, item)(item, context)
  return {
    item: byType ?? handle,
    block: handleBlock,
    preload,
    nameOf: (item) => (handlers === undefined ? 'handle' : `handlers['${String(typeOf(item))}']`),
  }
}

function handlerOf(handlers: Readonly<Record<string, Handler>>, item: unknown): Handler {
  const type = typeOf(item)
  const handler = typeof type === 'string' && Object.hasOwn(handlers, type) ? handlers[type] : undefined
  if (handler !== undefined) return handler
  const known = Object.keys(handlers).join(', ')
  throw new HandlerError(
    'MISSING_HANDLER',
    typeof type === 'string'
      ? `there is no handler for items of type '${type}' (there are: ${known})`
      : `an item has no string \`type\`, so no handler can be chosen; use \`handle\` for items without types`,
  )
}

function typeOf(item: unknown): unknown {
  return typeof item === 'object' && item !== null ? (item as { type?: unknown }).type : undefined
}
