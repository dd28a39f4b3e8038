/**
 * JSON-RPC over one endpoint: batches, time-outs, retries. An answer counts only when the caller's `read` has
 * accepted it; until then the request is sent again, with full jitter, a bounded number of times.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { ConfigurationError, RetryableError, type TailraceError } from '../../errors.ts'
import { exchange, type RpcCall } from './exchange.ts'
import { Fault, type FaultKind } from './fault.ts'
import { HttpClient } from './http.ts'
import type { ResolvedOptions } from './options.ts'
import { redact, type Redacted } from './redact.ts'

/** Tries of a request whose answers contradict each other or the head, before a fork is looked for. */
const STEADY_TRIES = 4
/** Tries of the first request ever: a wrong URL should not take minutes to show. */
const OPENING_TRIES = 5

const CODES = {
  unreachable: 'RPC_UNREACHABLE',
  timeout: 'RPC_TIMEOUT',
  busy: 'RPC_BUSY',
  malformed: 'RPC_MALFORMED',
  server: 'RPC_FAILED',
} as const satisfies Partial<Record<FaultKind, string>>

export interface RequestOptions {
  /** Aborting it ends the request at once; its reason is thrown. Default: the client's own. */
  readonly signal?: AbortSignal | undefined
  /** The caller can ask for less: a time-out is its business, not a reason to send the same again. */
  readonly shrinkable?: boolean | undefined
}

export class RpcClient {
  readonly #options: ResolvedOptions
  readonly #http: HttpClient
  readonly #signal: AbortSignal
  readonly #random: () => number
  readonly #redacted: Redacted
  #maxBatchSize: number
  #answered: boolean

  constructor(
    options: ResolvedOptions,
    session: { signal: AbortSignal; answered?: boolean; random?: () => number },
  ) {
    this.#options = options
    this.#signal = session.signal
    this.#answered = session.answered ?? false
    this.#random = session.random ?? Math.random
    this.#http = new HttpClient(options.rpcUrl, options.headers)
    this.#redacted = redact(options.rpcUrl)
    this.#maxBatchSize = options.maxBatchSize
    // Sockets go at the abort itself, whether or not anybody still waits for an answer.
    if (this.#signal.aborted) this.#http.close()
    else this.#signal.addEventListener('abort', () => this.#http.close(), { once: true })
  }

  /** The endpoint's URL, fit for a message. */
  get url(): string {
    return this.#redacted.url
  }

  /** Whether the endpoint ever gave a sound answer. */
  get answered(): boolean {
    return this.#answered
  }

  /** Most calls that go together at present. */
  get maxBatchSize(): number {
    return this.#maxBatchSize
  }

  /**
   * Sends `calls` in one batch where the endpoint takes it (so that one backend answers all of them) and
   * returns what `read` makes of the results, in the order of the calls.
   *
   * @throws {Fault} `tooMany`, `unsteady`, and (when `shrinkable`) `timeout`: the caller asks differently
   * @throws {ConfigurationError} `RPC_REFUSED`
   * @throws {RetryableError} `RPC_UNREACHABLE`, `RPC_TIMEOUT`, `RPC_BUSY`, `RPC_MALFORMED`, `RPC_FAILED`
   */
  async request<T>(
    calls: readonly RpcCall[],
    read: (results: readonly unknown[]) => T,
    options: RequestOptions = {},
  ): Promise<T> {
    const signal = options.signal ?? this.#signal
    for (let attempt = 1; ; attempt++) {
      try {
        const result = read(await this.#send(calls, signal))
        this.#answered = true
        return result
      } catch (thrown) {
        signal.throwIfAborted()
        if (!(thrown instanceof Fault)) throw thrown
        const fault = thrown
        if (fault.kind === 'batch' && this.#shrinkBatch(calls.length, fault)) {
          attempt--
          continue
        }
        this.#giveUp(calls, fault, attempt, options.shrinkable === true)
        const delayMs = this.#delay(attempt, fault)
        this.#options.log('debug', 'rpc request is sent again', {
          request: summary(calls),
          attempt,
          delayMs: Math.round(delayMs),
          reason: this.#redacted.clean(fault.message),
        })
        await pause(delayMs, undefined, { signal })
      }
    }
  }

  async #send(calls: readonly RpcCall[], signal: AbortSignal): Promise<unknown[]> {
    const limits = {
      timeoutMs: this.#options.requestTimeoutMs,
      maxBytes: this.#options.maxResponseBytes,
      signal,
    }
    const results: unknown[] = []
    for (let at = 0; at < calls.length; at += this.#maxBatchSize) {
      results.push(...(await exchange(this.#http, calls.slice(at, at + this.#maxBatchSize), limits)))
    }
    return results
  }

  /** Throws unless the request is to be sent again. */
  #giveUp(calls: readonly RpcCall[], fault: Fault, attempt: number, shrinkable: boolean): void {
    switch (fault.kind) {
      case 'tooMany':
        throw fault
      case 'unsteady':
        if (attempt >= STEADY_TRIES) throw fault
        return
      case 'refused':
        throw this.#refused(calls, fault)
      case 'timeout':
        if (shrinkable) throw fault
        break
      case 'unreachable':
      case 'busy':
      case 'malformed':
      case 'server':
      case 'batch':
        break
      default:
        fault.kind satisfies never
    }
    const { attempts } = this.#options.retry
    if (attempt >= (this.#answered ? attempts : Math.min(attempts, OPENING_TRIES)))
      throw this.#exhausted(calls, fault, attempt)
  }

  #shrinkBatch(calls: number, fault: Fault): boolean {
    const size = Math.min(calls, this.#maxBatchSize)
    if (size <= 1) return false
    this.#maxBatchSize = Math.floor(size / 2)
    this.#options.log('warn', 'the endpoint takes smaller batches only', {
      maxBatchSize: this.#maxBatchSize,
      reason: this.#redacted.clean(fault.message),
    })
    return true
  }

  #delay(attempt: number, fault: Fault): number {
    const { baseMs, maxMs } = this.#options.retry
    const jittered = this.#random() * Math.min(maxMs, baseMs * 2 ** (attempt - 1))
    return Math.max(jittered, Math.min(fault.retryAfterMs ?? 0, maxMs))
  }

  #refused(calls: readonly RpcCall[], fault: Fault): TailraceError {
    return new ConfigurationError(
      'RPC_REFUSED',
      `${this.url} refuses ${summary(calls)}: ${this.#redacted.clean(fault.message)}. ` +
        'Asking again does not help: check the URL, its key and plan, and that the endpoint offers the method.',
      { cause: this.#cause(fault), phase: 'source' },
    )
  }

  #exhausted(calls: readonly RpcCall[], fault: Fault, attempts: number): TailraceError {
    const code = CODES[fault.kind as keyof typeof CODES] ?? 'RPC_FAILED'
    return new RetryableError(
      code,
      `${this.url} did not answer ${summary(calls)} in ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}; ` +
        `the last one: ${this.#redacted.clean(fault.message)}. ` +
        'Check that the endpoint is up and `rpcUrl` is right, or raise `retry.attempts`.',
      { cause: this.#cause(fault), phase: 'source' },
    )
  }

  /** The cause is printed too: it must not bring back what the message left out. */
  #cause(fault: Fault): Error {
    const cause = new Error(this.#redacted.clean(fault.message))
    cause.name = fault.kind
    return cause
  }
}

/** Methods and parameters of a request, short enough for a message. */
export function summary(calls: readonly RpcCall[]): string {
  const [first] = calls
  if (first === undefined) return 'nothing'
  const parameters = JSON.stringify(first.params)
  const short = parameters.length > 240 ? `${parameters.slice(0, 240)}…` : parameters
  return `${first.method} ${short}${calls.length > 1 ? ` (and ${calls.length - 1} more in its batch)` : ''}`
}
