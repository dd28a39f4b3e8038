/** `db.<table>` of one handler: what a call sees is decided by its place in the program, whatever was loaded when. */
import { customType, date, integer, jsonb, pgTable, text, timestamp } from 'drizzle-orm/pg-core'
import { describe, expect, test } from 'vitest'
import { HandlerError } from '../../src/errors.ts'
import type { Scope } from '../../src/staging/scope.ts'
import { ChangeLog, written } from '../support/change-log.ts'

const bytea = customType<{ data: Uint8Array; driverData: Buffer }>({ dataType: () => 'bytea' })
const tables = {
  account: pgTable('account', { id: text().primaryKey(), n: integer().notNull(), note: text() }),
  other: pgTable('other', { id: text().primaryKey(), n: integer().notNull() }),
  rich: pgTable('rich', {
    id: text().primaryKey(),
    at: timestamp(),
    day: date({ mode: 'date' }),
    bytes: bytea(),
    chunks: bytea().array(),
    tags: jsonb(),
    box: customType<{ data: { at: Date; list: number[] }; driverData: string }>({
      dataType: () => 'text',
      toDriver: (value) => JSON.stringify([value.at.getTime(), value.list]),
      fromDriver: (value) => {
        const [at, list] = JSON.parse(value) as [number, number[]]
        return { at: new Date(at), list }
      },
    })(),
  }),
}
const make = (budget?: number) => new ChangeLog(tables, budget)
const add = (by: number) => (row: { readonly n: number }) => ({ n: row.n + by })

describe('I4: program order while a row is still being loaded', () => {
  test('parallel update(k, fn) of one key are applied in the order of the calls', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    const rows = await log.batch((db) =>
      Promise.all([
        db.account.update('a', add(1)),
        db.account.update('a', (row) => ({ n: row.n * 10 })),
        db.account.update('a', { note: 'x' }),
        db.account.update('a', add(2)),
      ]),
    )
    expect(rows.map((row) => row.n)).toEqual([2, 20, 20, 22])
    expect(log.database.questions).toEqual(['get account 1'])
    expect(written(log.staging.freeze(1))).toEqual({ account: { upserts: [{ id: 'a', n: 22, note: 'x' }] } })
  })

  test('get, find, set and delete take their places behind an update that nobody awaits', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 }, { id: 'b', n: 5 })
    const seen = await log.batch(async (db) => {
      void db.account.update('a', add(1))
      const updated = db.account.get('a')
      const found = db.account.find({ where: { n: { lt: 100 } } })
      db.account.set({ id: 'a', n: 50 })
      const set = db.account.get('a')
      db.account.delete('a')
      const deleted = db.account.get('a')
      const left = db.account.find()
      db.account.insert({ id: 'a', n: 9 })
      return Promise.all([updated, found, set, deleted, left, db.account.update('a', add(1))])
    })
    const row = (id: string, n: number) => ({ id, n, note: null })
    expect(seen).toEqual([
      row('a', 2),
      [row('a', 2), row('b', 5)],
      row('a', 50),
      undefined,
      [row('b', 5)],
      row('a', 10),
    ])
    expect(written(log.staging.freeze(1))).toEqual({ account: { upserts: [row('a', 10)] } })
  })

  test('a find behind an update of one row does not see what is written to others after the call', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 }, { id: 'gone', n: 1 })
    const found = await log.batch(async (db) => {
      void db.account.update('a', add(1))
      const finding = db.account.find()
      db.account.set({ id: 'later', n: 1 })
      db.account.delete('gone')
      return finding
    })
    expect(found.map(({ id, n }) => [id, n])).toEqual([
      ['a', 2],
      ['gone', 1],
    ])
  })

  test('what follows an awaited update does not overtake a read called before it', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    const seen = await log.batch(async (db) => {
      const updating = db.account.update('a', add(1))
      const reading = db.account.get('a')
      await updating
      db.account.set({ id: 'a', n: 99 })
      return (await reading)?.n
    })
    expect(seen).toBe(2)
  })

  test('an update does not overtake another one when a find has brought the row meanwhile', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    log.begin()
    // an earlier find of the same batch is answered while the update's own load is still held
    log.asked.hold()
    await log.handle(async (db) => {
      const finding = db.account.find()
      await log.asked.arrived(1)
      void db.account.update('a', (row) => ({ n: row.n * 10 }))
      await log.asked.arrived(2)
      log.asked.releaseOne()
      await finding
      const second = db.account.update('a', add(1))
      log.asked.release()
      expect((await second).n).toBe(11)
    })
    log.workspace.end()
    expect(written(log.staging.freeze(1))).toMatchObject({ account: { upserts: [{ n: 11 }] } })
  })

  test('a get that is being loaded answers as of its call, whatever is written before it returns', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    const seen = await log.batch(async (db) => {
      const reading = db.account.get('a')
      db.account.set({ id: 'a', n: 2 })
      return [(await reading)?.n, (await db.account.get('a'))?.n]
    })
    expect(seen).toEqual([1, 2])
  })

  test('after an awaited update a duplicate insert is told at the call, loaded or not', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    for (let run = 0; run < 2; run++) {
      await log.batch(async (db) => {
        await db.account.update('a', add(1))
        expect(() => db.account.insert({ id: 'a', n: 9 })).toThrow('already has a row with key id = "a"')
      })
    }
    expect(log.database.questions).toEqual(['get account 1'])
  })

  test('a duplicate insert behind an update that is still loading fails the handler', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    log.begin()
    const handled = log.handle((db) => {
      void db.account.update('a', add(1))
      db.account.insert({ id: 'a', n: 9 })
    })
    await expect(handled).rejects.toMatchObject({ code: 'DUPLICATE_KEY', table: 'account', key: 'a' })
  })

  test('an update that nobody awaits is applied before the handler has settled', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    log.store('other', { id: 'a', n: 1 })
    log.begin()
    log.asked.hold()
    const handled = log.handle((db) => {
      void db.account.update('a', (row) => {
        // begun while the scope is already settling
        void db.other.update('a', add(1))
        return add(1)(row)
      })
    })
    await log.asked.arrived()
    log.asked.release()
    await handled
    log.workspace.end()
    expect(written(log.staging.freeze(1))).toMatchObject({
      account: { upserts: [{ n: 2 }] },
      other: { upserts: [{ n: 2 }] },
    })
  })

  test('an update whose load fails is rejected, and the row is asked for again by what stands behind it', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 }, { id: 'b', n: 1 })
    log.begin()
    log.asked.hold()
    await log.handle(async (db) => {
      const failing = db.account.update('a', add(1))
      const read = db.account.get('a')
      const found = db.account.find()
      failing.catch(() => undefined)
      await log.asked.arrived(2)
      log.asked.releaseOne() // the find, which was sent at once
      log.asked.fail(new Error('connection lost'))
      log.asked.release()
      await expect(failing).rejects.toThrow('connection lost')
      expect(await read).toMatchObject({ n: 1 })
      expect((await found).map(({ id, n }) => [id, n])).toEqual([
        ['a', 1],
        ['b', 1],
      ])
      expect((await db.account.update('a', add(1))).n).toBe(2)
    })
  })
})

describe('reads and changes', () => {
  test('getMany keeps the order of its keys, with undefined where there is no row, in one query', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    const rows = await log.batch((db) => {
      db.account.set({ id: 'c', n: 3 })
      return db.account.getMany(['c', 'x', 'a', 'x'])
    })
    expect(rows.map((row) => row?.id)).toEqual(['c', undefined, 'a', undefined])
    expect(log.database.questions).toEqual(['get account 2'])
  })

  test('H19: an absent row is asked for once, and known as such through update, getOrThrow and insert', async () => {
    const log = make()
    for (let batch = 0; batch < 2; batch++) {
      await log.batch(async (db) => {
        expect(await db.account.get('x')).toBeUndefined()
        await expect(db.account.getOrThrow('x')).rejects.toMatchObject({
          code: 'ROW_NOT_FOUND',
          message: 'There is no row with key id = "x" in table `account`.',
          table: 'account',
          key: 'x',
        })
        await expect(db.account.update('x', { n: 1 })).rejects.toMatchObject({ code: 'ROW_NOT_FOUND' })
      })
    }
    await log.batch((db) => db.account.insert({ id: 'x', n: 1 }))
    expect(log.database.questions).toEqual(['get account 1'])
  })

  test('insert throws on a duplicate that is staged or cached, and stages nothing', async () => {
    const log = make()
    log.store('account', { id: 'cached', n: 1 })
    await log.batch(async (db) => {
      db.account.set({ id: 'staged', n: 1 })
      await db.account.get('cached')
      for (const id of ['staged', 'cached']) {
        expect(() => db.account.insert({ id, n: 2 })).toThrow(
          expect.objectContaining({ code: 'DUPLICATE_KEY', table: 'account', key: id }),
        )
      }
    })
    expect(written(log.staging.freeze(1))).toMatchObject({ account: { upserts: [{ id: 'staged', n: 1 }] } })
  })

  test.each([
    [{ n: 'x' }, 'account.n of the row with id = "a"'],
    [{ n: null }, 'the column is NOT NULL'],
    [{ id: 'b' }, 'a key cannot be changed'],
    [{ nn: 1 }, 'there is no such column'],
    [() => undefined, 'update takes an object of columns'],
    [async () => ({ n: 1 }), 'must not be async'],
    [null, 'account of the row with id = "a": update takes an object of columns'],
  ])('update refuses %o, and leaves the row as it was', async (patch, message) => {
    const log = make()
    await log.batch(async (db) => {
      db.account.set({ id: 'a', n: 1 })
      await expect(db.account.update('a', patch as never)).rejects.toThrow(message)
      expect(await db.account.get('a')).toMatchObject({ n: 1 })
    })
  })

  test('H45: the refusal of a patch names table, column and key; what it leaves out stays', async () => {
    const log = make()
    await log.batch(async (db) => {
      db.account.set({ id: 'a', n: 1, note: 'kept' })
      await expect(db.account.update('a', { n: 'x' as never })).rejects.toMatchObject({
        code: 'INVALID_ROW',
        table: 'account',
        column: 'n',
        key: 'a',
        cause: expect.any(Error),
        message: expect.stringMatching(/^account\.n of the row with id = "a": expected a number/),
      })
      expect(await db.account.update('a', { id: 'a', n: 2, note: undefined as never })).toEqual({
        id: 'a',
        n: 2,
        note: 'kept',
      })
      expect(await db.account.update('a', { note: null })).toEqual({ id: 'a', n: 2, note: null })
    })
  })

  test('the speculative pass writes to its own overlay and nowhere else', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 }, { id: 'c', n: 1 })
    log.begin()
    await log.handle(
      async (db) => {
        db.account.delete('a')
        db.account.set({ id: 'b', n: 2 })
        expect(await db.account.getMany(['a', 'b'])).toEqual([undefined, { id: 'b', n: 2, note: null }])
        const found = db.account.find()
        db.account.set({ id: 'c', n: 3 })
        expect(await found).toEqual([
          { id: 'b', n: 2, note: null },
          { id: 'c', n: 1, note: null },
        ])
      },
      { speculative: true },
    )
    await log.handle(async (db) => {
      expect(await db.account.getMany(['a', 'b'])).toEqual([{ id: 'a', n: 1, note: null }, undefined])
    })
    expect(log.staging.uncommittedBytes).toBe(0)
  })

  test('a speculative handler that loops until its own write appears ends', async () => {
    const log = make()
    log.begin()
    let rounds = 0
    await log.handle(
      async (db) => {
        while ((await db.account.get('a')) === undefined) {
          rounds++
          db.account.insert({ id: 'a', n: 1 })
        }
      },
      { speculative: true },
    )
    expect(rounds).toBe(1)
  })
})

describe('H10: a context after its handler has settled', () => {
  test('it is open until then, says which item, and knows whether it is speculative', async () => {
    const log = make()
    log.begin()
    const scope = log.workspace.scope(1, 7, false, () => 'the handler')
    expect((scope as unknown as Scope).speculative).toBe(false)
    expect((log.workspace.scope(1, 0, true, () => '') as unknown as Scope).speculative).toBe(true)
    const { db } = scope as unknown as { db: { account: { get(id: string): unknown } } }
    // nothing is waited for: the handler's end is the end of its scope, in the same turn
    expect(scope.settle()).toBeUndefined()
    expect(() => db.account.get('a')).toThrow(expect.objectContaining({ item: 7 }))
  })

  test('it stays open while an update works, and not a moment longer', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    log.begin()
    const scope = log.workspace.scope(1, 0, false, () => 'the handler')
    const { db } = scope as unknown as { db: any }
    void db.account.update('a', (row: { n: number }) => {
      db.account.set({ id: 'b', n: 1 })
      return { n: row.n + 1 }
    })
    await scope.settle()
    expect(() => db.account.get('a')).toThrow(expect.objectContaining({ code: 'CONTEXT_SETTLED' }))
    log.workspace.end()
    expect(written(log.staging.freeze(1))['account']!.upserts).toHaveLength(2)
  })

  const calls: Record<string, (db: { readonly account: never }) => unknown> = {
    get: (db) => (db.account as any).get('a'),
    getOrThrow: (db) => (db.account as any).getOrThrow('a'),
    getMany: (db) => (db.account as any).getMany(['a']),
    find: (db) => (db.account as any).find(),
    insert: (db) => (db.account as any).insert({ id: 'a', n: 1 }),
    set: (db) => (db.account as any).set({ id: 'a', n: 1 }),
    delete: (db) => (db.account as any).delete('a'),
    update: (db) => (db.account as any).update('a', { n: 1 }),
  }
  test.each(Object.keys(calls))('%s throws, naming the handler', async (call) => {
    const log = make()
    log.begin()
    const db = await log.handle((given) => given)
    expect(() => calls[call]!(db as never)).toThrow(
      expect.objectContaining({
        code: 'CONTEXT_SETTLED',
        message: expect.stringContaining(
          'handler at 1 used its context after it had settled; await every call',
        ),
      }),
    )
    expect(log.staging.uncommittedBytes).toBe(0)
  })

  test('a missed await: what comes after the pause is refused, whatever the batch is then', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 1 })
    log.begin()
    log.asked.hold()
    let missed: Promise<unknown> = Promise.resolve()
    await log.handle((db) => {
      missed = (async () => {
        const row = await db.account.get('a')
        db.account.set({ id: 'a', n: row!.n + 1 })
      })()
      missed.catch(() => undefined)
    })
    log.workspace.end()
    log.begin()
    log.asked.release()
    await expect(missed).rejects.toBeInstanceOf(HandlerError)
    log.workspace.end()
    expect(log.staging.uncommittedBytes).toBe(0)
  })
})

describe('H9, I17: rows cannot be changed', () => {
  const row = () => ({
    id: 'a',
    at: new Date(5),
    day: new Date(0),
    bytes: new Uint8Array([1, 2]),
    chunks: [new Uint8Array([3]), null] as Uint8Array[],
    tags: { list: [1], inner: { x: 1 } },
    box: { at: new Date(7), list: [1] },
  })
  const expected = { ...row(), bytes: Buffer.from([1, 2]), chunks: [Buffer.from([3]), null] }
  type Rich = ReturnType<typeof row>

  /** Everything a handler may try. */
  function tamper(got: Rich): void {
    expect(() => Object.assign(got, { id: 'b' })).toThrow(TypeError)
    expect(() => Object.assign(got.tags.inner, { x: 2 })).toThrow(TypeError)
    expect(() => got.tags.list.push(2)).toThrow(TypeError)
    expect(() => got.at.setTime(9)).toThrow('this Date belongs to a staged row and cannot be changed')
    expect(() => got.day.setUTCFullYear(9)).toThrow(TypeError)
    expect(() => got.chunks.push(new Uint8Array())).toThrow(TypeError)
    // bytes cannot be frozen: what is changed is the reader's own copy
    got.bytes[0] = 9
    got.chunks[0]![0] = 9
    got.box.at.setTime(9)
  }

  test('whichever way they were handed out, staged, loaded or found', async () => {
    const log = make()
    const given = row()
    await log.batch((db) => db.rich.set(given))
    given.bytes[0] = 9
    given.at.setTime(9)
    given.tags.list.push(9)
    given.chunks[0]![0] = 9
    for (let round = 0; round < 2; round++) {
      const tampering = async (db: Parameters<Parameters<typeof log.batch>[0]>[0]) => {
        tamper((await db.rich.get('a')) as Rich)
        tamper((await db.rich.getOrThrow('a')) as Rich)
        tamper((await db.rich.getMany(['a']))[0] as Rich)
        tamper((await db.rich.find())[0] as Rich)
        tamper(
          (await db.rich.update('a', (before) => {
            tamper(before as Rich)
            return {}
          })) as Rich,
        )
        expect(await db.rich.get('a')).toEqual(expected)
        expect(await db.rich.find()).toEqual([expected])
      }
      await log.batch(tampering)
      expect(written(log.staging.freeze(log.staging.batches.length))).toEqual({
        rich: { upserts: [expected] },
      })
      log.commit()
      // now from the database, through `get` and, with an empty cache, through `find`
      log.staging.cut(log.checkpoint)
      if (round === 0) continue
      await log.batch(async (db) => tamper((await db.rich.find())[0] as Rich))
      expect(log.stored('rich')).toEqual([expected])
    }
  })

  test('a key of bytes is the same key after its row was tampered with', async () => {
    const log = new ChangeLog({ blob: pgTable('blob', { id: bytea().primaryKey(), n: integer() }) })
    await log.batch(async (db) => {
      db.blob.set({ id: new Uint8Array([1]), n: 1 })
      const got = await db.blob.getOrThrow(new Uint8Array([1]))
      got.id[0] = 7
      expect(await db.blob.get(new Uint8Array([1]))).toEqual({ id: Buffer.from([1]), n: 1 })
    })
    expect(written(log.commit())).toEqual({ blob: { upserts: [{ id: Buffer.from([1]), n: 1 }] } })
  })

  test('a frozen Date is a Date in every other respect', async () => {
    const log = make()
    const got = await log.batch(async (db) => {
      db.rich.set(row())
      return db.rich.getOrThrow('a')
    })
    const at = got.at!
    expect(at).toBeInstanceOf(Date)
    expect(at).toStrictEqual(new Date(5))
    expect([at.getTime(), +at, at.toISOString(), JSON.stringify(at), structuredClone(at)]).toEqual([
      5,
      5,
      '1970-01-01T00:00:00.005Z',
      '"1970-01-01T00:00:00.005Z"',
      new Date(5),
    ])
    const own = new Date(at)
    own.setTime(6)
    expect([own.getTime(), at.getTime()]).toEqual([6, 5])
  })

  test('a table without such columns hands out the very row it holds', async () => {
    const log = make()
    await log.batch(async (db) => {
      db.account.set({ id: 'a', n: 1 })
      const [first, second] = [await db.account.get('a'), await db.account.get('a')]
      expect(first).toBe(second)
      expect(Object.isFrozen(first)).toBe(true)
    })
    expect(log.model('account').copied).toEqual([])
  })
})
