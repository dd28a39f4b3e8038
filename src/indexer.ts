/** `createIndexer`: the public face. One run at a time; start and stop share their promise. */
import type { TablesInput } from './db.ts'
import { programOf, type ProgramParts } from './compute/program.ts'
import { ConfigurationError, type TailraceError } from './errors.ts'
import { offer, Runs, type Inspectable } from './inspect/inspectable.ts'
import { TraceRecording } from './inspect/trace-recording.ts'
import { silentLog } from './log.ts'
import { Emitter } from './observe/emitter.ts'
import type { IndexerEventName, Listener } from './observe/events.ts'
import { StallClock } from './observe/stalls.ts'
import { validate, type IndexerOptions, type SourceInput } from './options.ts'
import type { Outcome } from './outcome.ts'
import { Run, type RunParts } from './run.ts'
import { tableModelOf } from './staging/table-model.ts'
import type { IndexerStatus } from './status.ts'

export interface Indexer extends AsyncDisposable {
  /**
   * Runs until every source ended, until `stop()`, or until something fails. Resolves for all of these.
   * @param options.signal aborting it equals `stop()`
   * @throws ConfigurationError `ALREADY_RUNNING`, `TRACE_UNWRITABLE`
   */
  run(options?: { readonly signal?: AbortSignal | undefined }): Promise<Outcome>
  /** Drains: the running batch ends, everything staged is committed. Resolves like `run()`. */
  stop(): Promise<Outcome>
  /** Fails fast: nothing new starts. The outcome is `failed` with code `ABORTED`. */
  abort(reason?: unknown): Promise<Outcome>
  status(): IndexerStatus
  /** @returns a function that takes the listener off again */
  on<N extends IndexerEventName>(event: N, listener: Listener<N>): () => void
  /**
   * Resolves once the checkpoint is durable in Postgres.
   * @throws `CHECKPOINT_DROPPED` when a fork takes it back, or has; `NOT_COMMITTED` when the run ends before
   */
  durable(checkpoint: bigint): Promise<void>
}

/**
 * @example
 * ```ts
 * const indexer = createIndexer({ name, source, tables, handlers, store })
 * process.exitCode = exitCode(await indexer.run({ signal }))
 * ```
 * @throws ConfigurationError for options that cannot work; nothing is started before `run()`
 */
export function createIndexer<const S extends SourceInput, Tables extends TablesInput>(
  options: IndexerOptions<S, Tables>,
): Indexer {
  return new EmbeddedIndexer(options as unknown as IndexerOptions<SourceInput, TablesInput>)
}

class EmbeddedIndexer implements Indexer {
  readonly #parts: RunParts
  readonly #runs: Runs
  readonly #trace: TraceRecording | undefined
  #run: Run | undefined
  #ended: Promise<Outcome> | undefined
  #isRunning = false

  constructor(options: IndexerOptions<SourceInput, TablesInput>) {
    const settings = validate(options)
    const log = options.logger ?? silentLog
    const { casing } = options.store
    this.#parts = {
      name: options.name,
      settings,
      models: Object.entries(options.tables).map(([name, table]) => tableModelOf(name, table, { casing })),
      program: programOf(options as unknown as ProgramParts),
      store: options.store,
      emitter: new Emitter(log),
      regions: options.regions,
      requireRegions: options.requireRegions ?? false,
      log,
      inspect: options.inspect,
    }
    this.#runs = new Runs(log)
    const inspectable: Inspectable = {
      name: options.name,
      limits: settings.limits,
      log,
      runs: this.#runs,
      status: () => this.status(),
      on: (event, listener) => this.on(event, listener),
    }
    offer(this, inspectable)
    this.#trace = settings.record === undefined ? undefined : new TraceRecording(inspectable, settings.record)
  }

  async run({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<Outcome> {
    if (this.#isRunning) {
      throw new ConfigurationError(
        'ALREADY_RUNNING',
        `Indexer '${this.#parts.name}' is running already; await its run() before starting it again.`,
        { phase: 'options' },
      )
    }
    this.#trace?.begin()
    const run = new Run(this.#parts)
    this.#isRunning = true
    this.#run = run
    const ended = this.#untilEnded(run)
    this.#ended = ended
    this.#runs.begin(run.actor)
    run.start()
    const stop = () => run.stop()
    if (signal?.aborted === true) stop()
    signal?.addEventListener('abort', stop, { once: true })
    try {
      return await ended
    } finally {
      signal?.removeEventListener('abort', stop)
    }
  }

  stop(): Promise<Outcome> {
    return this.#end((run) => run.stop())
  }

  abort(reason?: unknown): Promise<Outcome> {
    return this.#end((run) => run.abort(reason))
  }

  status(): IndexerStatus {
    if (this.#run !== undefined) return this.#run.status()
    return {
      name: this.#parts.name,
      state: 'idle',
      processed: 0n,
      committed: 0n,
      stagedBatches: 0,
      stagedBytes: 0,
      readAheadBytes: 0,
      regions: {},
      stalls: new StallClock(() => 0).read(),
    }
  }

  on<N extends IndexerEventName>(event: N, listener: Listener<N>): () => void {
    return this.#parts.emitter.on(event, listener)
  }

  durable(checkpoint: bigint): Promise<void> {
    if (this.#run !== undefined) return this.#run.durability.wait(checkpoint)
    return Promise.reject(notRunning(this.#parts.name))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isRunning) await this.stop()
  }

  /** Idempotent; of a run that has ended it tells the outcome. */
  #end(how: (run: Run) => void): Promise<Outcome> {
    if (this.#run === undefined || this.#ended === undefined) {
      return Promise.reject(notRunning(this.#parts.name))
    }
    how(this.#run)
    return this.#ended
  }

  /** Whoever inspects it has heard of its outcome, its trace is written: the next run may begin. */
  async #untilEnded(run: Run): Promise<Outcome> {
    try {
      const outcome = await run.outcome
      this.#runs.end(outcome)
      await this.#trace?.end()
      return outcome
    } finally {
      this.#isRunning = false
    }
  }
}

function notRunning(name: string): TailraceError {
  return new ConfigurationError('NOT_RUNNING', `Indexer '${name}' has not been started; call run() first.`, {
    phase: 'options',
  })
}
