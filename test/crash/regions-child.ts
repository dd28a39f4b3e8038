/**
 * An indexer that shows regions in Redis, in a process of its own. It runs as it is told, stops after some commits or
 * kills itself with SIGKILL at a point between a commit and the delivery of what it holds.
 */
import pg from 'pg'
import { createIndexer, type Outcome } from '../../src/index.ts'
import { postgres } from '../../src/commit/postgres.ts'
import type { Store, StoreSession } from '../../src/commit/store.ts'
import { RetryableError } from '../../src/errors.ts'
import type { Outgoing, RegionPublisher } from '../../src/publish/port.ts'
import { redisRegions } from '../../src/publish/redis.ts'
import { dice } from '../support/dice.ts'
import { handlers, tables } from '../support/indexers.ts'
import { forkingSource, type ChainPlan } from './rig/chain.ts'

export const points = [
  'before a persist',
  'a persist is on the wire',
  'after a persist',
  'backing off',
  'its mark is on the wire',
  'its mark alone is on the wire, at the exit',
  'a rollback is on the wire',
  'after a rollback',
] as const
export type Point = (typeof points)[number]

export interface RegionsTask {
  readonly connectionString: string
  readonly redisUrl: string
  readonly prefix: string
  readonly deliver: 'newest' | 'every'
  /** Former snapshots that Redis keeps of each region. */
  readonly keep: number
  readonly chain: ChainPlan
  readonly batchItems: number
  readonly groupLatencyMs: number
  /** Of the faults that it lives through. */
  readonly seed: number
  /** Stops after so many commits. */
  readonly stopAfter?: number | undefined
  /** Dies at the nth time that it gets there, so many turns of the event loop later. */
  readonly die?: { readonly at: Point; readonly nth: number; readonly turns: number } | undefined
}

export type Ended = {
  readonly type: 'ended'
  readonly status: Outcome['status']
  readonly message?: string | undefined
  /** Regions that are not as they should be after a run that ends well, with what is known of them. */
  readonly undelivered: readonly string[]
}

export type Said = { readonly type: 'ready' } | { readonly type: 'wrong'; readonly what: string } | Ended

export const pipeline = 'regions'
/** Rows that were ever committed, kept by a trigger. */
export const auditTable = 'audit'

// ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────

const groups = 3

/** Bodies by region, from the rows of the accounts and the newest block; undefined: it shows nothing. */
export function shownBy(
  accounts: readonly { readonly id: string; readonly balance: bigint | string }[],
  { number, hash }: { readonly number: number; readonly hash: string },
): ReadonlyMap<string, unknown> {
  const ofGroup = (group: number) =>
    accounts
      .filter(({ id }) => Number(id.slice(1)) % groups === group)
      .map(({ id, balance }) => [id, String(balance)])
  return new Map<string, unknown>([
    ...Array.from(
      { length: groups },
      (_, group) => [`group-${group}`, Object.fromEntries(ofGroup(group))] as const,
    ),
    ['head', { number, hash }],
    // nothing is left of it once they are taken back
    ['orphans', hash.startsWith('orphan-') ? { hash } : undefined],
  ])
}

// ── a run ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Of a hundred: not sent, or sent with the answer lost; of each region one at most, so that none is given up. */
const faultPercent = 5

const turnsOf = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

class Run {
  readonly #task: RegionsTask
  readonly #auditor: pg.Pool
  readonly #random: () => number
  readonly #cut = new Set<string>()
  #passed = 0

  constructor(task: RegionsTask, auditor: pg.Pool) {
    this.#task = task
    this.#auditor = auditor
    this.#random = dice(task.seed)
  }

  async toItsEnd(): Promise<Outcome> {
    const { connectionString, redisUrl, prefix, deliver, keep, chain, stopAfter } = this.#task
    const { batchItems, groupLatencyMs } = this.#task
    let commits = 0
    const indexer = createIndexer({
      name: pipeline,
      source: forkingSource(chain),
      tables,
      handlers,
      handleBlock: async ({ number, hash }, { db, region }) => {
        const accounts = await db.account.find({ orderBy: { id: 'asc' } })
        for (const [name, body] of shownBy(accounts, { number, hash: hash! })) {
          if (body !== undefined) region(name).publish(body)
        }
      },
      store: this.#store(postgres({ connectionString, createTables: true })),
      regions: this.#publisher(
        redisRegions({
          url: redisUrl,
          prefix,
          deliver,
          history: { count: keep },
          streamLength: 1_000_000,
          backoffMs: 40,
          maxBackoffMs: 40,
        }),
      ),
      limits: { batchItems, groupLatencyMs },
      ownership: { timeoutMs: 20_000 },
    })
    indexer.on('batch.committed', () => {
      if (++commits === stopAfter) void indexer.stop()
    })
    indexer.on('rollback.committed', () => void this.#pass('after a rollback'))
    return indexer.run()
  }

  /** Does not come back from the point at which it is to die. */
  async #pass(at: Point): Promise<void> {
    const { die } = this.#task
    if (die?.at !== at || ++this.#passed !== die.nth) return
    // a flight is handed to the socket at the end of its turn
    if (at.includes('on the wire')) await turnsOf(die.turns)
    process.kill(process.pid, 'SIGKILL')
  }

  #store(store: Store): Store {
    return {
      casing: store.casing,
      open: async (request): Promise<StoreSession> => {
        const session = await store.open(request)
        return {
          resume: session.resume,
          reader: session.reader,
          get restorableFrom() {
            return session.restorableFrom
          },
          write: async (group, flushed) => {
            const writing = session.write(group, flushed)
            const isExit = group.batches.length === 0
            if (group.marks.length > 0) {
              await this.#pass(
                isExit ? 'its mark alone is on the wire, at the exit' : 'its mark is on the wire',
              )
            }
            return writing
          },
          restore: async (target) => {
            const restoring = session.restore(target)
            await this.#pass('a rollback is on the wire')
            return restoring
          },
          regions: () => session.regions(),
          snapshots: (regions, how) => session.snapshots(regions, how),
          resolve: () => session.resolve(),
          confirm: () => session.confirm?.() ?? Promise.resolve(),
          destroyWriter: () => session.destroyWriter(),
          close: () => session.close(),
        }
      },
    }
  }

  #publisher(inner: RegionPublisher): RegionPublisher {
    return {
      address: inner.address,
      settings: inner.settings,
      get isConnected() {
        return inner.isConnected
      },
      connect: () => inner.connect(),
      persist: async (outgoing, signal) => {
        await this.#checkCommitted(outgoing)
        await this.#pass('before a persist')
        const { region } = outgoing
        const isUnlucky = !this.#cut.has(region) && 100 * this.#random() < faultPercent
        const isCut = isUnlucky || this.#task.die?.at === 'backing off'
        if (isCut) this.#cut.add(region)
        if (isCut && this.#random() < 0.5) return this.#fail('nothing was sent')
        const persisting = inner.persist(outgoing, signal)
        await this.#pass('a persist is on the wire')
        const delivery = await persisting
        await this.#pass('after a persist')
        return isCut ? this.#fail('its answer was lost') : delivery
      },
      standing: (regions) => inner.standing(regions),
      nextRun: () => inner.nextRun(),
      read: (regions) => inner.read(regions),
      history: (region, limit) => inner.history(region, limit),
      watch: (regions, options) => inner.watch(regions, options),
      plan: (snapshot) => inner.plan(snapshot),
      onReconnect: (listener) => inner.onReconnect(listener),
      close: () => inner.close(),
      [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
    }
  }

  #fail(how: string): never {
    // by then the region backs off
    setImmediate(() => void this.#pass('backing off'))
    throw new RetryableError('CUT', how)
  }

  /** Whatever leaves for Redis was committed, under the stamp that it has (I13). */
  async #checkCommitted({ region, id, stamp: { epoch, commit, ordinal } }: Outgoing): Promise<void> {
    const { rowCount } = await this.#auditor.query(
      `SELECT FROM ${auditTable} WHERE region = $1 AND id = $2 AND epoch = $3 AND commit_number = $4 AND ordinal = $5`,
      [region, id, epoch, commit, ordinal],
    )
    if (rowCount === 0)
      say({ type: 'wrong', what: `${region} ${id} of commit ${commit} was sent uncommitted` })
  }
}

const say = (said: Said) => process.send?.(said)

async function run(task: RegionsTask): Promise<void> {
  const auditor = new pg.Pool({ connectionString: task.connectionString, max: 2 })
  try {
    const outcome = await new Run(task, auditor).toItsEnd()
    const undelivered = Object.entries(outcome.regions).flatMap(
      ([region, { health, undelivered: count, error }]) =>
        count === 0 && health !== 'quarantined'
          ? []
          : [`${region} ${health} ${count} ${error?.message ?? ''}`],
    )
    const message = outcome.status === 'failed' ? outcome.error.message : undefined
    say({ type: 'ended', status: outcome.status, message, undelivered })
  } finally {
    await auditor.end()
  }
}

// also imported for its types
if (process.send !== undefined && process.argv[1]?.endsWith('regions-child.ts') === true) {
  process.on('message', (task) => void run(task as RegionsTask))
  process.on('disconnect', () => process.exit())
  say({ type: 'ready' })
}
