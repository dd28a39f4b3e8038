/**
 * Stands between an indexer and its Postgres, understands the messages that pass, and stops an exchange at a named point
 * until the rig has decided what becomes of it. In the rig's own process: what is tested runs in others.
 */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import {
  endsExchange,
  hasSync,
  isReadyForQuery,
  kindOf,
  Messages,
  splitAt,
  type ExchangeKind,
  type Place,
} from './exchanges.ts'

/** An exchange that stands at its point; nothing passes on its connection until one of these is called. */
export interface Caught {
  readonly proxy: WireProxy
  /** It goes on; also when its client is gone by now: then it comes late. */
  letGo(): void
  /** Both sides see their connection reset, or the server its end, which lets it finish what it has. */
  cut(server: 'reset' | 'end'): void
  /** The client sees a reset; the server hears nothing of it until `letGo`. */
  cutClient(): void
}

interface Trap extends Place {
  readonly caught: (caught: Caught) => void
  /** Before the first byte passes. */
  readonly begins: (() => Promise<void>) | undefined
}

/** Shared by the proxies of all processes of a pipeline: whoever comes first is caught. */
export class Traps {
  #armed: Trap[] = []
  /** Called with every take and resolve that the server has answered, before its client hears it. */
  answered: ((kind: ExchangeKind) => Promise<void>) | undefined

  arm(place: Place, begins?: () => Promise<void>): Promise<Caught> {
    return new Promise((caught) => this.#armed.push({ ...place, caught, begins }))
  }

  /** Of one kind, or all. */
  disarm(kind?: ExchangeKind): void {
    this.#armed = kind === undefined ? [] : this.#armed.filter((armed) => armed.kind !== kind)
  }

  spring(kind: ExchangeKind | undefined): Trap | undefined {
    const trap = this.#armed.find((armed) => armed.kind === kind)
    this.#armed = this.#armed.filter((armed) => armed !== trap)
    return trap
  }
}

export class WireProxy implements AsyncDisposable {
  readonly #lines = new Set<Line>()
  readonly #server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#take(client))
  readonly #target: { readonly host: string; readonly port: number }
  readonly traps: Traps
  #isDown = false

  constructor(target: string, traps = new Traps()) {
    const { hostname, port } = new URL(target)
    this.#target = { host: hostname, port: Number(port) }
    this.traps = traps
  }

  async listen(): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return this
  }

  through(connectionString: string): string {
    const url = new URL(connectionString)
    url.hostname = '127.0.0.1'
    url.port = String((this.#server.address() as AddressInfo).port)
    return url.href
  }

  /** New connections are reset until `up`. */
  refuse(): void {
    this.#isDown = true
  }

  /** Every connection is reset, and new ones are until `up`. */
  down(): void {
    this.refuse()
    for (const line of this.#lines) line.reset()
  }

  up(): void {
    this.#isDown = false
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const line of this.#lines) line.reset()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #take(client: Socket): void {
    client.on('error', () => undefined)
    if (this.#isDown) return void client.resetAndDestroy()
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true })
    const line = new Line(client, server, this)
    this.#lines.add(line)
    server.once('close', () => this.#lines.delete(line))
  }
}

class Line {
  readonly #client: Socket
  readonly #server: Socket
  readonly #proxy: WireProxy
  readonly #said = new Messages('frontend')
  readonly #answers = new Messages('backend')
  #exchange: Buffer[] = []
  /** Exchanges pass one after the other. */
  #last: Promise<void> = Promise.resolve()
  /** Held back from the client. */
  #held: Buffer[] | undefined
  #isAnswered: () => void = () => undefined

  constructor(client: Socket, server: Socket, proxy: WireProxy) {
    this.#client = client
    this.#server = server
    this.#proxy = proxy
    client.on('data', (chunk) => this.#hear(chunk))
    client.on('end', () => this.#hangUp())
    client.on('close', () => this.#hangUp())
    server.on('error', () => undefined)
    server.on('data', (chunk) => this.#answer(chunk))
    server.on('close', () => {
      this.#isAnswered()
      if (this.#held === undefined) client.destroy()
    })
    server.on('end', () => {
      this.#isAnswered()
      if (this.#held === undefined) client.end()
    })
  }

  reset(): void {
    this.#client.resetAndDestroy()
    this.#server.resetAndDestroy()
  }

  #hear(chunk: Buffer): void {
    for (const message of this.#said.take(chunk)) {
      this.#exchange.push(message)
      if (!endsExchange(message)) continue
      const messages = this.#exchange
      this.#exchange = []
      this.#last = this.#last.then(() => this.#pass(messages))
    }
  }

  /** What has come of an exchange goes as well: a client that is killed in the middle has said so much. */
  #hangUp(): void {
    const rest = Buffer.concat([...this.#exchange, this.#said.rest])
    this.#exchange = []
    this.#last = this.#last.then(() => {
      if (!this.#server.destroyed) this.#server.end(rest)
    })
  }

  #answer(chunk: Buffer): void {
    const messages = this.#answers.take(chunk)
    if (this.#held === undefined) this.#client.write(chunk)
    else this.#held.push(chunk)
    if (messages.some(isReadyForQuery)) this.#isAnswered()
  }

  async #pass(messages: readonly Buffer[]): Promise<void> {
    const kind = kindOf(messages)
    const { traps } = this.#proxy
    const trap = traps.spring(kind)
    const isWatched = (kind === 'take' || kind === 'resolve') && traps.answered !== undefined
    if (trap === undefined && !isWatched) return this.#write(Buffer.concat(messages))
    await trap?.begins?.()
    const [now, later] = splitAt(messages, trap?.point ?? 'before the answer')
    this.#held = []
    const answered = new Promise<void>((resolve) => (this.#isAnswered = resolve))
    if (this.#server.destroyed || this.#server.readableEnded) this.#isAnswered()
    this.#write(now)
    if (trap === undefined || (hasSync(trap.point) && trap.point !== 'after Sync')) {
      await answered
      if (isWatched) await traps.answered?.(kind)
    }
    if (trap === undefined) return this.#release()
    this.#partOfAnswer(trap)
    await this.#stop(trap, later)
  }

  #partOfAnswer({ point }: Trap): void {
    const all = Buffer.concat(this.#held!)
    const share = point === 'in the middle of the answer' ? 0.5 : point === 'after the answer' ? 1 : 0
    const length = Math.ceil(all.length * share)
    if (!this.#client.destroyed) this.#client.write(all.subarray(0, length))
    this.#held = [all.subarray(length)]
  }

  #stop(trap: Trap, later: Buffer): Promise<void> {
    return new Promise((resolve) => {
      let isOver = false
      const decide = (what: () => void) => {
        if (isOver) return
        isOver = true
        what()
        resolve()
      }
      trap.caught({
        proxy: this.#proxy,
        letGo: () =>
          decide(() => {
            this.#write(later)
            this.#release()
          }),
        cut: (server) =>
          decide(() => {
            this.#client.resetAndDestroy()
            if (server === 'reset') this.#server.resetAndDestroy()
            else this.#server.end()
          }),
        cutClient: () => void this.#client.resetAndDestroy(),
      })
    })
  }

  #write(bytes: Buffer): void {
    if (!this.#server.destroyed && this.#server.writable) this.#server.write(bytes)
  }

  #release(): void {
    const held = this.#held ?? []
    this.#held = undefined
    if (this.#client.destroyed) return
    this.#client.write(Buffer.concat(held))
    // what ended meanwhile
    if (this.#server.destroyed || this.#server.readableEnded) this.#client.end()
  }
}
