/** `find` and loads through the change log, with questions and answers held where it hurts. */
import { customType, integer, pgTable, text } from 'drizzle-orm/pg-core'
import { describe, expect, test } from 'vitest'
import { Gate } from '../../src/testing/gate.ts'
import { ChangeLog, written } from '../support/change-log.ts'

const tables = {
  account: pgTable('account', { id: text().primaryKey(), n: integer().notNull() }),
}
const make = (budget?: number) => new ChangeLog(tables, budget)
const ids = (rows: readonly { readonly id: string }[]) => rows.map(({ id }) => id).join('')

describe('find over staged and stored rows', () => {
  test('H11: a row moved out of the predicate is not returned, one moved in is not missed', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 }, { id: 'b', n: 2 }, { id: 'c', n: 1 })
    await log.batch(async (db) => {
      db.account.set({ id: 'a', n: 2 })
      db.account.set({ id: 'b', n: 1 })
      db.account.delete('c')
      db.account.insert({ id: 'd', n: 1 })
      expect(ids(await db.account.find({ where: { n: 1 } }))).toBe('bd')
    })
    log.commit(1)
    expect(ids(await log.batch((db) => db.account.find({ where: { n: 1 } })))).toBe('bd')
  })

  test('H11: enough is asked for when staged changes displace what the limit would have found', async () => {
    const log = make()
    log.store('account', ...['a', 'b', 'c', 'd', 'e'].map((id, n) => ({ id, n })))
    await log.batch(async (db) => {
      db.account.delete('a')
      await db.account.update('b', { n: 100 })
      db.account.set({ id: 'c', n: -1 })
      const sorted = { orderBy: { n: 'asc' } } as const
      expect(ids(await db.account.find({ ...sorted, limit: 2 }))).toBe('cd')
      expect(ids(await db.account.find({ ...sorted, limit: 2, offset: 1 }))).toBe('de')
      expect(ids(await db.account.find({ ...sorted, limit: 3, offset: 2 }))).toBe('eb')
      expect(await db.account.find({ ...sorted, limit: 0 })).toEqual([])
    })
  })

  test('H12: a commit that lands between the look-up and the SELECT changes nothing', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 }, { id: 'b', n: 1 })
    await log.batch((db) => {
      db.account.set({ id: 'a', n: 2 })
      db.account.set({ id: 'c', n: 1 })
    })
    log.begin()
    log.asked.hold()
    const finding = log.handle((db) => db.account.find({ where: { n: 1 }, limit: 3 }))
    await log.asked.arrived()
    log.commit(1)
    log.asked.release()
    expect(ids(await finding)).toBe('bc')
  })

  test('H12: nor one that lands between the SELECT and its answer', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    await log.batch((db) => db.account.set({ id: 'a', n: 2 }))
    log.begin()
    log.answered.hold()
    const finding = log.handle(async (db) => {
      const [found] = await Promise.all([db.account.find(), db.account.get('other')])
      return [found, await db.account.get('a')]
    })
    await log.answered.arrived(2)
    log.commit(1)
    log.answered.release()
    expect(await finding).toEqual([[{ id: 'a', n: 2 }], { id: 'a', n: 2 }])
  })

  test('H14, H15: the same question later in the batch sees what was staged since, and asks the database once', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    log.begin()
    log.asked.hold()
    await log.handle(async (db) => {
      const first = db.account.find({ where: { n: 1 } })
      await log.asked.arrived()
      db.account.insert({ id: 'b', n: 1 })
      const second = db.account.find({ where: { n: 1 } })
      db.account.delete('a')
      const third = db.account.find({ where: { n: 1 } })
      log.asked.release()
      expect([ids(await first), ids(await second), ids(await third)]).toEqual(['a', 'ab', 'b'])
    })
    await log.handle(async (db) => expect(ids(await db.account.find({ where: { n: 1 } }))).toBe('b'))
    expect(log.database.questions).toEqual(['find account all'])
  })

  test('a question that needs more rows than an earlier one had is asked again; one that needs fewer is not', async () => {
    const log = make()
    log.store('account', ...['a', 'b', 'c', 'd'].map((id) => ({ id, n: 1 })))
    await log.batch(async (db) => {
      expect(ids(await db.account.find({ limit: 2 }))).toBe('ab')
      expect(ids(await db.account.find({ limit: 1 }))).toBe('a')
      expect(ids(await db.account.find({ limit: 3 }))).toBe('abc')
      db.account.delete('a')
      expect(ids(await db.account.find({ limit: 3 }))).toBe('bcd')
      // complete: the database had no more than was asked for
      expect(ids(await db.account.find({ limit: 100 }))).toBe('bcd')
      expect(ids(await db.account.find())).toBe('bcd')
    })
    expect(log.database.questions.filter((question) => question.startsWith('find'))).toEqual([
      'find account 2',
      'find account 3',
      'find account 4',
      'find account 101',
    ])
  })

  test('H11, H12: what was read after a commit had landed does not make an earlier answer look sufficient', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 }, { id: 'b', n: 1 }, { id: 'c', n: 1 })
    await log.batch((db) => db.account.set({ id: 'a', n: 2 }))
    // the first question is answered from before the commit, and heard after the second one's answer
    const late = new Gate('late')
    const find = log.database.find.bind(log.database)
    log.database.find = async (model, query) => {
      const rows = await find(model, query)
      await late.enter()
      return rows
    }
    log.begin()
    await log.handle(async (db) => {
      late.hold()
      const first = db.account.find({ where: { n: 1 }, limit: 1 })
      await late.arrived()
      log.commit(1)
      log.database.find = find
      expect(ids(await db.account.find({ where: { n: 2 } }))).toBe('a')
      late.release()
      expect(ids(await first)).toBe('b')
      expect(ids(await db.account.find({ where: { n: 1 }, limit: 2 }))).toBe('bc')
    })
  })

  test('different questions are told apart, whatever their values look like as JSON', async () => {
    class Level {
      readonly #n: number
      constructor(n: number) {
        this.#n = n
      }
      static of(level: Level): number {
        return level.#n
      }
    }
    const level = customType<{ data: Level; driverData: number }>({
      dataType: () => 'integer',
      toDriver: (value) => Level.of(value),
      fromDriver: (value) => new Level(value),
    })
    const log = new ChangeLog({ player: pgTable('player', { id: text().primaryKey(), level: level() }) })
    log.store('player', { id: 'a', level: new Level(1) }, { id: 'b', level: new Level(2) })
    await log.batch(async (db) => {
      expect(ids(await db.player.find({ where: { level: new Level(1) } }))).toBe('a')
      expect(ids(await db.player.find({ where: { level: new Level(2) } }))).toBe('b')
      expect(ids(await db.player.find({ where: { level: { ne: new Level(2) } } }))).toBe('a')
    })
    expect(log.database.questions).toHaveLength(3)
  })

  test('H17: find and get never wait for the commit', async () => {
    const log = make()
    log.store('account', { id: 'b', n: 1 })
    await log.batch((db) => db.account.set({ id: 'a', n: 1 }))
    const group = log.staging.freeze(1)
    const found = await log.batch(async (db) => [await db.account.find(), await db.account.get('a')])
    expect(found).toEqual([
      [
        { id: 'a', n: 1 },
        { id: 'b', n: 1 },
      ],
      { id: 'a', n: 1 },
    ])
    expect(written(group)).toEqual({ account: { upserts: [{ id: 'a', n: 1 }] } })
  })

  test('H18: while a group of several batches is on the wire, a read sees all of it, and what came after', async () => {
    const log = make()
    await log.batch((db) => db.account.set({ id: 'a', n: 1 }))
    await log.batch((db) => db.account.set({ id: 'b', n: 1 }))
    const group = log.staging.freeze(2)
    log.begin()
    log.asked.hold()
    const finding = log.handle((db) => {
      db.account.set({ id: 'a', n: 3 })
      return db.account.find()
    })
    await log.asked.arrived()
    log.database.apply(group)
    log.asked.release()
    expect(await finding).toEqual([
      { id: 'a', n: 3 },
      { id: 'b', n: 1 },
    ])
  })

  test('a question that failed is asked again', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    log.begin()
    log.asked.fail(new Error('connection lost'))
    await log.handle(async (db) => {
      await expect(db.account.find()).rejects.toThrow('connection lost')
      expect(ids(await db.account.find())).toBe('a')
    })
  })

  test.each([
    [{ limit: -1 }, 'limit on `account`: expected a whole number ≥ 0, got -1'],
    [{ offset: 0.5 }, 'offset on `account`: expected a whole number ≥ 0, got 0.5'],
  ])('%o is refused', async (options, message) => {
    const log = make()
    log.begin()
    await expect(log.handle((db) => db.account.find(options))).rejects.toThrow(message)
  })
})

describe('loads', () => {
  test('those of one microtask become one query per table; a key that is being loaded is not asked for again', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    await log.batch(async (db) => {
      const rows = await Promise.all([
        db.account.get('a'),
        db.account.get('b'),
        Promise.resolve().then(() => db.account.get('a')),
        db.account.getMany(['a', 'c']),
      ])
      expect(rows).toEqual([{ id: 'a', n: 1 }, undefined, { id: 'a', n: 1 }, [{ id: 'a', n: 1 }, undefined]])
    })
    expect(log.database.questions).toEqual(['get account 3'])
  })

  test('H19: found rows and absent ones are asked for once', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    for (let batch = 0; batch < 3; batch++) {
      await log.batch(async (db) =>
        expect(await db.account.getMany(['a', 'b'])).toEqual([{ id: 'a', n: 1 }, undefined]),
      )
    }
    expect(log.database.questions).toEqual(['get account 2'])
  })

  test('what a find brought is known to get', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    await log.batch(async (db) => {
      await db.account.find()
      expect(await db.account.get('a')).toEqual({ id: 'a', n: 1 })
    })
    expect(log.database.questions).toEqual(['find account all'])
  })

  test('H16: a load that outlives its batch neither seeds a stale value nor holds up eviction', async () => {
    const log = make(0)
    log.store('account', { id: 'a', n: 1 })
    log.answered.hold()
    await log.batch((db) => void db.account.get('a'))
    await log.answered.arrived()
    // the row is changed, committed and, the budget being nothing, evicted; all before the load is answered
    await log.batch((db) => db.account.set({ id: 'a', n: 2 }))
    log.commit()
    log.begin()
    expect(log.staging.cacheBytes).toBe(0)
    const reading = log.handle((db) => db.account.get('a'))
    await log.answered.arrived(2)
    log.answered.release()
    expect(await reading).toEqual({ id: 'a', n: 2 })
    expect(await log.handle((db) => db.account.get('a'))).toEqual({ id: 'a', n: 2 })
  })

  test('H16: a load answered after its row was staged does not shadow it', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    log.begin()
    log.answered.hold()
    await log.handle(async (db) => {
      const reading = db.account.get('a')
      await log.answered.arrived()
      db.account.set({ id: 'a', n: 2 })
      log.answered.release()
      expect(await reading).toEqual({ id: 'a', n: 1 })
      expect(await db.account.get('a')).toEqual({ id: 'a', n: 2 })
      expect(ids(await db.account.find({ where: { n: 1 } }))).toBe('')
    })
    log.workspace.discard()
    expect(await log.batch((db) => db.account.get('a'))).toEqual({ id: 'a', n: 1 })
  })

  test('loads and finds that return after a cut are discarded, and nobody later is given their rows', async () => {
    const log = make()
    const model = log.model('account')
    log.store('account', { id: 'a', n: 1 })
    log.begin()
    log.answered.hold()
    void log.handle((db) => [db.account.get('a'), db.account.find()])
    await log.answered.arrived(2)
    log.workspace.discard()
    log.staging.cut(0)
    // the rollback restores the row to what it was before
    log.database.put(model, { id: 'a', n: 0 })
    log.begin()
    const reading = log.handle((db) => Promise.all([db.account.get('a'), db.account.find()]))
    await log.answered.arrived(4)
    log.answered.release()
    expect(await reading).toEqual([{ id: 'a', n: 0 }, [{ id: 'a', n: 0 }]])
    expect(await log.handle((db) => db.account.get('a'))).toEqual({ id: 'a', n: 0 })
  })

  test('a load that was about to be sent when the cut came is asked anew', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    log.begin()
    void log.handle((db) => db.account.get('a'))
    log.workspace.discard()
    log.staging.cut(0)
    log.begin()
    expect(await log.handle((db) => db.account.get('a'))).toEqual({ id: 'a', n: 1 })
    expect(log.database.questions).toEqual(['get account 1', 'get account 1'])
  })

  test('a load that fails is not remembered', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    log.begin()
    log.asked.fail(new Error('connection lost'))
    await log.handle(async (db) => {
      await expect(db.account.get('a')).rejects.toThrow('connection lost')
      expect(await db.account.get('a')).toEqual({ id: 'a', n: 1 })
    })
  })
})

describe('memory', () => {
  const wide = (id: number) => ({ id: `id ${id}`, n: id })

  test('I11, H47: bytes are counted, not rows or slots, and given back as commits land', async () => {
    const log = new ChangeLog({ text: pgTable('text', { id: text().primaryKey(), body: text() }) })
    await log.batch((db) => db.text.set({ id: 'a', body: 'x'.repeat(1_000_000) }))
    const large = log.staging.uncommittedBytes
    expect(large).toBeGreaterThan(1_000_000)
    await log.batch((db) => db.text.set({ id: 'a', body: 'x' }))
    expect(log.staging.uncommittedBytes - large).toBeLessThan(1_000)
    // one value per key and batch: writing it again replaces it
    log.begin()
    for (let n = 0; n < 10; n++) {
      await log.handle((db) => db.text.set({ id: 'b', body: 'y'.repeat(n === 9 ? 10 : 1_000_000) }))
    }
    log.workspace.end()
    expect(log.staging.uncommittedBytes - large).toBeLessThan(1_500)
    log.commit(1)
    expect(log.staging.uncommittedBytes).toBeLessThan(1_500)
    log.commit()
    expect(log.staging.uncommittedBytes).toBe(0)
  })

  test('H47: one batch larger than the whole budget passes', async () => {
    const log = make(1000)
    await log.batch((db) => {
      for (let n = 0; n < 100; n++) db.account.insert(wide(n))
    })
    expect(log.staging.uncommittedBytes).toBeGreaterThan(10_000)
    expect(await log.batch((db) => db.account.get('id 99'))).toEqual(wide(99))
    log.commit()
    log.begin()
    expect(log.staging.cacheBytes).toBeLessThanOrEqual(1000)
    expect(log.stored('account')).toHaveLength(100)
  })

  test('H49: the cache stays within the budget however many keys there are, and what is evicted is read again', async () => {
    const budget = 50_000
    const log = make(budget)
    log.store('account', ...Array.from({ length: 2_000 }, (_, n) => wide(n)))
    for (let batch = 0; batch < 40; batch++) {
      await log.batch(async (db) => {
        const keys = Array.from({ length: 100 }, (_, n) => `id ${(batch * 100 + n) % 3_000}`)
        await db.account.getMany(keys)
        for (const key of keys.slice(0, 30)) db.account.set({ id: key, n: batch })
      })
      expect(log.staging.uncommittedBytes + log.staging.cacheBytes).toBeGreaterThan(0)
      log.commit()
      log.begin()
      expect(log.staging.cacheBytes).toBeLessThanOrEqual(budget)
      expect(log.staging.tables.get('account')!.entries.size).toBeLessThan(400)
      log.workspace.discard()
    }
    expect(await log.batch((db) => db.account.get('id 0'))).toEqual({ id: 'id 0', n: 30 })
  })

  test('H49: what is read outlives what nobody reads, whichever table it is of', async () => {
    const transfer = pgTable('transfer', { id: text().primaryKey(), n: integer().notNull() })
    const log = new ChangeLog({ ...tables, transfer }, 30_000)
    log.store('account', ...Array.from({ length: 20 }, (_, n) => wide(n)))
    const hot = Array.from({ length: 20 }, (_, n) => `id ${n}`)
    await log.batch((db) => db.account.getMany(hot))
    for (let batch = 0; batch < 10; batch++) {
      await log.batch(async (db) => {
        await db.account.getMany(hot)
        for (let n = 0; n < 50; n++) db.transfer.insert({ id: `${batch}-${n}`, n })
      })
      log.commit()
    }
    log.begin()
    expect(log.staging.cacheBytes).toBeLessThanOrEqual(30_000)
    log.workspace.discard()
    const asked = log.database.questions.length
    await log.batch((db) => db.account.getMany(hot))
    expect(log.database.questions.length).toBe(asked)
  })

  test('what was read since the last sweep is kept once more', async () => {
    const log = make(6_000)
    await log.batch(async (db) => {
      for (let n = 0; n < 20; n++) await db.account.get(`id ${n}`)
    })
    for (let round = 0; round < 5; round++) {
      await log.batch(async (db) => {
        await db.account.get('id 0')
        await db.account.getMany(Array.from({ length: 20 }, (_, n) => `more ${round} ${n}`))
      })
    }
    const asked = log.database.questions.length
    await log.batch((db) => db.account.get('id 0'))
    expect(log.database.questions.length).toBe(asked)
  })

  test('H48: uncommitted changes are never evicted, whatever the budget', async () => {
    const log = make(0)
    for (let n = 0; n < 5; n++) await log.batch((db) => db.account.set(wide(n)))
    await log.batch(async (db) => expect(await db.account.find()).toHaveLength(5))
    expect(log.database.questions).toEqual(['find account all'])
    log.commit()
    expect(log.stored('account')).toHaveLength(5)
  })
})
