/**
 * Checks one block's logs against its header: the bloom filter is part of the block's hash and cannot lag, so
 * it tells when `[]` hides logs, and when logs are listed that cannot be there (H68).
 */
import { setTimeout as pause } from 'node:timers/promises'
import { headerCall } from './chain.ts'
import type { WatchList } from './events.ts'
import type { RpcCall } from './exchange.ts'
import { unsteady } from './fault.ts'
import { checkHash, groupLogs, present } from './logs.ts'
import type { ResolvedOptions } from './options.ts'
import type { RpcClient } from './rpc.ts'
import { quantity, readHeader, readLogs, readReceiptLogs, type Header, type RawLog } from './wire.ts'

/** One block with its watched logs. */
export interface ReadBlock {
  readonly header: Header
  readonly logs: readonly RawLog[]
}

/** Refusals in a row after which receipts are taken for not offered. */
const RECEIPT_TRIES = 3

export class BlockCheck {
  readonly #rpc: RpcClient
  readonly #options: ResolvedOptions
  readonly #watch: WatchList
  readonly #mayHold: (bloom: string) => boolean
  /** Times in a row that the endpoint did not give receipts. */
  #withoutReceipts = 0

  constructor(
    rpc: RpcClient,
    options: ResolvedOptions,
    parts: { watch: WatchList; mayHold: (bloom: string) => boolean },
  ) {
    this.#rpc = rpc
    this.#options = options
    this.#watch = parts.watch
    this.#mayHold = parts.mayHold
  }

  /** The filter is the product of all addresses and all events: some logs are nobody's. */
  watched(logs: readonly RawLog[] = []): readonly RawLog[] {
    return logs.filter((log) => this.#watch.match(log.address, log.topics).kind !== 'foreign')
  }

  /**
   * Holds the header's bloom filter against what the node listed. The filter is part of the hash; it cannot
   * lag.
   */
  async checkedByBloom(header: Header, logs: readonly RawLog[], signal: AbortSignal): Promise<ReadBlock> {
    const agrees = header.logsBloom === undefined || this.#mayHold(header.logsBloom) === logs.length > 0
    return { header, logs: agrees ? logs : await this.#confirmed(header, logs, signal) }
  }

  /**
   * The filter and the list disagree. Nothing listed though the filter says "perhaps": the node hides logs,
   * or the filter errs, as it may. Logs listed that the filter rules out: the answer is wrong, or they are
   * the chain's own, which some chains leave out of it (Polygon, Celo; zkSync never fills it). So the block
   * is asked for by its hash.
   */
  async #confirmed(header: Header, logs: readonly RawLog[], signal: AbortSignal): Promise<readonly RawLog[]> {
    const again = await this.#byHash(header, signal)
    if (logs.length > 0) {
      if (again.length === logs.length) return again
      throw unsteady(`the bloom filter of block ${header.number} rules out the logs listed for it`)
    }
    const found = again.length > 0 ? again : await this.#secondOpinion(header, signal)
    if (found.length > 0) {
      this.#options.log('warn', 'the node had left out the logs of a block', {
        block: header.number,
        logs: found.length,
      })
    }
    return found
  }

  async #byHash({ number, hash }: Header, signal: AbortSignal): Promise<readonly RawLog[]> {
    const call: RpcCall = { method: 'eth_getLogs', params: [{ ...this.#watch.filter, blockHash: hash }] }
    return this.#rpc.request(
      [call, headerCall(number)],
      ([list, answer]) => {
        const now = present(readHeader(answer), number)
        if (now.hash !== hash) throw unsteady(`block ${number} changed from ${hash} to ${now.hash}`)
        const logs = groupLogs(readLogs(list), number, number).get(number) ?? []
        checkHash(now, logs)
        return this.watched(logs)
      },
      { signal },
    )
  }

  /**
   * Receipts cannot leave a log out. Where there are none, the same question a little later, perhaps of
   * another node.
   */
  async #secondOpinion(header: Header, signal: AbortSignal): Promise<readonly RawLog[]> {
    const logs = await this.fromReceipts(header, signal)
    if (logs !== undefined) return logs
    await pause(this.#options.retry.baseMs, undefined, { signal })
    return this.#byHash(header, signal)
  }

  /** The watched logs among all receipts of the block; `undefined` when the endpoint does not offer them. */
  async fromReceipts(header: Header, signal: AbortSignal): Promise<readonly RawLog[] | undefined> {
    if (this.#withoutReceipts >= RECEIPT_TRIES) return undefined
    const { number } = header
    const call: RpcCall = { method: 'eth_getBlockReceipts', params: [quantity(number)], optional: true }
    return this.#rpc.request(
      [call],
      ([answer]) => {
        this.#withoutReceipts = answer === undefined ? this.#withoutReceipts + 1 : 0
        if (answer === undefined) return undefined
        const all = readReceiptLogs(answer)
        if (all === null) throw unsteady(`the node that answered has no receipts of block ${number} yet`)
        const logs = groupLogs(all, number, number).get(number) ?? []
        checkHash(header, logs)
        return this.watched(logs)
      },
      { signal },
    )
  }
}
