/** `tailrace reset`: all of it or nothing, and indexing again gives the same tables. */
import { integer, pgTable } from 'drizzle-orm/pg-core'
import { expect, test, vi } from 'vitest'
import { bookkeepingTables } from '../../src/cli/queries.ts'
import { createIndexer, memorySource } from '../../src/index.ts'
import { memoryRegions } from '../../src/publish/memory.ts'
import { simulatedChain } from '../../src/testing/index.ts'
import {
  blocksOf,
  createWorld,
  expected,
  handlers,
  numbered,
  row,
  setRow,
  tables,
  type World,
} from '../support/indexers.ts'
import { atTerminal, hasTerminal, tailrace, type Ran } from './command.ts'
import { addSnapshots } from './region-rows.ts'

// each command is a process that compiles itself: half a second of a processor that others use, too
vi.setConfig({ testTimeout: 120_000 })

const blocks = blocksOf(40, 5)

/** Its last ten blocks may fork: history is kept of them. */
function indexed(world: World, name = 'p') {
  const chain = simulatedChain<(typeof blocks)[number]['items'][number]>({ id: 'chain', historyDepth: 10 })
  chain.append(blocks)
  chain.end()
  const indexer = createIndexer({ name, source: chain.source, tables, handlers, store: world.plainStore() })
  return expect(indexer.run()).resolves.toMatchObject({ status: 'finished', committed: 40n })
}

/** The smallest one, in table `row`. */
function simple(world: World, name = 'p') {
  const source = memorySource({ id: 'm', blocks: numbered(5) })
  return createIndexer({ name, source, tables: { row }, handle: setRow, store: world.store })
}

const reset = (world: World, ...args: string[]): Promise<Ran> =>
  tailrace(['reset', ...args], { DATABASE_URL: world.connectionString })

async function refused(world: World, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await reset(world, ...args)
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  return stderr
}

const bookkeeping = async (world: World, name: string): Promise<Record<string, number>> => {
  const counts = Object.entries(bookkeepingTables).map(
    ([table, column]) =>
      `(SELECT count(*)::int FROM tailrace.${table} WHERE ${column} = '${name}') AS ${table}`,
  )
  return (await world.query(`SELECT ${counts.join(', ')}`))[0] as Record<string, number>
}

test('the pipeline and its tables are gone, others stay; indexed again, the tables are the same', async () => {
  await using world = await createWorld()
  await indexed(world)
  await simple(world, 'other').run()
  const before = await world.rows()
  expect(before).toEqual(await expected(blocks))
  const others = await bookkeeping(world, 'other')
  const images = `SELECT count(*)::int AS n FROM tailrace_history."public.account"`
  expect((await world.query(images))[0]?.['n']).toBeGreaterThan(0)

  const done = await reset(
    world,
    'p',
    '--tables',
    'account, public.transfer,board,allowance',
    '--confirm',
    'p',
  )
  expect(done).toMatchObject({ code: 0, stderr: '' })
  expect(done.stdout).toMatch(/^ {2}p {9}reset$/m)
  expect(done.stdout).toMatch(
    /^ {2}removed {3}the pipeline's row · 1 cursor · 1\d positions · 0 region snapshots$/m,
  )
  expect(done.stdout).toMatch(/^ {2}emptied {3}public\.account · \d+ kB$/m)
  expect(done.stdout).toMatch(/^ {12}public\.allowance · \d+ kB$/m)
  expect(await bookkeeping(world, 'p')).toEqual({
    pipelines: 0,
    heartbeats: 0,
    cursors: 0,
    checkpoints: 0,
    regions: 0,
  })
  expect(await bookkeeping(world, 'other')).toEqual(others)
  expect([...(await world.rows()).values()].flat()).toEqual([])
  expect(await world.query(images)).toEqual([{ n: 0 }])
  expect(await world.query('SELECT count(*)::int AS n FROM "row"')).toEqual([{ n: 5 }])

  await indexed(world)
  expect(await world.rows()).toEqual(before)
})

test('without --tables every table keeps its rows, and is said to; old images do no harm', async () => {
  await using world = await createWorld()
  await indexed(world)
  const before = await world.rows()
  const done = await reset(world, 'p', '--confirm', 'p')
  expect(done.code).toBe(0)
  expect(done.stdout).toContain('no table · empty those of this pipeline before it runs again')
  expect(await world.rows()).toEqual(before)
  await world.query('TRUNCATE account, transfer, board, allowance')
  await indexed(world)
  expect(await world.rows()).toEqual(before)
})

test('--json says what was removed', async () => {
  await using world = await createWorld()
  await simple(world).run()
  const { code, stdout } = await reset(world, 'p', '--tables', 'row', '--confirm', 'p', '--json')
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toEqual({
    pipeline: 'p',
    removed: { heartbeats: 1, checkpoints: 0, cursors: 1, regions: 0, pipelines: 1 },
    emptied: [{ table: 'public.row', bytes: expect.stringMatching(/^[1-9]\d*$/) as string }],
  })
})

test('its region snapshots go, and what readers see stays; indexed again, newer snapshots replace it', async () => {
  await using world = await createWorld()
  const regions = memoryRegions()
  const run = (version: number, blockCount: number) =>
    createIndexer({
      name: 'p',
      source: memorySource({ id: 'm', blocks: numbered(blockCount) }),
      tables: { row },
      handle: setRow,
      handleBlock: ({ number }, { region }) => {
        for (const id of ['north', 'south']) region(id).publish({ version, at: number })
      },
      store: world.store,
      regions,
    }).run()
  const shown = async () => [...(await regions.read(['north', 'south'])).values()].map(({ body }) => body)
  await run(1, 5)
  await simple(world, 'other').run()
  await addSnapshots(world, 'other', [{ region: 'west', checkpoint: 5 }])
  const incarnation = `SELECT incarnation FROM tailrace.pipelines WHERE name = 'p'`
  const [former] = await world.query(incarnation)
  const { regions: kept } = await bookkeeping(world, 'p')
  expect(kept).toBeGreaterThan(0)

  const done = await reset(world, 'p', '--tables', 'row', '--confirm', 'p')
  expect(done).toMatchObject({ code: 0, stderr: '' })
  expect(done.stdout).toContain(` · ${kept} region snapshots\n`)
  expect(done.stdout).toMatch(
    /^ {2}regions {3}what Redis shows of them stays until the pipeline publishes again$/m,
  )
  expect(await bookkeeping(world, 'p')).toMatchObject({ pipelines: 0, regions: 0 })
  expect(await bookkeeping(world, 'other')).toMatchObject({ pipelines: 1, regions: 1 })
  expect(await shown()).toMatchObject([{ version: 1, at: 5 }, {}])

  // epochs and commits begin anew, below what they were: it is the incarnation that goes on
  await run(2, 1)
  expect(await shown()).toEqual(Array.from({ length: 2 }, () => ({ version: 2, at: 1 })))
  const [latter] = await world.query(incarnation)
  expect(Number(latter!['incarnation'])).toBeGreaterThan(Number(former!['incarnation']))
})

test('refused while somebody owns it; released, it can be reset', async () => {
  await using world = await createWorld()
  world.gates.write.hold()
  const running = simple(world).run()
  await world.gates.write.arrived()
  const before = await world.pipeline('p')
  expect(await refused(world, 'p', '--tables', 'row', '--confirm', 'p')).toMatch(
    /^tailrace: Pipeline 'p' is held by process \d+ on \S+\. Stop that process first, or take the pipeline from it: tailrace release p\. Nothing was changed\.\n$/,
  )
  expect(await world.pipeline('p')).toEqual(before)
  const env = { DATABASE_URL: world.connectionString }
  expect(await tailrace(['release', 'p', '--yes'], env)).toMatchObject({ code: 0 })
  expect((await reset(world, 'p', '--tables', 'row', '--confirm', 'p')).code).toBe(0)
  world.gates.write.release()
  expect(await running).toMatchObject({ status: 'superseded' })
  expect(await world.query('SELECT id FROM "row"')).toEqual([])
  await expect(simple(world).run()).resolves.toMatchObject({ status: 'finished', committed: 5n })
})

test('nothing is changed when the name is not confirmed, or a table is not one to empty', async () => {
  await using world = await createWorld()
  await simple(world).run()
  await world.query('CREATE VIEW seen AS SELECT * FROM "row"')
  await world.query('CREATE SCHEMA b; CREATE TABLE b.c (); CREATE TABLE public."b.c" ()')
  await world.query('CREATE TABLE child (id integer REFERENCES "row" (id)); INSERT INTO child VALUES (3)')
  const before = [await world.pipeline('p'), await bookkeeping(world, 'p')]
  const cases: readonly (readonly [args: readonly string[], said: string])[] = [
    [[], 'A reset cannot be undone, and there is no terminal to ask at: give --confirm p.'],
    [['--confirm', 'q'], "--confirm says 'q', the pipeline is 'p'."],
    [['--tables', 'rows', '--confirm', 'p'], "There is no table 'rows' in "],
    [['--tables', 'seen', '--confirm', 'p'], "'seen' is no table, so it cannot be emptied."],
    [['--tables', 'b.c', '--confirm', 'p'], "'b.c' is more than one table in "],
    [['--tables', 'tailrace.meta', '--confirm', 'p'], "'tailrace.meta' is no table of a pipeline."],
    [['--tables', 'row', '--confirm', 'p'], 'Name the table that refers to it in --tables as well.'],
  ]
  for (const [args, said] of cases) {
    const stderr = await refused(world, 'p', ...args)
    expect(stderr).toContain(said)
    expect(stderr).toMatch(/Nothing was changed\.\n$/)
  }
  expect([await world.pipeline('p'), await bookkeeping(world, 'p')]).toEqual(before)
  expect(await world.query('SELECT count(*)::int AS n FROM "row"')).toEqual([{ n: 5 }])
  expect((await reset(world, 'p', '--tables', 'row,child', '--confirm', 'p')).code).toBe(0)
})

test('names are taken as they are, whatever is in them', async () => {
  await using world = await createWorld()
  const odd = pgTable('Odd "Name".x', { id: integer().primaryKey() })
  const name = `it's "p" %`
  const source = memorySource({ id: 'm', blocks: numbered(3) })
  const handle = (id: number, { db }: { db: { odd: { set(row: { id: number }): void } } }) =>
    db.odd.set({ id })
  await createIndexer({ name, source, tables: { odd }, handle, store: world.store }).run()
  expect((await reset(world, name, '--tables', 'Odd "Name".x', '--confirm', name)).stderr).toBe('')
  expect(await world.query('SELECT * FROM "Odd ""Name"".x"')).toEqual([])
})

test.skipIf(!hasTerminal)('at a terminal the name has to be typed', async () => {
  await using world = await createWorld()
  await simple(world).run()
  const env = { DATABASE_URL: world.connectionString }
  const args = ['reset', 'p', '--tables', 'row']
  const to = "Type the pipeline's name to go on:"
  for (const type of ['yes\r', '\u0003']) {
    const no = await atTerminal(args, env, [{ to, type }])
    expect(no).toMatchObject({ code: 1, screen: expect.stringContaining('Nothing was changed.') as string })
    expect(no.screen).toContain('public.row')
  }
  expect(await world.query('SELECT count(*)::int AS n FROM "row"')).toEqual([{ n: 5 }])
  expect(await atTerminal(args, env, [{ to, type: 'p\r' }])).toMatchObject({ code: 0 })
  expect(await world.query('SELECT count(*)::int AS n FROM "row"')).toEqual([{ n: 0 }])
})

test('every table of schema tailrace that has rows of a pipeline is known to it', async () => {
  await using world = await createWorld()
  await simple(world).run()
  const found = await world.query(
    `SELECT relname AS name FROM pg_class WHERE relnamespace = 'tailrace'::regnamespace AND relkind = 'r' AND relname <> 'meta'`,
  )
  expect(new Set(found.map(({ name }) => name))).toEqual(new Set(Object.keys(bookkeepingTables)))
})
