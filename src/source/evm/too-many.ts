/**
 * Reads a JSON-RPC error. The codes do not say enough (-32005 is Infura's "too many results" and its "slow
 * down", -32602 is reth's range limit and everybody's bad parameter), so the wording decides first.
 * `test/evm/too-many.test.ts` holds the wordings of the known nodes and providers.
 */
import { Fault } from './fault.ts'

/** The error member of a JSON-RPC answer. */
export interface RpcErrorObject {
  readonly code?: unknown
  readonly message?: unknown
  readonly data?: unknown
}

const BUSY =
  /rate.?limit|too many requests|requests? (?:rate|limit|count)|compute units|throughput|capacity|per second|quota|credits|throttl|try again (?:later|in)|over(?:loaded| capacity)|no (?:healthy )?backends?/i
const BATCH = /\bbatch(?:es|ed|ing)?\b/i
/** The node does not have the blocks yet. */
const LAGGING =
  /beyond (?:the )?(?:current |latest )?head|unknown block|block height is \d+ but|(?:header|block)\b.{0,40}not (?:found|available)|invalid block range|(?:after|greater than|exceeds?) (?:the )?(?:last accepted|latest|current|chain) (?:block|head)|too far in the future|is syncing/i
const TOO_MANY = [
  /more than [\d,]+ (?:results|logs|records|events)/i,
  /too many (?:logs|results|blocks|events)/i,
  /exceed\w* (?:the )?(?:max(?:imum)?|allowed|limit|range|server)/i,
  /block range/i,
  /ranges? .*(?:too|limit|exceed|bigger|greater|large|wide|max|not supported)/i,
  /max(?:imum)?\b.*(?:range|blocks)/i,
  /max results/i,
  /limited to (?:a |0 - )?[\d,.]+/i,
  /exceeds limit of \d+/i,
  /(?:response|result|log|output).{0,20}(?:too (?:large|big|long)|size|limit)/i,
  /too large|too wide|too big/i,
  /narrow your filter|smaller than size|blocks distance|at most [\d,.]+ blocks/i,
]
const SLOW = /timed? ?out|deadline exceeded|took too long|too long to|query duration|context cancell?ed/i

/** What the error means for the one who asked. `method`: only `eth_getLogs` can ask for less. */
export function classify(method: string, error: RpcErrorObject): Fault {
  const code = typeof error.code === 'number' ? error.code : Number(error.code)
  const text = wording(error)
  const message = `${text}${Number.isNaN(code) ? '' : ` (code ${code})`}`
  if (code === 429) return new Fault('busy', message)
  if (BATCH.test(text)) return new Fault('batch', message)
  if (BUSY.test(text)) return new Fault('busy', message)
  if (LAGGING.test(text)) return new Fault('unsteady', message)
  if (method === 'eth_getLogs') {
    if (TOO_MANY.some((pattern) => pattern.test(text))) return new Fault('tooMany', message, suggestion(text))
    if (SLOW.test(text)) return new Fault('timeout', message)
    if (code === -32005) return new Fault('tooMany', message)
  }
  if (SLOW.test(text)) return new Fault('timeout', message)
  if (code === -32005) return new Fault('busy', message)
  // Some endpoints refuse a method with a code of their own.
  if (
    /method\b.*(?:not (?:found|available|supported|exist|allowed)|does ?n[o']t exist|disabled)/i.test(text)
  ) {
    return new Fault('refused', message)
  }
  const final =
    code === -32601 || code === -32602 || code === -32600 || code === -32004 || code === 401 || code === 403
  return new Fault(final ? 'refused' : 'server', message)
}

function wording(error: RpcErrorObject): string {
  const message = typeof error.message === 'string' ? error.message : 'an error without a message'
  if (error.data === undefined || error.data === null) return message
  const data = typeof error.data === 'string' ? error.data : JSON.stringify(error.data)
  return data === '{}' || message.includes(data) ? message : `${message}: ${data.slice(0, 500)}`
}

const HEX_RANGE = /\[\s*(0x[0-9a-f]+)\s*,\s*(0x[0-9a-f]+)\s*\]/i
const DECIMAL_RANGE = /range:? (\d+)-(\d+)/i
const LIMIT =
  /(?:limited to|at most|up to|limit of|limit|distance:|max(?:imum)?(?: allowed)?(?: block)?(?: range)?(?: is| of| set to| is set to)*:?|requested blocks is|greater than|exceeds|smaller than size|over|narrow your filter:)\s*(?:an? |0 - )?(\d[\d,.]*)\s*(k\b)?/gi

/** A hint only: the planner never takes one that is not smaller than what was refused. */
function suggestion(text: string): { blocks?: number; always?: boolean } {
  const hex = HEX_RANGE.exec(text)
  if (hex !== null) return within(Number(hex[1]), Number(hex[2]))
  const decimal = DECIMAL_RANGE.exec(text)
  if (decimal !== null) return within(Number(decimal[1]), Number(decimal[2]))
  const plan = /\(\d+ > (\d+)\)/.exec(text)
  if (plan !== null) return { blocks: Number(plan[1]), always: true }
  // A limit of results or bytes says nothing about blocks.
  if (
    !/range|block|distance|smaller than size/i.test(text) ||
    /results|bytes|logs (?:matched|per)/i.test(text)
  )
    return {}
  const limits = [...text.matchAll(LIMIT)].map(
    ([, digits = '', kilo]) => Number(digits.replace(/[,.]/g, '')) * (kilo === undefined ? 1 : 1_000),
  )
  const blocks = Math.min(...limits)
  return Number.isSafeInteger(blocks) && blocks >= 1 ? { blocks, always: true } : {}
}

function within(from: number, to: number): { blocks?: number; always?: boolean } {
  const blocks = to - from + 1
  return Number.isSafeInteger(blocks) && blocks >= 1 ? { blocks } : {}
}
