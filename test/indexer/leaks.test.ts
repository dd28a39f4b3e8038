/** I16: when `run()` has settled, no timer, socket, child actor or listener of ours is left, whatever the end. */
import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { createIndexer, memorySource } from '../../src/index.ts'
import type { IndexerOptions, Outcome, Source } from '../../src/index.ts'
import { createWorld, deferred, row, setRow, numbered, watch, type World } from '../support/indexers.ts'
import { actorsOf, handlesBefore } from '../support/leaks.ts'

type Options = IndexerOptions<Source<number>, { row: typeof row }>
type Ends = Record<
  string,
  {
    readonly status: Outcome['status']
    readonly options?: (world: World) => Partial<Options>
    /** Brings the run to its end. */
    readonly during?: (
      world: World,
      indexer: ReturnType<typeof createIndexer>,
      controller: AbortController,
    ) => Promise<unknown>
  }
>

const never = () => new Promise<never>(() => undefined)

const ends: Ends = {
  finished: { status: 'finished' },
  'stopped by its signal': {
    status: 'stopped',
    options: () => ({ source: quiet }),
    during: async (_world, indexer, controller) => {
      await watch(indexer).until('batch.committed')
      controller.abort()
    },
  },
  'stopped in opening': {
    status: 'stopped',
    during: async (world, indexer) => {
      await world.gates.open.arrived()
      await indexer.stop()
    },
    options: (world) => {
      world.gates.open.hold()
      return {}
    },
  },
  'held by another': {
    status: 'failed',
    options: () => ({ name: 'held', ownership: { timeoutMs: 10 } }),
  },
  'a handler that throws': {
    status: 'failed',
    options: () => ({
      handle: () => {
        throw new Error('boom')
      },
    }),
  },
  'a source that throws': {
    status: 'failed',
    options: () => ({
      source: {
        id: 'm',
        async *open() {
          yield { type: 'blocks', blocks: numbered(1) }
          throw await Promise.resolve(new Error('boom'))
        },
      },
    }),
  },
  'refused by the database': {
    status: 'failed',
    options: () => ({ handle: (item, { db }) => db.row.insert({ id: item, value: 1 }) }),
    during: async (world) => {
      await world.gates.write.arrived()
      await world.query('INSERT INTO "row" VALUES (1, 1)')
      world.gates.write.release()
    },
  },
  'aborted with an answer outstanding': {
    status: 'failed',
    options: (world) => {
      world.gates.written.hold()
      return { limits: { failDeadlineMs: 5 } }
    },
    during: async (world, indexer) => {
      await world.gates.written.arrived()
      await indexer.abort()
      world.gates.written.release()
    },
  },
  'aborted with a commit that waits behind a lock': {
    status: 'failed',
    options: (world) => {
      world.gates.write.hold()
      return { limits: { failDeadlineMs: 5 } }
    },
    during: async (world, indexer) => {
      await world.gates.write.arrived()
      const lock = world.lock('row')
      await lock.taken
      world.gates.write.release()
      await world.blocked(1)
      await indexer.abort()
      // its backend was ended with it: nobody has to wait for the lock to go away
      expect((await world.pipeline('leaks')).token).toBeNull()
      await lock.release()
    },
  },
  'aborted with a read that waits behind a lock': {
    status: 'failed',
    options: () => ({
      preload: false,
      async handle(item, { db }) {
        if (item === 2) {
          await goOn.promise
          await db.row.get(77)
        }
        db.row.set({ id: item, value: item })
      },
      limits: { batchItems: 1, failDeadlineMs: 5 },
    }),
    during: async (world, indexer) => {
      await watch(indexer).until('batch.committed')
      const lock = world.lock('row', 'ACCESS EXCLUSIVE')
      await lock.taken
      goOn.resolve()
      await world.blocked(1)
      await indexer.abort()
      await lock.release()
    },
  },
  'aborted with a deaf handler': {
    status: 'failed',
    options: () => ({
      preload: false,
      handle: () => {
        inside.resolve()
        return never()
      },
      limits: { failDeadlineMs: 5 },
    }),
    during: async (_world, indexer) => {
      await inside.promise
      await indexer.abort()
    },
  },
  superseded: {
    status: 'superseded',
    options: (world) => {
      world.gates.write.hold()
      return {}
    },
    during: async (world) => {
      await world.gates.write.arrived()
      await world.query('UPDATE tailrace.pipelines SET epoch = epoch + 1, token = gen_random_uuid()')
      world.gates.write.release()
    },
  },
  'lost and found': {
    status: 'finished',
    options: (world) => {
      world.gates.write.fail(new Error('cut'))
      world.gates.written.fail(new Error('cut'))
      world.gates.resolve.fail(new Error('cut'))
      return {}
    },
  },
  'failed while resolving, the pause cut short': {
    status: 'failed',
    options: (world) => {
      world.gates.written.fail(new Error('cut'))
      world.gates.resolve.hold()
      return { limits: { failDeadlineMs: 5 } }
    },
    during: async (world, indexer) => {
      await world.gates.resolve.arrived()
      await indexer.abort()
      world.gates.resolve.release()
    },
  },
}

let goOn = deferred()
let inside = deferred()

/** Gives two blocks, and then nothing more. */
const quiet: Source<number> = {
  id: 'm',
  async *open({ signal }) {
    yield { type: 'blocks', blocks: numbered(2) }
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  },
}

test.each(Object.keys(ends))('I16: %s', async (name) => {
  const end = ends[name]!
  await using world = await createWorld({ connectionTimeoutMs: 5_000 })
  goOn = deferred()
  inside = deferred()
  const given: Partial<Options> = {
    source: memorySource({ id: 'm', blocks: numbered(5) }),
    handle: setRow,
    ...end.options?.(world),
  }
  if (name === 'held by another') await holdElsewhere(world)
  if (name === 'refused by the database') world.gates.write.hold()
  // connections of the test itself are open before and after
  await world.query('SELECT 1')
  const handles = handlesBefore()
  const actors = actorsOf()
  const controller = new AbortController()
  const indexer = createIndexer({
    name: 'leaks',
    source: quiet,
    tables: { row },
    store: world.store,
    inspect: actors.inspect,
    ...given,
  })
  const running = indexer.run({ signal: controller.signal })
  await end.during?.(world, indexer, controller)
  const outcome = await running
  expect(outcome.status, outcome.status === 'failed' ? outcome.error.message : '').toBe(end.status)
  await world.query('SELECT 1')
  expect(actors.alive()).toEqual([])
  expect(getEventListeners(controller.signal, 'abort')).toEqual([])
  expect(await handles.left()).toEqual({})
  // and on the other side, too: only the sessions of the test are left
  const sessions = await world.query(`SELECT application_name FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'tailrace %' AND application_name <> 'tailrace other'`)
  expect(sessions).toEqual([])
})

async function holdElsewhere(world: World): Promise<void> {
  const other = createIndexer({
    name: 'held',
    source: memorySource({ id: 'm', blocks: numbered(1) }),
    tables: { row },
    handle: setRow,
    store: world.plainStore(),
  })
  await other.run()
  // the test's own session stands for a live owner
  await world.query(`UPDATE tailrace.pipelines SET token = gen_random_uuid(), host = 'elsewhere', pid = 42,
    backend_pid = (SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'), backend_start = (SELECT
    backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer') WHERE name = 'held'`)
}

test('I16: Symbol.asyncDispose stops what runs, and is harmless otherwise', async () => {
  await using world = await createWorld()
  await world.query('SELECT 1')
  const handles = handlesBefore()
  const store = world.plainStore()
  let outcome: Promise<Outcome> | undefined
  {
    await using indexer = createIndexer({
      name: 'disposed',
      source: quiet,
      tables: { row },
      handle: setRow,
      store,
    })
    outcome = indexer.run()
    await watch(indexer).until('batch.committed')
  }
  expect(await outcome).toMatchObject({ status: 'stopped', committed: 2n })
  {
    await using indexer = createIndexer({
      name: 'disposed',
      source: quiet,
      tables: { row },
      handle: setRow,
      store,
    })
    expect(indexer.status().state).toBe('idle')
  }
  expect(await handles.left()).toEqual({})
})

test('I16: after the end the account stands still, and status() tells the end', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'still',
    source: memorySource({ id: 'm', blocks: numbered(5) }),
    tables: { row },
    handle: setRow,
    store: world.plainStore(),
  })
  await indexer.run()
  const status = indexer.status()
  expect(status).toMatchObject({
    state: 'finished',
    processed: 5n,
    committed: 5n,
    stagedBatches: 0,
    stagedBytes: 0,
    readAheadBytes: 0,
  })
  await world.query('SELECT 1')
  expect(indexer.status()).toEqual(status)
})
