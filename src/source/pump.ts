/**
 * Reads one source ahead of the handlers, bounded in bytes. A fork overtakes what is buffered. Closing returns the
 * iterator and waits for it; nothing is said after that.
 */
import { ConfigurationError, FatalError, TailraceError, messageOf } from '../errors.ts'
import type { Block, Position, Source, SourceMessage } from './port.ts'
import { Queue } from './queue.ts'
import { Reading } from './reading.ts'
import { estimateBytes } from './size.ts'

export interface ReadBlock {
  readonly block: Block
  readonly bytes: number
}

export interface PumpOptions {
  readonly budgetBytes: number
  /** Blocks are ordered by their timestamps: each must have one, and they must not decrease. */
  readonly timed: boolean
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
  readonly #options: PumpOptions
  readonly #buffer = new Queue<ReadBlock>()
  #bufferedBytes = 0
  /** The greatest heights that were ever told, but for what a fork took back. */
  #head: number | undefined
  #finalized: number | undefined
  #last: { readonly number: number; readonly timestamp?: number | undefined } | undefined
  #ended = false
  #room: (() => void) | undefined
  #abort: AbortController | undefined
  #running: Promise<void> | undefined

  constructor(source: Source, options: PumpOptions, events: PumpEvents) {
    this.source = source
    this.#options = options
    this.#events = events
  }

  get ended(): boolean {
    return this.#ended
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes
  }

  /** Heights at and below it cannot fork any more; -1: none, or not known yet; undefined: the source never forks. */
  get finalBelow(): number | undefined {
    const depth = this.source.historyDepth ?? 0
    if (depth === 0) return undefined
    return Math.max((this.#head ?? -1) - depth, this.#finalized ?? -1, -1)
  }

  peek(): ReadBlock | undefined {
    return this.#buffer.first
  }

  take(): ReadBlock | undefined {
    const next = this.#buffer.shift()
    if (next === undefined) return undefined
    this.#bufferedBytes -= next.bytes
    // a gap between full and room, so that the two do not alternate with every block
    if (this.#room !== undefined && this.#bufferedBytes <= this.#options.budgetBytes / 2) this.#room()
    return next
  }

  open(from: Position | undefined, recent: readonly Position[]): void {
    this.#empty()
    this.#ended = false
    this.#last = from
    this.#abort = new AbortController()
    this.#running = this.#read(from, recent, this.#abort.signal)
  }

  /** Idempotent; resolves once the iterator is returned. */
  async close(): Promise<void> {
    this.#abort?.abort()
    this.#room?.()
    await this.#running
    this.#empty()
  }

  #empty(): void {
    this.#buffer.clear()
    this.#bufferedBytes = 0
  }

  // ── below: what a source says ─────────────────────────────────────────────────────────────────────────────

  async #read(from: Position | undefined, recent: readonly Position[], signal: AbortSignal): Promise<void> {
    let reading: Reading | undefined
    try {
      const request = { ...(from === undefined ? {} : { from }), recent, signal }
      reading = new Reading(this.source.open(request))
      await this.#hear(reading, signal)
      await reading.close()
      if (!signal.aborted) this.#events.changed()
    } catch (error) {
      // the first error counts
      await reading?.close().catch(() => undefined)
      if (!signal.aborted) this.#events.failed(this.#failure(error))
    }
  }

  /** Until the source's last word. */
  async #hear(reading: Reading, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { done, value: message } = (await reading.take()) as IteratorResult<SourceMessage, undefined>
      if (signal.aborted) return
      if (done === true) throw this.#malformed('stopped without a word')
      if (typeof message !== 'object' || message === null) throw this.#unknownMessage(message)
      switch (message.type) {
        case 'end':
          this.#ended = true
          return
        case 'fork':
          return this.#fork(message.validTo)
        case 'caughtUp':
          this.#events.caughtUp()
          break
        case 'blocks':
          this.#receive(message)
          if (this.#bufferedBytes >= this.#options.budgetBytes) await this.#untilRoom(reading, signal)
          break
        default:
          throw this.#unknownMessage(message satisfies never)
      }
    }
  }

  #receive({ blocks, head, finalized }: Extract<SourceMessage, { type: 'blocks' }>): void {
    if (!Array.isArray(blocks)) {
      throw this.#malformed('gave a message of type "blocks" whose `blocks` is not an array')
    }
    if (head !== undefined) this.#head = Math.max(this.#head ?? 0, this.#height('head', head))
    if (finalized !== undefined) {
      this.#finalized = Math.max(this.#finalized ?? 0, this.#height('finalized', finalized))
    }
    for (const block of blocks as readonly Block[]) this.#accept(block)
    if (blocks.length > 0) this.#events.changed()
  }

  #accept(block: Block): void {
    if (typeof block !== 'object' || block === null || !Array.isArray(block.items)) {
      throw this.#malformed('gave a block without an array of `items`')
    }
    const { number } = block
    if (!Number.isSafeInteger(number) || number < 0) {
      throw this.#misordered(`gave a block with number ${String(number)}; numbers are whole and ≥ 0`)
    }
    if (this.#last !== undefined && number <= this.#last.number) {
      throw this.#misordered(
        `gave block ${number} after block ${this.#last.number}; numbers must grow (a fork is a message of its own)`,
      )
    }
    if (this.#options.timed) this.#checkTime(block)
    this.#last = block
    this.#head = Math.max(this.#head ?? 0, number)
    const bytes = estimateBytes(block.items) + 256
    this.#bufferedBytes += bytes
    this.#buffer.push({ block, bytes })
  }

  /** What is taken back was never final, whatever had been said. */
  #fork(validTo: Position | null): void {
    if (validTo !== null && !Number.isSafeInteger(validTo?.number)) {
      throw this.#malformed('gave a fork whose `validTo` is neither a position nor null')
    }
    this.#empty()
    const height = validTo?.number ?? -1
    const depth = this.source.historyDepth ?? 0
    if (this.#head !== undefined) this.#head = Math.min(this.#head, height + depth)
    if (this.#finalized !== undefined) this.#finalized = Math.min(this.#finalized, height)
    this.#events.fork(validTo)
  }

  /** Or until the next message turns out to be a fork: one is read beyond the budget, and held back otherwise. */
  async #untilRoom(reading: Reading, signal: AbortSignal): Promise<void> {
    this.#events.full(true)
    const room = new Promise<void>((resolve) => {
      this.#room = resolve
      if (signal.aborted) resolve()
    })
    const fork = reading.ahead().then(({ done, value }) => {
      const isFork = done !== true && (value as SourceMessage | null | undefined)?.type === 'fork'
      return isFork ? undefined : room
    })
    await Promise.race([room, fork])
    this.#room = undefined
    if (!signal.aborted) this.#events.full(false)
  }

  // ── below: what it must not say ───────────────────────────────────────────────────────────────────────────

  #checkTime({ number, timestamp }: Block): void {
    const facts = { phase: 'source', block: { source: this.source.id, number } } as const
    if (timestamp === undefined || !Number.isFinite(timestamp)) {
      throw new ConfigurationError(
        'SOURCE_TIMESTAMP',
        `Source '${this.source.id}' gave block ${number} with timestamp ${String(timestamp)}; with ordering: 'timestamp' every block of every source needs one (Unix seconds). Add it, or use ordering: 'arrival'.`,
        facts,
      )
    }
    const before = this.#last
    if (before?.timestamp === undefined || timestamp >= before.timestamp) return
    throw new FatalError(
      'SOURCE_TIMESTAMP',
      `Source '${this.source.id}' gave block ${number} with timestamp ${timestamp} after block ${before.number} with ${before.timestamp}; with ordering: 'timestamp' those of one source must not decrease.`,
      facts,
    )
  }

  #height(name: string, height: unknown): number {
    if (typeof height === 'number' && Number.isSafeInteger(height)) return height
    throw this.#malformed(
      `gave a message of type "blocks" whose \`${name}\` is ${String(height)}, not a height`,
    )
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
