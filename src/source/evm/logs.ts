/** Logs that may be trusted: complete for what was asked, of one chain, in order, none twice (H27). */
import { malformed, unsteady } from './fault.ts'
import type { Header, RawLog } from './wire.ts'

/** Logs by block number, each list in the order of `logIndex`. */
export type LogsByBlock = ReadonlyMap<number, readonly RawLog[]>

/**
 * @throws {Fault} `malformed` for logs outside `[from, to]` or two different logs in one place; `unsteady`
 * when one answer holds two hashes for a block
 */
export function groupLogs(logs: readonly RawLog[], from: number, to: number): LogsByBlock {
  const blocks = new Map<number, Map<number, RawLog>>()
  for (const log of logs) {
    if (log.blockNumber < from || log.blockNumber > to) {
      throw malformed(`a log of block ${log.blockNumber} in an answer about ${from} to ${to}`)
    }
    const block = blocks.get(log.blockNumber)
    if (block === undefined) {
      blocks.set(log.blockNumber, new Map([[log.logIndex, log]]))
      continue
    }
    const [other] = block.values()
    if (other !== undefined && other.blockHash !== log.blockHash) {
      throw unsteady(
        `one answer has two hashes for block ${log.blockNumber}: ${other.blockHash} and ${log.blockHash}`,
      )
    }
    const twin = block.get(log.logIndex)
    if (twin !== undefined && !sameLog(twin, log)) {
      throw malformed(`two different logs at index ${log.logIndex} of block ${log.blockNumber}`)
    }
    block.set(log.logIndex, log)
  }
  return new Map(
    [...blocks]
      .sort(([a], [b]) => a - b)
      .map(([number, block]) => [number, [...block.values()].sort((a, b) => a.logIndex - b.logIndex)]),
  )
}

function sameLog(a: RawLog, b: RawLog): boolean {
  return (
    a.transactionHash === b.transactionHash &&
    a.address === b.address &&
    a.data === b.data &&
    a.topics.join() === b.topics.join()
  )
}

/** @throws {Fault} `unsteady` when the logs are of another block than the header */
export function checkHash(header: Header, logs: readonly RawLog[]): void {
  const [log] = logs
  if (log !== undefined && log.blockHash !== header.hash) {
    throw unsteady(`block ${header.number} is ${header.hash}, but its logs say ${log.blockHash}`)
  }
}

/**
 * The header that was asked for. @throws {Fault} `unsteady` when the node does not have it, though its head
 * is above
 */
export function present(header: Header | null | undefined, number: number): Header {
  if (header === null || header === undefined)
    throw unsteady(`the node that answered does not have block ${number} yet`)
  if (header.number !== number) throw malformed(`block ${header.number} in an answer about block ${number}`)
  return header
}

/** @throws {Fault} `unsteady` when a header does not name the one before it as its parent */
export function checkLinked(headers: readonly Header[]): void {
  for (let at = 1; at < headers.length; at++) {
    const [parent, child] = [headers[at - 1] as Header, headers[at] as Header]
    if (child.parentHash !== parent.hash) {
      throw unsteady(`block ${child.number} does not follow ${parent.hash} but ${child.parentHash}`)
    }
  }
}
