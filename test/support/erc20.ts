/**
 * A real ERC-20 (OpenZeppelin's) on a node of ours, and a lot of deterministic traffic on it, fast:
 * transactions of impersonated accounts, sent in JSON-RPC batches and mined block by block. Used by the tests
 * and by the demo.
 */
import { createRequire } from 'node:module'
import {
  encodeAbiParameters,
  encodeFunctionData,
  getAddress,
  keccak256,
  parseAbi,
  stringToHex,
  type Address,
  type Hex,
} from 'viem'
import { hex, type Anvil, type AnvilCall } from './anvil.ts'

/** The part of the ABI that an indexer needs, `as const`. */
export const erc20Abi = parseAbi([
  'event Transfer(address indexed from, address indexed to, uint256 value)',
  'event Approval(address indexed owner, address indexed spender, uint256 value)',
  'function transfer(address to, uint256 value) returns (bool)',
  'function approve(address spender, uint256 value) returns (bool)',
  'function balanceOf(address account) view returns (uint256)',
  'function totalSupply() view returns (uint256)',
])

export interface Traffic {
  /** Transfers between holders, beside the first allotment. */
  readonly transfers: number
  readonly approvals: number
  /** Blocks to spread it over, evenly; at least one. */
  readonly blocks: number
  /** Number of holders. */
  readonly accounts: number
  readonly seed: number
}

/** What `populate` did, and what an indexer of it has to arrive at. */
export interface Populated {
  readonly firstBlock: number
  readonly lastBlock: number
  /** Transactions that were mined, allotments included. */
  readonly transactions: number
  readonly allotments: number
}

export interface Erc20 {
  readonly address: Address
  readonly deployer: Address
  /** Height of the block with the deployment (and the first Transfer, from zero). */
  readonly deployedAt: number
  readonly supply: bigint
  /** Balances by checksummed address, zero ones included, after all that was done through this object. */
  readonly balances: ReadonlyMap<Address, bigint>
  /** `owner spender` → amount. */
  readonly allowances: ReadonlyMap<string, bigint>
  /** Puts a transfer into the next block; `mine` makes it. */
  transfer(from: Address, to: Address, value: bigint): Promise<Hex>
  /** Puts an approval into the next block. */
  approve(owner: Address, spender: Address, value: bigint): Promise<Hex>
  /**
   * The same seed on a fresh token gives the same transactions in the same blocks. Mines `blocks` blocks, and
   * one for the allotments.
   */
  populate(traffic: Traffic): Promise<Populated>
}

/** Anvil's first development account. */
const DEPLOYER: Address = '0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266'
const SUPPLY = 10n ** 24n
/** Far above the base fee of any block, far below the balances. */
export const GAS_PRICE = hex(10n ** 10n)
export const GAS = hex(120_000)
/** Bodies of some 200 kB. */
const CALLS_PER_BATCH = 500

/** Deploys the token in a block of its own. */
export async function deployErc20(anvil: Anvil): Promise<Erc20> {
  const artifact = createRequire(import.meta.url)(
    '@openzeppelin/contracts/build/contracts/ERC20PresetFixedSupply.json',
  ) as { readonly bytecode: Hex }
  const parameters = encodeAbiParameters(
    [{ type: 'string' }, { type: 'string' }, { type: 'uint256' }, { type: 'address' }],
    ['Token', 'TKN', SUPPLY, DEPLOYER],
  )
  const data = `${artifact.bytecode}${parameters.slice(2)}`
  const creation = await anvil.request<Hex>('eth_sendTransaction', [
    { from: DEPLOYER, data, gas: hex(3_000_000), gasPrice: GAS_PRICE },
  ])
  await anvil.mine()
  const receipt = await anvil.request<{ contractAddress: Address; blockNumber: Hex }>(
    'eth_getTransactionReceipt',
    [creation],
  )
  const token = new Token(anvil, getAddress(receipt.contractAddress), Number(receipt.blockNumber))
  await token.begin()
  return token
}

class Token implements Erc20 {
  readonly address: Address
  readonly deployer = DEPLOYER
  readonly deployedAt: number
  readonly supply = SUPPLY
  readonly balances = new Map<Address, bigint>([[DEPLOYER, SUPPLY]])
  readonly allowances = new Map<string, bigint>()
  readonly #anvil: Anvil
  /** Given with every transaction, so that the node need not look them up, one after another. */
  readonly #nonces = new Map<Address, number>()

  constructor(anvil: Anvil, address: Address, deployedAt: number) {
    this.#anvil = anvil
    this.address = address
    this.deployedAt = deployedAt
  }

  async begin(): Promise<void> {
    this.#nonces.set(
      DEPLOYER,
      Number(await this.#anvil.request('eth_getTransactionCount', [DEPLOYER, 'latest'])),
    )
  }

  async transfer(from: Address, to: Address, value: bigint): Promise<Hex> {
    await this.#fund([from])
    return (await this.#send([this.#transferCall(from, to, value)]))[0] as Hex
  }

  async approve(owner: Address, spender: Address, value: bigint): Promise<Hex> {
    await this.#fund([owner])
    return (await this.#send([this.#approvalCall(owner, spender, value)]))[0] as Hex
  }

  async populate({ transfers, approvals, blocks, accounts, seed }: Traffic): Promise<Populated> {
    const random = seeded(seed)
    const pick = (bound: number): number => Math.floor(random() * bound)
    const holders = Array.from({ length: accounts }, (_, index) => holder(seed, index))
    await this.#fund(holders)
    const firstBlock = (await this.#anvil.head()) + 1
    const share = (this.balances.get(DEPLOYER) ?? 0n) / BigInt(accounts + 1)
    await this.#send(holders.map((to) => this.#transferCall(DEPLOYER, to, share)))
    await this.#anvil.mine()
    const total = transfers + approvals
    let approvalsLeft = approvals
    for (let block = 0, sent = 0; block < blocks; block++) {
      const upTo = Math.floor((total * (block + 1)) / blocks)
      const calls: AnvilCall[] = []
      for (; sent < upTo; sent++) {
        const from = holders[pick(accounts)] as Address
        const to = holders[pick(accounts)] as Address
        // Exactly `approvals` of what is left are approvals, wherever they fall.
        if (random() * (total - sent) < approvalsLeft) {
          approvalsLeft--
          calls.push(this.#approvalCall(from, to, BigInt(pick(1_000_000))))
        } else {
          const percent = BigInt(pick(10))
          calls.push(this.#transferCall(from, to, ((this.balances.get(from) ?? 0n) * percent) / 100n))
        }
      }
      await this.#send(calls)
      await this.#anvil.mine()
    }
    return {
      firstBlock,
      lastBlock: firstBlock + blocks,
      transactions: accounts + total,
      allotments: accounts,
    }
  }

  #transferCall(from: Address, to: Address, value: bigint): AnvilCall {
    this.balances.set(from, (this.balances.get(from) ?? 0n) - value)
    this.balances.set(to, (this.balances.get(to) ?? 0n) + value)
    return this.#call(
      from,
      encodeFunctionData({ abi: erc20Abi, functionName: 'transfer', args: [to, value] }),
    )
  }

  #approvalCall(owner: Address, spender: Address, value: bigint): AnvilCall {
    this.allowances.set(`${owner} ${spender}`, value)
    return this.#call(
      owner,
      encodeFunctionData({ abi: erc20Abi, functionName: 'approve', args: [spender, value] }),
    )
  }

  #call(from: Address, data: Hex): AnvilCall {
    const nonce = this.#nonces.get(from) ?? 0
    this.#nonces.set(from, nonce + 1)
    return [
      'eth_sendTransaction',
      [{ from, to: this.address, data, gas: GAS, gasPrice: GAS_PRICE, nonce: hex(nonce) }],
    ]
  }

  async #send(calls: readonly AnvilCall[]): Promise<Hex[]> {
    const hashes: Hex[] = []
    for (let at = 0; at < calls.length; at += CALLS_PER_BATCH) {
      hashes.push(...(await this.#anvil.batch<Hex>(calls.slice(at, at + CALLS_PER_BATCH))))
    }
    return hashes
  }

  /** Gas money for accounts that have not sent anything yet. */
  async #fund(accounts: readonly Address[]): Promise<void> {
    const fresh = accounts.filter((account) => !this.#nonces.has(account))
    for (const account of fresh) this.#nonces.set(account, 0)
    await this.#anvil.batch(
      fresh.map((account): AnvilCall => ['anvil_setBalance', [account, hex(10n ** 24n)]]),
    )
  }
}

/** The holder's address, checksummed, from nothing but its number and the seed. */
export function holder(seed: number, index: number): Address {
  return getAddress(`0x${keccak256(stringToHex(`holder ${seed} ${index}`)).slice(-40)}`)
}

/** mulberry32: small, fast, the same everywhere. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
