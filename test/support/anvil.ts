/**
 * A real EVM node of one's own: the `anvil` binary of the installed platform package, started as our child
 * (not through the package's wrapper, which outlives its killing), on a free port, stopped by its own pid and
 * waited for. Used by the tests and by the demo.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { accessSync, chmodSync, constants } from 'node:fs'
import { request as requestHttp, Agent } from 'node:http'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

export interface AnvilOptions {
  /** Default 31,337. */
  readonly chainId?: number | undefined
  /** `finalized` is the head minus twice this. Default 32. */
  readonly slotsInAnEpoch?: number | undefined
  /** Gas per block. Default 1,000,000,000: some 20,000 token transfers. */
  readonly gasLimit?: number | undefined
  /** A block for every transaction. Default off: blocks come from `mine`. */
  readonly automine?: boolean | undefined
  /** More arguments for the binary, see `anvil --help`. */
  readonly args?: readonly string[] | undefined
}

/** A call of one JSON-RPC method. */
export type AnvilCall = readonly [method: string, params: readonly unknown[]]

/** What `eth_sendTransaction` takes, without a nonce, and which of the new blocks it goes into, from 0. */
export type ReorgTransaction = readonly [transaction: Readonly<Record<string, string>>, block: number]

export interface Anvil extends AsyncDisposable {
  readonly url: string
  readonly chainId: number
  readonly pid: number
  /** One call. Rejects with the node's message. */
  request<T = unknown>(method: string, params?: readonly unknown[]): Promise<T>
  /** Many calls in one body; results in order. Rejects with the first error. */
  batch<T = unknown>(calls: readonly AnvilCall[]): Promise<T[]>
  /** Mines blocks, one second apart; pending transactions go into the first. */
  mine(blocks?: number): Promise<void>
  /** Height of the newest block. */
  head(): Promise<number>
  /** Replaces the newest `depth` blocks by as many others, which hold these transactions and no others. */
  reorg(depth: number, transactions?: readonly ReorgTransaction[]): Promise<void>
  /** Ends the process and waits for it. Safe to call twice. */
  stop(): Promise<void>
}

const START_TIMEOUT_MS = 20_000
/** Genesis of every chain that the tests make, so that time stamps do not depend on the day. */
const GENESIS_SECONDS = 1_700_000_000

/**
 * The binary itself: `ANVIL_PATH`, or the one in the platform's package (whose install scripts need not have
 * run).
 */
export function anvilBinary(): string {
  const given = process.env['ANVIL_PATH']
  if (given !== undefined && given !== '') return given
  const arch = process.arch === 'x64' ? 'amd64' : process.arch
  const system = process.platform === 'win32' ? 'win32' : process.platform
  const name = `@foundry-rs/anvil-${system}-${arch}`
  let folder: string
  try {
    folder = dirname(createRequire(import.meta.url).resolve(`${name}/package.json`))
  } catch (cause) {
    throw new Error(`${name} is not installed: npm install --include=optional, or set ANVIL_PATH`, { cause })
  }
  const binary = join(folder, 'bin', process.platform === 'win32' ? 'anvil.exe' : 'anvil')
  try {
    accessSync(binary, constants.X_OK)
  } catch {
    chmodSync(binary, 0o755)
  }
  return binary
}

/** Starts a node and waits until it listens. Whoever starts one stops it (`await using`). */
export async function startAnvil(options: AnvilOptions = {}): Promise<Anvil> {
  const chainId = options.chainId ?? 31_337
  const child = spawn(
    anvilBinary(),
    [
      '--port=0',
      `--chain-id=${chainId}`,
      `--slots-in-an-epoch=${options.slotsInAnEpoch ?? 32}`,
      `--gas-limit=${options.gasLimit ?? 1_000_000_000}`,
      `--timestamp=${GENESIS_SECONDS}`,
      '--order=fifo',
      '--auto-impersonate',
      '--no-request-size-limit',
      ...(options.automine === true ? [] : ['--no-mining']),
      ...(options.args ?? []),
    ],
    // In a process group of its own: Ctrl-C reaches us, who then stop it when nothing needs it any more.
    { stdio: ['ignore', 'pipe', 'pipe'], detached: process.platform !== 'win32' },
  )
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const guard = child.pid === undefined ? undefined : killWithUs(child.pid)
  try {
    const url = `http://${await listening(child)}`
    const agent = new Agent({ keepAlive: true })
    const batch = batchOver(url, agent)
    const stop = async (): Promise<void> => {
      agent.destroy()
      await guard?.dismiss()
      child.kill('SIGTERM')
      await exited
    }
    let stopping: Promise<void> | undefined
    const anvil: Anvil = {
      url,
      chainId,
      pid: child.pid as number,
      batch,
      request: async <T>(method: string, params: readonly unknown[] = []) =>
        (await batch<T>([[method, params]]))[0] as T,
      mine: async (blocks = 1) => void (await anvil.request('anvil_mine', [hex(blocks), '0x1'])),
      head: async () => Number(await anvil.request('eth_blockNumber')),
      reorg: async (depth, transactions = []) =>
        void (await anvil.request('anvil_reorg', [depth, transactions])),
      stop: () => (stopping ??= stop()),
      [Symbol.asyncDispose]: () => anvil.stop(),
    }
    return anvil
  } catch (error) {
    await guard?.dismiss()
    if (child.kill('SIGKILL')) await exited
    throw error
  }
}

/**
 * Ends process `pid` when we are gone, however that came about (a test runner kills its workers): a shell that
 * waits for the end of a pipe, whose other end only we hold. Not on Windows.
 */
function killWithUs(pid: number): { dismiss(): Promise<void> } {
  if (process.platform === 'win32') return { dismiss: () => Promise.resolve() }
  const guard = spawn('sh', ['-c', 'read -r _; kill -9 "$0" 2>/dev/null', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // Not in our process group: what is sent to the group must not end the guard before the node.
    detached: true,
  })
  const gone = new Promise<void>((resolve) =>
    guard.once('exit', () => resolve()).once('error', () => resolve()),
  )
  return {
    dismiss: () => {
      guard.kill('SIGKILL')
      return gone
    },
  }
}

/** A number as JSON-RPC wants it. */
export function hex(value: number | bigint): `0x${string}` {
  return `0x${value.toString(16)}`
}

/** The address in the line "Listening on 127.0.0.1:…". */
function listening(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = ''
    const timer = setTimeout(() => fail(`did not listen within ${START_TIMEOUT_MS} ms`), START_TIMEOUT_MS)
    const fail = (reason: string): void => {
      clearTimeout(timer)
      reject(new Error(`anvil ${reason}: ${output.slice(-2_000)}`))
    }
    const onData = (chunk: Buffer): void => {
      output += chunk.toString()
      const address = /Listening on (\S+)/.exec(output)?.[1]
      if (address === undefined) return
      clearTimeout(timer)
      child.off('exit', onExit)
      // Read on, so that a full pipe never stops the node.
      child.stdout?.off('data', onData).resume()
      child.stderr?.off('data', onData).resume()
      resolve(address)
    }
    const onExit = (code: number | null): void => fail(`ended with ${code}`)
    child.stdout?.on('data', onData)
    child.stderr?.on('data', onData)
    child.once('exit', onExit)
    child.once('error', (error) => fail(error.message))
  })
}

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: { readonly message: string }
}

function batchOver(url: string, agent: Agent): Anvil['batch'] {
  return async <T>(calls: readonly AnvilCall[]) => {
    if (calls.length === 0) return []
    const body = JSON.stringify(calls.map(([method, params], id) => ({ jsonrpc: '2.0', id, method, params })))
    const answers = (JSON.parse(await post(url, agent, body)) as Answer[]).sort((a, b) => a.id - b.id)
    return answers.map(({ id, result, error }) => {
      if (error !== undefined) throw new Error(`${calls[id]?.[0]}: ${error.message}`)
      return result as T
    })
  }
}

function post(url: string, agent: Agent, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const request = requestHttp(url, { method: 'POST', agent, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end(body)
  })
}
