/** The token as the chain itself has it: state by `eth_call` in JSON-RPC batches, events by `eth_getLogs`. */
import { BaseError, ContractFunctionZeroDataError, parseAbi, type Address } from 'viem'
import { erc20Abi, type Chain } from './chain.ts'

const views = parseAbi([
  'function balanceOf(address account) view returns (uint256)',
  'function allowance(address owner, address spender) view returns (uint256)',
  'function totalSupply() view returns (uint256)',
])

const blocksPerRequest = 50n

/** Each as a line that says all of it. */
export interface TokenEvents {
  readonly transfers: readonly string[]
  readonly approvals: readonly string[]
}

export const eventLine = (block: number, from: string, to: string, amount: bigint): string =>
  `${amount} from ${from} to ${to} in block ${block}`

export class Contract {
  readonly #chain: Chain
  /** Height at which everything is asked. */
  readonly #block: bigint

  constructor(chain: Chain, block: number) {
    this.#chain = chain
    this.#block = BigInt(block)
  }

  /** What the indexed range of blocks did to each balance; from block 0 on, that is the balance. */
  async balances(accounts: readonly string[]): Promise<readonly bigint[]> {
    const now = await this.#each(accounts, (account) => this.#balance(account, this.#block))
    const before = BigInt(this.#chain.fromBlock) - 1n
    if (before < 0n) return now
    const then = await this.#each(accounts, (account) => this.#balance(account, before))
    return now.map((balance, index) => balance - (then[index] ?? 0n))
  }

  allowances(
    pairs: readonly { readonly owner: string; readonly spender: string }[],
  ): Promise<readonly bigint[]> {
    return this.#each(pairs, ({ owner, spender }) =>
      this.#chain.client.readContract({
        abi: views,
        address: this.#chain.token,
        functionName: 'allowance',
        args: [owner as Address, spender as Address],
        blockNumber: this.#block,
      }),
    )
  }

  totalSupply(): Promise<bigint> {
    return this.#chain.client.readContract({
      abi: views,
      address: this.#chain.token,
      functionName: 'totalSupply',
      blockNumber: this.#block,
    })
  }

  /** Every event of the indexed range, by `eth_getLogs`. */
  async events(): Promise<TokenEvents> {
    const { client, fromBlock, token } = this.#chain
    const events: { transfers: string[]; approvals: string[] } = { transfers: [], approvals: [] }
    for (let from = BigInt(fromBlock); from <= this.#block; from += blocksPerRequest) {
      const last = from + blocksPerRequest - 1n
      const toBlock = last < this.#block ? last : this.#block
      const logs = await client.getContractEvents({
        abi: erc20Abi,
        address: token,
        fromBlock: from,
        toBlock,
        strict: true,
      })
      for (const { blockNumber, eventName, args } of logs) {
        const block = Number(blockNumber)
        if (eventName === 'Transfer') {
          events.transfers.push(eventLine(block, args.from, args.to, args.value))
        } else {
          events.approvals.push(eventLine(block, args.owner, args.spender, args.value))
        }
      }
    }
    return events
  }

  async #balance(account: string, blockNumber: bigint): Promise<bigint> {
    try {
      return await this.#chain.client.readContract({
        abi: views,
        address: this.#chain.token,
        functionName: 'balanceOf',
        args: [account as Address],
        blockNumber,
      })
    } catch (error) {
      // below its deployment the contract has no code, and nobody a balance
      const isEmpty =
        error instanceof BaseError &&
        error.walk((cause) => cause instanceof ContractFunctionZeroDataError) !== null
      if (isEmpty && blockNumber !== this.#block) return 0n
      throw error
    }
  }

  /** Slice by slice, so that an endpoint is never given more than it takes. */
  async #each<T>(subjects: readonly T[], ask: (subject: T) => Promise<bigint>): Promise<readonly bigint[]> {
    const answers: bigint[] = []
    for (let at = 0; at < subjects.length; at += this.#chain.callsAtOnce) {
      answers.push(...(await Promise.all(subjects.slice(at, at + this.#chain.callsAtOnce).map(ask))))
    }
    return answers
  }
}
