/**
 * A TCP proxy that stands between a client and a server and does to the bytes what networks do: delays them, holds
 * them back, cuts the connection. It runs in a process of its own, so that a busy event loop here changes nothing
 * there. Per direction the order of bytes is kept.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** `up`: from the client to the server. */
export type Direction = 'up' | 'down'

export interface TcpProxyOptions {
  readonly target: { readonly host: string; readonly port: number }
  /** How long every byte is under way, each direction; their sum is the round trip. Default: 0. */
  readonly delayMs?: Partial<Readonly<Record<Direction, number>>> | undefined
}

export interface TcpProxy extends AsyncDisposable {
  /** On 127.0.0.1. */
  readonly port: number
  /** The same connection string, led through the proxy. */
  through(connectionString: string): string
  /** For bytes that arrive from now on. */
  delay(delayMs: Partial<Readonly<Record<Direction, number>>>): Promise<void>
  /** Holds every byte back that has not left yet; connections stay open. */
  pause(direction: Direction): Promise<void>
  resume(direction: Direction): Promise<void>
  /** Resets every open connection on both sides; bytes under way are gone. New connections are taken. */
  kill(): Promise<void>
  /** Ends the process, and with it every connection. Safe to call twice. */
  close(): Promise<void>
}

/** What the process is told, each answered by `{ type: 'done' }`. */
export type ProxyCommand =
  | { readonly type: 'listen'; readonly target: TcpProxyOptions['target'] }
  | { readonly type: 'delay'; readonly delayMs: Partial<Readonly<Record<Direction, number>>> }
  | { readonly type: 'pause' | 'resume'; readonly direction: Direction }
  | { readonly type: 'kill' }

export interface ProxyAnswer {
  readonly type: 'done'
  readonly port: number
}

export async function startTcpProxy({ target, delayMs = {} }: TcpProxyOptions): Promise<TcpProxy> {
  const child = fork(join(import.meta.dirname, 'tcp-proxy-process.ts'), { execArgv: ['--import', 'tsx'] })
  let last: Promise<unknown> = Promise.resolve()
  const ended = once(child, 'exit').then(() => {
    throw new Error('the proxy process has ended')
  })
  ended.catch(() => undefined)

  const tell = (command: ProxyCommand): Promise<ProxyAnswer> => {
    const answer = last.then(async () => {
      child.send(command)
      const [said] = (await Promise.race([once(child, 'message'), ended])) as [ProxyAnswer]
      return said
    })
    last = answer.catch(() => undefined)
    return answer
  }

  const close = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await ended.catch(() => undefined)
  }

  try {
    await tell({ type: 'delay', delayMs })
    const { port } = await tell({ type: 'listen', target })
    return {
      port,
      through(connectionString) {
        const url = new URL(connectionString)
        url.hostname = '127.0.0.1'
        url.port = String(port)
        return url.href
      },
      delay: async (change) => void (await tell({ type: 'delay', delayMs: change })),
      pause: async (direction) => void (await tell({ type: 'pause', direction })),
      resume: async (direction) => void (await tell({ type: 'resume', direction })),
      kill: async () => void (await tell({ type: 'kill' })),
      close,
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
