/**
 * The node's chain as the reader sees it: its id, its head, single headers, and ranges of blocks with their
 * logs.
 */
import type { RpcCall } from './exchange.ts'
import { ConfigurationError } from '../../errors.ts'
import { malformed, unsteady } from './fault.ts'
import { present } from './logs.ts'
import type { ResolvedOptions } from './options.ts'
import type { RpcClient } from './rpc.ts'
import { quantity, readHeader, readQuantity, type Header } from './wire.ts'

export interface Head {
  readonly number: number
  readonly hash: string
  /** Of the block that the node calls finalized, or else safe; where it knows either. */
  readonly finalized: number | undefined
}

const LATEST: RpcCall = { method: 'eth_getBlockByNumber', params: ['latest', false] }
const FINALIZED: RpcCall = { method: 'eth_getBlockByNumber', params: ['finalized', false], optional: true }
/** For nodes that do not know the other. */
const SAFE: RpcCall = { method: 'eth_getBlockByNumber', params: ['safe', false], optional: true }

/** The call that reads one header. */
export function headerCall(number: number): RpcCall {
  return { method: 'eth_getBlockByNumber', params: [quantity(number), false] }
}

export class Chain {
  readonly #rpc: RpcClient
  readonly #options: ResolvedOptions
  #finality: readonly RpcCall[] = [FINALIZED]

  constructor(rpc: RpcClient, options: ResolvedOptions) {
    this.#rpc = rpc
    this.#options = options
  }

  /** @throws {ConfigurationError} `WRONG_CHAIN` */
  async identify(): Promise<void> {
    const call: RpcCall = { method: 'eth_chainId', params: [] }
    const chainId = await this.#rpc.request([call], ([id]) => readQuantity(id, 'eth_chainId'))
    if (chainId === this.#options.chainId) return
    throw new ConfigurationError(
      'WRONG_CHAIN',
      `${this.#rpc.url} serves chain ${chainId}, but source '${this.#options.id}' is configured for chain ` +
        `${this.#options.chainId}. Correct \`chainId\` or \`rpcUrl\`.`,
      { phase: 'source' },
    )
  }

  /** The newest block, and the newest final one; never beyond what the answering node has. */
  async head(): Promise<Head> {
    const head = await this.#rpc.request([LATEST, ...this.#finality], ([latest, ...finality]) => {
      const header = readHeader(latest)
      if (header === null) throw malformed('the node has no latest block')
      const [final] = finality.flatMap((answer) => (answer === undefined ? [] : (readHeader(answer) ?? [])))
      return { number: header.number, hash: header.hash, finalized: final?.number }
    })
    if (head.finalized !== undefined || this.#finality.length > 1) return head
    this.#finality = [FINALIZED, SAFE]
    return this.head()
  }

  /**
   * Headers of `numbers`, `null` above the answering node's head. Nothing is cached: a cache answers a search
   * for a fork with the orphaned chain (H26).
   */
  async headers(
    numbers: readonly number[],
  ): Promise<{ readonly head: number; readonly headers: (Header | null)[] }> {
    return this.#rpc.request([LATEST, ...numbers.map(headerCall)], ([latest, ...answers]) => {
      const head = readHeader(latest)
      if (head === null) throw malformed('the node has no latest block')
      const headers = answers.map((answer, index) => {
        const number = numbers[index] as number
        const header = readHeader(answer)
        if (header === null && number <= head.number)
          throw unsteady(`the node has block ${head.number} but not ${number}`)
        return header === null ? null : present(header, number)
      })
      return { head: head.number, headers }
    })
  }
}
