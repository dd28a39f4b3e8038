/** One opening of a source, message by message. The next one can be looked for without being taken. */
import type { SourceMessage } from './port.ts'

type Result = IteratorResult<SourceMessage, unknown>

export class Reading {
  readonly #messages: AsyncIterator<SourceMessage>
  #next: Promise<Result> | undefined
  #isOver = false

  constructor(messages: AsyncIterable<SourceMessage>) {
    this.#messages = messages[Symbol.asyncIterator]()
  }

  /** The same message until it is taken. */
  ahead(): Promise<Result> {
    if (this.#next === undefined) {
      this.#next = this.#read()
      // its failure is told by `take`, and after `close` to nobody
      this.#next.catch(() => undefined)
    }
    return this.#next
  }

  take(): Promise<Result> {
    const next = this.ahead()
    this.#next = undefined
    return next
  }

  /** Returns the iterator; resolves once that, and whatever was looked for, has ended. */
  async close(): Promise<void> {
    const ahead = this.#next
    try {
      if (!this.#isOver) await this.#messages.return?.()
    } finally {
      await Promise.allSettled([ahead])
    }
  }

  async #read(): Promise<Result> {
    try {
      const result = await this.#messages.next()
      if (result.done === true) this.#isOver = true
      return result
    } catch (error) {
      this.#isOver = true
      throw error
    }
  }
}
