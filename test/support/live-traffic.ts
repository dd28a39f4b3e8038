/**
 * A chain that lives: its head grows by blocks of transfers and approvals, and its newest blocks are replaced by others
 * with other transfers. Takes over where `populate` has ended; what that object knows of balances is not kept up.
 * Used by the tests and by the demo.
 */
import { encodeFunctionData, type Hex } from 'viem'
import { GAS, GAS_PRICE, erc20Abi, holder, seeded, type Erc20 } from './erc20.ts'
import type { Anvil } from './anvil.ts'

export interface Header {
  readonly number: number
  readonly hash: Hex
}

export interface LiveTrafficOptions {
  /** Those of `populate`: they send, and have something to send. */
  readonly accounts: number
  readonly seed: number
  /** Events of a block: so many at most, half of it at least. */
  readonly eventsPerBlock: number
}

type Transaction = Readonly<Record<string, string>>

export class LiveTraffic {
  readonly #anvil: Anvil
  readonly #token: Erc20
  readonly #options: LiveTrafficOptions
  readonly #random: () => number

  constructor(anvil: Anvil, token: Erc20, options: LiveTrafficOptions) {
    this.#anvil = anvil
    this.#token = token
    this.#options = options
    this.#random = seeded(options.seed + 1)
  }

  /** Mines one more block. */
  async grow(): Promise<Header> {
    const calls = this.#block().map((transaction) => ['eth_sendTransaction', [transaction]] as const)
    await this.#anvil.batch(calls)
    await this.#anvil.mine()
    return this.head()
  }

  /** Replaces the newest `depth` blocks by as many others. @returns the new head */
  async reorg(depth: number): Promise<Header> {
    const blocks = Array.from({ length: depth }, () => this.#block())
    await this.#anvil.reorg(
      depth,
      blocks.flatMap((transactions, block) =>
        transactions.map((transaction) => [transaction, block] as const),
      ),
    )
    return this.head()
  }

  async head(): Promise<Header> {
    const { number, hash } = await this.#anvil.request<{ number: Hex; hash: Hex }>('eth_getBlockByNumber', [
      'latest',
      false,
    ])
    return { number: Number(number), hash }
  }

  #block(): Transaction[] {
    const { eventsPerBlock } = this.#options
    const events = eventsPerBlock - this.#pick(eventsPerBlock / 2)
    return Array.from({ length: events }, () => this.#transaction())
  }

  #transaction(): Transaction {
    const { accounts, seed } = this.#options
    const [from, to] = [holder(seed, this.#pick(accounts)), holder(seed, this.#pick(accounts))]
    // far below what everybody has
    const value = BigInt(1 + this.#pick(1_000))
    const functionName = this.#random() < 0.75 ? 'transfer' : 'approve'
    const data = encodeFunctionData({ abi: erc20Abi, functionName, args: [to, value] })
    return { from, to: this.#token.address, data, gas: GAS, gasPrice: GAS_PRICE }
  }

  #pick(bound: number): number {
    return Math.floor(this.#random() * bound)
  }
}
