/** Batches, the groups they are frozen into, and what a fork or an abort leaves of them. */
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { describe, expect, test } from 'vitest'
import { ChangeLog, slicesOf, written } from '../support/change-log.ts'
import { DuplicateKey } from '../support/memory-database.ts'

const tables = {
  account: pgTable('account', { id: text().primaryKey(), n: integer().notNull() }),
  event: pgTable('event', { id: text().primaryKey() }),
}
const make = (budget?: number) => new ChangeLog(tables, budget)
const a = (n: number) => ({ id: 'a', n })

describe('a group', () => {
  test('H5, H6, H73: never changes once it is frozen, and a retry is the same, whatever was staged since', async () => {
    const log = make()
    await log.batch((db) => {
      db.account.set({ id: 'a', n: 1 })
      db.account.set({ id: 'b', n: 1 })
    })
    await log.batch((db) => db.account.set({ id: 'b', n: 2 }))
    const group = log.staging.freeze(2)
    const expected = {
      account: {
        upserts: [
          { id: 'a', n: 1 },
          { id: 'b', n: 2 },
        ],
      },
    }
    expect(written(group)).toEqual(expected)
    await log.batch((db) => {
      db.account.set({ id: 'a', n: 3 })
      db.account.delete('b')
      db.event.insert({ id: 'e' })
    })
    log.begin()
    await log.handle((db) => db.account.set({ id: 'b', n: 4 }))
    expect(written(group)).toEqual(expected)
    const retry = log.staging.freeze(2)
    expect(written(retry)).toEqual(expected)
    expect([retry.upTo, retry.rows, retry.bytes]).toEqual([group.upTo, group.rows, group.bytes])
    expect(retry.slices[0]!.tables[0]!.upserts[0]).toBe(group.slices[0]!.tables[0]!.upserts[0])
    log.workspace.end()
    log.commit(2)
    expect(written(log.staging.freeze(2))).toEqual({
      account: {
        upserts: [
          { id: 'a', n: 3 },
          { id: 'b', n: 4 },
        ],
      },
      event: { inserts: [{ id: 'e' }] },
    })
  })

  test('H5: a row changed, deleted and made again while its earlier value is on the wire is written once per group', async () => {
    const log = make()
    await log.batch((db) => db.account.insert({ id: 'a', n: 1 }))
    const first = log.staging.freeze(1)
    await log.batch((db) => db.account.delete('a'))
    await log.batch((db) => db.account.insert({ id: 'a', n: 3 }))
    log.database.apply(first)
    log.staging.land(1)
    // first changed by a delete: the database has it, so what comes must not be an insert
    expect(written(log.staging.freeze(2))).toEqual({ account: { upserts: [{ id: 'a', n: 3 }] } })
    expect(written(log.staging.freeze(1))).toEqual({ account: { deletes: [{ id: 'a' }] } })
    log.commit(1)
    expect(written(log.staging.freeze(1))).toEqual({ account: { inserts: [{ id: 'a', n: 3 }] } })
    log.commit(1)
    expect(log.stored('account')).toEqual([{ id: 'a', n: 3 }])
  })

  test('repeated writes of a key collapse to the last one, across batches and checkpoints', async () => {
    const log = make()
    log.begin({ count: 2 })
    await log.handle((db) => db.account.set({ id: 'a', n: 1 }), { checkpoint: 1 })
    await log.handle((db) => db.account.set({ id: 'a', n: 2 }), { checkpoint: 2 })
    log.workspace.end()
    await log.batch((db) => db.account.set({ id: 'a', n: 3 }))
    expect(written(log.staging.freeze(1))).toEqual({ account: { upserts: [{ id: 'a', n: 2 }] } })
    expect(log.staging.freeze(2).rows).toBe(1)
    expect(written(log.staging.freeze(2))).toEqual({ account: { upserts: [{ id: 'a', n: 3 }] } })
  })

  test('I11: counts its rows, deletes included, and its bytes; without forks it keeps no positions', async () => {
    const log = make()
    await log.batch((db) => {
      db.account.set({ id: 'a', n: 1 })
      db.account.delete('b')
      db.event.insert({ id: 'e' })
    })
    const { bytes } = log.staging.batches[0]!
    await log.batch((db) => db.account.delete('c'))
    const group = log.staging.freeze(2)
    expect([group.rows, group.upTo, group.positions, group.marks]).toEqual([4, 2, [], []])
    expect(log.staging.freeze(1)).toMatchObject({ rows: 3, bytes })
    expect(group.bytes).toBe(log.staging.uncommittedBytes)
    expect(group.bytes).toBeGreaterThan(bytes)
  })

  test('an empty batch still carries its position', async () => {
    const log = make()
    await log.batch(() => undefined)
    const group = log.staging.freeze(1)
    expect(group).toMatchObject({ upTo: 1, rows: 0, slices: [], cursors: [{ checkpoint: 1 }], positions: [] })
    expect(group.safe).toBeUndefined()
    expect(() => log.staging.freeze(0)).toThrow('an empty group')
  })
})

describe('I15: above the safe checkpoint', () => {
  test('nothing collapses across checkpoints; within one it does, and below the safe checkpoint, too', async () => {
    const log = make()
    log.begin({ count: 2, safe: 2 })
    for (const checkpoint of [1, 2]) await log.handle((db) => db.account.set(a(checkpoint)), { checkpoint })
    log.workspace.end()
    await log.batch((db) => db.account.set(a(3)), { safe: 3 })
    log.begin({ count: 2, safe: 3 })
    for (const n of [40, 4]) await log.handle((db) => db.account.set(a(n)), { checkpoint: 4 })
    await log.handle((db) => db.account.set(a(5)), { checkpoint: 5 })
    log.workspace.end()
    await log.batch((db) => db.account.set(a(6)), { safe: 3 })
    const group = log.staging.freeze(4)
    expect(slicesOf(group)).toEqual([
      [null, { account: { upserts: [a(3)] } }],
      [4, { account: { upserts: [a(4)] } }],
      [5, { account: { upserts: [a(5)] } }],
      [6, { account: { upserts: [a(6)] } }],
    ])
    expect(group).toMatchObject({ upTo: 6, safe: 3, rows: 4, cursors: [{ checkpoint: 6 }] })
    // of what is safe the newest stays: a fork may go back to it
    expect(group.positions.map(({ checkpoint }) => checkpoint)).toEqual([3, 4, 5, 6])
  })

  test('safe, then not, then safe again: slices follow each other as the batches did', async () => {
    const log = make()
    await log.batch((db) => db.account.set(a(1)), { safe: 1 })
    await log.batch((db) => db.account.set(a(2)), { safe: 2 })
    await log.batch((db) => db.account.set(a(3)), { safe: 2 })
    await log.batch(() => undefined, { safe: 3 })
    await log.batch((db) => db.account.set(a(5)), { safe: 5 })
    await log.batch((db) => db.account.delete('a'), { safe: 6 })
    const group = log.staging.freeze(6)
    expect(slicesOf(group)).toEqual([
      [null, { account: { upserts: [a(2)] } }],
      [3, { account: { upserts: [a(3)] } }],
      [null, { account: { deletes: [{ id: 'a' }] } }],
    ])
    expect(group.safe).toBe(6)
    expect(group.positions).toMatchObject([{ checkpoint: 6 }])
    expect(slicesOf(log.staging.freeze(1))).toEqual([[null, { account: { upserts: [a(1)] } }]])
  })

  test('H23: set, delete and set again are three changes, and each is there to go back to', async () => {
    const log = make()
    await log.batch((db) => db.account.set(a(1)), { safe: 0 })
    await log.batch((db) => db.account.delete('a'), { safe: 0 })
    await log.batch((db) => db.account.set(a(3)), { safe: 0 })
    const group = log.staging.freeze(3)
    expect(slicesOf(group)).toEqual([
      [1, { account: { upserts: [a(1)] } }],
      [2, { account: { deletes: [{ id: 'a' }] } }],
      [3, { account: { upserts: [a(3)] } }],
    ])
    log.staging.cut(2)
    expect(await log.batch((db) => db.account.get('a'), { safe: 0 })).toBeUndefined()
    log.commit(2)
    expect(log.stored('account')).toEqual([])
  })

  test('H13: what is inserted and deleted in one checkpoint is checked and gone, in its own slice', async () => {
    const log = make()
    log.begin({ count: 3, safe: 0 })
    await log.handle((db) => (db.account.insert(a(1)), db.account.delete('a')), { checkpoint: 1 })
    await log.handle((db) => db.account.insert(a(2)), { checkpoint: 2 })
    await log.handle((db) => db.account.delete('a'), { checkpoint: 3 })
    log.workspace.end()
    const group = log.staging.freeze(1)
    expect(slicesOf(group)).toEqual([
      [1, { account: { inserts: [a(1)], deletes: [{ id: 'a' }] } }],
      [2, { account: { inserts: [a(2)] } }],
      [3, { account: { deletes: [{ id: 'a' }] } }],
    ])
    expect(group.slices.slice(0, 2).map(({ tables: [table] }) => table!.origins[0])).toMatchObject([
      { insertedAt: 1 },
      { insertedAt: 2 },
    ])
    log.commit()
    expect(log.stored('account')).toEqual([])
  })

  test.each([1, 2])(
    'H13: a key that only the database knows fails the commit whole, slice %i',
    async (at) => {
      const log = make()
      log.store('account', { id: `new ${at}`, n: 0 })
      log.begin({ count: 2, safe: 0 })
      for (const checkpoint of [1, 2]) {
        await log.handle((db) => db.account.insert({ id: `new ${checkpoint}`, n: 1 }), { checkpoint })
      }
      log.workspace.end()
      expect(() => log.database.apply(log.staging.freeze(1))).toThrow(DuplicateKey)
      expect(log.stored('account')).toEqual([{ id: `new ${at}`, n: 0 }])
    },
  )

  test('H5, H73: a frozen group keeps every slice, whatever is staged, cut or aborted since', async () => {
    const log = make()
    await log.batch((db) => db.account.set(a(1)), { safe: 1 })
    log.begin({ count: 2, safe: 1 })
    await log.handle((db) => db.account.set(a(2)), { checkpoint: 2 })
    await log.handle((db) => db.account.set(a(3)), { checkpoint: 3 })
    log.workspace.end()
    const group = log.staging.freeze(2)
    const frozen = slicesOf(group)
    const expected = [
      [null, { account: { upserts: [a(1)] } }],
      [2, { account: { upserts: [a(2)] } }],
      [3, { account: { upserts: [a(3)] } }],
    ]
    expect(frozen).toEqual(expected)
    await log.batch((db) => db.account.delete('a'), { safe: 3 })
    log.begin({ safe: 3 })
    await log.handle((db) => db.account.set(a(5)))
    expect(slicesOf(group)).toEqual(expected)
    expect(slicesOf(log.staging.freeze(2))).toEqual(expected)
    log.workspace.discard()
    expect(slicesOf(log.staging.freeze(2))).toEqual(expected)
    log.staging.cut(2)
    expect(slicesOf(group)).toEqual(expected)
    expect(slicesOf(log.staging.freeze(2))).toEqual(expected.slice(0, 2))
  })

  test('of several sources each keeps its cursor, and its newest safe block', () => {
    const staging = make().staging
    const blocks: [string, number][] = [
      ['quiet', 1],
      ['chain', 1],
      ['chain', 2],
      ['quiet', 2],
      ['chain', 3],
    ]
    blocks.forEach(([source, number], index) => {
      const checkpoint = index + 1
      const hash = String(number)
      staging.begin([{ checkpoint, source, number, hash, safe: Math.min(checkpoint, 3) }], checkpoint <= 3)
      staging.end()
    })
    const group = staging.freeze(blocks.length)
    expect(group.cursors.map(({ source, number }) => [source, number])).toEqual([
      ['quiet', 2],
      ['chain', 3],
    ])
    expect(group.positions.map(({ checkpoint }) => checkpoint)).toEqual([1, 3, 4, 5])
  })
})

describe('H13: insert and delete', () => {
  test('delete, then insert: the database may have the row, so it is an upsert', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 0 })
    await log.batch((db) => {
      db.account.delete('a')
      db.account.insert({ id: 'a', n: 1 })
    })
    expect(written(log.staging.freeze(1))).toEqual({ account: { upserts: [{ id: 'a', n: 1 }] } })
    log.commit()
    expect(log.stored('account')).toEqual([{ id: 'a', n: 1 }])
  })

  test('insert, then change: one insert of the last value, which remembers where it came from', async () => {
    const log = make()
    log.begin({ count: 2 })
    await log.handle((db) => db.account.insert({ id: 'a', n: 1 }), { checkpoint: 1, item: 4 })
    await log.handle((db) => db.account.update('a', { n: 2 }), { checkpoint: 2, item: 0 })
    log.workspace.end()
    await log.batch((db) => db.account.set({ id: 'a', n: 3 }))
    const group = log.staging.freeze(2)
    expect(written(group)).toEqual({ account: { inserts: [{ id: 'a', n: 3 }] } })
    expect(group.slices[0]!.tables[0]!.origins[0]).toMatchObject({ insertedAt: 1, insertedItem: 4 })
  })

  test.each(['in one batch', 'in two batches of a group'])(
    'insert of a key that only the database knows fails the commit, also when a later delete would hide it (%s)',
    async (where) => {
      const log = make()
      log.store('account', { id: 'a', n: 0 })
      log.begin()
      await log.handle((db) => db.account.insert({ id: 'a', n: 1 }))
      if (where !== 'in one batch') {
        log.workspace.end()
        log.begin()
      }
      await log.handle((db) => db.account.delete('a'))
      log.workspace.end()
      const group = log.staging.freeze(log.staging.batches.length)
      expect(written(group)).toEqual({ account: { inserts: [{ id: 'a', n: 1 }], deletes: [{ id: 'a' }] } })
      expect(() => log.database.apply(group)).toThrow(DuplicateKey)
      expect(log.stored('account')).toEqual([{ id: 'a', n: 0 }])
    },
  )

  test('insert, delete, insert, delete: gone, and still checked', async () => {
    const log = make()
    await log.batch((db) => {
      for (const n of [1, 2]) {
        db.account.insert({ id: 'a', n })
        db.account.delete('a')
      }
    })
    expect(written(log.staging.freeze(1))).toEqual({
      account: { inserts: [{ id: 'a', n: 1 }], deletes: [{ id: 'a' }] },
    })
    log.commit()
    expect(log.stored('account')).toEqual([])
    expect(await log.batch((db) => db.account.get('a'))).toBeUndefined()
    expect(log.database.questions).toEqual([])
  })

  test('a delete of what was never there is harmless', async () => {
    const log = make()
    await log.batch((db) => db.account.delete('a'))
    log.commit()
    expect(log.stored('account')).toEqual([])
  })
})

describe('landing and releasing', () => {
  test('several batches that touch one key land one by one; reads and later groups stay right', async () => {
    const log = make()
    for (const n of [1, 2, 3]) await log.batch((db) => db.account.set({ id: 'a', n }))
    for (const n of [1, 2, 3]) {
      log.commit(1)
      expect(log.stored('account')).toEqual([{ id: 'a', n }])
      expect(await log.batch((db) => db.account.get('a'))).toEqual({ id: 'a', n: 3 })
    }
    log.commit()
    await log.batch((db) => db.account.delete('a'))
    expect(written(log.commit())).toEqual({ account: { deletes: [{ id: 'a' }] } })
    expect(log.database.questions).toEqual([])
    expect(log.staging.uncommittedBytes).toBe(0)
  })

  test('a landed value becomes what an aborted batch goes back to', async () => {
    const log = make()
    await log.batch((db) => db.account.set({ id: 'a', n: 1 }))
    log.commit()
    log.begin()
    await log.handle((db) => db.account.delete('a'))
    log.workspace.discard()
    expect(await log.batch((db) => db.account.get('a'))).toEqual({ id: 'a', n: 1 })
    expect(log.database.questions).toEqual([])
  })
})

describe('discard', () => {
  test('restores exactly what was: staged, loaded, absent and unknown rows, and the bytes', async () => {
    const log = make()
    log.store('account', { id: 'loaded', n: 0 }, { id: 'unknown', n: 0 })
    await log.batch(async (db) => {
      db.account.set({ id: 'staged', n: 1 })
      db.account.delete('deleted')
      expect(await db.account.getMany(['loaded', 'absent'])).toEqual([{ id: 'loaded', n: 0 }, undefined])
    })
    const bytes = log.staging.uncommittedBytes
    const before = written(log.staging.freeze(1))
    for (const safe of [undefined, 0]) {
      log.begin({ count: 2, ...(safe === undefined ? {} : { safe }) })
      for (const checkpoint of [log.checkpoint - 1, log.checkpoint]) {
        await log.handle(
          (db) => {
            for (const id of ['staged', 'deleted', 'loaded', 'absent', 'unknown'])
              db.account.set({ id, n: 9 })
            db.event.set({ id: 'e' })
            db.account.delete('staged')
          },
          { checkpoint },
        )
      }
      log.workspace.discard()
      expect(log.staging.uncommittedBytes).toBe(bytes)
      expect(written(log.staging.freeze(1))).toEqual(before)
    }
    expect(log.staging.tables.get('event')!.entries.size).toBe(0)
    const asked = log.database.questions.length
    const rows = await log.batch((db) =>
      db.account.getMany(['staged', 'deleted', 'loaded', 'absent', 'unknown']),
    )
    expect(rows).toEqual([
      { id: 'staged', n: 1 },
      undefined,
      { id: 'loaded', n: 0 },
      undefined,
      { id: 'unknown', n: 0 },
    ])
    expect(log.database.questions.slice(asked)).toEqual(['get account 1'])
  })

  test('of nothing is nothing; a second batch cannot be opened', () => {
    const log = make()
    log.workspace.discard()
    log.begin()
    expect(() => log.begin()).toThrow('a batch is open already')
    expect(() => log.staging.cut(0)).toThrow('a batch is open')
  })
})

describe('cut', () => {
  test('H31, I5: drops what is above, keeps the part below of a batch that straddles, and forgets what was read', async () => {
    const log = make()
    log.store('account', { id: 'a', n: 0 })
    await log.batch((db) => db.account.set({ id: 'a', n: 1 }))
    log.begin({ count: 3, safe: 0 })
    for (const [index, n] of [2, 3, 4].entries()) {
      await log.handle(
        async (db) => {
          db.account.set({ id: 'a', n })
          db.account.set({ id: `only ${n}`, n })
          await db.account.get('read')
        },
        { checkpoint: 2 + index },
      )
    }
    log.workspace.end()
    await log.batch((db) => db.account.set({ id: 'a', n: 5 }), { safe: 0 })
    expect(log.staging.cut(3)).toEqual({ dropped: 1, trimmed: 1 })
    expect(log.staging.batches.map((batch) => batch.upTo)).toEqual([1, 3])
    expect(log.staging.cacheBytes).toBe(0)
    expect(slicesOf(log.staging.freeze(2))).toEqual([
      [null, { account: { upserts: [{ id: 'a', n: 1 }] } }],
      [2, { account: { upserts: [a(2), { id: 'only 2', n: 2 }] } }],
      [3, { account: { upserts: [a(3), { id: 'only 3', n: 3 }] } }],
    ])
    expect(log.staging.freeze(2).cursors).toMatchObject([{ checkpoint: 3 }])
    const asked = log.database.questions.length
    expect(await log.batch((db) => db.account.getMany(['a', 'only 3', 'only 4', 'read']))).toEqual([
      { id: 'a', n: 3 },
      { id: 'only 3', n: 3 },
      undefined,
      undefined,
    ])
    expect(log.database.questions.slice(asked)).toEqual(['get account 2'])
    log.commit()
    expect(log.stored('account').map(({ id }) => id)).toEqual(['a', 'only 2', 'only 3'])
    expect(log.staging.uncommittedBytes).toBe(0)
  })

  test('everything, with the commit before it landed and not yet released', async () => {
    const log = make()
    await log.batch((db) => db.account.set({ id: 'a', n: 1 }), { safe: 0 })
    await log.batch((db) => db.account.set({ id: 'a', n: 2 }), { safe: 0 })
    log.commit(1)
    expect(log.staging.cut(1)).toEqual({ dropped: 1, trimmed: 0 })
    expect(log.staging.uncommittedBytes).toBe(0)
    expect(log.staging.tables.get('account')!.held.size).toBe(0)
    expect(await log.batch((db) => db.account.get('a'))).toEqual({ id: 'a', n: 1 })
    expect(log.staging.cut(log.checkpoint)).toEqual({ dropped: 0, trimmed: 0 })
  })

  test('what a trimmed batch no longer holds belongs to a later one, once', async () => {
    const log = make()
    log.begin({ count: 2, safe: 0 })
    await log.handle((db) => db.account.insert({ id: 'a', n: 1 }), { checkpoint: 1 })
    await log.handle((db) => db.event.insert({ id: 'e' }), { checkpoint: 2 })
    log.workspace.end()
    log.staging.cut(1)
    await log.batch((db) => db.event.insert({ id: 'e' }))
    const kept = [1, { account: { inserts: [a(1)] } }]
    expect(slicesOf(log.staging.freeze(1))).toEqual([kept])
    expect(slicesOf(log.staging.freeze(2))).toEqual([kept, [null, { event: { inserts: [{ id: 'e' }] } }]])
    log.commit(1)
    expect(written(log.staging.freeze(1))).toEqual({ event: { inserts: [{ id: 'e' }] } })
  })

  test('H33: through a batch that was final when it was handled is a clear error', async () => {
    const log = make()
    await log.batch((db) => db.account.set({ id: 'a', n: 1 }), { count: 2 })
    expect(() => log.staging.cut(1)).toThrow(/A fork at checkpoint 1 cuts batch 1–2.*historyDepth/)
  })
})
