/** Every option of the EVM source, checked once, with its default. */
import { ConfigurationError } from '../../errors.ts'
import type { EvmLog, EvmSourceOptions } from './types.ts'

/** Options with their defaults; units in the names. */
export interface ResolvedOptions {
  readonly id: string
  readonly rpcUrl: URL
  readonly chainId: number
  readonly fromBlock: number
  /** `Infinity` when the head is followed. */
  readonly toBlock: number
  readonly historyDepth: number
  readonly pollingIntervalMs: number
  readonly maxBlockRange: number
  readonly concurrency: number
  readonly maxBatchSize: number
  readonly requestTimeoutMs: number
  readonly maxResponseBytes: number
  readonly retry: { readonly attempts: number; readonly baseMs: number; readonly maxMs: number }
  readonly headers: Readonly<Record<string, string>>
  readonly log: EvmLog
}

const DEFAULT_DEPTH = 64
/** Chains whose recorded reorganisations are deeper than two epochs of Ethereum. */
const DEPTH_BY_CHAIN: ReadonlyMap<number, number> = new Map([
  [137, 256],
  [80_002, 256],
])

/** Depth below the head at which blocks of a chain are taken for settled, unless the user says otherwise. */
export function defaultHistoryDepth(chainId: number): number {
  return DEPTH_BY_CHAIN.get(chainId) ?? DEFAULT_DEPTH
}

/** @throws {ConfigurationError} `EVM_OPTION_INVALID`, naming the option, its value and what would do. */
export function resolveOptions(options: EvmSourceOptions): ResolvedOptions {
  const chainId = integer('chainId', options.chainId, 1)
  const fromBlock = integer('fromBlock', options.fromBlock, 0)
  const id = options.id ?? `evm-${chainId}`
  if (id === '') throw invalid('id', id, 'a name that is not empty')
  return {
    id,
    rpcUrl: endpoint(options.rpcUrl),
    chainId,
    fromBlock,
    toBlock: options.toBlock === undefined ? Infinity : integer('toBlock', options.toBlock, fromBlock),
    historyDepth: integer('historyDepth', options.historyDepth ?? defaultHistoryDepth(chainId), 0),
    pollingIntervalMs: integer('pollingIntervalMs', options.pollingIntervalMs ?? 1_000, 1),
    maxBlockRange: integer('maxBlockRange', options.maxBlockRange ?? 10_000, 1),
    concurrency: integer('concurrency', options.concurrency ?? 4, 1),
    maxBatchSize: integer('maxBatchSize', options.maxBatchSize ?? 50, 1),
    requestTimeoutMs: integer('requestTimeoutMs', options.requestTimeoutMs ?? 30_000, 1),
    maxResponseBytes: integer('maxResponseBytes', options.maxResponseBytes ?? 64 * 1024 * 1024, 1),
    retry: {
      attempts: integer('retry.attempts', options.retry?.attempts ?? 14, 1),
      baseMs: integer('retry.baseMs', options.retry?.baseMs ?? 250, 0),
      maxMs: integer('retry.maxMs', options.retry?.maxMs ?? 20_000, 0),
    },
    headers: options.headers ?? {},
    log: guarded(options.log),
  }
}

function integer(name: string, value: unknown, least: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least) return value
  throw invalid(name, value, `a whole number, ${least} or more`)
}

function endpoint(value: unknown): URL {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined
  if (url !== undefined && (url.protocol === 'http:' || url.protocol === 'https:')) return url
  // The value itself may hold a key: it is not repeated.
  throw new ConfigurationError(
    'EVM_OPTION_INVALID',
    'evmSource: `rpcUrl` has to be an http:// or https:// URL of a JSON-RPC endpoint (WebSocket is not supported).',
    { phase: 'options' },
  )
}

function invalid(name: string, value: unknown, wanted: string): ConfigurationError {
  return new ConfigurationError(
    'EVM_OPTION_INVALID',
    `evmSource: \`${name}\` is ${typeof value === 'string' ? `'${value}'` : String(value)}; it has to be ${wanted}.`,
    { phase: 'options' },
  )
}

/** The host's logger must not be able to break a read. */
function guarded(log: EvmLog | undefined): EvmLog {
  return (level, message, facts) => {
    try {
      log?.(level, message, facts)
    } catch {
      // A logger that throws has nobody to tell.
    }
  }
}
