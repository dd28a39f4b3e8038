/**
 * An HTTP proxy in front of a real node that does to JSON-RPC what endpoints do on bad days: denies, delays,
 * rewrites, drops, hangs. Everything it does not touch is the node's own answer.
 */
import { createServer, request as requestHttp, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { gzipSync } from 'node:zlib'

export interface ProxiedCall {
  readonly id: number
  readonly method: string
  // eslint-disable-next-line -- what JSON-RPC carries is looked at freely in tests
  readonly params: readonly any[]
}

export interface ProxiedAnswer {
  readonly id: number
  readonly jsonrpc: '2.0'
  // eslint-disable-next-line -- see above
  readonly result?: any
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown }
}

/** A raw answer; `hang` never answers, `drop` cuts the connection. */
export type RawReply =
  | { readonly status: number; readonly body: string; readonly headers?: Readonly<Record<string, string>> }
  | 'hang'
  | 'drop'

export interface Faults {
  /** Instead of asking the node. `undefined`: ask it. */
  readonly instead?: ((calls: readonly ProxiedCall[]) => RawReply | undefined) | undefined
  /** Awaited before the node is asked. */
  readonly before?: ((calls: readonly ProxiedCall[]) => Promise<void> | undefined) | undefined
  /** Rewrites the node's answer to one call. */
  readonly rewrite?:
    ((call: ProxiedCall, answer: ProxiedAnswer, calls: readonly ProxiedCall[]) => ProxiedAnswer) | undefined
}

export interface RpcProxy extends AsyncDisposable {
  readonly url: string
  /** Every call that arrived, oldest first. */
  readonly calls: readonly ProxiedCall[]
  /** Every body that arrived, as the calls in it. */
  readonly exchanges: readonly (readonly ProxiedCall[])[]
  /** What to do to answers from now on; `{}` for nothing. */
  faults: Faults
  /** Connections open now. */
  readonly connections: number
  /** Resolves when no connection is open. */
  idle(): Promise<void>
  close(): Promise<void>
}

export async function startRpcProxy(
  target: string,
  options: { readonly gzip?: boolean } = {},
): Promise<RpcProxy> {
  const sockets = new Set<Socket>()
  const exchanges: ProxiedCall[][] = []
  let waiting: (() => void)[] = []
  const server = createServer((request, response) => {
    void answer(request, response).catch(() => response.destroy())
  })
  // An idle connection stays until the client closes it: whether it does is what tests want to know.
  server.keepAliveTimeout = 0
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => {
      sockets.delete(socket)
      if (sockets.size > 0) return
      for (const resolve of waiting) resolve()
      waiting = []
    })
  })
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const text = await readAll(request)
    const parsed = JSON.parse(text) as ProxiedCall | ProxiedCall[]
    const calls = Array.isArray(parsed) ? parsed : [parsed]
    exchanges.push(calls)
    const { instead, before, rewrite } = proxy.faults
    const raw = instead?.(calls)
    if (raw === 'hang') return
    if (raw === 'drop') return void response.destroy()
    if (raw !== undefined) return void response.writeHead(raw.status, raw.headers).end(raw.body)
    await before?.(calls)
    const answers = JSON.parse(await forward(target, JSON.stringify(calls))) as ProxiedAnswer[]
    const rewritten = answers.map((one) => {
      const call = calls.find(({ id }) => id === one.id)
      return call === undefined ? one : (rewrite?.(call, one, calls) ?? one)
    })
    const body = JSON.stringify(Array.isArray(parsed) ? rewritten : rewritten[0])
    if (options.gzip === true) response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(body))
    else response.writeHead(200, { 'content-type': 'application/json' }).end(body)
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const proxy: RpcProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    exchanges,
    get calls() {
      return exchanges.flat()
    },
    faults: {},
    get connections() {
      return sockets.size
    },
    idle: () => (sockets.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
    [Symbol.asyncDispose]: () => proxy.close(),
  }
  return proxy
}

/** An answer to `call` with this result. */
export function result(call: ProxiedCall, value: unknown): ProxiedAnswer {
  return { jsonrpc: '2.0', id: call.id, result: value }
}

/** An answer to `call` with this error. */
export function rpcError(call: ProxiedCall, code: number, message: string): ProxiedAnswer {
  return { jsonrpc: '2.0', id: call.id, error: { code, message } }
}

/** Number of blocks that an `eth_getLogs` by range asks for; 0 for any other call. */
export function blocksOf({ method, params }: ProxiedCall): number {
  const filter = params[0] as { fromBlock?: string; toBlock?: string } | undefined
  if (method !== 'eth_getLogs' || filter?.fromBlock === undefined) return 0
  return Number(filter.toBlock) - Number(filter.fromBlock) + 1
}

function forward(target: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' }
    const request = requestHttp(target, { method: 'POST', agent: false, headers }, (response) => {
      readAll(response).then(resolve, reject)
    })
    request.on('error', reject)
    request.end(body)
  })
}

async function readAll(stream: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
