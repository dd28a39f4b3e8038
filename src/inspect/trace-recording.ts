/**
 * `createIndexer({ record })`: an indexer's runs in a file, one recording for all of them. The file is open while a run
 * goes on; the first run of the indexer overwrites what is there, later ones go on behind it.
 */
import { ConfigurationError, messageOf } from '../errors.ts'
import { settlesWithin } from '../within.ts'
import type { Inspectable } from './inspectable.ts'
import { Recorder } from './recorder.ts'
import type { Redact } from './redact.ts'
import { TraceWriter } from './trace-writer.ts'

export interface TraceOptions {
  /** Made, or overwritten. */
  readonly file: string
  /** Keeps things out of it: see `Redact`. */
  readonly redact?: Redact | undefined
}

/** How long the end of a run waits for the disk. */
const flushMs = 2_000

export class TraceRecording {
  readonly #options: TraceOptions
  readonly #subject: Inspectable
  readonly #recorder: Recorder
  #writer: TraceWriter | undefined

  constructor(subject: Inspectable, options: TraceOptions) {
    this.#subject = subject
    this.#options = options
    this.#recorder = new Recorder(subject, {
      redact: options.redact,
      tell: (recorded) => this.#writer?.add(recorded),
    })
  }

  /** Before a run begins. @throws ConfigurationError `TRACE_UNWRITABLE` */
  begin(): void {
    const { file } = this.#options
    const { log } = this.#subject
    try {
      this.#writer = new TraceWriter(file, this.#recorder.isAttached ? 'append' : 'overwrite', { log })
    } catch (cause) {
      throw new ConfigurationError(
        'TRACE_UNWRITABLE',
        `The trace '${file}' cannot be written: ${messageOf(cause)}. Give \`record\` a file in a folder that exists and that this process may write to, or leave it out.`,
        { phase: 'options', cause },
      )
    }
    this.#recorder.attach('with the run')
  }

  /** The outcome is told. @returns once the disk has it, or has not answered for two seconds; never rejects */
  async end(): Promise<void> {
    const writer = this.#writer
    this.#writer = undefined
    if (writer === undefined || (await settlesWithin(writer.close(), flushMs))) return
    this.#subject.log.warn('the trace is not written yet; the run does not wait for it any longer', {
      file: this.#options.file,
    })
  }
}
