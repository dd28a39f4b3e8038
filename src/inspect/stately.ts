/**
 * Stately's own inspector, if it is installed: `@statelyai/inspect`, the successor of `@xstate/inspect`, which cannot be
 * used with XState v5 (docs/decisions/0001-inspector.md). Our own page needs neither it nor a network.
 */
import type { Worker } from 'node:worker_threads'
import type { AnyActorRef } from 'xstate'
import { ConfigurationError, messageOf } from '../errors.ts'
import type { Indexer } from '../indexer.ts'
import { startThread } from '../thread.ts'
import { settlesWithin } from '../within.ts'
import { guarded } from './guard.ts'
import { inspectableOf, type Inspectable } from './inspectable.ts'
import type { Redact } from './redact.ts'
import { PlainEvents, type PlainEvent } from './stately-events.ts'

export interface StatelyOptions {
  /** Of Stately's relay, `createInspectorServer()` of `@statelyai/inspect/server`. Default: `ws://localhost:8080`. */
  readonly url?: string | undefined
  /** Keeps things from it: see `Redact`. */
  readonly redact?: Redact | undefined
  /** @internal stands in for `@statelyai/inspect` in tests */
  readonly module?: string | undefined
}

export interface StatelyInspector extends AsyncDisposable {
  /** Nothing more is told. Idempotent. */
  close(): Promise<void>
}

export interface StatelyThreadData {
  readonly module: string
  readonly url: string
}

export type ToThread = PlainEvent | 'close'
export type ToMain =
  | { readonly type: 'ready' }
  | { readonly type: 'failed'; readonly isMissing: boolean; readonly message: string }

const closeMs = 1_000

/**
 * Tells Stately's inspector of every run, from now on until it is closed: standard inspection events, with bigints as
 * decimal strings. It runs in a thread, which does not keep the process alive, whether its relay answers or not.
 *
 * @example
 * ```ts
 * // npm install --save-dev @statelyai/inspect
 * await using stately = await inspectWithStately(indexer, { url: 'ws://localhost:8080' })
 * await indexer.run()
 * ```
 * @throws ConfigurationError `STATELY_MISSING` when `@statelyai/inspect` is not installed, `STATELY_FAILED`
 */
export async function inspectWithStately(
  indexer: Indexer,
  options: StatelyOptions = {},
): Promise<StatelyInspector> {
  const subject = inspectableOf(indexer)
  const worker = startThread(import.meta.url, 'stately-thread', {
    module: options.module ?? '@statelyai/inspect',
    url: options.url ?? 'ws://localhost:8080',
  } satisfies StatelyThreadData)
  try {
    await ready(worker)
  } catch (error) {
    await worker.terminate()
    throw error
  }
  worker.unref()
  const leave = follow(subject, worker, options.redact)
  worker.on('error', (error) => {
    leave()
    subject.log.warn("Stately's inspector broke off", { error: messageOf(error) })
  })
  let closed: Promise<void> | undefined
  const close = () =>
    (closed ??= (async () => {
      leave()
      const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
      worker.postMessage('close' satisfies ToThread)
      if (!(await settlesWithin(ended, closeMs))) await worker.terminate()
    })())
  return { close, [Symbol.asyncDispose]: close }
}

/** @returns a function that ends it */
function follow({ runs, log }: Inspectable, worker: Worker, redact: Redact | undefined): () => void {
  const events = new PlainEvents(redact)
  const tell = (event: PlainEvent | undefined) => {
    if (event !== undefined) worker.postMessage(event satisfies ToThread)
  }
  let unsubscribe: () => void = () => undefined
  const join = (actor: AnyActorRef) => {
    unsubscribe()
    for (const event of events.present(actor)) tell(event)
    const subscription = actor.system.inspect(guarded((event) => tell(events.of(event)), log))
    unsubscribe = () => subscription.unsubscribe()
  }
  const unwatch = runs.watch({ began: ({ actor }) => join(actor), ended: () => unsubscribe() })
  if (runs.latest !== undefined && runs.latest.outcome === undefined) join(runs.latest.actor)
  return () => {
    unwatch()
    unsubscribe()
  }
}

function ready(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (isMissing: boolean, message: string) => reject(failure(isMissing, message))
    worker.once('message', (message: ToMain) => {
      if (message.type === 'ready') resolve()
      else fail(message.isMissing, message.message)
    })
    worker.once('error', (error) => fail(false, messageOf(error)))
    worker.once('exit', () => fail(false, 'its thread ended'))
  })
}

function failure(isMissing: boolean, message: string): ConfigurationError {
  return isMissing
    ? new ConfigurationError(
        'STATELY_MISSING',
        `inspectWithStately needs the package @statelyai/inspect (${message}). Install it: npm install --save-dev @statelyai/inspect. Or use inspect(indexer), which needs nothing.`,
        { phase: 'options' },
      )
    : new ConfigurationError('STATELY_FAILED', `Stately's inspector cannot be started: ${message}.`, {
        phase: 'options',
      })
}
