/**
 * Reads a range of blocks so that nothing is lost without a word (H68). The node that lists the logs proves,
 * in the same batch, that it has the range's last block; near the head every header is read, must follow the
 * one before it, and its bloom filter is held against an empty answer.
 */
import type { BlockCheck, ReadBlock } from './block-check.ts'
import { headerCall } from './chain.ts'
import type { WatchList } from './events.ts'
import type { RpcCall } from './exchange.ts'
import { isFault, type Fault } from './fault.ts'
import { checkHash, checkLinked, groupLogs, present, type LogsByBlock } from './logs.ts'
import type { ResolvedOptions } from './options.ts'
import type { RangePlanner } from './ranges.ts'
import type { RpcClient } from './rpc.ts'
import { FatalError, messageOf } from '../../errors.ts'
import { quantity, readHeader, readLogs, type Header } from './wire.ts'

/** What a request for a range gave: it may end before the range does. */
export interface Part {
  readonly from: number
  readonly to: number
  /** Of block `from`: has to be the hash of the block emitted before it. */
  readonly parentHash: string
  /** Every block when `dense`; else those with logs that are watched, and the last one. */
  readonly blocks: readonly ReadBlock[]
  /** Logs in the answer, watched or not. */
  readonly fetched: number
}

/** How many headers a dense request asks for at most, beside the logs. */
const DENSE_BLOCKS = 32

export class RangeReader {
  readonly #rpc: RpcClient
  readonly #options: ResolvedOptions
  readonly #watch: WatchList
  readonly #planner: RangePlanner
  readonly #blocks: BlockCheck

  constructor(
    rpc: RpcClient,
    options: ResolvedOptions,
    parts: { watch: WatchList; planner: RangePlanner; blocks: BlockCheck },
  ) {
    this.#rpc = rpc
    this.#options = options
    this.#watch = parts.watch
    this.#planner = parts.planner
    this.#blocks = parts.blocks
  }

  /** Blocks that the next request should span. */
  span(dense: boolean): number {
    if (!dense) return this.#planner.span
    return Math.max(1, Math.min(this.#planner.span, DENSE_BLOCKS, this.#rpc.maxBatchSize - 1))
  }

  /**
   * Reads from `from` as far as one answer goes, at most to `to`.
   *
   * @throws {Fault} `unsteady`: the node lags, or its chain moved
   * @throws {FatalError} `LOGS_TOO_MANY`: the endpoint refuses even one block
   */
  async read(from: number, to: number, dense: boolean, signal: AbortSignal): Promise<Part> {
    for (;;) {
      const span = Math.min(to - from + 1, this.span(dense))
      const last = from + span - 1
      try {
        const part = await (dense ? this.#dense(from, last, signal) : this.#sparse(from, last, signal))
        this.#planner.succeeded(span, part.fetched)
        return part
      } catch (thrown) {
        if (!isFault(thrown, 'tooMany') && !isFault(thrown, 'timeout')) throw thrown
        if (span === 1) return this.#single(from, thrown, signal)
        // Every time-out costs its whole wait: a larger step than for a refusal, which comes at once.
        this.#planner.tooMany(span, thrown.kind === 'timeout' ? { blocks: span >> 2 } : thrown)
        this.#options.log('debug', 'a range of blocks was too large', {
          from,
          blocks: span,
          next: this.#planner.span,
          reason: thrown.message,
        })
      }
    }
  }

  async #dense(from: number, to: number, signal: AbortSignal): Promise<Part> {
    const numbers = Array.from({ length: to - from + 1 }, (_, index) => from + index)
    const { headers, logs } = await this.#logsAndHeaders(from, to, numbers, signal)
    const blocks: ReadBlock[] = []
    for (const header of headers) {
      blocks.push(
        await this.#blocks.checkedByBloom(header, this.#blocks.watched(logs.get(header.number)), signal),
      )
    }
    return { from, to, parentHash: (headers[0] as Header).parentHash, blocks, fetched: count(logs) }
  }

  async #sparse(from: number, to: number, signal: AbortSignal): Promise<Part> {
    const ends = from === to ? [to] : [from, to]
    const { headers: edges, logs } = await this.#logsAndHeaders(from, to, ends, signal)
    const watched = new Map(
      [...logs.keys()]
        .map((number) => [number, this.#blocks.watched(logs.get(number))] as const)
        .filter(([, list]) => list.length > 0),
    )
    const headers = new Map(edges.map((header) => [header.number, header]))
    await this.#addHeaders(headers, watched, signal)
    const numbers = [...watched.keys(), ...(watched.has(to) ? [] : [to])]
    return {
      from,
      to,
      parentHash: (edges[0] as Header).parentHash,
      blocks: numbers.map((number) => ({
        header: headers.get(number) as Header,
        logs: watched.get(number) ?? [],
      })),
      fetched: count(logs),
    }
  }

  /** `numbers` ascend and end with `to`. */
  async #logsAndHeaders(from: number, to: number, numbers: readonly number[], signal: AbortSignal) {
    // The last block goes beside the logs: should the batch be split, these two stay together.
    const order = [to, ...numbers.slice(0, -1)]
    return this.#rpc.request(
      [this.#logsCall(from, to), ...order.map(headerCall)],
      ([list, ...answers]): { headers: Header[]; logs: LogsByBlock } => {
        const [last, ...others] = answers.map((answer, index) =>
          present(readHeader(answer), order[index] as number),
        )
        const headers = [...others, last as Header]
        if (headers.length === to - from + 1) checkLinked(headers)
        const logs = groupLogs(readLogs(list), from, to)
        for (const header of headers) checkHash(header, logs.get(header.number) ?? [])
        return { headers, logs }
      },
      { signal, shrinkable: to > from },
    )
  }

  /** The headers of the blocks with logs: for their time stamps, and because their hashes must agree. */
  async #addHeaders(headers: Map<number, Header>, logs: LogsByBlock, signal: AbortSignal): Promise<void> {
    const missing = [...logs.keys()].filter((number) => !headers.has(number))
    for (let at = 0; at < missing.length;) {
      const numbers = missing.slice(at, at + this.#rpc.maxBatchSize)
      const read = await this.#rpc.request(
        numbers.map(headerCall),
        (answers) =>
          answers.map((answer, index) => {
            const header = present(readHeader(answer), numbers[index] as number)
            checkHash(header, logs.get(header.number) ?? [])
            return header
          }),
        { signal },
      )
      for (const header of read) headers.set(header.number, header)
      at += numbers.length
    }
  }

  /** One block is too much for `eth_getLogs`: its receipts hold the same logs and are rarely limited. */
  async #single(number: number, refusal: Fault, signal: AbortSignal): Promise<Part> {
    const header = await this.#rpc.request(
      [headerCall(number)],
      ([answer]) => present(readHeader(answer), number),
      { signal },
    )
    const logs = await this.#blocks.fromReceipts(header, signal).catch((error: unknown) => {
      if (isFault(error, 'tooMany')) return undefined
      throw error
    })
    if (logs !== undefined) {
      return {
        from: number,
        to: number,
        parentHash: header.parentHash,
        blocks: [{ header, logs }],
        fetched: logs.length,
      }
    }
    throw new FatalError(
      'LOGS_TOO_MANY',
      `${this.#rpc.url} refuses the logs of block ${number} alone: ${messageOf(refusal)}. Watch fewer contracts or events ` +
        'with this source (`contracts`, `events`), raise `maxResponseBytes` or `requestTimeoutMs`, or use another endpoint.',
      { phase: 'source', block: { source: this.#options.id, number } },
    )
  }

  #logsCall(from: number, to: number): RpcCall {
    return {
      method: 'eth_getLogs',
      params: [{ ...this.#watch.filter, fromBlock: quantity(from), toBlock: quantity(to) }],
    }
  }
}

function count(logs: LogsByBlock): number {
  let sum = 0
  for (const list of logs.values()) sum += list.length
  return sum
}
