/**
 * H34: a database that is away for a while. The run goes on by itself: compute until the budget is full, then nothing; no
 * handler runs twice, no work is lost, no error comes of it, and whoever looks is told.
 */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { createIndexer, memorySource, type Context } from '../../../src/index.ts'
import { postgres } from '../../../src/commit/postgres.ts'
import { numbered, row, watch } from '../../support/indexers.ts'
import { actorsOf, handlesBefore } from '../../support/leaks.ts'

export interface Outage {
  readonly connectionString: string
  begin(): unknown
  end(): unknown
  readonly forMs: number
  /** Handlers read what only the database knows. */
  readonly reads: boolean
}

const count = 400
/** Of blocks that are handled by then, many are not committed. */
const beginsAt = 40n

export async function playOutage({ connectionString, begin, end, forMs, reads }: Outage): Promise<void> {
  const handled = new Map<number, number>()
  const warnings = new Set<string>()
  const handles = handlesBefore()
  const actors = actorsOf()
  const indexer = createIndexer({
    name: 'outage',
    source: memorySource({ id: 'm', blocks: numbered(count) }),
    tables: { row },
    async handle(item: number, { db, preloading }: Context<{ row: typeof row }>) {
      if (!preloading) handled.set(item, (handled.get(item) ?? 0) + 1)
      const before = reads ? await db.row.get(1_000_000 + item) : undefined
      db.row.set({ id: item, value: before === undefined ? item : -1 })
    },
    preload: false,
    store: postgres({ connectionString, createTables: true, connectionTimeoutMs: 2_000 }),
    limits: { batchItems: 1, groupLatencyMs: 0, stagedBytes: 30_000, commitDeadlineMs: 10 * 60_000 },
    logger: {
      debug: () => undefined,
      info: () => undefined,
      warn: (message: string) => void warnings.add(message),
      error: () => undefined,
    },
    inspect: actors.inspect,
  })
  const events = watch(indexer)
  const what = reads ? 'read' : 'commit'
  const told: string[] = []
  indexer.on(`${what}.retrying`, ({ error }) => told.push(String(error)))
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === beginsAt)
  const { processed } = indexer.status()
  await begin()
  const { committed } = indexer.status()
  if (!reads) {
    // compute goes on until its budget is full, and then waits
    await events.until(
      'state',
      ({ lanes, stagedBytes }) => lanes?.compute === 'waiting' && stagedBytes >= 30_000,
    )
    assert.ok(indexer.status().processed > processed)
  }
  await pause(forMs)
  const during = indexer.status()
  assert.equal(during.state, 'active')
  assert.ok(during.committed - committed <= 1n, 'what is on the wire may still have landed, no more')
  assert.equal(during.retrying?.what, what)
  assert.ok(during.retrying.attempt > 1)
  assert.ok(during.retrying.since <= Date.now() - forMs / 2)
  assert.ok(told.length > 1)
  assert.ok(warnings.has(`a ${what} is tried again`))
  await end()
  const outcome = await running
  assert.equal(
    outcome.status,
    'finished',
    JSON.stringify(outcome, (_key, value: unknown) => String(value)),
  )
  assert.equal(outcome.committed, BigInt(count))
  assert.equal(indexer.status().retrying, undefined)
  assert.deepEqual(
    [...handled],
    numbered(count).map(({ number }) => [number, 1]),
  )
  assert.deepEqual(actors.alive(), [])
  assert.deepEqual(await handles.left(), {})
}
