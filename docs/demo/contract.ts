/** The token as the chain itself has it, asked by `eth_call` in JSON-RPC batches. */
import { BaseError, ContractFunctionZeroDataError, parseAbi, type Address } from 'viem'
import type { Chain } from './chain.ts'

const views = parseAbi([
  'function balanceOf(address account) view returns (uint256)',
  'function allowance(address owner, address spender) view returns (uint256)',
  'function totalSupply() view returns (uint256)',
])

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
