/**
 * A TCP proxy that stands between a client and a server and does to the bytes what networks do: delays them, holds
 * them back, loses them, cuts the connection; all of it at any time, or when a pattern passes. It runs in a process of its own, so that a busy event loop here changes nothing
 * there. Per direction the order of bytes is kept.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { extname, join } from 'node:path'

/** `up`: from the client to the server. */
export type Direction = 'up' | 'down'

export interface TcpProxyOptions {
  readonly target: { readonly host: string; readonly port: number }
  /** How long every byte is under way, each direction; their sum is the round trip. Default: 0. */
  readonly delayMs?: Partial<Readonly<Record<Direction, number>>> | undefined
}

/**
 * What is done when the bytes of a pattern are about to leave, which then are the first that it concerns (of a pattern
 * in several pieces, the last piece). Of its connection only:
 * - `pass`: nothing; for those who wait for it.
 * - `hang`: they and all that follows are held back in both directions, until released.
 * - `kill`: both sides are reset; they are lost.
 * - `drop`: going up, they arrive, but whatever the server says from then on is lost; going down, they and all that
 *   follows are lost. The connection stays open.
 * - `kill-answer`: going up, they arrive, and both sides are reset when the server says something, which is lost;
 *   going down, as `kill`.
 */
export type ProxyAction = 'pass' | 'hang' | 'kill' | 'drop' | 'kill-answer'

export interface ProxyWatchOptions {
  readonly pattern: string | Uint8Array
  readonly action: ProxyAction
  /** Default: either. */
  readonly direction?: Direction | undefined
  /** For every time that it passes, on whichever connection. Default: for the first only. */
  readonly isRepeated?: boolean | undefined
}

export interface ProxyWatch {
  /** Resolves when the pattern has been seen for the first time and the action has been taken. */
  readonly seen: Promise<void>
  /** Ends the watch; what it holds back goes out. */
  release(): Promise<void>
}

/** Since the start. */
export interface ProxyCounts {
  readonly connections: number
  /**
   * How often clients waited for an answer before they went on: bytes that a client sends before it has had anything
   * to what it sent last are of the same flight. Without a delay a fast server may answer the first of several writes
   * before the last comes in: then they are more.
   */
  readonly flights: number
  /** Pieces in which the bytes of clients came in. */
  readonly writes: number
  /** Of clients. */
  readonly bytes: number
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
  /** Does something when a pattern passes, from now on. */
  watch(options: ProxyWatchOptions): Promise<ProxyWatch>
  counts(): Promise<ProxyCounts>
  /** Ends the process, and with it every connection. Safe to call twice. */
  close(): Promise<void>
}

/** What the process is told, each answered by `{ type: 'done' }`. A pattern is in base64. */
export type ProxyCommand =
  | { readonly type: 'listen'; readonly target: TcpProxyOptions['target'] }
  | { readonly type: 'delay'; readonly delayMs: Partial<Readonly<Record<Direction, number>>> }
  | { readonly type: 'pause' | 'resume'; readonly direction: Direction }
  | { readonly type: 'kill' | 'count' }
  | {
      readonly type: 'watch'
      readonly id: number
      readonly pattern: string
      readonly action: ProxyAction
      readonly direction: Direction | undefined
      readonly isRepeated: boolean
    }
  | { readonly type: 'release'; readonly id: number }

export interface ProxyAnswer {
  readonly type: 'done'
  readonly port: number
  readonly counts: ProxyCounts
}

/** What the process says. */
export type ProxyMessage = ProxyAnswer | { readonly type: 'seen'; readonly id: number }

export async function startTcpProxy({ target, delayMs = {} }: TcpProxyOptions): Promise<TcpProxy> {
  // from source as in the tests, or compiled as in the benchmarks
  const extension = extname(import.meta.filename)
  const child = fork(join(import.meta.dirname, `tcp-proxy-process${extension}`), {
    execArgv: extension === '.ts' ? ['--import', 'tsx'] : [],
  })
  let last: Promise<unknown> = Promise.resolve()
  const ended = once(child, 'exit').then(() => {
    throw new Error('the proxy process has ended')
  })
  ended.catch(() => undefined)
  const whenSeen: (() => void)[] = []
  let whenDone: (answer: ProxyAnswer) => void = () => undefined
  child.on('message', (said: ProxyMessage) => {
    if (said.type === 'seen') whenSeen[said.id]?.()
    else whenDone(said)
  })

  const tell = (command: ProxyCommand): Promise<ProxyAnswer> => {
    const answer = last.then(() => {
      const done = new Promise<ProxyAnswer>((resolve) => (whenDone = resolve))
      child.send(command)
      return Promise.race([done, ended])
    })
    last = answer.catch(() => undefined)
    return answer
  }

  const watch = async (options: ProxyWatchOptions): Promise<ProxyWatch> => {
    const { pattern, action, direction, isRepeated = false } = options
    const bytes = Buffer.from(pattern)
    if (bytes.length === 0) throw new Error('a pattern of no bytes is everywhere')
    let resolveSeen!: () => void
    const first = new Promise<void>((resolve) => (resolveSeen = resolve))
    const id = whenSeen.push(resolveSeen) - 1
    const seen = Promise.race([first, ended])
    seen.catch(() => undefined)
    await tell({ type: 'watch', id, pattern: bytes.toString('base64'), action, direction, isRepeated })
    return { seen, release: async () => void (await tell({ type: 'release', id })) }
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
      watch,
      counts: async () => (await tell({ type: 'count' })).counts,
      close,
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
