/** `tailrace/evm`: typed contract events of an EVM chain, read over JSON-RPC. */
import { setMaxListeners } from 'node:events'
import type { OpenSource, Source, SourceMessage } from '../port.ts'
import { BlockCheck } from './block-check.ts'
import { bloomOf } from './bloom.ts'
import { Chain } from './chain.ts'
import { Decoder } from './decode.ts'
import { watchList, type WatchList } from './events.ts'
import { Fault } from './fault.ts'
import { KnownPositions } from './fork.ts'
import { resolveOptions, type ResolvedOptions } from './options.ts'
import { RangeReader } from './range.ts'
import { RangePlanner } from './ranges.ts'
import { readChain, unsteadyEndpoint } from './read.ts'
import { RpcClient } from './rpc.ts'
import type { CheckedContracts, EvmContracts, EvmEvent, EvmSourceOptions } from './types.ts'

export type {
  EvmContract,
  EvmContracts,
  EvmEvent,
  EvmEventOf,
  EvmLog,
  EvmRetry,
  EvmSourceOptions,
} from './types.ts'

/**
 * The events of one or more contracts as a source. Handlers are typed from the ABIs.
 *
 * Blocks deeper than `historyDepth` below the head come in ranges, those without events left out; above that
 * every block comes, so that there is something to roll back to. A chain that changed under a position that
 * was read before is reported as a fork, also when it happened while nobody read.
 *
 * @throws {ConfigurationError} at construction: an option out of range, an ABI without events, an event that
 * the ABI does not have, that is anonymous, overloaded, or the same as that of another contract
 *
 * While reading it fails with `WRONG_CHAIN`, `RPC_REFUSED`, `EVM_LOG_UNFIT` (change the configuration),
 * `RPC_UNREACHABLE`, `RPC_TIMEOUT`, `RPC_BUSY`, `RPC_MALFORMED`, `RPC_FAILED`, `CHAIN_UNSTEADY` (retries are
 * used up) or `LOGS_TOO_MANY`.
 *
 * @example
 * const source = evmSource({
 *   rpcUrl: 'http://127.0.0.1:8545',
 *   chainId: 1,
 *   contracts: { token: { abi: erc20Abi, address: '0xdAC17F958D2ee523a2206206994597C13D831ec7' } },
 *   fromBlock: 18_600_000,
 * })
 */
export function evmSource<const contracts extends EvmContracts>(
  options: EvmSourceOptions<contracts> & { readonly contracts: CheckedContracts<contracts> },
): Source<EvmEvent<contracts>> {
  const resolved = resolveOptions(options)
  const watch = watchList(options.contracts)
  const endpoint: Endpoint = { answered: false, planner: new RangePlanner(resolved) }
  return {
    id: resolved.id,
    historyDepth: resolved.historyDepth,
    itemTypes: watch.events.map((event) => event.type),
    open: (request) => ({
      [Symbol.asyncIterator]: () =>
        iterate(resolved, watch, endpoint, request) as AsyncIterator<SourceMessage<EvmEvent<contracts>>>,
    }),
  }
}

/** What stays known about the endpoint when the source is opened again. */
interface Endpoint {
  /** Whether it ever answered: a wrong URL is reported soon, an outage is waited for. */
  answered: boolean
  /** The ranges that it takes. */
  readonly planner: RangePlanner
}

/** An iterator whose `return` also ends a `next` that waits; a plain generator would queue behind it. */
function iterate(
  options: ResolvedOptions,
  watch: WatchList,
  endpoint: Endpoint,
  request: OpenSource,
): AsyncIterator<SourceMessage> {
  const controller = new AbortController()
  const messages = session(options, watch, endpoint, request, controller)
  return {
    next: () => messages.next(),
    return: () => {
      controller.abort()
      return messages.return()
    },
  }
}

async function* session(
  options: ResolvedOptions,
  watch: WatchList,
  endpoint: Endpoint,
  request: OpenSource,
  controller: AbortController,
): AsyncGenerator<SourceMessage, void, undefined> {
  const { signal } = controller
  const relay = (): void => controller.abort(request.signal.reason)
  if (request.signal.aborted) relay()
  else request.signal.addEventListener('abort', relay, { once: true })
  // Every request in flight listens; more than ten is no leak here.
  setMaxListeners(0, signal)
  const rpc = new RpcClient(options, { signal, answered: endpoint.answered })
  try {
    yield* readChain({
      options,
      signal,
      chain: new Chain(rpc, options),
      ranges: new RangeReader(rpc, options, {
        watch,
        planner: endpoint.planner,
        blocks: new BlockCheck(rpc, options, { watch, mayHold: bloomOf(watch) }),
      }),
      decoder: new Decoder(options, watch),
      known: new KnownPositions(request.from, request.recent, options.historyDepth),
    })
  } catch (error) {
    if (!signal.aborted) throw error instanceof Fault ? unsteadyEndpoint(options, 1, error) : error
  } finally {
    endpoint.answered ||= rpc.answered
    request.signal.removeEventListener('abort', relay)
    controller.abort()
  }
}
