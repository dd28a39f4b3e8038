/**
 * The server: GET only, no word of it changes anything. It keeps no process alive unless told to, and whatever goes wrong
 * with a viewer ends there.
 *
 *   /              the page
 *   /events        server-sent events
 *   /trace.jsonl   the recording, to be saved
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ConfigurationError, messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import { bracketed, refusalOf } from './admission.ts'
import type { Feed } from './feed.ts'
import { readPage } from './page.ts'
import { Viewer } from './viewer.ts'

export interface ServerOptions {
  readonly host: string
  readonly port: number
  readonly maxViewers: number
  readonly log: Logger
  /** Does an open server keep the process alive? */
  readonly keepsAlive: boolean
  /** A viewer that takes nothing for so long is dropped. */
  readonly slowMs: number
  /** How often it is looked for slow viewers, and for those that vanished without a word. */
  readonly checkMs: number
}

const headers = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
} as const

export class InspectorServer {
  readonly url: string
  readonly #server: Server
  readonly #feed: Feed
  readonly #options: ServerOptions
  readonly #viewers = new Set<Viewer>()
  readonly #check: NodeJS.Timeout
  #closed: Promise<void> | undefined

  /** @throws ConfigurationError `INSPECTOR_ADDRESS` when it cannot listen there */
  static async listen(feed: Feed, options: ServerOptions): Promise<InspectorServer> {
    const server = createServer()
    if (!options.keepsAlive) {
      server.unref()
      server.on('connection', (socket) => socket.unref())
    }
    server.maxConnections = options.maxViewers * 4 + 16
    try {
      server.listen({ host: options.host, port: options.port })
      await once(server, 'listening')
    } catch (cause) {
      throw new ConfigurationError(
        'INSPECTOR_ADDRESS',
        `The inspector cannot listen on ${options.host}, port ${options.port}: ${messageOf(cause)}. Give another port, or 0 for any that is free.`,
        { phase: 'options', cause },
      )
    }
    return new InspectorServer(server, feed, options)
  }

  private constructor(server: Server, feed: Feed, options: ServerOptions) {
    this.#server = server
    this.#feed = feed
    this.#options = options
    const { port } = server.address() as AddressInfo
    this.url = `http://${bracketed(options.host)}:${port}/`
    server.on('request', (request, response) => void this.#answer(request, response))
    server.on('error', (error) => this.#complain(error))
    this.#check = setInterval(() => this.#checkViewers(), options.checkMs).unref()
  }

  /** Viewers at this moment. */
  get viewers(): number {
    return this.#viewers.size
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    clearInterval(this.#check)
    this.#feed.close()
    for (const viewer of this.#viewers) viewer.close()
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  /** Never rejects. */
  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      response.on('error', () => response.destroy())
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
      const refused = refusalOf(request, this.#options.host)
      if (refused !== undefined) {
        if (refused.status === 405) response.setHeader('Allow', 'GET')
        say(response, refused.status, refused.message)
        return
      }
      const [path] = (request.url ?? '/').split('?', 1)
      if (path === '/') await page(response)
      else if (path === '/events') this.#view(request, response)
      else if (path === '/trace.jsonl') await this.#download(response)
      else say(response, 404, 'There is /, /events and /trace.jsonl.')
    } catch (error) {
      this.#complain(error)
      if (response.headersSent) response.destroy()
      else say(response, 500, 'The inspector failed; the log of the process says why.')
    }
  }

  #view(request: IncomingMessage, response: ServerResponse): void {
    if (this.#viewers.size >= this.#options.maxViewers) {
      say(
        response,
        503,
        `There are ${this.#viewers.size} viewers already, as many as may be. Close one of them.`,
      )
      return
    }
    const viewer = new Viewer(request, response)
    this.#viewers.add(viewer)
    response.once('close', () => this.#viewers.delete(viewer))
    this.#feed.serve(viewer)
  }

  async #download(response: ServerResponse): Promise<void> {
    const name = `${this.#feed.name.replaceAll(/[^\w.-]+/g, '-')}.trace.jsonl`
    response.writeHead(200, {
      'Content-Type': 'application/x-ndjson; charset=utf-8',
      'Content-Disposition': `attachment; filename="${name}"`,
    })
    const lines = this.#feed.lines()
    try {
      await pipeline(Readable.from(withNewlines(lines)), response)
    } catch (error) {
      // somebody has gone before the end
      if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
    }
  }

  #checkViewers(): void {
    for (const viewer of this.#viewers) {
      if (viewer.waitingMs >= this.#options.slowMs) viewer.destroy()
      else viewer.keepAlive()
    }
  }

  #complain(error: unknown): void {
    this.#options.log.warn('the inspector could not answer', { error: messageOf(error) })
  }
}

async function page(response: ServerResponse): Promise<void> {
  let found
  try {
    found = await readPage()
  } catch (error) {
    say(
      response,
      503,
      `The page is not part of this build of tailrace (${messageOf(error)}). /events and /trace.jsonl work without it.`,
    )
    return
  }
  response.writeHead(200, {
    'Content-Type': 'text/html; charset=utf-8',
    'Content-Security-Policy': found.policy,
  })
  response.end(found.html)
}

function say(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' })
  response.end(`${message}\n`)
}

async function* withNewlines(lines: Iterable<string> | AsyncIterable<string>): AsyncIterable<string> {
  let chunk = ''
  for await (const line of lines) {
    chunk += `${line}\n`
    if (chunk.length < 65_536) continue
    yield chunk
    chunk = ''
  }
  if (chunk !== '') yield chunk
}
