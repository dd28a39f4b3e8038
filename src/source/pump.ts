/**
 * Reads one source ahead of the handlers, bounded in bytes. A fork overtakes what is buffered. Closing returns the
 * iterator and waits for it; nothing is said after that.
 */
import { ConfigurationError, FatalError, TailraceError, messageOf } from '../errors.ts'
import type { Block, Position, Source, SourceMessage } from './port.ts'
import { estimateBytes } from './size.ts'

export interface ReadBlock {
  readonly block: Block
  readonly bytes: number
  /** Heights at and below it cannot fork any more; undefined: the source never forks. */
  readonly finalBelow: number | undefined
}

export interface PumpEvents {
  /** Blocks were buffered, or the source ended: a waiting reader may look again. */
  changed(): void
  /** The buffer is full, or has room again. */
  full(isFull: boolean): void
  fork(validTo: Position | null): void
  caughtUp(): void
  failed(error: TailraceError): void
}

export class Pump {
  readonly source: Source
  readonly #events: PumpEvents
  readonly #budgetBytes: number
  #buffer: ReadBlock[] = []
  #bufferedBytes = 0
  #head: number | undefined
  #finalized: number | undefined
  #last: number | undefined
  #ended = false
  #room: (() => void) | undefined
  #abort: AbortController | undefined
  #running: Promise<void> | undefined

  constructor(source: Source, budgetBytes: number, events: PumpEvents) {
    this.source = source
    this.#budgetBytes = budgetBytes
    this.#events = events
  }

  get ended(): boolean {
    return this.#ended
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes
  }

  get head(): number | undefined {
    return this.#head
  }

  peek(): ReadBlock | undefined {
    return this.#buffer[0]
  }

  take(): ReadBlock | undefined {
    const next = this.#buffer.shift()
    if (next === undefined) return undefined
    this.#bufferedBytes -= next.bytes
    // a gap between full and room, so that the two do not alternate with every block
    if (this.#room !== undefined && this.#bufferedBytes <= this.#budgetBytes / 2) this.#room()
    return next
  }

  open(from: Position | undefined, recent: readonly Position[]): void {
    this.#buffer = []
    this.#bufferedBytes = 0
    this.#ended = false
    this.#last = from?.number
    this.#abort = new AbortController()
    this.#running = this.#read(from, recent, this.#abort.signal)
  }

  /** Idempotent; resolves once the iterator is returned. */
  async close(): Promise<void> {
    this.#abort?.abort()
    this.#room?.()
    await this.#running
    this.#buffer = []
    this.#bufferedBytes = 0
  }

  async #read(from: Position | undefined, recent: readonly Position[], signal: AbortSignal): Promise<void> {
    try {
      for await (const message of this.source.open({
        ...(from === undefined ? {} : { from }),
        recent,
        signal,
      })) {
        if (signal.aborted) return
        if (typeof message !== 'object' || message === null) throw this.#unknownMessage(message)
        if (message.type === 'end' || message.type === 'fork') {
          this.#ended = message.type === 'end'
          if (message.type === 'fork') {
            this.#buffer = []
            this.#bufferedBytes = 0
            this.#events.fork(message.validTo)
          }
          break
        }
        this.#receive(message)
        if (this.#bufferedBytes >= this.#budgetBytes) await this.#untilRoom(signal)
      }
      if (!signal.aborted) this.#events.changed()
    } catch (error) {
      if (!signal.aborted) this.#events.failed(this.#failure(error))
    }
  }

  #receive(message: Exclude<SourceMessage, { type: 'end' } | { type: 'fork' }>): void {
    switch (message.type) {
      case 'caughtUp':
        return this.#events.caughtUp()
      case 'blocks': {
        if (message.head !== undefined) this.#head = Math.max(this.#head ?? 0, message.head)
        if (message.finalized !== undefined) {
          this.#finalized = Math.max(this.#finalized ?? 0, message.finalized)
        }
        if (!Array.isArray(message.blocks)) {
          throw this.#malformed('gave a message of type "blocks" whose `blocks` is not an array')
        }
        for (const block of message.blocks) this.#buffer.push(this.#accept(block))
        if (message.blocks.length > 0) this.#events.changed()
        return
      }
      default:
        throw this.#unknownMessage(message)
    }
  }

  #accept(block: Block): ReadBlock {
    if (typeof block !== 'object' || block === null || !Array.isArray(block.items)) {
      throw this.#malformed('gave a block without an array of `items`')
    }
    const { number } = block
    if (!Number.isSafeInteger(number) || number < 0) {
      throw this.#misordered(`gave a block with number ${String(number)}; numbers are whole and ≥ 0`)
    }
    if (this.#last !== undefined && number <= this.#last) {
      throw this.#misordered(
        `gave block ${number} after block ${this.#last}; numbers must grow (a fork is a message of its own)`,
      )
    }
    this.#last = number
    const bytes = estimateBytes(block.items) + 256
    this.#bufferedBytes += bytes
    return { block, bytes, finalBelow: this.#finalBelow(number) }
  }

  #finalBelow(number: number): number | undefined {
    const depth = this.source.historyDepth ?? 0
    if (depth === 0) return undefined
    // a source that says neither head nor finality may be at its head with every block
    const byDepth = Math.max(this.#head ?? number, number) - depth
    return Math.max(byDepth, this.#finalized ?? -1)
  }

  async #untilRoom(signal: AbortSignal): Promise<void> {
    this.#events.full(true)
    await new Promise<void>((resolve) => {
      this.#room = resolve
      if (signal.aborted) resolve()
    })
    this.#room = undefined
    if (!signal.aborted) this.#events.full(false)
  }

  #unknownMessage(message: unknown): ConfigurationError {
    const type = (message as { type?: unknown } | null | undefined)?.type
    return this.#malformed(`gave a message of unknown type ${JSON.stringify(type)}`)
  }

  #malformed(what: string): ConfigurationError {
    return new ConfigurationError(
      'SOURCE_MESSAGE',
      `Source '${this.source.id}' ${what}; a source yields blocks ({ number, items }), fork, caughtUp and end.`,
      { phase: 'source' },
    )
  }

  #misordered(what: string): FatalError {
    return new FatalError('SOURCE_ORDER', `Source '${this.source.id}' ${what}.`, { phase: 'source' })
  }

  #failure(error: unknown): TailraceError {
    if (error instanceof TailraceError) return error
    return new FatalError('SOURCE_FAILED', `Source '${this.source.id}' failed: ${messageOf(error)}`, {
      cause: error,
      phase: 'source',
    })
  }
}
