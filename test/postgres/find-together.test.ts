/** Finds of one microtask share a query; each gets what it would have got alone. */
import { integer, numeric, pgEnum, pgTable, text } from 'drizzle-orm/pg-core'
import fc from 'fast-check'
import pg from 'pg'
import { expect, test } from 'vitest'
import { createTableStatements } from '../../src/commit/ddl.ts'
import { reader } from '../../src/commit/reader.ts'
import { parseFind } from '../../src/staging/find.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { createDatabase } from '../support/postgres.ts'

const kind = pgEnum('kind', ['small', 'large', 'huge'])
const thing = pgTable('thing', {
  id: integer().primaryKey(),
  owner: text(),
  kind: kind().notNull(),
  size: numeric({ precision: 78, mode: 'bigint' }),
})
const model = tableModelOf('thing', thing)

const owner = fc.constantFrom('a', 'b', 'B', 'é')
const size = fc.bigInt(0n, 4n)
const where = fc.oneof(
  fc.record({ owner }),
  fc.record({ owner, size: fc.record({ gte: size }) }),
  fc.record({ owner: fc.record({ ne: owner }) }),
  fc.record({ owner: fc.constant(null) }),
  fc.record({ kind: fc.record({ gt: fc.constantFrom('small', 'large') }) }),
  fc.record({ owner: fc.record({ in: fc.array(owner, { maxLength: 2 }) }) }),
  fc.record({ or: fc.tuple(fc.record({ owner }), fc.record({ not: fc.record({ size }) })) }),
)
const find = fc.record(
  {
    where,
    orderBy: fc.constantFrom({ size: 'desc' }, { owner: 'asc' }),
    limit: fc.integer({ min: 1, max: 5 }),
  },
  { requiredKeys: ['where'] },
)

test('I4, H11: finds that are asked together answer as each alone', async () => {
  await using database = await createDatabase()
  const pool = new pg.Pool({ connectionString: database.connectionString, max: 1 })
  try {
    for (const statement of createTableStatements([model])) await pool.query(statement)
    await pool.query(`INSERT INTO thing SELECT n, (ARRAY['a', 'b', 'B', 'é', NULL])[n % 5 + 1],
      (ARRAY['small', 'large', 'huge'])[n % 3 + 1]::kind, nullif(n % 6, 5) FROM generate_series(1, 60) n`)
    let queries = 0
    const { find: ask } = reader(async (statement, values) => {
      queries++
      const types = { getTypeParser: () => (value: string) => value } as unknown as pg.CustomTypesConfig
      const { rows } = await pool.query({ text: statement, values: [...values], rowMode: 'array', types })
      return rows as (string | null)[][]
    })
    const owners = ['a', 'b', 'B'].map((value) => parseFind(model, { where: { owner: value }, limit: 2 }))
    await Promise.all(owners.map((each) => ask(model, each)))
    expect(queries).toBe(1)

    const asked = fc.array(find, { minLength: 1, maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(asked, async (options) => {
        const queriesAsked = options.map((each) => parseFind(model, each as Parameters<typeof parseFind>[1]))
        const together = await Promise.all(queriesAsked.map((each) => ask(model, each)))
        for (const [index, each] of queriesAsked.entries()) {
          // asked by itself it shares a microtask with nobody; order inside is the finder's to restore
          const alone = await ask(model, each)
          expect(together[index]!.toSorted(byId)).toEqual(alone.toSorted(byId))
        }
      }),
      { numRuns: 100 },
    )
  } finally {
    await pool.end()
  }
})

function byId(left: Readonly<Record<string, unknown>>, right: Readonly<Record<string, unknown>>): number {
  return (left['id'] as number) - (right['id'] as number)
}
