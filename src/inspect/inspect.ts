/** `inspect`: a page on a running indexer. It costs nothing while nobody looks, and never touches the run. */
import { ConfigurationError } from '../errors.ts'
import type { Indexer } from '../indexer.ts'
import { inspectableOf } from './inspectable.ts'
import { LiveFeed } from './live-feed.ts'
import type { Redact } from './redact.ts'
import { InspectorServer, type ServerOptions } from './server.ts'

export interface InspectOptions {
  /** Where it listens. Default: `127.0.0.1`. Anybody who reaches another address sees everything. */
  readonly host?: string | undefined
  /** Default: 0, any that is free. */
  readonly port?: number | undefined
  /** Keeps things from whoever looks: see `Redact`. */
  readonly redact?: Redact | undefined
  /** Messages kept for those who come late. Default: 50,000. */
  readonly maxMessages?: number | undefined
  /** Bytes that they may take. Default: 32 MiB. */
  readonly maxBytes?: number | undefined
  /** At once. Default: 16. */
  readonly maxViewers?: number | undefined
}

export interface Inspector extends AsyncDisposable {
  /** `http://127.0.0.1:41234/` */
  readonly url: string
  /** Viewers are sent away. The run goes on. Idempotent. */
  close(): Promise<void>
}

const defaults = {
  host: '127.0.0.1',
  port: 0,
  maxMessages: 50_000,
  maxBytes: 32 * 1_024 * 1_024,
  maxViewers: 16,
}

export const viewerTimes: Pick<ServerOptions, 'slowMs' | 'checkMs'> = { slowMs: 30_000, checkMs: 10_000 }

/**
 * Before a run, during it or after it, from the process that runs it. The server does not keep the process alive.
 *
 * @example
 * ```ts
 * const { url } = await inspect(indexer)
 * console.log(`watch it at ${url}`)
 * ```
 * @throws ConfigurationError `INVALID_OPTIONS`, `NOT_AN_INDEXER`, `INSPECTOR_ADDRESS`
 */
export async function inspect(indexer: Indexer, options: InspectOptions = {}): Promise<Inspector> {
  const { host, port, maxMessages, maxBytes, maxViewers, redact } = checked(options)
  const subject = inspectableOf(indexer)
  const feed = new LiveFeed(subject, { messages: maxMessages, bytes: maxBytes }, redact)
  const { log } = subject
  const server = await InspectorServer.listen(feed, {
    host,
    port,
    maxViewers,
    log,
    keepsAlive: false,
    ...viewerTimes,
  })
  return {
    url: server.url,
    close: () => server.close(),
    [Symbol.asyncDispose]: () => server.close(),
  }
}

function checked(options: InspectOptions): typeof defaults & { readonly redact: Redact | undefined } {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  const all = { redact: undefined, ...defaults, ...(Object.fromEntries(given) as object) }
  const { host, port, redact, ...counts } = all
  if (typeof host !== 'string' || host === '') throw invalid('host', 'an address, such as 127.0.0.1', host)
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw invalid('port', '0 to 65535', port)
  for (const [name, count] of Object.entries(counts)) {
    if (!Object.hasOwn(defaults, name)) throw invalid(name, 'left out: there is no such option', count)
    if (!Number.isSafeInteger(count) || count < 1) throw invalid(name, 'a whole number ≥ 1', count)
  }
  if (redact !== undefined && typeof redact !== 'function') throw invalid('redact', 'a function', redact)
  return all
}

function invalid(name: string, expected: string, got: unknown): ConfigurationError {
  return new ConfigurationError(
    'INVALID_OPTIONS',
    `inspect(indexer, { ${name} }) must be ${expected}, got ${String(got)}.`,
    { phase: 'options' },
  )
}
