/** What `testIndexer` says of options that cannot work. */
import { integer, pgTable } from 'drizzle-orm/pg-core'
import { expect, test } from 'vitest'
import { ConfigurationError } from '../../src/index.ts'
import { testIndexer } from '../../src/testing/index.ts'

const tables = { row: pgTable('row', { id: integer().primaryKey() }) }
const handle = () => undefined
const sound = { blocks: [], tables, handle }

test.each([
  [undefined, 'testIndexer takes an object of options: { blocks, tables, handlers, … }.'],
  [{ tables, handle }, 'testIndexer({ blocks }) must be an iterable of blocks: give those to run'],
  [{ ...sound, blocks: (async function* () {})() }, 'they come asynchronously; collect them in an array'],
  [{ blocks: [], handle }, '`tables` is missing: give at least one drizzle table'],
  [{ blocks: [], tables }, 'there is no handler: give `handlers`, `handle` or `handleBlock`.'],
  [{ ...sound, handlers: {} }, 'give `handlers` (by item type) or one `handle`, not both.'],
  [{ ...sound, store: {} }, 'testIndexer has no option `store`; there are blocks, tables, handlers'],
  [{ ...sound, seed: 1.5 }, '`seed` must be a whole number from 0 to 4294967295, got 1.5.'],
  [{ ...sound, cases: 0 }, '`cases` must be a whole number from 1 to 1000000, got 0.'],
  [{ ...sound, forks: 1 }, '`forks` must be true or false, got 1.'],
  [{ ...sound, beforeRun: true }, '`beforeRun` must be a function'],
  [{ ...sound, limits: { batchItem: 1 } }, 'limits.batchItem does not exist; there are'],
])('%o is refused', async (options, message) => {
  const error: unknown = await testIndexer(options as never).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(ConfigurationError)
  expect(error).toMatchObject({ code: 'INVALID_OPTIONS' })
  expect((error as Error).message).toContain(message)
})

test('no blocks at all are a test, too', async () => {
  expect((await testIndexer(sound)).rows('row')).toEqual([])
})

test('blocks out of order are refused as a source is', async () => {
  const blocks = [2, 1].map((number) => ({ number, items: [] }))
  await expect(testIndexer({ ...sound, blocks })).rejects.toMatchObject({ code: 'SOURCE_ORDER' })
})
