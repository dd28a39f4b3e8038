/** History on a real server: what triggers keep, what a rollback makes of it, and when there is none at all. */
import { doublePrecision, integer, jsonb, pgTable, primaryKey, text, timestamp } from 'drizzle-orm/pg-core'
import { describe, expect, test } from 'vitest'
import type { TablesInput } from '../../src/db.ts'
import { keyed } from '../../src/index.ts'
import { silentLog } from '../../src/log.ts'
import { Staging } from '../../src/staging/staging.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { completeRow, keyIdOfRow } from '../../src/staging/table-row.ts'
import type { StoreSession } from '../../src/commit/store.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { createWorld, type World } from '../support/indexers.ts'

const item = pgTable('item', { id: integer().primaryKey(), body: text() })
const pair = pgTable('pair', { from: text().notNull(), checkpoint: text().notNull(), at: integer() }, (t) => [
  primaryKey({ columns: [t.from, t.checkpoint] }),
])
const tables = { item, pair: keyed(pair, 'from', 'checkpoint') }

type Change = readonly [table: string, how: 'insert' | 'set' | 'delete', row: Record<string, unknown>]

/** A pipeline's session, and a change log to write from: one checkpoint a block. */
class Hand implements AsyncDisposable {
  readonly session: StoreSession
  readonly #staging: Staging
  checkpoint: number

  private constructor(session: StoreSession, staging: Staging) {
    this.session = session
    this.#staging = staging
    this.checkpoint = session.resume.counter
  }

  static async open(world: World, given: TablesInput = tables, forks = true, pipeline = 'p'): Promise<Hand> {
    const models = Object.entries(given).map(([name, table]) => tableModelOf(name, table, {}))
    const session = await world.plainStore().open({
      pipeline,
      models,
      sources: ['a', 'b'].map((id) => ({ id, historyDepth: forks ? 10 : 0 })),
      staleMs: 15_000,
      ownershipTimeoutMs: 5_000,
      signal: new AbortController().signal,
      log: silentLog,
    })
    return new Hand(session, new Staging(models, Infinity))
  }

  /** One block a list of changes, all in one batch. @param safe checkpoint; undefined: no source forks */
  stage(safe: number | undefined, ...blocks: readonly (readonly Change[])[]): void {
    const refs = blocks.map((_, index) => ({
      checkpoint: this.checkpoint + 1 + index,
      source: 'a',
      number: this.checkpoint + 1 + index,
      hash: `h${this.checkpoint + 1 + index}`,
      ...(safe === undefined ? {} : { safe }),
    }))
    this.#staging.begin(refs, safe === undefined || refs.at(-1)!.checkpoint <= safe)
    blocks.forEach((changes, index) => {
      for (const [name, how, given] of changes) {
        const log = this.#staging.tables.get(name)!
        const row = completeRow(log.model, given)
        const origin = { checkpoint: refs[index]!.checkpoint, item: 0 }
        const id = keyIdOfRow(log.model, row)
        this.#staging.stage(log, id, row, how === 'delete' ? null : row, how === 'insert', origin)
      }
    })
    this.#staging.end()
    this.checkpoint += blocks.length
  }

  /** Everything staged as one group. */
  async commit(): Promise<void> {
    const count = this.#staging.batches.length
    const ended = await this.session.write(this.#staging.freeze(count), () => undefined)
    expect(ended).toEqual({ end: 'landed' })
    this.#staging.land(count)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.session.close()
  }
}

const items = (world: World) => world.query('SELECT id, body FROM item ORDER BY id')
const images = async (world: World, table = 'public.item') => {
  const rows = await world.query(`SELECT tailrace_checkpoint::int AS at, tailrace_existed AS existed, id, body
    FROM tailrace_history."${table}" ORDER BY 1, 3, 2`)
  return rows.map(({ at, existed, id, body }) => [at, existed, id, body])
}
const triggers = async (world: World) =>
  (await world.query(`SELECT count(*)::int AS n FROM pg_trigger WHERE tgname LIKE 'tailrace%'`))[0]!['n']
const set = (id: number, body: string): Change => ['item', 'set', { id, body }]
const gone = (id: number): Change => ['item', 'delete', { id, body: null }]

describe('what is kept', () => {
  test('I15: the first image per row and checkpoint, of inserts, updates, deletes and upserts', async () => {
    await using world = await createWorld()
    await using hand = await Hand.open(world)
    hand.stage(0, [set(1, 'a'), set(2, 'b')])
    await hand.commit()
    hand.stage(0, [set(1, 'c'), gone(2), set(3, 'd')], [set(1, 'e'), gone(3)])
    await hand.commit()
    expect(await images(world)).toEqual([
      [1, false, 1, null],
      [1, false, 2, null],
      [2, true, 1, 'a'],
      [2, true, 2, 'b'],
      [2, false, 3, null],
      [3, true, 1, 'c'],
      [3, true, 3, 'd'],
    ])
  })

  test('H13: inserted and deleted at one checkpoint: it was not there before', async () => {
    await using world = await createWorld()
    await using hand = await Hand.open(world)
    hand.stage(0, [
      ['item', 'insert', { id: 1, body: 'a' }],
      ['item', 'delete', { id: 1, body: null }],
    ])
    await hand.commit()
    expect(await images(world)).toEqual([
      [1, false, 1, null],
      [1, true, 1, 'a'],
    ])
    expect(await hand.session.restore(0)).toMatchObject({ end: 'landed' })
    expect(await items(world)).toEqual([])
  })

  test('I15: a backfill keeps nothing and has no triggers; they come with the first block that can fork, and go', async () => {
    await using world = await createWorld()
    await using hand = await Hand.open(world)
    hand.stage(2, [set(1, 'a')], [set(1, 'b')])
    await hand.commit()
    expect([await triggers(world), await images(world), hand.session.restorableFrom]).toEqual([0, [], 2])
    // safe and unsafe in one group
    hand.stage(3, [set(1, 'c')])
    hand.stage(3, [set(1, 'd')], [set(2, 'x')])
    await hand.commit()
    expect([await triggers(world), hand.session.restorableFrom]).toEqual([6, 3])
    expect(await images(world)).toEqual([
      [4, true, 1, 'c'],
      [5, false, 2, null],
    ])
    // a block without changes leaves them in place
    hand.stage(4, [])
    await hand.commit()
    expect(await triggers(world)).toBe(6)
    hand.stage(7, [set(3, 'y')])
    await hand.commit()
    expect([await triggers(world), await images(world), hand.session.restorableFrom]).toEqual([0, [], 7])
  })

  test('H22: two halves take turns: one is emptied only when nothing of it can be needed any more', async () => {
    await using world = await createWorld()
    await using hand = await Hand.open(world)
    const many = (body: string) => Array.from({ length: 20_000 }, (_, id) => set(id, body))
    const held = async () => {
      const [found] =
        await world.query(`SELECT (SELECT max(tailrace_checkpoint) FROM tailrace_history."public.item.a")::int AS a,
        (SELECT max(tailrace_checkpoint) FROM tailrace_history."public.item.b")::int AS b`)
      return [found!['a'], found!['b']]
    }
    const step = async (safe: number, body: string, changes: readonly Change[] = many(body)) => {
      hand.stage(safe, changes)
      await hand.commit()
      return held()
    }
    expect(await step(0, 'one')).toEqual([1, null])
    // the other half is empty: its turn
    expect(await step(0, 'two')).toEqual([1, 2])
    // full again, but 1 can still be taken back
    expect(await step(0, 'three')).toEqual([1, 3])
    expect(await step(1, 'four')).toEqual([4, 3])
    // nothing of b is needed any more: it is emptied, and takes its turn
    expect(await step(3, 'five', [set(1, 'five')])).toEqual([4, 5])
    expect(await hand.session.restore(4)).toEqual({ end: 'landed', rows: 1 })
    expect(await world.query('SELECT body, count(*)::int AS n FROM item GROUP BY 1')).toEqual([
      { body: 'four', n: 20_000 },
    ])
    expect(await hand.session.restore(3)).toEqual({ end: 'landed', rows: 20_000 })
    expect(await world.query('SELECT DISTINCT body FROM item')).toEqual([{ body: 'three' }])
  })

  test('what the user changes by hand keeps no history', async () => {
    await using world = await createWorld()
    await using hand = await Hand.open(world)
    hand.stage(0, [set(1, 'a')])
    await hand.commit()
    await world.query(`INSERT INTO item VALUES (7, 'mine')`)
    expect(await images(world)).toEqual([[1, false, 1, null]])
  })

  test('no source forks: there is no schema of history at all', async () => {
    await using world = await createWorld()
    await using hand = await Hand.open(world, tables, false)
    hand.stage(undefined, [set(1, 'a')])
    await hand.commit()
    expect(await world.query(`SELECT to_regnamespace('tailrace_history') AS there`)).toEqual([
      { there: null },
    ])
    expect(await world.query('SELECT restorable_from FROM tailrace.pipelines')).toEqual([
      { restorable_from: '1' },
    ])
  })
})

describe('a rollback', () => {
  test('H23: set, delete, set, taken back to the delete: it stays deleted', async () => {
    await using world = await createWorld()
    await using hand = await Hand.open(world)
    hand.stage(0, [set(1, 'a')])
    hand.stage(0, [gone(1)])
    hand.stage(0, [set(1, 'b')])
    await hand.commit()
    expect(await hand.session.restore(2)).toEqual({ end: 'landed', rows: 1 })
    expect(await items(world)).toEqual([])
    expect(await images(world)).toEqual([
      [1, false, 1, null],
      [2, true, 1, 'a'],
    ])
  })

  test('I2, I12, H69: rows, cursor, positions, frontier in one transaction; counter and restorableFrom stay', async () => {
    await using world = await createWorld()
    await using hand = await Hand.open(world)
    hand.stage(1, [set(1, 'a')])
    hand.stage(1, [set(1, 'b'), set(2, 'x')], [set(1, 'c')], [gone(2)])
    await hand.commit()
    expect(await hand.session.restore(2)).toEqual({ end: 'landed', rows: 2 })
    expect(await items(world)).toEqual([
      { id: 1, body: 'b' },
      { id: 2, body: 'x' },
    ])
    expect(await world.pipeline('p')).toMatchObject({ commitNumber: 2, committed: 2, counter: 4 })
    expect(await world.query('SELECT checkpoint, hash FROM tailrace.cursors')).toEqual([
      { checkpoint: '2', hash: 'h2' },
    ])
    const positions = await world.query('SELECT checkpoint FROM tailrace.checkpoints ORDER BY 1')
    expect(positions.map(({ checkpoint }) => checkpoint)).toEqual(['1', '2'])
    expect(hand.session.restorableFrom).toBe(1)
    const versions = await world.query(`SELECT xmin::text AS x FROM item WHERE id = 1
      UNION SELECT xmin::text FROM tailrace.cursors UNION SELECT xmin::text FROM tailrace.pipelines`)
    expect(versions).toHaveLength(1)
    // and on from there, twice
    hand.checkpoint = 4
    hand.stage(2, [set(1, 'z')])
    await hand.commit()
    expect(await hand.session.restore(2)).toEqual({ end: 'landed', rows: 1 })
    expect((await items(world))[0]).toEqual({ id: 1, body: 'b' })
  })

  test('to nothing at all: a source without a position has no cursor any more', async () => {
    await using world = await createWorld()
    await using hand = await Hand.open(world)
    hand.stage(0, [set(1, 'a')], [set(2, 'b')])
    await hand.commit()
    expect(await hand.session.restore(0)).toEqual({ end: 'landed', rows: 2 })
    expect(await items(world)).toEqual([])
    expect(await world.query('SELECT FROM tailrace.cursors')).toEqual([])
    expect(await world.pipeline('p')).toMatchObject({ committed: 0, counter: 2 })
  })

  test('composite keys, and columns of every kind, named like ours', async () => {
    await using world = await createWorld()
    const wide = pgTable('wide', {
      at: integer().primaryKey(),
      op: doublePrecision(),
      tailrace_now: jsonb(),
      seen: timestamp({ precision: 6, withTimezone: true, mode: 'string' }),
      tags: text().array(),
    })
    await using hand = await Hand.open(world, { ...tables, wide })
    const before = {
      at: 1,
      op: Number.NaN,
      tailrace_now: { a: [1, 'ß'] },
      seen: '2020-01-01 00:00:00.123456+00',
      tags: ['a', 'b,"'],
    }
    hand.stage(0, [
      ['wide', 'set', before],
      ['pair', 'set', { from: 'x, y', checkpoint: '"', at: 1 }],
    ])
    await hand.commit()
    const rows = async () => [
      await world.query('SELECT w::text FROM wide w'),
      await world.query('SELECT p::text FROM pair p'),
    ]
    const kept = await rows()
    hand.stage(
      0,
      [
        ['wide', 'set', { ...before, op: 1, tailrace_now: null, tags: null }],
        ['pair', 'delete', { from: 'x, y', checkpoint: '"', at: null }],
      ],
      [['wide', 'delete', before]],
    )
    await hand.commit()
    expect(await hand.session.restore(1)).toEqual({ end: 'landed', rows: 2 })
    expect(await rows()).toEqual(kept)
  })

  test('H67: what two rows exchange across a unique constraint goes back, too', async () => {
    await using world = await createWorld()
    const slot = pgTable('slot', { id: integer().primaryKey(), place: integer().unique() })
    await using hand = await Hand.open(world, { slot })
    const put = (id: number, place: number): Change => ['slot', 'set', { id, place }]
    hand.stage(0, [put(1, 10), put(2, 20)])
    hand.stage(0, [put(1, 20), put(2, 10)])
    await hand.commit()
    expect(await hand.session.restore(1)).toEqual({ end: 'landed', rows: 2 })
    expect(await world.query('SELECT id, place FROM slot ORDER BY id')).toEqual([
      { id: 1, place: 10 },
      { id: 2, place: 20 },
    ])
  })

  test('I9: of a superseded owner does not land', async () => {
    await using world = await createWorld()
    await using hand = await Hand.open(world)
    hand.stage(0, [set(1, 'a')], [set(1, 'b')])
    await hand.commit()
    await world.query(
      `UPDATE tailrace.pipelines SET epoch = epoch + 1, token = gen_random_uuid(), host = 'h', pid = 9`,
    )
    expect(await hand.session.restore(1)).toMatchObject({ end: 'refused', error: { code: 'SUPERSEDED' } })
    expect(await items(world)).toEqual([{ id: 1, body: 'b' }])
  })

  test('I10, H37: its answer is lost: resolved as landed, and never applied twice', async () => {
    await using world = await createWorld()
    const { hostname, port } = new URL(world.connectionString)
    await using proxy = await startTcpProxy({ target: { host: hostname, port: Number(port) } })
    const through = {
      ...world,
      plainStore: () => world.plainStore({ connectionString: proxy.through(world.connectionString) }),
    }
    await using hand = await Hand.open(through)
    hand.stage(0, [set(1, 'a')], [set(1, 'b')])
    await hand.commit()
    await proxy.pause('down')
    const restoring = hand.session.restore(1)
    while ((await world.pipeline('p')).commitNumber === 1);
    await proxy.kill()
    await proxy.resume('down')
    expect((await restoring).end).toBe('lost')
    expect(await hand.session.resolve()).toEqual({ end: 'landed' })
    expect(await world.pipeline('p')).toMatchObject({ commitNumber: 2, committed: 1 })
    expect(await items(world)).toEqual([{ id: 1, body: 'a' }])
    hand.checkpoint = 2
    hand.stage(1, [set(1, 'c')])
    await hand.commit()
  })
})

describe('another run', () => {
  test('I15: finds the history of the one before, and can go back into it', async () => {
    await using world = await createWorld()
    {
      await using hand = await Hand.open(world)
      hand.stage(0, [set(1, 'a')], [set(1, 'b')])
      await hand.commit()
    }
    await using hand = await Hand.open(world)
    expect(hand.session.resume).toMatchObject({ committed: 2, counter: 2, restorableFrom: 0 })
    expect(hand.session.resume.positions.get('a')!.map(({ number }) => number)).toEqual([2, 1])
    expect(await hand.session.restore(1)).toEqual({ end: 'landed', rows: 1 })
    expect(await items(world)).toEqual([{ id: 1, body: 'a' }])
  })

  test('H70: what was committed before anything could fork stays put, and its position can be gone back to', async () => {
    await using world = await createWorld()
    {
      await using hand = await Hand.open(world, tables, false)
      hand.stage(undefined, [set(1, 'a')], [set(2, 'b')])
      await hand.commit()
    }
    await using hand = await Hand.open(world)
    expect(hand.session.restorableFrom).toBe(2)
    hand.stage(2, [set(1, 'c')])
    await hand.commit()
    expect(await hand.session.restore(2)).toEqual({ end: 'landed', rows: 1 })
    expect(await world.query('SELECT checkpoint FROM tailrace.cursors')).toEqual([{ checkpoint: '2' }])
  })

  test('I15: a table that was added since has its history, too, where the others have theirs already', async () => {
    await using world = await createWorld()
    {
      await using hand = await Hand.open(world, { item })
      hand.stage(0, [set(1, 'a')])
      await hand.commit()
      expect(await triggers(world)).toBe(3)
    }
    await using hand = await Hand.open(world)
    hand.stage(0, [set(1, 'b'), ['pair', 'set', { from: 'x', checkpoint: 'y', at: 1 }]])
    await hand.commit()
    expect(await triggers(world)).toBe(6)
    expect(await hand.session.restore(1)).toEqual({ end: 'landed', rows: 2 })
    expect(await items(world)).toEqual([{ id: 1, body: 'a' }])
    expect(await world.query('SELECT FROM pair')).toEqual([])
  })

  test('of a pipeline that begins anew is not misled by images of its former life', async () => {
    await using world = await createWorld()
    {
      await using hand = await Hand.open(world)
      hand.stage(0, [set(1, 'old')], [set(1, 'older')])
      await hand.commit()
    }
    await world.query(`DELETE FROM item; DELETE FROM tailrace.pipelines; DELETE FROM tailrace.cursors;
      DELETE FROM tailrace.checkpoints`)
    await using hand = await Hand.open(world)
    hand.stage(0, [set(1, 'new')], [set(1, 'newer')])
    await hand.commit()
    expect(await hand.session.restore(1)).toEqual({ end: 'landed', rows: 1 })
    expect(await items(world)).toEqual([{ id: 1, body: 'new' }])
  })

  test('H46: a column that was added since is kept from then on; a changed type makes the history begin anew', async () => {
    await using world = await createWorld()
    {
      await using hand = await Hand.open(world)
      hand.stage(0, [set(1, 'a')], [set(1, 'b')])
      await hand.commit()
    }
    await world.query('ALTER TABLE item ADD COLUMN more integer')
    const wider = pgTable('item', { id: integer().primaryKey(), body: text(), more: integer() })
    {
      await using hand = await Hand.open(world, { ...tables, item: wider })
      hand.stage(
        0,
        [['item', 'set', { id: 1, body: 'c', more: 1 }]],
        [['item', 'set', { id: 1, body: 'd', more: 2 }]],
      )
      await hand.commit()
      expect(await hand.session.restore(3)).toMatchObject({ rows: 1 })
      expect(await world.query('SELECT body, more FROM item')).toEqual([{ body: 'c', more: 1 }])
      expect(await hand.session.restore(1)).toMatchObject({ rows: 1 })
      expect(await world.query('SELECT body, more FROM item')).toEqual([{ body: 'a', more: null }])
    }
    // the change of type is accepted by hand: otherwise the pipeline's shape would refuse it
    await world.query(
      'ALTER TABLE item ALTER COLUMN more TYPE text; UPDATE tailrace.pipelines SET shape = NULL',
    )
    const changed = pgTable('item', { id: integer().primaryKey(), body: text(), more: text() })
    await using hand = await Hand.open(world, { ...tables, item: changed })
    expect(hand.session.restorableFrom).toBe(1)
    hand.stage(1, [['item', 'set', { id: 1, body: 'e', more: 'x' }]])
    await hand.commit()
    expect(await hand.session.restore(1)).toMatchObject({ rows: 1 })
    expect(await world.query('SELECT body, more FROM item')).toEqual([{ body: 'a', more: null }])
  })
})

test('a role that does not own a table is told so at the opening, with the statement that helps', async () => {
  await using world = await createWorld()
  await (await Hand.open(world, tables, false)).session.close()
  const role = `tailrace_guest_${process.pid}`
  const database = new URL(world.connectionString).pathname.slice(1)
  await world.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT ALL ON DATABASE "${database}" TO ${role};
    GRANT ALL ON ALL TABLES IN SCHEMA public, tailrace TO ${role}; GRANT USAGE ON SCHEMA tailrace TO ${role}`)
  try {
    const url = new URL(world.connectionString)
    url.username = role
    url.password = 'x'
    const guest = {
      ...world,
      plainStore: () => world.plainStore({ connectionString: url.href, createTables: false }),
    }
    await expect(Hand.open(guest)).rejects.toMatchObject({
      code: 'NOT_TABLE_OWNER',
      message: expect.stringContaining(`ALTER TABLE "public"."item" OWNER TO "${role}"`) as string,
    })
    // and the pipeline is free again
    expect(await world.pipeline('p')).toMatchObject({ token: null })
  } finally {
    await world.query(`REASSIGN OWNED BY ${role} TO CURRENT_USER; DROP OWNED BY ${role}; DROP ROLE ${role}`)
  }
})

test('a name too long, and names that would meet, have histories of their own', async () => {
  await using world = await createWorld()
  const long = 'l'.repeat(60)
  const one = pgTable(`${long}one`, { id: integer().primaryKey(), body: text() })
  const two = pgTable(`${long}two`, { id: integer().primaryKey(), body: text() })
  const dotted = pgTable('public.item', { id: integer().primaryKey(), body: text() })
  await using hand = await Hand.open(world, { item, one, two, dotted })
  const names = await world.query(`SELECT relname FROM pg_class
    WHERE relnamespace = 'tailrace_history'::regnamespace AND relkind = 'r'`)
  expect(new Set(names.map(({ relname }) => relname)).size).toBe(4 * 2)
  hand.stage(0, [set(1, 'a'), ['one', 'set', { id: 1, body: 'b' }], ['two', 'set', { id: 1, body: 'c' }]])
  await hand.commit()
  expect(await hand.session.restore(0)).toEqual({ end: 'landed', rows: 3 })
})
