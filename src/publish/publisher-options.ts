/** What a publisher keeps and how it is used, with defaults; validated in one place, before anything is connected. */
import { ConfigurationError } from '../errors.ts'
import type { Compression } from './envelope.ts'
import { checkPrefix } from './keys.ts'
import type { PublisherSettings } from './port.ts'
import type { Keeping } from './script.ts'

export interface PublisherOptions extends Partial<PublisherSettings> {
  /** Of every key; another prefix, other regions. Default: 'tailrace'. */
  readonly prefix?: string | undefined
  /** Former snapshots beside `latest`: so many, and none older. Default: 24, 7 days. `count: 0`: none. */
  readonly history?: { readonly count?: number | undefined; readonly ageMs?: number | undefined } | undefined
  /** Life of a region that nobody writes or confirms any more. Default: 30 days. */
  readonly ttlMs?: number | undefined
  /** Notifications that are kept, roughly. Default: 1,000. */
  readonly streamLength?: number | undefined
  /** Of bodies from 1 kB on, where it makes them smaller. Each leaves when it is done, a flight of its own. Default: none. */
  readonly compress?: Compression | undefined
  /** Of one body, after compression. Default: 5 MiB. */
  readonly maxBytes?: number | undefined
  /** Version of the bodies' shape, for readers. Default: '1'. */
  readonly schema?: string | undefined
  /** A delivery counts when so many replicas have it: one more round trip for the server, none for us. Default: 0. */
  readonly replicas?: number | undefined
}

export interface CheckedOptions {
  readonly prefix: string
  readonly keep: Keeping
  readonly compress: Compression | undefined
  readonly maxBytes: number
  readonly schema: string
  readonly replicas: number
  readonly settings: PublisherSettings
}

const dayMs = 24 * 60 * 60 * 1_000
/** Longer than anybody means; a TTL beyond it would overflow in Redis. */
const longestMs = 100 * 365 * dayMs

/** @throws ConfigurationError `INVALID_OPTIONS` */
export function checkOptions(options: PublisherOptions): CheckedOptions {
  const { prefix = 'tailrace', schema = '1', compress, deliver = 'newest', contentOf, history = {} } = options
  checkPrefix(prefix)
  if (typeof schema !== 'string' || schema === '' || schema.length > 64 || /\p{Cc}/u.test(schema)) {
    throw invalid("schema must be a text of 1 to 64 characters without control characters, such as '1'")
  }
  if (compress !== undefined && compress !== 'gzip' && compress !== 'brotli') {
    throw invalid(`compress must be 'gzip' or 'brotli', or left out; it is ${JSON.stringify(compress)}`)
  }
  if (deliver !== 'newest' && deliver !== 'every') {
    throw invalid(`deliver must be 'newest' or 'every'; it is ${JSON.stringify(deliver)}`)
  }
  if (contentOf !== undefined && typeof contentOf !== 'function') {
    throw invalid('contentOf must be a function of the body, or left out')
  }
  const { attempts = 5, attemptMs = 5_000, backoffMs = 100, maxBackoffMs = 5_000 } = options
  const { probeMs = 30_000, staleAfterMs = Infinity } = options
  return {
    prefix,
    schema,
    compress,
    maxBytes: whole('maxBytes', options.maxBytes ?? 5 * 1024 * 1024, 1, 512 * 1024 * 1024),
    replicas: whole('replicas', options.replicas ?? 0, 0, 100),
    keep: {
      count: whole('history.count', history.count ?? 24, 0, 10_000),
      ageMs: whole('history.ageMs', history.ageMs ?? 7 * dayMs, 1, longestMs),
      ttlMs: whole('ttlMs', options.ttlMs ?? 30 * dayMs, 1, longestMs),
      streamLength: whole('streamLength', options.streamLength ?? 1_000, 1, 10_000_000),
    },
    settings: {
      deliver,
      attempts: whole('attempts', attempts, 1, 1_000_000),
      attemptMs: whole('attemptMs', attemptMs, 1, dayMs),
      backoffMs: whole('backoffMs', backoffMs, 0, dayMs),
      maxBackoffMs: whole('maxBackoffMs', maxBackoffMs, backoffMs, dayMs),
      probeMs: probeMs === Infinity ? probeMs : whole('probeMs', probeMs, 1, longestMs),
      staleAfterMs:
        staleAfterMs === Infinity ? staleAfterMs : whole('staleAfterMs', staleAfterMs, 1, longestMs),
      contentOf,
    },
  }
}

function whole(name: string, value: number, least: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value
  throw invalid(`${name} must be a whole number from ${least} to ${most}; it is ${String(value)}`)
}

function invalid(message: string): ConfigurationError {
  return new ConfigurationError('INVALID_OPTIONS', `Of the regions' publisher: ${message}.`, {
    phase: 'options',
  })
}
