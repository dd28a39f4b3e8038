/** What the database is asked for a `find`: enough to stand for what is held here, and no more (H11); never one for another. */
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { describe, expect, test } from 'vitest'
import { Staging } from '../../src/staging/staging.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import type { FindQuery } from '../../src/staging/reader.ts'
import { ChangeLog } from '../support/change-log.ts'

const account = pgTable('account', { id: text().primaryKey(), n: integer(), m: integer() })
const make = (budget?: number) => new ChangeLog({ account }, budget)
type Log = ReturnType<typeof make>
type Db = Parameters<Parameters<Log['batch']>[0]>[0]
const row = (id: string, n: number | null, m: number | null = null) => ({ id, n, m })
const ids = (rows: readonly { readonly id: string }[]) => rows.map(({ id }) => id).join('')
const asked = (log: Log) => log.database.questions.filter((question) => question.startsWith('find'))

describe('H11: so many rows are asked for that what is held may displace as many', () => {
  /** The two least of what is 0 or more; rows of other signs are no hits. */
  const find = (db: Db) => db.account.find({ where: { n: { gte: 0 } }, orderBy: { n: 'asc' }, limit: 2 })

  test.each<readonly [string, number, (db: Db) => unknown]>([
    ['nothing is held', 2, () => undefined],
    ['a change of what nobody has read', 3, (db) => db.account.set(row('x', -1))],
    ['a delete of what nobody has read', 3, (db) => db.account.delete('x')],
    ['an insert of what is no hit', 2, (db) => db.account.insert(row('x', -1))],
    ['an insert of a hit, which may be there by then', 3, (db) => db.account.insert(row('x', 9))],
    [
      'a delete of what is known to be a hit',
      3,
      async (db) => {
        await db.account.get('a')
        db.account.delete('a')
      },
    ],
    [
      'a change of what is known to be none',
      2,
      async (db) => {
        await db.account.get('minus')
        db.account.set(row('minus', -6))
      },
    ],
    [
      'a change of what is known not to be there',
      2,
      async (db) => {
        await db.account.get('absent')
        db.account.set(row('absent', -6))
      },
    ],
    ['a change that is still being worked out', 3, (db) => void db.account.update('minus', { n: -7 })],
  ])('%s', async (_what, expected, change) => {
    const log = make()
    log.store('account', row('a', 0), row('b', 1), row('c', 2), row('minus', -5))
    await log.batch(async (db) => {
      await change(db)
      await find(db)
    })
    expect(asked(log)).toEqual([`find account ${expected}`])
  })

  test('a value between the first and the last may be in the database, too', async () => {
    const log = make()
    log.store('account', row('z', -5))
    await log.batch(async (db) => {
      await db.account.get('z')
      db.account.set(row('z', 5))
    })
    await log.batch(async (db) => {
      db.account.set(row('z', -7))
      expect(await find(db)).toEqual([])
    })
    expect(asked(log)).toEqual(['find account 3'])
  })

  test('among many that are held, those that nobody has read count each', async () => {
    const log = make()
    log.store('account', row('a', 0))
    await log.batch(async (db) => {
      for (let index = 0; index < 40; index++) db.account.set(row(`x${index}`, 7))
      expect(ids(await db.account.find({ where: { n: 0 }, limit: 1 }))).toBe('a')
    })
    expect(asked(log)).toEqual(['find account 41'])
  })

  test('of none nothing is asked', async () => {
    const log = make()
    await log.batch(async (db) => {
      expect(await db.account.find({ limit: 0 })).toEqual([])
      expect(await db.account.find({ limit: 0, offset: 0 })).toEqual([])
    })
    expect(asked(log)).toEqual([])
  })

  test('the speculative pass counts its own changes, and asks for 16 more', async () => {
    const log = make()
    log.store('account', row('a', 0), row('b', 1), row('c', 2))
    await log.batch((db) => db.account.set(row('b', 5)))
    log.begin()
    const found = await log.handle(
      async (db) => {
        db.account.set(row('a', 3))
        db.account.set(row('b', -1))
        db.account.set(row('d', -1))
        return find(db)
      },
      { speculative: true },
    )
    expect(ids(found)).toBe('ca')
    expect(asked(log)).toEqual(['find account 21'])
  })
})

test('H11: a change that is still being worked out takes part with the value that it will have', async () => {
  const log = make()
  log.store('account', row('a', 1), row('b', 5))
  const [ones, fives] = await log.batch(async (db) => {
    void db.account.update('a', { n: 5 })
    void db.account.update('b', (before) => ({ n: before.n! - 4 }))
    return Promise.all([db.account.find({ where: { n: 1 } }), db.account.find({ where: { n: 5 } })])
  })
  expect([ids(ones), ids(fives)]).toEqual(['b', 'a'])
})

describe('different questions are told apart', () => {
  const rows = [row('a', 1, 2), row('b', 2, 1), row('c', null, 1), row('d', 1, null)]

  test.each<readonly [object, string, object, string]>([
    [{ orderBy: { id: 'asc' }, limit: 1 }, 'a', { orderBy: { id: 'desc' }, limit: 1 }, 'd'],
    [
      { orderBy: { n: { direction: 'asc', nulls: 'first' } }, limit: 1 },
      'c',
      { orderBy: { n: { direction: 'asc', nulls: 'last' } }, limit: 1 },
      'a',
    ],
    [{ orderBy: { n: 'desc' }, limit: 1 }, 'c', { orderBy: { m: 'desc' }, limit: 1 }, 'd'],
    [{ where: { n: null } }, 'c', { where: { m: null } }, 'd'],
    [{ where: { n: { isNull: true } } }, 'c', { where: { n: { isNull: false } } }, 'abd'],
    [{ where: { n: { in: [1] } } }, 'ad', { where: { n: { in: [2] } } }, 'b'],
    [{ where: { n: { in: [1] } } }, 'ad', { where: { m: { in: [1] } } }, 'bc'],
    [{ where: { not: { n: 1 } } }, 'b', { where: { not: { n: 2 } } }, 'ad'],
    [{ where: { and: [{ n: 1 }, { m: 2 }] } }, 'a', { where: { or: [{ n: 1 }, { m: 2 }] } }, 'ad'],
    [{ where: { or: [{ n: 1 }, { n: 2 }] } }, 'abd', { where: { or: [{ m: 1 }, { m: 2 }] } }, 'abc'],
    [{ where: { n: { gt: 1 } } }, 'b', { where: { n: { gte: 1 } } }, 'abd'],
    [{ where: { n: 1 } }, 'ad', { where: { m: 1 } }, 'bc'],
  ])('%j and %j', async (first, expected, second, other) => {
    const log = make()
    log.store('account', ...rows)
    await log.batch(async (db) => {
      expect(ids(await db.account.find(first))).toBe(expected)
      expect(ids(await db.account.find(second))).toBe(other)
      expect(ids(await db.account.find(first))).toBe(expected)
    })
    expect(asked(log)).toHaveLength(2)
  })

  test('an answer with as many rows as are needed serves again, and one that was complete serves any', async () => {
    const log = make()
    log.store('account', ...rows)
    await log.batch(async (db) => {
      await db.account.find({ limit: 3 })
      expect(ids(await db.account.find({ limit: 3 }))).toBe('abc')
      expect(ids(await db.account.find())).toBe('abcd')
      expect(ids(await db.account.find({ limit: 9 }))).toBe('abcd')
    })
    expect(asked(log)).toEqual(['find account 3', 'find account all'])
  })
})

test('the question holds what was asked: predicate, order and limit', async () => {
  const log = make()
  const heard: FindQuery[] = []
  const find = log.database.find.bind(log.database)
  log.database.find = async (model, query) => {
    heard.push(query)
    return find(model, query)
  }
  await log.batch((db) => db.account.find({ where: { n: 1 }, orderBy: { m: 'desc' }, limit: 4, offset: 3 }))
  expect(heard).toHaveLength(1)
  const [{ predicate, order, limit }] = heard as [FindQuery]
  expect(predicate).toMatchObject({ kind: 'compare', op: 'eq', value: 1 })
  expect(order.map(({ column, descending }) => [column.property, descending])).toEqual([
    ['m', true],
    ['id', false],
  ])
  expect(limit).toBe(7)
})

test('what the database was asked is counted, so that compute knows whether a preload pays', async () => {
  const log = make()
  log.store('account', row('a', 1))
  await log.batch(async (db) => {
    await db.account.getMany(['a', 'b'])
    await db.account.get('a')
    await db.account.find()
  })
  expect(log.workspace.misses).toBe(3)
})

describe('the log of all tables', () => {
  test('H16: loads that have ended leave no trace, those that have not are not remembered', async () => {
    const log = make()
    const { generation } = log.staging
    await log.batch(async (db) => {
      await db.account.get('a')
      await db.account.find()
    })
    await log.batch(() => undefined)
    expect(log.staging.generation).toBe(generation)
    log.staging.loadStarted()
    log.begin()
    expect(log.staging.generation).toBe(generation + 1)
  })

  test('I15: a batch collapses only if every block of it is final', async () => {
    const log = make()
    await log.batch(() => undefined, { count: 2, safe: 1 })
    await log.batch(() => undefined, { count: 2 })
    expect(log.staging.batches.map(({ collapses }) => collapses)).toEqual([false, true])
  })

  test('H33: a fork that drops whole batches cuts none of them in two', async () => {
    const log = make()
    await log.batch((db) => db.account.set(row('a', 1)), { count: 2 })
    await log.batch((db) => db.account.set(row('a', 2)), { count: 2 })
    expect(() => log.staging.cut(1)).toThrow(
      expect.objectContaining({ code: 'FORK_BEYOND_HISTORY', phase: 'rollback' }),
    )
    expect(log.staging.cut(0)).toEqual({ dropped: 1, trimmed: 0 })
    expect([log.staging.batches, log.staging.uncommittedBytes]).toEqual([[], 0])
  })

  test('a change outside of a batch is a mistake of ours', () => {
    const log = make()
    const accounts = log.staging.tables.get('account')!
    const origin = { checkpoint: 1, item: 0 }
    expect(() => log.staging.stage(accounts, 'a', row('a', 1), row('a', 1), false, origin)).toThrow(
      'no batch is open',
    )
  })

  test('of regions only the newest counts unless it is said otherwise', () => {
    const staging = new Staging([], 1e9)
    staging.begin([{ checkpoint: 1, source: 's', number: 1, hash: '1' }], true)
    staging.publish('a', 'x', { checkpoint: 1, item: 0 })
    staging.publish('a', 'y', { checkpoint: 1, item: 0 })
    expect(staging.end().snapshots.map(({ body }) => body)).toEqual(['y'])
  })

  test('H49: what is too much goes from one table after the other, and no more than that', () => {
    const models = ['one', 'two'].map((name) => tableModelOf(name, account))
    const staging = new Staging(models, 0)
    const fill = (of: Staging) => {
      for (const log of of.tables.values()) {
        for (let index = 0; index < 10; index++) log.remember(index, row('a', 1), row('a', 1))
      }
    }
    fill(staging)
    const each = staging.cacheBytes / 20
    const half = new Staging(models, 15 * each)
    fill(half)
    half.begin([{ checkpoint: 1, source: 's', number: 1, hash: '1' }], true)
    expect([...half.tables.values()].map(({ entries }) => entries.size)).toEqual([5, 10])
    staging.begin([{ checkpoint: 1, source: 's', number: 1, hash: '1' }], true)
    expect(staging.cacheBytes).toBe(0)
  })
})
