/**
 * The chain to index: a real node with a real ERC-20 and a lot of traffic, made here; or, with RPC_URL and
 * TOKEN_ADDRESS, any other.
 */
import { createPublicClient, getAddress, http, type Address, type PublicClient } from 'viem'
import { startAnvil } from '../../test/support/anvil.ts'
import { deployErc20, erc20Abi } from '../../test/support/erc20.ts'
import { LiveTraffic } from '../../test/support/live-traffic.ts'
import { liveBlocks } from './live.ts'
import { seconds } from './terminal.ts'

export { erc20Abi }

export interface Chain extends AsyncDisposable {
  readonly url: string
  readonly chainId: number
  readonly token: Address
  readonly fromBlock: number
  /** The last one that is there at the beginning. */
  readonly head: number
  /** The last one to index; above `head` the chain is followed. */
  readonly toBlock: number
  /** Most blocks in one `eth_getLogs`. */
  readonly blocksPerRequest: number
  /** For checking: never used by the indexer. */
  readonly client: PublicClient
  /** Calls that the endpoint is given at once while checking. */
  readonly callsAtOnce: number
  readonly pollingIntervalMs: number
  readonly description: string
  /** What grows and reorganises the chain; `undefined` for one that was not made here. */
  readonly live: LiveTraffic | undefined
}

const traffic = { transfers: 24_000, approvals: 8_000, blocks: 300, accounts: 1_500, seed: 7 }

/** @param mined called now and then with the number of blocks made, and of those to make */
export async function makeChain(
  signal: AbortSignal,
  mined: (blocks: number, of: number) => void,
): Promise<Chain> {
  const began = performance.now()
  const anvil = await startAnvil()
  let timer: NodeJS.Timeout | undefined
  try {
    const token = await deployErc20(anvil)
    const ask = () => anvil.head().then((head) => mined(head, traffic.blocks + 2), ignore)
    timer = setInterval(() => void ask(), 100)
    await unlessAborted(token.populate(traffic), signal)
    const head = await anvil.head()
    mined(head, head)
    return {
      url: anvil.url,
      chainId: anvil.chainId,
      token: token.address,
      fromBlock: 0,
      head,
      toBlock: head + liveBlocks,
      blocksPerRequest: 20,
      pollingIntervalMs: 20,
      client: clientOf(anvil.url, 250),
      callsAtOnce: 1_000,
      description: `anvil, chain ${anvil.chainId}; ${traffic.blocks} blocks of traffic made in ${seconds(performance.now() - began)}`,
      live: new LiveTraffic(anvil, token, { ...traffic, eventsPerBlock: 60 }),
      [Symbol.asyncDispose]: () => anvil.stop(),
    }
  } catch (error) {
    await anvil.stop()
    throw error
  } finally {
    clearInterval(timer)
  }
}

export interface GivenChain {
  readonly rpcUrl: string
  readonly token: string
  readonly fromBlock: string | undefined
  readonly toBlock: string | undefined
}

/** Without bounds: the last 200 blocks that are 64 below the head. */
export async function openChain(given: GivenChain): Promise<Chain> {
  const client = clientOf(given.rpcUrl, 25)
  const [chainId, head] = await Promise.all([client.getChainId(), client.getBlockNumber()])
  const toBlock =
    given.toBlock === undefined ? Math.max(0, Number(head) - 64) : heightOf('TO_BLOCK', given.toBlock)
  const fromBlock =
    given.fromBlock === undefined ? Math.max(0, toBlock - 199) : heightOf('FROM_BLOCK', given.fromBlock)
  if (fromBlock > toBlock) throw new Error(`FROM_BLOCK ${fromBlock} is above TO_BLOCK ${toBlock}`)
  return {
    url: given.rpcUrl,
    chainId,
    token: getAddress(given.token),
    fromBlock,
    head: toBlock,
    toBlock,
    blocksPerRequest: 1_000,
    pollingIntervalMs: 1_000,
    client,
    callsAtOnce: 100,
    description: `${new URL(given.rpcUrl).host}, chain ${chainId}`,
    live: undefined,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

function heightOf(name: string, value: string): number {
  if (/^\d+$/.test(value)) return Number(value)
  throw new Error(`${name} must be the number of a block, got '${value}'`)
}

function clientOf(url: string, batchSize: number): PublicClient {
  return createPublicClient({ transport: http(url, { batch: { batchSize }, timeout: 60_000 }) })
}

/** Gives up waiting; what was waited for may end as it likes. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const give = () => reject(signal.reason as Error)
    if (signal.aborted) give()
    signal.addEventListener('abort', give, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', give))
  })
}

const ignore = () => undefined
