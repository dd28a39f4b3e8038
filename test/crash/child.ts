/**
 * An indexer in a process of its own, to be killed. Started with `node --import tsx`; says `ready`, is told what to do,
 * and kills itself with SIGKILL at the given point, or holds its first commit and waits.
 */
import { createIndexer, memorySource } from '../../src/index.ts'
import { postgres } from '../../src/commit/postgres.ts'
import type { Store } from '../../src/commit/store.ts'
import { gatedStore, simulatedChain, type SimulatedChain } from '../../src/testing/index.ts'
import { blocksOf, handlers, tables, type Item } from '../support/indexers.ts'

export interface Task {
  readonly connectionString: string
  readonly name: string
  readonly blocks: number
  readonly itemsPerBlock: number
  readonly seed: number
  readonly batchItems: number
  /** Dies at the nth time that it gets there. */
  readonly die?: { readonly at: Point; readonly nth: number } | undefined
  /** Holds its first commit back, and says so. */
  readonly holds?: boolean | undefined
  /** Its source is a chain; once every block is committed, and that is said, those above are orphaned. */
  readonly fork?:
    | {
        readonly above: number
        readonly blocks: number
        /** Not before it is told. */
        readonly whenTold?: boolean | undefined
      }
    | undefined
}

export const points = ['item', 'processed', 'sent', 'flushed', 'answered', 'committed'] as const
export const rollbackPoints = ['restoring', 'restored', 'rolledBack'] as const
/**
 * `sent`, `restoring`: its frames were handed to the socket in this very turn. `answered`, `restored`: nobody was told
 * yet.
 */
export type Point = (typeof points)[number] | (typeof rollbackPoints)[number]

export type Said =
  | { readonly type: 'ready' }
  | { readonly type: 'holding' }
  | { readonly type: 'forkable' }
  | {
      readonly type: 'ended'
      readonly status: string
      readonly committed: string
      readonly message?: string | undefined
    }

const say = (said: Said) => process.send?.(said)

/** The same blocks, with the same hashes, in every process. */
export function chainOf({ blocks, itemsPerBlock, seed, fork }: Task): {
  readonly chain: SimulatedChain<Item>
  fork(): void
} {
  const chain = simulatedChain<Item>({ id: 'm', historyDepth: blocks })
  chain.append(blocksOf(blocks, itemsPerBlock, { seed }))
  return {
    chain,
    fork() {
      if (fork === undefined) return
      const others = { from: fork.above + 1, seed: seed + 1, tag: 'b' }
      chain.fork({ above: fork.above, blocks: blocksOf(fork.blocks, itemsPerBlock, others) })
    },
  }
}

async function work(task: Task): Promise<void> {
  const counts = new Map<Point, number>()
  const pass = (at: Point) => {
    const count = (counts.get(at) ?? 0) + 1
    counts.set(at, count)
    if (task.die?.at === at && task.die.nth === count) process.kill(process.pid, 'SIGKILL')
  }
  const { store, gates } = gatedStore(
    deadly(postgres({ connectionString: task.connectionString, createTables: true }), pass),
  )
  const { chain, fork } = chainOf(task)
  const indexer = createIndexer({
    name: task.name,
    source:
      task.fork === undefined
        ? memorySource({ id: 'm', blocks: blocksOf(task.blocks, task.itemsPerBlock, { seed: task.seed }) })
        : chain.source,
    tables,
    handlers: {
      async transfer(item, context) {
        if (!context.preloading) pass('item')
        await handlers.transfer(item, context)
      },
      close: handlers.close,
      rank: handlers.rank,
    },
    store,
    // one that holds has handled its first batch and no more: something is left for others
    limits: {
      batchItems: task.batchItems,
      groupLatencyMs: 20,
      ...(task.holds === true ? { stagedBytes: 1 } : {}),
    },
    ownership: { timeoutMs: 20_000 },
  })
  indexer.on('batch.processed', () => pass('processed'))
  indexer.on('batch.committed', ({ checkpoint }) => {
    pass('committed')
    if (task.fork === undefined || checkpoint !== BigInt(task.blocks)) return
    say({ type: 'forkable' })
    if (task.fork.whenTold !== true) fork()
  })
  indexer.on('rollback.committed', () => pass('rolledBack'))
  process.on('message', (told) => {
    if (told === 'fork') fork()
    if (told !== 'stop') return
    gates.write.release()
    void indexer.stop()
  })
  if (task.holds === true) {
    gates.write.hold()
    void gates.write.arrived().then(() => say({ type: 'holding' }))
  }
  const outcome = await indexer.run()
  say({
    type: 'ended',
    status: outcome.status,
    committed: String(outcome.committed),
    message: outcome.status === 'failed' ? outcome.error.message : undefined,
  })
  process.disconnect()
}

function deadly(store: Store, pass: (at: Point) => void): Store {
  return {
    casing: store.casing,
    async open(request) {
      const session = await store.open(request)
      return {
        resume: session.resume,
        reader: session.reader,
        get restorableFrom() {
          return session.restorableFrom
        },
        async write(group, flushed) {
          const writing = session.write(group, () => {
            pass('flushed')
            flushed()
          })
          pass('sent')
          const ended = await writing
          pass('answered')
          return ended
        },
        async restore(target) {
          const restoring = session.restore(target)
          pass('restoring')
          const ended = await restoring
          pass('restored')
          return ended
        },
        regions: () => session.regions(),
        snapshots: (regions, deliver) => session.snapshots(regions, deliver),
        resolve: () => session.resolve(),
        destroyWriter: () => session.destroyWriter(),
        close: () => session.close(),
      }
    },
  }
}

// also imported for its types
if (process.send !== undefined && process.argv[1]?.endsWith('child.ts') === true) {
  process.once('message', (task) => void work(task as Task))
  say({ type: 'ready' })
}
