/**
 * What a node sends, checked before it is believed. Hashes and addresses come out in lower case, quantities
 * as numbers. Whatever does not fit is `malformed`, and the request is sent again.
 */
import type { Hex } from 'viem'
import { malformed } from './fault.ts'

export interface Header {
  readonly number: number
  readonly hash: Hex
  readonly parentHash: Hex
  /** Unix seconds. */
  readonly timestamp: number
  /** Absent on chains that leave it out. */
  readonly logsBloom: Hex | undefined
}

export interface RawLog {
  readonly address: Hex
  readonly topics: readonly Hex[]
  readonly data: Hex
  readonly blockNumber: number
  readonly blockHash: Hex
  readonly transactionHash: Hex
  readonly transactionIndex: number
  readonly logIndex: number
}

const HASH = /^0x[0-9a-f]{64}$/i
const ADDRESS = /^0x[0-9a-f]{40}$/i
const BYTES = /^0x[0-9a-f]*$/i
const BLOOM = /^0x[0-9a-f]{512}$/i

/** `null` where the node has no such block. */
export function readHeader(answer: unknown): Header | null {
  if (answer === null) return null
  const block = object(answer, 'a block')
  const bloom = block['logsBloom']
  return {
    number: readQuantity(block['number'], 'block.number'),
    hash: hex(block['hash'], HASH, 'block.hash'),
    parentHash: hex(block['parentHash'], HASH, 'block.parentHash'),
    timestamp: readQuantity(block['timestamp'], 'block.timestamp'),
    logsBloom: bloom === undefined || bloom === null ? undefined : hex(bloom, BLOOM, 'block.logsBloom'),
  }
}

export function readLogs(answer: unknown): RawLog[] {
  if (!Array.isArray(answer)) throw malformed(`${describe(answer)} where a list of logs has to be`)
  return answer.map(readLog)
}

function readLog(answer: unknown): RawLog {
  const log = object(answer, 'a log')
  if (log['removed'] === true) throw malformed('a log that is marked as removed')
  const topics = log['topics']
  if (!Array.isArray(topics)) throw malformed(`${describe(topics)} where log.topics has to be`)
  return {
    address: hex(log['address'], ADDRESS, 'log.address'),
    topics: topics.map((topic) => hex(topic, HASH, 'log.topics')),
    data: hex(log['data'], BYTES, 'log.data'),
    blockNumber: readQuantity(log['blockNumber'], 'log.blockNumber'),
    blockHash: hex(log['blockHash'], HASH, 'log.blockHash'),
    transactionHash: hex(log['transactionHash'], HASH, 'log.transactionHash'),
    transactionIndex: readQuantity(log['transactionIndex'], 'log.transactionIndex'),
    logIndex: readQuantity(log['logIndex'], 'log.logIndex'),
  }
}

/** The logs of all receipts of one block; `null` where the node has no such block. */
export function readReceiptLogs(answer: unknown): RawLog[] | null {
  if (answer === null) return null
  if (!Array.isArray(answer)) throw malformed(`${describe(answer)} where a list of receipts has to be`)
  return answer.flatMap((receipt) => readLogs(object(receipt, 'a receipt')['logs']))
}

/** A hexadecimal quantity that a number holds exactly. */
export function readQuantity(value: unknown, what: string): number {
  const number = typeof value === 'string' && /^0x[0-9a-f]+$/i.test(value) ? Number(value) : NaN
  if (!Number.isSafeInteger(number)) throw malformed(`${describe(value)} where ${what} has to be`)
  return number
}

export function quantity(value: number): Hex {
  return `0x${value.toString(16)}`
}

function hex(value: unknown, shape: RegExp, what: string): Hex {
  if (typeof value === 'string' && shape.test(value)) return value.toLowerCase() as Hex
  throw malformed(`${describe(value)} where ${what} has to be`)
}

function object(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>
  throw malformed(`${describe(value)} where ${what} has to be`)
}

function describe(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}
