/**
 * One JSON body there, one body back, over sockets that belong to the caller: Node's `fetch` keeps its idle
 * sockets in a pool that nobody else can close (I16).
 */
import { request as requestHttp, Agent as HttpAgent, type IncomingMessage } from 'node:http'
import { request as requestHttps, Agent as HttpsAgent } from 'node:https'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import type { Duplex, Readable } from 'node:stream'
import { Fault } from './fault.ts'

export interface HttpAnswer {
  readonly status: number
  readonly retryAfterMs: number | undefined
  readonly text: string
}

export interface HttpLimits {
  readonly timeoutMs: number
  readonly maxBytes: number
  readonly signal: AbortSignal
}

export class HttpClient {
  readonly #url: URL
  readonly #headers: Readonly<Record<string, string>>
  readonly #agent: HttpAgent

  constructor(url: URL, headers: Readonly<Record<string, string>>) {
    this.#url = url
    this.#headers = headers
    this.#agent =
      url.protocol === 'https:' ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true })
  }

  /** Closes every socket, in use or idle. */
  close(): void {
    this.#agent.destroy()
  }

  /**
   * @throws {Fault} `unreachable`, `timeout` or (answer larger than `maxBytes`) `tooMany`; the signal's
   * reason when aborted.
   */
  async post(body: string, { timeoutMs, maxBytes, signal }: HttpLimits): Promise<HttpAnswer> {
    signal.throwIfAborted()
    const send = this.#url.protocol === 'https:' ? requestHttps : requestHttp
    const request = send(this.#url, {
      method: 'POST',
      agent: this.#agent,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        accept: 'application/json',
        'accept-encoding': 'gzip, deflate, br',
        ...this.#headers,
      },
    })
    const stop = (reason: unknown): void =>
      void request.destroy(reason instanceof Error ? reason : new Error('aborted'))
    const onAbort = (): void => stop(signal.reason)
    const late = new Fault('timeout', `no complete answer within ${timeoutMs} ms`)
    const timer = setTimeout(stop, timeoutMs, late)
    signal.addEventListener('abort', onAbort, { once: true })
    // What destroys the request destroys its body too, with an error of Node's own: the first cause is kept
    // here.
    let failure: unknown
    request.on('error', (error) => (failure ??= error))
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        request.once('response', resolve)
        request.once('close', () => reject(failure ?? new Error('the connection was closed')))
        request.end(body)
      })
      const text = await readText(response, maxBytes)
      return { status: response.statusCode ?? 0, retryAfterMs: retryAfter(response), text }
    } catch (error) {
      request.destroy()
      signal.throwIfAborted()
      if (failure instanceof Fault) throw failure
      if (error instanceof Fault) throw error
      const cause = failure ?? error
      throw new Fault('unreachable', causeText(cause), { cause })
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }
}

async function readText(response: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of decompressed(response)) {
    bytes += (chunk as Buffer).length
    if (bytes > maxBytes) throw new Fault('tooMany', `the answer is larger than ${maxBytes} bytes`)
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks, bytes).toString('utf8')
}

function decompressed(response: IncomingMessage): Readable {
  const unpack = unpacker(response.headers['content-encoding'])
  if (unpack === undefined) return response
  response.on('error', (error) => unpack.destroy(error))
  return response.pipe(unpack)
}

function unpacker(encoding: string | undefined): Duplex | undefined {
  switch (encoding) {
    case 'gzip':
      return createGunzip()
    case 'deflate':
      return createInflate()
    case 'br':
      return createBrotliDecompress()
    default:
      return undefined
  }
}

/** `Retry-After` in seconds or as a date. */
function retryAfter(response: IncomingMessage): number | undefined {
  const value = response.headers['retry-after']
  if (value === undefined) return undefined
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now()
  return Number.isFinite(ms) && ms > 0 ? ms : undefined
}

function causeText(cause: unknown): string {
  if (cause instanceof AggregateError) return cause.errors.map(causeText).join('; ')
  return cause instanceof Error ? cause.message : String(cause)
}
