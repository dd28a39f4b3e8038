/** The process behind `startTcpProxy`. Ends when its parent does. */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import type { Direction, ProxyAnswer, ProxyCommand } from './tcp-proxy.ts'

/** A line holds no more than this; then it stops reading, as a full network would. */
const lineBytes = 16 * 1024 * 1024

const delays: Record<Direction, number> = { up: 0, down: 0 }
const paused: Record<Direction, boolean> = { up: false, down: false }
const lines = new Set<DelayLine>()

/** One direction of one connection: what comes in goes out `delayMs` later. */
class DelayLine {
  readonly #direction: Direction
  readonly #from: Socket
  readonly #to: Socket
  /** null: the sender has ended. */
  readonly #underWay: { readonly chunk: Buffer | null; readonly due: number }[] = []
  #bytes = 0
  #blocked = false
  #timer: NodeJS.Timeout | undefined

  constructor(direction: Direction, from: Socket, to: Socket) {
    this.#direction = direction
    this.#from = from
    this.#to = to
    from.on('data', (chunk) => this.#take(chunk))
    from.on('end', () => this.#take(null))
    to.on('drain', () => {
      this.#blocked = false
      this.deliver()
    })
    from.on('close', () => this.#close())
    to.on('close', () => this.#close())
    lines.add(this)
  }

  /** What is due goes out; then a timer for the next. */
  deliver(): void {
    clearTimeout(this.#timer)
    const now = performance.now()
    while (!this.#blocked && !paused[this.#direction]) {
      const [next] = this.#underWay
      if (next === undefined) break
      if (next.due > now) {
        this.#timer = setTimeout(() => this.deliver(), next.due - now)
        break
      }
      this.#underWay.shift()
      if (next.chunk === null) this.#to.end()
      else {
        this.#bytes -= next.chunk.length
        this.#blocked = !this.#to.write(next.chunk)
      }
    }
    if (this.#bytes < lineBytes && this.#from.isPaused()) this.#from.resume()
  }

  reset(): void {
    this.#from.resetAndDestroy()
    this.#to.resetAndDestroy()
  }

  #take(chunk: Buffer | null): void {
    this.#underWay.push({ chunk, due: performance.now() + delays[this.#direction] })
    this.#bytes += chunk?.length ?? 0
    if (this.#bytes >= lineBytes) this.#from.pause()
    if (this.#underWay.length === 1) this.deliver()
  }

  #close(): void {
    clearTimeout(this.#timer)
    this.#underWay.length = 0
    this.#from.destroy()
    this.#to.destroy()
    lines.delete(this)
  }
}

let target: { readonly host: string; readonly port: number } | undefined

const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
  const upstream = connect({ ...target!, allowHalfOpen: true, noDelay: true })
  // a reset is what the other side is told as well; `close` follows
  client.on('error', () => undefined)
  upstream.on('error', () => undefined)
  new DelayLine('up', client, upstream)
  new DelayLine('down', upstream, client)
})

function deliverAll(): void {
  for (const line of lines) line.deliver()
}

function answer(): void {
  const said: ProxyAnswer = { type: 'done', port: (server.address() as AddressInfo | null)?.port ?? 0 }
  process.send?.(said)
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
      for (const line of lines) line.reset()
      break
    default:
      throw new Error(`unreachable: ${String(command satisfies never)}`)
  }
  answer()
})
