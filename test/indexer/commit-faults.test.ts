/** Commits that go wrong: lost answers, refusals, constraints; and what is left in the tables. */
import { foreignKey, integer, pgTable, text, unique } from 'drizzle-orm/pg-core'
import { expect, test } from 'vitest'
import { createIndexer, memorySource } from '../../src/index.ts'
import type { Outcome } from '../../src/index.ts'
import { gatedStore } from '../../src/testing/index.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import {
  blocksOf,
  createWorld,
  expected,
  handlers,
  numbered,
  row,
  setRow,
  tables,
  watch,
} from '../support/indexers.ts'

const failedOf = (outcome: Outcome) => {
  if (outcome.status !== 'failed') throw new Error(`expected a failed run, got ${outcome.status}`)
  return outcome
}

test('I10, H37, H62: lost before it was sent, and lost after it had landed: resolved, applied exactly once', async () => {
  await using world = await createWorld()
  const blocks = blocksOf(60, 10)
  const indexer = createIndexer({
    name: 'lost',
    source: memorySource({ id: 'm', blocks }),
    tables,
    handlers,
    store: world.store,
    limits: { batchItems: 50, groupLatencyMs: 0 },
  })
  const events = watch(indexer)
  world.gates.write.hold()
  world.gates.written.hold()
  const running = indexer.run()
  await world.gates.write.arrived()
  world.gates.write.fail(new Error('cut before'))
  await world.gates.write.arrived()
  world.gates.write.releaseOne()
  await world.gates.written.arrived()
  world.gates.written.fail(new Error('cut after'))
  // resolved as landed: the next one comes, the same is not sent again
  await world.gates.write.arrived()
  world.gates.write.release()
  world.gates.written.release()
  expect(await running).toMatchObject({ status: 'finished', committed: 60n })
  expect(await world.rows()).toEqual(await expected(blocks))
  const commits = events.of('batch.committed')
  expect(commits.map(({ checkpoint }) => checkpoint)).toEqual(commits.map((_, at) => BigInt(5 * (at + 1))))
  expect(events.of('commit.retrying').map(({ attempt }) => attempt)).toEqual([1, 2])
  // each resolution took the row again, under a new epoch
  const { epoch, commitNumber, token } = await world.pipeline('lost')
  expect({ epoch, commitNumber, token }).toEqual({ epoch: 3, commitNumber: 12, token: null })
})

test('I10: the row cannot be asked at first: asked again, nothing is sent before it is known', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'asked',
    source: memorySource({ id: 'm', blocks: numbered(3) }),
    tables: { row },
    handle: setRow,
    store: world.store,
    limits: { batchItems: 1 },
  })
  const events = watch(indexer)
  world.gates.written.fail(new Error('cut'))
  world.gates.resolve.fail(new Error('refused'))
  world.gates.resolve.fail(new Error('refused'))
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 3n })
  expect(events.of('commit.retrying')).toHaveLength(3)
  expect(world.gates.resolve.passed).toBe(3)
  expect((await world.pipeline('asked')).commitNumber).toBe(events.of('batch.committed').length)
})

test('I10: the real thing: the connection is reset while the answer is on its way', async () => {
  await using world = await createWorld()
  const { hostname, port } = new URL(world.connectionString)
  await using proxy = await startTcpProxy({ target: { host: hostname, port: Number(port) } })
  const { store, gates } = gatedStore(
    world.plainStore({ connectionString: proxy.through(world.connectionString) }),
  )
  const indexer = createIndexer({
    name: 'proxied',
    source: memorySource({ id: 'm', blocks: numbered(6) }),
    tables: { row },
    // counts: a group applied twice, or not at all, would show
    async handle(item: number, { db }) {
      const known = await db.row.get(0)
      db.row.set({ id: 0, value: (known?.value ?? 0) + item })
      db.row.insert({ id: item, value: item })
    },
    store,
    limits: { batchItems: 1, groupLatencyMs: 0 },
  })
  gates.write.hold()
  const running = indexer.run()
  for (const lost of [0, 1, 2]) {
    await gates.write.arrived()
    // nothing that Postgres says comes back; what was sent is executed
    await proxy.pause('down')
    gates.write.releaseOne()
    while ((await world.pipeline('proxied')).commitNumber === lost);
    await proxy.kill()
    await proxy.resume('down')
  }
  gates.write.release()
  expect(await running).toMatchObject({ status: 'finished', committed: 6n })
  expect((await world.pipeline('proxied')).epoch).toBe(4)
  expect(await world.query('SELECT id, value FROM "row" ORDER BY id')).toEqual([
    { id: 0, value: 21 },
    ...[1, 2, 3, 4, 5, 6].map((id) => ({ id, value: id })),
  ])
  expect((await world.pipeline('proxied')).commitNumber).toBe(6)
})

test('I10, H34: the backend is terminated between commits: taken again, nothing lost', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'terminated',
    source: memorySource({ id: 'm', blocks: numbered(4) }),
    tables: { row },
    handle: setRow,
    store: world.store,
    limits: { batchItems: 1, groupLatencyMs: 0 },
  })
  const events = watch(indexer)
  world.gates.write.hold()
  const running = indexer.run()
  await world.gates.write.arrived()
  await world.query(
    'SELECT pg_terminate_backend(backend_pid, 5000) FROM tailrace.pipelines WHERE name = $1',
    ['terminated'],
  )
  world.gates.write.release()
  expect(await running).toMatchObject({ status: 'finished', committed: 4n })
  expect(events.of('commit.retrying').length).toBeGreaterThan(0)
  expect(await world.query('SELECT count(*)::int AS n FROM "row"')).toEqual([{ n: 4 }])
  expect((await world.pipeline('terminated')).epoch).toBe(2)
})

test('I7, A12: an error while a commit is on the wire: it settles, nothing else starts, its own failure is attached', async () => {
  await using world = await createWorld({ createTables: false })
  await world.query('CREATE TABLE "row" (id integer PRIMARY KEY, value integer NOT NULL CHECK (value <> 1))')
  world.gates.write.hold()
  const indexer = createIndexer({
    name: 'both',
    source: memorySource({ id: 'm', blocks: numbered(4) }),
    tables: { row },
    handle(item: number, context) {
      if (item === 3) throw new Error('handler')
      setRow(item, context)
    },
    store: world.store,
    limits: { batchItems: 1, failDeadlineMs: 20_000 },
  })
  const events = watch(indexer)
  const running = indexer.run()
  await events.until('state', ({ lanes }) => lanes?.control === 'failing')
  world.gates.write.release()
  const outcome = failedOf(await running)
  expect(outcome.error).toMatchObject({ code: 'HANDLER_FAILED' })
  expect(outcome.suppressed).toMatchObject([{ code: 'COMMIT_REFUSED', table: 'row' }])
  expect(outcome.suppressed[0]?.message).toContain('row_value_check')
  expect(outcome).toMatchObject({ committed: 0n, processed: 2n })
  expect(outcome).not.toHaveProperty('inDoubt')
  expect(await world.query('SELECT * FROM "row"')).toEqual([])
})

test('A12, H36, H44: a commit that Postgres refuses fails the run with its cause, table and checkpoints', async () => {
  await using world = await createWorld({ createTables: false })
  await world.query('CREATE TABLE "row" (id integer PRIMARY KEY, value integer NOT NULL CHECK (value < 3))')
  const indexer = createIndexer({
    name: 'check',
    source: memorySource({ id: 'm', blocks: numbered(5) }),
    tables: { row },
    handle: setRow,
    store: world.store,
    limits: { batchItems: 1, groupLatencyMs: 0 },
  })
  const outcome = failedOf(await indexer.run())
  expect(outcome).toMatchObject({ committed: 2n, suppressed: [] })
  expect(outcome.error).toMatchObject({
    code: 'COMMIT_REFUSED',
    phase: 'commit',
    table: 'row',
    batch: { from: 3n, upTo: 3n },
    cause: { code: '23514' },
  })
  expect(outcome.error.message).toMatch(/checkpoints 3–3 into table `row`.*row_value_check/)
  expect(await world.query('SELECT id FROM "row" ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }])
})

test('H44: a permanent error in a group of many: the sound prefix lands, the outcome names the batch', async () => {
  for (const bad of [2, 5, 7, 9]) {
    await using world = await createWorld({ createTables: false })
    await world.query(
      `CREATE TABLE "row" (id integer PRIMARY KEY, value integer NOT NULL CHECK (value <> ${bad}))`,
    )
    world.gates.write.hold()
    const indexer = createIndexer({
      name: 'bisect',
      source: memorySource({ id: 'm', blocks: numbered(9) }),
      tables: { row },
      handle: setRow,
      store: world.store,
      limits: { batchItems: 1, groupLatencyMs: 1_000_000 },
    })
    const events = watch(indexer)
    const running = indexer.run()
    await events.until('batch.processed', ({ checkpoint }) => checkpoint === 9n)
    world.gates.write.release()
    const outcome = failedOf(await running)
    expect(outcome).toMatchObject({ committed: BigInt(bad - 1), processed: 9n })
    expect(outcome.error).toMatchObject({
      code: 'COMMIT_REFUSED',
      table: 'row',
      batch: { from: BigInt(bad), upTo: BigInt(bad) },
    })
    expect(await world.query('SELECT id FROM "row" ORDER BY id')).toEqual(
      Array.from({ length: bad - 1 }, (_, at) => ({ id: at + 1 })),
    )
    // mended, the next run goes on from there
    await world.query('ALTER TABLE "row" DROP CONSTRAINT row_value_check')
    expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 9n })
    expect(await world.query('SELECT count(*)::int AS n FROM "row"')).toEqual([{ n: 9 }])
  }
})

test('H13: a duplicate that only the database knows: DUPLICATE_KEY names block and item, also when a delete hides it', async () => {
  for (const isHidden of [false, true]) {
    await using world = await createWorld()
    const first = createIndexer({
      name: 'first',
      source: memorySource({ id: 'm', blocks: [{ number: 1, items: [7] }] }),
      tables: { row },
      handle: setRow,
      store: world.plainStore(),
    })
    expect(await first.run()).toMatchObject({ status: 'finished' })
    const second = createIndexer({
      name: 'second',
      source: memorySource({
        id: 's',
        blocks: [
          { number: 40, items: [1, 2] },
          { number: 41, items: [3, 7] },
          { number: 42, items: [-7] },
        ],
      }),
      tables: { row },
      handle(item: number, { db }) {
        if (item > 0) db.row.insert({ id: item, value: item })
        else if (isHidden) db.row.delete(-item)
      },
      store: world.plainStore(),
    })
    const outcome = failedOf(await second.run())
    expect(outcome.error).toMatchObject({
      code: 'DUPLICATE_KEY',
      table: 'row',
      key: 7,
      block: { source: 's', number: 41 },
      item: 1,
    })
    expect(outcome.error.message).toContain('Use `set` for rows that may exist')
    expect(await world.query('SELECT id FROM "row"')).toEqual([{ id: 7 }])
  }
})

test('a staged duplicate fails its handler at once', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'twice',
    source: memorySource({ id: 'm', blocks: [{ number: 1, items: [1, 1] }] }),
    tables: { row },
    handle: (item: number, { db }) => db.row.insert({ id: item, value: item }),
    store: world.plainStore(),
  })
  const outcome = failedOf(await indexer.run())
  expect(outcome.error).toMatchObject({
    code: 'HANDLER_FAILED',
    table: 'row',
    key: 1,
    item: 1,
    cause: { code: 'DUPLICATE_KEY' },
  })
})

const holder = pgTable('holder', { id: integer().primaryKey(), badge: text() }, (table) => [
  unique('one').on(table.badge),
])

test('H67: row 2 gives a value up and row 1 takes it, across items, in one group', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'badges',
    source: memorySource({ id: 'm', blocks: [1, 2, 3].map((number) => ({ number, items: [number] })) }),
    tables: { holder },
    async handle(item: number, { db }) {
      if (item === 1) db.holder.insert({ id: 2, badge: 'gold' })
      if (item === 2) {
        await db.holder.update(2, { badge: null })
        db.holder.insert({ id: 1, badge: 'gold' })
      }
      if (item === 3) {
        // and a swap
        await db.holder.update(1, { badge: null })
        await db.holder.update(2, { badge: 'gold' })
      }
    },
    store: world.plainStore(),
  })
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 3n })
  expect(await world.query('SELECT id, badge FROM holder ORDER BY id')).toEqual([
    { id: 1, badge: null },
    { id: 2, badge: 'gold' },
  ])
})

test('H67: two rows that keep one value are refused, whatever the order', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'badges',
    source: memorySource({ id: 'm', blocks: numbered(2) }),
    tables: { holder },
    handle: (item: number, { db }) => db.holder.insert({ id: item, badge: 'gold' }),
    store: world.plainStore(),
    limits: { batchItems: 1, groupLatencyMs: 0 },
  })
  const outcome = failedOf(await indexer.run())
  expect(outcome).toMatchObject({
    committed: 1n,
    error: { code: 'COMMIT_REFUSED', table: 'holder', batch: { from: 2n, upTo: 2n } },
  })
  expect(outcome.error.message).toContain('one')
})

const parent = pgTable('parent', { id: integer().primaryKey() })
const child = pgTable('child', { id: integer().primaryKey(), parent: integer().notNull() }, (table) => [
  foreignKey({ columns: [table.parent], foreignColumns: [parent.id] }),
])

test('H67: foreign keys are checked at the end of a group: children may come first', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'family',
    source: memorySource({ id: 'm', blocks: numbered(3) }),
    tables: { child, parent },
    handle(item: number, { db }) {
      db.child.insert({ id: item, parent: item })
      // the third child never gets one
      if (item < 3) db.parent.insert({ id: item })
    },
    store: world.plainStore(),
    limits: { batchItems: 1, groupLatencyMs: 0 },
  })
  const outcome = failedOf(await indexer.run())
  expect(outcome).toMatchObject({ committed: 2n, error: { code: 'COMMIT_REFUSED', table: 'child' } })
  expect(outcome.error.message).toContain('is not present in table')
  expect(await world.query('SELECT id FROM child ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }])
})

test('H40, I12: the counter rides every commit; after a restart ids go on above it', async () => {
  await using world = await createWorld()
  const checkpoints: bigint[] = []
  const indexer = createIndexer({
    name: 'ids',
    source: memorySource({ id: 'm', blocks: numbered(10) }),
    tables: { row },
    handle(item: number, context) {
      checkpoints.push(context.checkpoint)
      setRow(item, context)
      if (item === 6 && checkpoints.length < 20) throw new Error('once')
    },
    preload: false,
    store: world.plainStore(),
    limits: { batchItems: 1 },
  })
  const events = watch(indexer)
  indexer.on('batch.committed', () => undefined)
  const first = failedOf(await indexer.run())
  const { counter, committed } = await world.pipeline('ids')
  expect(counter).toBe(committed)
  expect(BigInt(committed)).toBe(first.committed)
  const before = checkpoints.length
  while (checkpoints.length < 20) checkpoints.push(0n)
  expect(await indexer.run()).toMatchObject({ status: 'finished' })
  expect(checkpoints.slice(20)[0]).toBe(BigInt(counter) + 1n)
  expect(before).toBe(6)
  // ids that reached the database were given once
  const reached = events.of('batch.committed').map(({ checkpoint }) => checkpoint)
  expect(reached).toEqual([...new Set(reached)].toSorted((a, b) => Number(a - b)))
})

test('H34: a refusal that a retry cures (lock not available) is retried under the same epoch', async () => {
  await using world = await createWorld({ createTables: false })
  // raises a serialization failure for the first two attempts: sequences do not roll back
  await world.query('CREATE TABLE "row" (id integer PRIMARY KEY, value integer NOT NULL)')
  await world.query('CREATE SEQUENCE attempts')
  await world.query(`CREATE FUNCTION grumble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('attempts') < 3 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$`)
  const indexer = createIndexer({
    name: 'grumble',
    source: memorySource({ id: 'm', blocks: numbered(3) }),
    tables: { row },
    handle: setRow,
    store: world.store,
  })
  const events = watch(indexer)
  world.gates.write.hold()
  const running = indexer.run()
  await world.gates.write.arrived()
  // after the tables were checked: user triggers are refused at start
  await world.query(
    'CREATE TRIGGER grumble AFTER INSERT ON "row" FOR EACH STATEMENT EXECUTE FUNCTION grumble()',
  )
  world.gates.write.release()
  expect(await running).toMatchObject({ status: 'finished', committed: 3n })
  expect(events.of('commit.retrying').map(({ attempt }) => attempt)).toEqual([1, 2])
  expect((await world.pipeline('grumble')).epoch).toBe(1)
})

test('H34: a transient refusal that outlasts commitDeadlineMs fails with its own cause', async () => {
  await using world = await createWorld({ createTables: false })
  await world.query('CREATE TABLE "row" (id integer PRIMARY KEY, value integer NOT NULL)')
  await world.query(`CREATE FUNCTION grumble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'never' USING ERRCODE = '40001'; END $$`)
  const indexer = createIndexer({
    name: 'grumble',
    source: memorySource({ id: 'm', blocks: numbered(3) }),
    tables: { row },
    handle: setRow,
    store: world.store,
    limits: { commitDeadlineMs: 100 },
  })
  world.gates.write.hold()
  const running = indexer.run()
  await world.gates.write.arrived()
  await world.query(
    'CREATE TRIGGER grumble AFTER INSERT OR UPDATE ON "row" FOR EACH STATEMENT EXECUTE FUNCTION grumble()',
  )
  world.gates.write.release()
  const outcome = failedOf(await running)
  expect(outcome).toMatchObject({ committed: 0n, error: { cause: { code: '40001' } } })
  expect(outcome.error.message).toContain('never')
  expect(outcome).not.toHaveProperty('inDoubt')
})

test('H36, a group that kills its backend three times is split, not looped: the sound prefix lands', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({
    name: 'killer',
    source: memorySource({ id: 'm', blocks: numbered(2) }),
    tables: { row },
    handle: setRow,
    store: world.store,
    limits: { batchItems: 1, groupLatencyMs: 1_000_000, commitDeadlineMs: 4_000 },
  })
  const events = watch(indexer)
  world.gates.write.hold()
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 2n)
  await world.query(`CREATE FUNCTION deadly(value integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF value = 2 THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); END IF; RETURN true; END $$`)
  await world.query('ALTER TABLE "row" ADD CONSTRAINT lethal CHECK (deadly(value))')
  world.gates.write.release()
  const outcome = failedOf(await running)
  expect(outcome).toMatchObject({
    committed: 1n,
    processed: 2n,
    error: { code: 'CONNECTION_LOST', phase: 'commit', cause: { code: '57P01' } },
  })
  expect(outcome.error.message).toContain('terminating connection due to administrator command')
  expect(await world.query('SELECT id FROM "row"')).toEqual([{ id: 1 }])
  // three times together, then alone, and again until the deadline
  expect(events.of('commit.retrying').length).toBeGreaterThan(4)
  expect(events.of('batch.committed').map(({ checkpoint }) => checkpoint)).toEqual([1n])
  await world.query('ALTER TABLE "row" DROP CONSTRAINT lethal')
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 2n })
})

test('H36, H44: the outcome names table and column, and nothing that came of the first cause', async () => {
  await using world = await createWorld()
  const note = pgTable('note', { id: integer().primaryKey(), body: text() })
  world.gates.write.hold()
  const indexer = createIndexer({
    name: 'column',
    source: memorySource({ id: 'm', blocks: numbered(4) }),
    tables: { note },
    handle: (item: number, { db }) => db.note.set({ id: item, body: item === 3 ? null : 'x' }),
    store: world.store,
    limits: { batchItems: 1, groupLatencyMs: 1_000_000 },
  })
  const events = watch(indexer)
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 4n)
  await world.query('ALTER TABLE note ALTER COLUMN body SET NOT NULL')
  world.gates.write.release()
  const outcome = failedOf(await running)
  expect(outcome).toMatchObject({ committed: 2n, suppressed: [] })
  expect(outcome.error).toMatchObject({
    code: 'COMMIT_REFUSED',
    table: 'note',
    column: 'body',
    batch: { from: 3n, upTo: 3n },
    cause: { code: '23502' },
  })
  expect(outcome.error.message).not.toContain('current transaction is aborted')
})
