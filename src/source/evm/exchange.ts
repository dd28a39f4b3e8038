/**
 * One HTTP exchange of JSON-RPC: a body of one call or a batch there, its results in the order of the calls
 * back.
 */
import { Fault, malformed } from './fault.ts'
import type { HttpAnswer, HttpClient, HttpLimits } from './http.ts'
import { classify } from './too-many.ts'

export interface RpcCall {
  readonly method: string
  readonly params: readonly unknown[]
  /** An error (other than "slow down") counts as `undefined`: the node may not know the method or the tag. */
  readonly optional?: boolean | undefined
}

/** @throws {Fault} of any kind */
export async function exchange(
  http: HttpClient,
  calls: readonly RpcCall[],
  limits: HttpLimits,
): Promise<unknown[]> {
  const requests = calls.map(({ method, params }, index) => ({
    jsonrpc: '2.0',
    id: index + 1,
    method,
    params,
  }))
  const answer = await http.post(JSON.stringify(requests.length === 1 ? requests[0] : requests), limits)
  const parsed = parse(answer, calls)
  if (calls.length === 1)
    return [resultOf(Array.isArray(parsed) ? parsed[0] : parsed, calls[0] as RpcCall, answer)]
  if (!Array.isArray(parsed)) throw batchFault(parsed, calls, answer)
  const byId = new Map(parsed.map((item: unknown) => [isRecord(item) ? Number(item['id']) : NaN, item]))
  return calls.map((call, index) => {
    const item = byId.get(index + 1)
    // An endpoint that refuses a batch may say so once, under no id at all.
    if (item === undefined && parsed.length > 0) throw batchFault(parsed[0], calls, answer)
    return resultOf(item, call, answer)
  })
}

function resultOf(item: unknown, call: RpcCall, answer: HttpAnswer): unknown {
  if (!isRecord(item))
    throw byStatus(answer, [call], `${call.method} was not answered with a JSON-RPC object`)
  const error = item['error']
  if (error !== undefined && error !== null) {
    const fault = errorFault(call.method, error, answer)
    if (call.optional === true && fault.kind !== 'busy') return undefined
    throw fault
  }
  if (!('result' in item))
    throw byStatus(answer, [call], `the answer to ${call.method} has neither a result nor an error`)
  return item['result']
}

function errorFault(method: string, error: unknown, answer: HttpAnswer): Fault {
  const fault = classify(method, isRecord(error) ? error : { message: String(error) })
  if (answer.status === 401 || answer.status === 403)
    return new Fault('refused', `HTTP ${answer.status}: ${fault.message}`)
  if (answer.status === 429 || fault.kind === 'busy') {
    return new Fault('busy', fault.message, { retryAfterMs: answer.retryAfterMs })
  }
  return fault
}

/**
 * One error for a whole batch: it may be about the batch, about the load, or about the one large call in it.
 */
function batchFault(item: unknown, calls: readonly RpcCall[], answer: HttpAnswer): Fault {
  const error = isRecord(item) ? item['error'] : undefined
  if (error === undefined || error === null)
    return byStatus(answer, calls, 'a batch was not answered with a list')
  const logs = calls.find(({ method }) => method === 'eth_getLogs')
  const fault = errorFault(logs?.method ?? (calls[0] as RpcCall).method, error, answer)
  const aboutBatch = fault.kind === 'refused' && answer.status !== 401 && answer.status !== 403
  return aboutBatch ? new Fault('batch', fault.message) : fault
}

function parse(answer: HttpAnswer, calls: readonly RpcCall[]): unknown {
  try {
    return JSON.parse(answer.text)
  } catch {
    throw byStatus(answer, calls, `the answer is not JSON: ${answer.text.slice(0, 120)}`)
  }
}

/** Without a JSON-RPC answer there is only the HTTP status to go by. */
function byStatus(
  { status, retryAfterMs, text }: HttpAnswer,
  calls: readonly RpcCall[],
  otherwise: string,
): Fault {
  const message = `HTTP ${status}: ${text.slice(0, 120).replaceAll(/\s+/g, ' ')}`
  if (status === 429) return new Fault('busy', message, { retryAfterMs })
  if (status === 401 || status === 403 || status === 405 || (status >= 300 && status < 400))
    return new Fault('refused', message)
  if (status === 413)
    return new Fault(calls.some(({ method }) => method === 'eth_getLogs') ? 'tooMany' : 'batch', message)
  if (status === 408 || status === 504 || status === 524) return new Fault('timeout', message)
  if (status === 503) return new Fault('busy', message, { retryAfterMs })
  return status >= 400 ? new Fault('server', message) : malformed(otherwise)
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
