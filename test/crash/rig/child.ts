/** An indexer in a process of its own, run and stopped as it is told, again and again; to be killed, frozen, cut off. */
import { createIndexer, exitCode, type Indexer, type Outcome } from '../../../src/index.ts'
import { postgres } from '../../../src/commit/postgres.ts'
import { handlers, tables } from '../../support/indexers.ts'
import { handlesBefore } from '../../support/leaks.ts'
import { forkingSource, type ChainPlan } from './chain.ts'

export interface RigTask {
  readonly connectionString: string
  readonly name: string
  readonly chain: ChainPlan
  readonly batchItems: number
  readonly staleMs: number
  readonly standby: boolean
  /** Its first handler keeps the event loop for so long. */
  readonly busyMs?: number | undefined
  /** Keeps what it has learnt of forks from the task before, which is of the same chain. */
  readonly goesOn?: boolean | undefined
}

export type Told = { readonly type: 'run'; readonly task: RigTask } | { readonly type: 'stop' }

export type Ended = {
  readonly type: 'ended'
  readonly status: Outcome['status']
  readonly exitCode: number
  readonly code?: string | undefined
  readonly message?: string | undefined
  readonly owner?: string | undefined
  /** Kinds of handles that are left (I16). */
  readonly left: readonly string[]
}

export type Heard =
  | { readonly type: 'ready' }
  /** At the end of its chain, everything committed. */
  | { readonly type: 'idle' }
  | { readonly type: 'waiting' | 'taken'; readonly epoch: string }
  | Ended

const say = (heard: Heard) => process.send?.(heard)

let indexer: Indexer | undefined
let source: ReturnType<typeof forkingSource> | undefined

async function run(task: RigTask): Promise<void> {
  const { connectionString, name, chain, batchItems, staleMs, standby, busyMs = 0 } = task
  let toBeBusyMs = busyMs
  if (task.goesOn !== true || source === undefined) {
    source = forkingSource(chain, () => say({ type: 'idle' }))
  }
  const handles = handlesBefore()
  indexer = createIndexer({
    name,
    source,
    tables,
    handlers: {
      ...handlers,
      async transfer(item, context) {
        const until = performance.now() + toBeBusyMs
        toBeBusyMs = 0
        while (performance.now() < until);
        await handlers.transfer(item, context)
      },
    },
    store: postgres({ connectionString, createTables: true, connectionTimeoutMs: 5_000 }),
    limits: { batchItems, groupLatencyMs: 5, commitDeadlineMs: 30_000 },
    ownership: { standby, staleMs, timeoutMs: 20_000 },
  })
  indexer.on('ownership', ({ state, epoch }) => say({ type: state, epoch: String(epoch) }))
  const outcome = await indexer.run()
  indexer = undefined
  say({
    type: 'ended',
    status: outcome.status,
    exitCode: exitCode(outcome),
    ...(outcome.status === 'failed' ? { code: outcome.error.code, message: outcome.error.message } : {}),
    ...(outcome.status === 'superseded' && outcome.owner !== undefined
      ? { owner: `${outcome.owner.pid} on ${outcome.owner.host}` }
      : {}),
    left: Object.keys(await handles.left()),
  })
}

process.on('message', (told: Told) => {
  if (told.type === 'run') void run(told.task)
  else void indexer?.stop()
})
process.on('disconnect', () => process.exit())
say({ type: 'ready' })
