/**
 * Redis servers of one's own on 127.0.0.1: the `redis-server` (or `valkey-server`) in PATH, or Debian's package,
 * unpacked beside (nothing is installed). They are children of ours in temporary folders, ended by their own pid;
 * when we are killed they go as well. Where no binary can be had, whoever asks is told why.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { unpackDebian, withLibraries } from './debian-package.ts'

const run = promisify(execFile)

export interface RedisBinary {
  readonly file: string
  /** For LD_LIBRARY_PATH; empty for an installed one. */
  readonly libraries: string
  /** `7.0.15`. */
  readonly version: string
  readonly isValkey: boolean
}

const packages = ['redis-server', 'redis-tools', 'liblzf1', 'libjemalloc2', 'libatomic1']

/** @returns a reason, where there is none */
export async function findRedis(): Promise<RedisBinary | string> {
  const installed = (await inspect('redis-server', '')) ?? (await inspect('valkey-server', ''))
  if (installed !== undefined) return installed
  const unpacked = await unpackDebian('redis', packages)
  if (typeof unpacked === 'string')
    return `neither redis-server nor valkey-server is in PATH, and ${unpacked}`
  const { root, libraries } = unpacked
  return (
    (await inspect(join(root, 'usr/bin/redis-server'), libraries)) ?? 'the unpacked Redis does not run here'
  )
}

async function inspect(file: string, libraries: string): Promise<RedisBinary | undefined> {
  try {
    const { stdout } = await run(file, ['--version'], { env: withLibraries(libraries) })
    const version = /\bv=(\d[\w.]*)/.exec(stdout)?.[1]
    return version === undefined ? undefined : { file, libraries, version, isValkey: /valkey/i.test(stdout) }
  } catch {
    return undefined
  }
}

export interface RedisOptions {
  /** Default: a free one. */
  readonly port?: number | undefined
  /** More settings, as `['--maxmemory', '10mb']`. They win over those given here. */
  readonly args?: readonly string[] | undefined
}

export interface RedisServer extends AsyncDisposable {
  readonly host: '127.0.0.1'
  readonly port: number
  readonly url: string
  /** Its own, gone after dispose. */
  readonly folder: string
  /** Of the process that runs now; undefined when there is none. */
  readonly pid: number | undefined
  /** Neither killed nor frozen. */
  readonly isRunning: boolean
  /** One connected client to look with, always the same; it connects again after a restart. Closed on dispose. */
  client(): Promise<Redis>
  /** Stops the process; connections stay open and are still taken, nothing is answered. */
  freeze(): void
  thaw(): void
  /** As a crash, and waits for the end. What is in memory is lost, unless `args` have `--appendonly yes`. */
  kill(): Promise<void>
  /** A new process on the same port. What a running one holds is in it again, unless it shall be empty. */
  restart(options?: { readonly empty?: boolean | undefined }): Promise<void>
}

/** Starts one and waits until it answers. Whoever starts one disposes of it (`await using`). */
export async function startRedis(binary: RedisBinary, options: RedisOptions = {}): Promise<RedisServer> {
  return startServer(binary, options.port ?? (await freePort()), () => [
    '--save',
    '',
    '--appendonly',
    'no',
    ...(Number.parseInt(binary.version, 10) >= 7 ? ['--enable-debug-command', 'yes'] : []),
    ...(options.args ?? []),
  ])
}

/**
 * A server or a Sentinel.
 * @param argsFor its folder: what stands in the command line before (a file) or beside our own arguments
 */
export async function startServer(
  binary: RedisBinary,
  port: number,
  argsFor: (folder: string) => readonly string[] | Promise<readonly string[]>,
): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'tailrace-redis-'))
  const server = new ChildServer(binary, port, folder)
  try {
    await server.start(await argsFor(folder))
    return server
  } catch (error) {
    await server[Symbol.asyncDispose]()
    throw error
  }
}

const startTimeoutMs = 20_000

class ChildServer implements RedisServer {
  readonly host = '127.0.0.1'
  readonly port: number
  readonly url: string
  readonly folder: string
  readonly #binary: RedisBinary
  #args: readonly string[] = []
  /** The process that runs, and the shell that ends it when we are gone. */
  #child:
    { readonly process: ChildProcess; readonly exited: Promise<unknown>; readonly guard: Guard } | undefined
  #isFrozen = false
  #looking: Redis | undefined
  #log = ''

  constructor(binary: RedisBinary, port: number, folder: string) {
    this.#binary = binary
    this.port = port
    this.folder = folder
    this.url = `redis://127.0.0.1:${port}`
  }

  get pid(): number | undefined {
    return this.#child?.process.pid
  }

  get isRunning(): boolean {
    return this.#child !== undefined && !this.#isFrozen
  }

  async start(args = this.#args): Promise<void> {
    this.#args = args
    const own = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.folder]
    const [first = ''] = args
    const all = first.startsWith('--') ? [...own, ...args] : [first, ...own, ...args.slice(1)]
    const child = spawn(this.#binary.file, all, {
      env: withLibraries(this.#binary.libraries),
      stdio: ['ignore', 'pipe', 'pipe'],
      // In a process group of its own: Ctrl-C reaches us, who then stop it when nothing needs it any more.
      detached: true,
    })
    // an error: there is no such program
    const exited = Promise.race([once(child, 'exit'), once(child, 'error')]).catch(() => undefined)
    const started = { process: child, exited, guard: guardOf(child.pid, this.folder) }
    this.#child = started
    const keep = (chunk: Buffer) => void (this.#log = (this.#log + chunk.toString()).slice(-2_000))
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    void exited.then(async () => {
      if (this.#child === started) this.#child = undefined
      await started.guard.dismiss()
    })
    await until(`Redis answers on port ${this.port}`, async () => {
      if (this.#child === undefined) throw new Error(`Redis has ended: ${this.#log}`)
      return answers(this.port, child.pid)
    })
    // it is loaded; after the next crash it would be old
    await rm(join(this.folder, 'dump.rdb'), { force: true })
  }

  async client(): Promise<Redis> {
    if (this.#child === undefined) throw new Error(`the Redis of port ${this.port} does not run`)
    if (this.#looking === undefined) {
      this.#looking = new Redis({
        host: this.host,
        port: this.port,
        retryStrategy: () => 20,
        maxRetriesPerRequest: 100,
      })
      this.#looking.on('error', () => undefined)
    }
    const client = this.#looking
    // not `once`: each vain attempt is an `error`
    if (client.status !== 'ready') await new Promise<void>((resolve) => client.once('ready', () => resolve()))
    return client
  }

  freeze(): void {
    this.#child?.process.kill('SIGSTOP')
    this.#isFrozen = true
  }

  thaw(): void {
    this.#child?.process.kill('SIGCONT')
    this.#isFrozen = false
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    child.process.kill('SIGKILL')
    await child.exited
    await child.guard.dismiss()
    this.#isFrozen = false
  }

  async restart({ empty = false }: { readonly empty?: boolean | undefined } = {}): Promise<void> {
    this.thaw()
    const isSentinel = this.#args.includes('--sentinel')
    if (this.isRunning && !empty && !isSentinel) await (await this.client()).save()
    await this.kill()
    if (empty) {
      for (const data of ['dump.rdb', 'appendonlydir', 'appendonly.aof']) {
        await rm(join(this.folder, data), { recursive: true, force: true })
      }
    }
    await this.start()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#looking?.disconnect()
    await this.kill()
    await rm(this.folder, { recursive: true, force: true })
  }
}

interface Guard {
  dismiss(): Promise<unknown>
}

/**
 * Ends the process and removes its folder when we are gone, however that came about (a test runner kills its workers):
 * a shell that waits for the end of a pipe, whose other end only we hold.
 */
function guardOf(pid: number | undefined, folder: string): Guard {
  if (pid === undefined) return { dismiss: () => Promise.resolve() }
  const guard = spawn(
    'sh',
    [
      '-c',
      'read -r _; kill -9 "$0" 2>/dev/null; rm -rf "$1" || { sleep 1; rm -rf "$1"; }',
      String(pid),
      folder,
    ],
    {
      stdio: ['pipe', 'ignore', 'ignore'],
      // Not in our process group: what is sent to the group must not end the guard before the server.
      detached: true,
    },
  )
  const gone = once(guard, 'exit').catch(() => undefined)
  return {
    dismiss: () => {
      guard.kill('SIGKILL')
      return gone
    },
  }
}

/** True once the process takes commands there, and not another that has the port; one with a password is believed. */
function answers(port: number, pid: number | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    let said = ''
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\nINFO server\r\n'))
    socket.on('data', (chunk) => {
      said += chunk.toString()
      const process = /\nprocess_id:(\d+)\r/.exec(said)?.[1]
      if (process === undefined && !said.startsWith('-')) return
      resolve((process === String(pid) && said.startsWith('+PONG')) || said.startsWith('-NOAUTH'))
      socket.destroy()
    })
    socket.on('error', () => resolve(false))
    socket.on('close', () => resolve(false))
    socket.setTimeout(1_000, () => socket.destroy())
  })
}

/** Asks again and again, for things that nobody tells of. */
export async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + startTimeoutMs
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`waited ${startTimeoutMs} ms in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/**
 * A port that it and its cluster bus (10,000 above) may have. Below those that the system gives to outgoing
 * connections: it has to be free still when a server comes back, and a client that calls it in between must not reach
 * itself.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 11_000 + Math.floor(Math.random() * 11_000)
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1')
  return once(server, 'listening').then(
    async () => {
      server.close()
      await once(server, 'close')
      return true
    },
    () => false,
  )
}

/** What was held, in the order of its start; the first error is thrown when all have been asked. */
export async function disposeAll(held: readonly AsyncDisposable[]): Promise<void> {
  const results = await Promise.allSettled(held.map((one) => one[Symbol.asyncDispose]()))
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

/** All at once; if one does not start, none is left. */
export async function startAll<T extends AsyncDisposable>(starts: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(starts)
  const started = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const failed = results.find((result) => result.status === 'rejected')
  if (failed === undefined) return started
  await disposeAll(started)
  throw failed.reason
}
