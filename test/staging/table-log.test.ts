/** What a table's log keeps of rows that hold no changes: how much it counts, and what goes first (H49). */
import * as t from 'drizzle-orm/pg-core'
import { expect, test } from 'vitest'
import { StagedBatch } from '../../src/staging/batch.ts'
import { Version } from '../../src/staging/entry.ts'
import { entryBytes, TableLog } from '../../src/staging/table-log.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { rowBytes } from '../../src/staging/table-row.ts'

const model = tableModelOf('account', t.pgTable('account', { id: t.text().primaryKey(), n: t.integer() }))
const row = (id: string) => ({ id, n: 1 })
const weight = entryBytes + rowBytes(model, row('a'))

function logOf(...ids: string[]): TableLog {
  const log = new TableLog(model)
  for (const id of ids) log.remember(id, { id }, row(id))
  return log
}
const ids = (log: TableLog) => [...log.entries.keys()].join('')

test('a row weighs its entry, its columns and its values', () => {
  // overhead 56, two slots of 8, a text of one character 25, a number 16
  expect(rowBytes(model, row('a'))).toBe(56 + 16 + 25 + 16)
  expect(rowBytes(model, { id: 'a', n: null })).toBe(56 + 16 + 25)
  const log = logOf('a', 'b')
  expect(log.cacheBytes).toBe(2 * weight)
  log.remember('c', { id: 'c' }, null)
  expect(log.cacheBytes).toBe(2 * weight + entryBytes)
  log.remember('a', { id: 'a' }, null)
  expect([log.cacheBytes, log.entries.get('a')!.row]).toEqual([2 * weight + entryBytes, row('a')])
  log.setBase(log.entries.get('c')!, undefined)
  expect(log.cacheBytes).toBe(2 * weight)
})

test('H49: no more is evicted than is asked for, and not what was used since it was last looked at', () => {
  const log = logOf('a', 'b', 'c', 'd')
  expect(log.evict(0)).toBe(0)
  expect(log.evict(1)).toBe(weight)
  expect([ids(log), log.cacheBytes]).toEqual(['bcd', 3 * weight])
  log.entries.get('b')!.used = true
  expect(log.evict(weight + 1)).toBe(2 * weight)
  expect(ids(log)).toBe('b')
  // it had its second chance
  expect(log.evict(1)).toBe(weight)
  expect([ids(log), log.cacheBytes]).toEqual(['', 0])
})

test('H49: all that is used is spared for a lap, and evicted all the same in the next', () => {
  const log = logOf('a', 'b', 'c')
  for (const entry of log.entries.values()) entry.used = true
  expect([log.evict(1), ids(log)]).toEqual([0, 'abc'])
  expect(log.evict(1)).toBe(weight)
  expect(ids(log)).toBe('bc')
})

test('H48: what holds changes is never evicted, and keeps its value when the cache is emptied', () => {
  const log = logOf('a', 'b')
  const entry = log.entries.get('a')!
  entry.newest = new Version(new StagedBatch(1, [], true), 1, 0, row('a'), null, 0, undefined)
  expect(log.evict(1e9)).toBe(weight)
  expect([ids(log), log.cacheBytes]).toEqual(['a', weight])
  log.remember('b', { id: 'b' }, row('b'))
  log.emptyCache()
  expect([ids(log), log.cacheBytes, entry.base]).toEqual(['a', 0, undefined])
  log.settle(entry)
  expect([log.entries.size, entry.newest]).toEqual([0, undefined])
})

test('one that settles becomes what the database is known to hold', () => {
  const log = logOf('a')
  const entry = log.entries.get('a')!
  entry.row = { id: 'a', n: 5 }
  log.settle(entry)
  expect([ids(log), entry.row]).toEqual(['a', row('a')])
})
