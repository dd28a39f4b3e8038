/**
 * One who looks: a response of server-sent events. It holds at most one socket buffer; whoever feeds it waits until it
 * is ready again, so that a slow viewer costs nobody but itself.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'

/** Where a viewer has read up to: in which recording, and to which message. */
export interface Position {
  readonly at: number
  readonly n: number
}

export class Viewer {
  /** Where it was before its connection broke; undefined: it is new. */
  readonly position: Position | undefined
  readonly #response: ServerResponse
  #since = performance.now()
  #isWaiting = false
  #isGone = false
  #ready: () => void = () => undefined
  #gone: () => void = () => undefined

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#response = response
    this.position = positionOf(request.headers['last-event-id'])
    response.on('drain', () => {
      this.#isWaiting = false
      this.#ready()
    })
    response.on('close', () => this.#leave())
    response.on('error', () => this.#leave())
    response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8' })
    this.#write('retry: 1000\n\n')
  }

  get isReady(): boolean {
    return !this.#isWaiting && !this.#isGone
  }

  get isGone(): boolean {
    return this.#isGone
  }

  /** How long it has not taken what it was sent. */
  get waitingMs(): number {
    return this.#isWaiting ? performance.now() - this.#since : 0
  }

  /** Called whenever it takes more; and once when it has gone. */
  on(ready: () => void, gone: () => void): void {
    this.#ready = ready
    this.#gone = gone
    if (this.#isGone) gone()
  }

  /** @param messages JSON, each on one line */
  send(at: number, messages: readonly { readonly n: number; readonly json: string }[]): void {
    if (messages.length === 0) return
    this.#write(messages.map(({ n, json }) => `id: ${at}.${n}\ndata: ${json}\n\n`).join(''))
  }

  /** A named event, which is no message of the protocol. */
  signal(name: string, data: unknown): void {
    this.#write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`)
  }

  /** Finds out whether it is still there. */
  keepAlive(): void {
    if (this.isReady) this.#write(': still here\n\n')
  }

  close(): void {
    this.#response.end()
    this.#leave()
  }

  destroy(): void {
    this.#response.destroy()
    this.#leave()
  }

  #write(text: string): void {
    if (this.#isGone || this.#response.write(text)) return
    this.#isWaiting = true
    this.#since = performance.now()
  }

  #leave(): void {
    if (this.#isGone) return
    this.#isGone = true
    this.#gone()
  }
}

/** `<beginning of the recording>.<n>`: another recording, or another process at this port, has other ones. */
function positionOf(id: string | string[] | undefined): Position | undefined {
  const found = typeof id === 'string' ? /^(\d{1,15})\.(\d{1,15})$/.exec(id) : null
  return found === null ? undefined : { at: Number(found[1]), n: Number(found[2]) }
}
