/** The process behind `startTcpProxy`. Ends when its parent does. */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import type { Direction, ProxyAction, ProxyCommand, ProxyCounts, ProxyMessage } from './tcp-proxy.ts'

/** A line holds no more than this; then it stops reading, as a full network would. */
const lineBytes = 16 * 1024 * 1024

const delays: Record<Direction, number> = { up: 0, down: 0 }
const paused: Record<Direction, boolean> = { up: false, down: false }
const connections = new Set<Connection>()
const counts = { connections: 0, flights: 0, writes: 0, bytes: 0 } satisfies ProxyCounts

interface Watch {
  readonly pattern: Buffer
  readonly direction: Direction | undefined
  readonly action: ProxyAction
  readonly isRepeated: boolean
}

const watches = new Map<number, Watch>()

interface Item {
  /** null: the sender has ended. */
  readonly chunk: Buffer | null
  readonly due: number
  /** Up: the flight that it is of. Down: the last flight that the server had when it said this. */
  readonly flight: number
  /** What becomes of it instead of being delivered. */
  readonly fate: 'discard' | 'kill' | undefined
  /** It has been looked at; for one that was held. */
  isSeen: boolean
}

/** Two lines, and what is known of both. */
class Connection {
  readonly #up: DelayLine
  readonly #down: DelayLine
  /** Flights: begun by the client, left for the server, answered to the client. */
  #begun = 0
  #left = 0
  #answered = 0
  /** The watch that holds both lines. */
  heldBy: number | undefined
  /** What becomes of all that the server says from now on. */
  #answers: Item['fate']
  /** Ends of what has passed, per watch and direction, in which a pattern may have begun. */
  readonly #tails = new Map<string, Buffer>()

  constructor(client: Socket, upstream: Socket) {
    this.#up = new DelayLine(this, 'up', client, upstream)
    this.#down = new DelayLine(this, 'down', upstream, client)
    connections.add(this)
    counts.connections++
  }

  /** What is due goes out. */
  deliver(): void {
    this.#up.deliver()
    this.#down.deliver()
  }

  reset(): void {
    this.#up.reset()
  }

  close(): void {
    connections.delete(this)
    this.#up.clear()
    this.#down.clear()
  }

  /** Bytes have come in. */
  arrived(direction: Direction, chunk: Buffer | null): Pick<Item, 'flight' | 'fate'> {
    if (direction === 'down') return { flight: this.#left, fate: chunk === null ? undefined : this.#answers }
    if (chunk === null) return { flight: this.#begun, fate: undefined }
    counts.writes++
    counts.bytes += chunk.length
    if (this.#begun === this.#answered) {
      this.#begun++
      counts.flights++
    }
    return { flight: this.#begun, fate: undefined }
  }

  /** Bytes have gone out. */
  passed(direction: Direction, { flight }: Item): void {
    if (direction === 'up') this.#left = flight
    else this.#answered = flight
  }

  /**
   * Bytes are about to go out: does what the watches say that know them.
   * @returns whether they may go
   */
  look(direction: Direction, chunk: Buffer): boolean {
    for (const [id, watch] of watches) {
      if (watch.direction !== undefined && watch.direction !== direction) continue
      if (!this.#has(id, watch.pattern, direction, chunk)) continue
      if (!watch.isRepeated) watches.delete(id)
      const mayGo = this.#act(id, watch.action, direction)
      say({ type: 'seen', id })
      if (!mayGo) return false
    }
    return true
  }

  #has(id: number, pattern: Buffer, direction: Direction, chunk: Buffer): boolean {
    const key = `${id} ${direction}`
    const text = Buffer.concat([this.#tails.get(key) ?? Buffer.alloc(0), chunk])
    const isThere = text.includes(pattern)
    const kept = isThere ? 0 : Math.min(pattern.length - 1, text.length)
    this.#tails.set(key, Buffer.from(text.subarray(text.length - kept)))
    return isThere
  }

  #act(id: number, action: ProxyAction, direction: Direction): boolean {
    switch (action) {
      case 'pass':
        return true
      case 'hang':
        this.heldBy = id
        return false
      case 'kill':
        this.reset()
        return false
      case 'drop':
      case 'kill-answer':
        if (direction === 'up') {
          this.#answers = action === 'drop' ? 'discard' : 'kill'
          return true
        }
        if (action === 'kill-answer') this.reset()
        else this.#down.discard()
        this.#answers = 'discard'
        return false
      default:
        throw new Error(`unreachable: ${String(action satisfies never)}`)
    }
  }
}

/** One direction of one connection: what comes in goes out `delayMs` later. */
class DelayLine {
  readonly #connection: Connection
  readonly #direction: Direction
  readonly #from: Socket
  readonly #to: Socket
  #underWay: Item[] = []
  #bytes = 0
  #blocked = false
  #timer: NodeJS.Timeout | undefined

  constructor(connection: Connection, direction: Direction, from: Socket, to: Socket) {
    this.#connection = connection
    this.#direction = direction
    this.#from = from
    this.#to = to
    from.on('data', (chunk) => this.#take(chunk))
    from.on('end', () => this.#take(null))
    to.on('drain', () => {
      this.#blocked = false
      this.deliver()
    })
    from.on('close', () => connection.close())
  }

  /** What is due goes out; then a timer for the next. */
  deliver(): void {
    clearTimeout(this.#timer)
    const now = performance.now()
    while (!this.#blocked && !paused[this.#direction] && this.#connection.heldBy === undefined) {
      const [next] = this.#underWay
      if (next === undefined) break
      if (next.due > now) {
        this.#timer = setTimeout(() => this.deliver(), next.due - now)
        break
      }
      if (!this.#mayGo(next)) continue
      this.#underWay.shift()
      if (next.chunk === null) this.#to.end()
      else {
        this.#bytes -= next.chunk.length
        this.#blocked = !this.#to.write(next.chunk)
        this.#connection.passed(this.#direction, next)
      }
    }
    if (this.#bytes < lineBytes && this.#from.isPaused()) this.#from.resume()
  }

  /** Drops what is under way; the end of the sender is still passed on. */
  discard(): void {
    this.#underWay = this.#underWay.filter(({ chunk }) => chunk === null)
    this.#bytes = 0
  }

  clear(): void {
    clearTimeout(this.#timer)
    this.#underWay = []
    this.#from.destroy()
  }

  reset(): void {
    this.#from.resetAndDestroy()
    this.#to.resetAndDestroy()
    this.#connection.close()
  }

  /** False: something else has become of it, or of the connection. */
  #mayGo(item: Item): boolean {
    if (item.chunk === null) return true
    if (item.fate === 'kill') {
      this.#connection.reset()
      return false
    }
    if (item.fate === 'discard') {
      this.#underWay.shift()
      this.#bytes -= item.chunk.length
      return false
    }
    if (item.isSeen || watches.size === 0) return true
    item.isSeen = true
    return this.#connection.look(this.#direction, item.chunk)
  }

  #take(chunk: Buffer | null): void {
    const due = performance.now() + delays[this.#direction]
    this.#underWay.push({ chunk, due, isSeen: false, ...this.#connection.arrived(this.#direction, chunk) })
    this.#bytes += chunk?.length ?? 0
    if (this.#bytes >= lineBytes) this.#from.pause()
    if (this.#underWay.length === 1) this.deliver()
  }
}

let target: { readonly host: string; readonly port: number } | undefined

const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
  const upstream = connect({ ...target!, allowHalfOpen: true, noDelay: true })
  // a reset is what the other side is told as well; `close` follows
  client.on('error', () => undefined)
  upstream.on('error', () => undefined)
  new Connection(client, upstream)
})

function deliverAll(): void {
  for (const connection of connections) connection.deliver()
}

function say(message: ProxyMessage): void {
  process.send?.(message)
}

function answer(): void {
  say({
    type: 'done',
    port: (server.address() as AddressInfo | null)?.port ?? 0,
    counts: { ...counts },
  })
}

process.on('disconnect', () => process.exit())
process.on('message', (command: ProxyCommand) => {
  switch (command.type) {
    case 'listen':
      target = command.target
      return void server.listen(0, '127.0.0.1', answer)
    case 'delay':
      Object.assign(delays, command.delayMs)
      break
    case 'pause':
      paused[command.direction] = true
      break
    case 'resume':
      paused[command.direction] = false
      deliverAll()
      break
    case 'kill':
      for (const connection of connections) connection.reset()
      break
    case 'watch':
      watches.set(command.id, { ...command, pattern: Buffer.from(command.pattern, 'base64') })
      break
    case 'release':
      watches.delete(command.id)
      for (const connection of connections) {
        if (connection.heldBy === command.id) connection.heldBy = undefined
      }
      deliverAll()
      break
    case 'count':
      break
    default:
      throw new Error(`unreachable: ${String(command satisfies never)}`)
  }
  answer()
})
