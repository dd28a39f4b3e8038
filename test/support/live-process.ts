/**
 * An indexer of a living chain in a process of its own, to be stopped or killed. Started with `node --import tsx`; says
 * which blocks were handled and which are durable, and holds its commits back when told.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Address } from 'viem'
import { postgres } from '../../src/commit/postgres.ts'
import { gatedStore } from '../../src/testing/index.ts'
import { liveIndexer } from './live-token.ts'

export interface LiveTask {
  readonly connectionString: string
  readonly rpcUrl: string
  readonly chainId: number
  readonly token: Address
  readonly historyDepth: number
}

type Told = LiveTask | 'stop' | { readonly hold: 'write' | 'written' }
type Said =
  | { readonly type: 'ready' | 'holding' | 'arrived' }
  /** `hash` of a block. */
  | { readonly type: 'processed' | 'durable'; readonly hash: string }
  | { readonly type: 'ended'; readonly status: string; readonly error: string | undefined }

// ── the process ─────────────────────────────────────────────────────────────────────────────────────────────

const say = (said: Said) => void process.send?.(said)

async function work({ connectionString, ...chain }: LiveTask): Promise<void> {
  const { store, gates } = gatedStore(postgres({ connectionString, createTables: true }))
  const hashes = new Map<bigint, string>()
  const indexer = liveIndexer({
    ...chain,
    store,
    handled: (hash, checkpoint) => hashes.set(checkpoint, hash),
  })
  indexer.on('batch.processed', ({ checkpoint }) => {
    const hash = hashes.get(checkpoint)!
    say({ type: 'processed', hash })
    void indexer.durable(checkpoint).then(
      () => say({ type: 'durable', hash }),
      () => undefined,
    )
  })
  process.on('message', (told: Told) => {
    if (told === 'stop') void indexer.stop()
    else if ('hold' in told) {
      gates[told.hold].hold()
      void gates[told.hold].arrived().then(() => say({ type: 'arrived' }))
      say({ type: 'holding' })
    }
  })
  const outcome = await indexer.run()
  const { status } = outcome
  say({ type: 'ended', status, error: outcome.status === 'failed' ? outcome.error.message : undefined })
  process.disconnect()
}

// also imported for what is below
if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  process.once('message', (task) => void work(task as LiveTask))
  say({ type: 'ready' })
}

// ── whoever starts it ───────────────────────────────────────────────────────────────────────────────────────

export interface LiveProcess extends AsyncDisposable {
  begin(task: LiveTask): Promise<void>
  /** Resolves once the block was handled, or is durable. */
  until(type: 'processed' | 'durable', block: { readonly hash: string }): Promise<void>
  /** From now on no commit is sent (`write`), or none is heard to have landed (`written`). */
  hold(gate: 'write' | 'written'): Promise<void>
  /** Resolves once a commit is held. */
  arrived(): Promise<void>
  /** @returns the outcome's status */
  stop(): Promise<string>
  kill(): Promise<void>
}

/** Comes up while its caller does other things. */
export function startLiveProcess(): LiveProcess {
  const child = fork(fileURLToPath(import.meta.url), { execArgv: ['--import', 'tsx'] })
  const heard: Said[] = []
  let wake: () => void = () => undefined
  let isGone = false
  const exited = once(child, 'exit').then(() => {
    isGone = true
    wake()
  })
  child.on('message', (said) => {
    heard.push(said as Said)
    wake()
  })
  const until = async <T extends Said>(accept: (said: Said) => said is T): Promise<T> => {
    for (;;) {
      const found = heard.find(accept)
      if (found !== undefined) return found
      if (isGone) throw new Error(`the process is gone; it said ${JSON.stringify(heard.slice(-5))}`)
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }
  const is =
    <T extends Said['type']>(type: T) =>
    (said: Said): said is Extract<Said, { type: T }> =>
      said.type === type
  const kill = async () => {
    if (!isGone) child.kill('SIGKILL')
    await exited
  }
  return {
    async begin(task) {
      await until(is('ready'))
      child.send(task)
    },
    async until(type, { hash }) {
      await until((said): said is Said => said.type === type && 'hash' in said && said.hash === hash)
    },
    async hold(gate) {
      child.send({ hold: gate } satisfies Told)
      await until(is('holding'))
    },
    async arrived() {
      await until(is('arrived'))
    },
    async stop() {
      child.send('stop' satisfies Told)
      const { status } = await until(is('ended'))
      await exited
      return status
    },
    kill,
    [Symbol.asyncDispose]: kill,
  }
}
