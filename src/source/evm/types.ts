/**
 * The public types of the EVM source: contracts as the user declares them, and the union of events that
 * follows from their ABIs.
 */
import type { Abi, Address, ContractEventName, GetEventArgs, Hex } from 'viem'

/** One contract, or one kind of contract, whose events are read. */
export interface EvmContract {
  /** The ABI, `as const`: the types of the events follow from it. Its functions and errors are ignored. */
  readonly abi: Abi
  /** One address, several, or none: then every contract on the chain that emits a fitting event. */
  readonly address?: Address | readonly Address[] | undefined
  /** Only these events. Default: every event of the ABI. */
  readonly events?: readonly string[] | undefined
}

/** Contracts by the name that item types begin with: `{ token: … }` gives `'token.Transfer'`. */
export type EvmContracts = Readonly<Record<string, EvmContract>>

/** Narrows `events` to the names that the ABI really has, so that a misspelt one does not compile. */
export type CheckedContracts<contracts extends EvmContracts> = {
  readonly [name in keyof contracts]: {
    readonly events?: readonly ContractEventName<contracts[name]['abi']>[] | undefined
  }
}

type EventNames<contract extends EvmContract> = contract extends { readonly events: readonly (infer name)[] }
  ? name & ContractEventName<contract['abi']>
  : ContractEventName<contract['abi']>

type EventArgs<abi extends Abi, name extends string> = GetEventArgs<
  abi,
  name,
  { EnableUnion: false; IndexedOnly: false; Required: true }
>

/** One decoded event. `args` is an object, or a tuple when the ABI leaves a parameter unnamed. */
export interface EvmEventOf<contract extends string, name extends string, args> {
  /** `'<contract>.<event>'`: the handler that receives it. */
  readonly type: `${contract}.${name}`
  readonly contract: contract
  readonly name: name
  readonly args: args
  /** The emitting address, with its EIP-55 checksum like every address in `args`. */
  readonly address: Address
  /** Position in the block, counted over all its transactions. */
  readonly logIndex: number
  readonly transactionHash: Hex
  readonly transactionIndex: number
  /**
   * `<chainId>:<block>:<logIndex>`, zero-padded (10 and 5 digits) so that text order is chain order. It names
   * a place in the chain and nothing else, so that a second read, on whatever node, gives the same id; after
   * a fork the event that took the place has it, and the rollback has removed the one that had it before.
   */
  readonly id: string
}

/** Every event that the contracts can emit: a union discriminated by `type`. */
export type EvmEvent<contracts extends EvmContracts = EvmContracts> = {
  [contract in keyof contracts & string]: {
    [name in EventNames<contracts[contract]>]: EvmEventOf<
      contract,
      name,
      EventArgs<contracts[contract]['abi'], name>
    >
  }[EventNames<contracts[contract]>]
}[keyof contracts & string]

/** How faults of the endpoint are retried: full jitter, doubling from `baseMs` to at most `maxMs`. */
export interface EvmRetry {
  /** Requests sent before giving up, the first included. Default 14 (two minutes or so of outage). */
  readonly attempts?: number | undefined
  /** Default 250. */
  readonly baseMs?: number | undefined
  /** Default 20,000. */
  readonly maxMs?: number | undefined
}

/** What the source tells its host: retries, shrunk ranges, skipped logs. Never anything secret. */
export type EvmLog = (
  level: 'debug' | 'warn',
  message: string,
  facts: Readonly<Record<string, unknown>>,
) => void

/** Options of {@link evmSource}. */
export interface EvmSourceOptions<contracts extends EvmContracts = EvmContracts> {
  /** JSON-RPC over http or https. Credentials and keys in it never reach a message. */
  readonly rpcUrl: string
  readonly chainId: number
  readonly contracts: contracts
  /** First block that is read. */
  readonly fromBlock: number
  /** Last block that is read; the source then ends. Default: follow the head until it is closed. */
  readonly toBlock?: number | undefined
  /** Stored with the position: keep it. Default `evm-<chainId>`. */
  readonly id?: string | undefined
  /** Blocks below the head that can still be orphaned. Default 64 (two epochs), 256 on Polygon. */
  readonly historyDepth?: number | undefined
  /** How often the head is asked for once it is reached. Default 1,000. */
  readonly pollingIntervalMs?: number | undefined
  /** Most blocks in one `eth_getLogs`. Smaller ranges are found by themselves. Default 10,000. */
  readonly maxBlockRange?: number | undefined
  /** Ranges in flight at once. Default 4. */
  readonly concurrency?: number | undefined
  /** Most calls in one JSON-RPC batch. Shrinks by itself when the endpoint refuses. Default 50. */
  readonly maxBatchSize?: number | undefined
  /** Until an answer is complete. Default 30,000. */
  readonly requestTimeoutMs?: number | undefined
  /** A larger answer counts as too many results. Default 64 MiB. */
  readonly maxResponseBytes?: number | undefined
  readonly retry?: EvmRetry | undefined
  /** Sent with every request, for example `{ authorization }`. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly log?: EvmLog | undefined
}
