/**
 * Writes messages to a file, a line each, behind the run: nothing waits for the disk. What it cannot keep up with is
 * dropped and counted. Each write ends with a line, so that a process that dies leaves whole lines but for the last.
 */
import { appendFile, closeSync, openSync } from 'node:fs'
import { promisify } from 'node:util'
import { messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Recorded } from './recorder.ts'
import { droppedMessage } from './ring.ts'

type Append = (file: number, text: string) => Promise<unknown>

export interface TraceWriterOptions {
  readonly log: Logger
  /** Characters that wait for the disk at most, those of the write under way included. Default: 16 million. */
  readonly pendingLength?: number | undefined
  /** Stands in for a disk in tests. */
  readonly append?: Append | undefined
}

const defaultPendingLength = 16_000_000
/** Lines are gathered for so long: one write for many. */
const gatherMs = 50

export class TraceWriter {
  readonly #path: string
  readonly #log: Logger
  readonly #pendingLength: number
  readonly #append: Append
  #file: number | undefined
  #pending: string[] = []
  #waiting = 0
  /** Since the last line that was kept; the newest of them. */
  #dropped = 0
  #lastDropped: Recorded | undefined
  #gathering: NodeJS.Timeout | undefined
  #isWriting = false
  #written: Promise<void> = Promise.resolve()

  /** Blocks for as long as opening a file takes. @throws whatever the file system says */
  constructor(path: string, how: 'overwrite' | 'append', options: TraceWriterOptions) {
    this.#path = path
    this.#log = options.log
    this.#pendingLength = options.pendingLength ?? defaultPendingLength
    this.#append = options.append ?? promisify(appendFile)
    this.#file = openSync(path, how === 'overwrite' ? 'w' : 'a')
  }

  add(recorded: Recorded): void {
    if (this.#file === undefined) return
    if (this.#waiting > this.#pendingLength) {
      this.#dropped++
      this.#lastDropped = recorded
      return
    }
    this.#keepDropped()
    this.#keep(recorded.json)
    if (!this.#isWriting) this.#gathering ??= setTimeout(() => this.#write(), gatherMs).unref()
  }

  /** Writes what is left and closes the file. Never rejects. */
  async close(): Promise<void> {
    this.#write()
    await this.#written
    if (this.#file === undefined) return
    this.#keepDropped()
    this.#write()
    await this.#written
    this.#closeFile()
  }

  #keepDropped(): void {
    if (this.#lastDropped === undefined) return
    // it stands in the place of the last one that is missing
    const { n, t } = this.#lastDropped
    this.#keep(droppedMessage(n, t, this.#dropped, 'slow').json)
    this.#dropped = 0
    this.#lastDropped = undefined
  }

  #keep(json: string): void {
    this.#pending.push(json)
    this.#waiting += json.length + 1
  }

  #write(): void {
    clearTimeout(this.#gathering)
    this.#gathering = undefined
    if (!this.#isWriting) this.#written = this.#drain()
  }

  async #drain(): Promise<void> {
    this.#isWriting = true
    try {
      while (this.#pending.length > 0 && this.#file !== undefined) {
        const text = `${this.#pending.join('\n')}\n`
        this.#pending = []
        await this.#append(this.#file, text)
        this.#waiting -= text.length
      }
    } catch (error) {
      // a full disk, for example
      this.#pending = []
      this.#closeFile()
      this.#log.error('the trace could not be written; it ends here, the run goes on', {
        file: this.#path,
        error: messageOf(error),
      })
    }
    this.#isWriting = false
  }

  #closeFile(): void {
    const file = this.#file
    this.#file = undefined
    try {
      if (file !== undefined) closeSync(file)
    } catch (error) {
      this.#log.warn('the trace could not be closed', { file: this.#path, error: messageOf(error) })
    }
  }
}
