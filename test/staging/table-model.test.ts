/** From drizzle definitions to table models: keys, names, and the features that are refused at start. */
import { sql } from 'drizzle-orm'
import * as t from 'drizzle-orm/pg-core'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { ConfigurationError } from '../../src/errors.ts'
import { keyed, type KeyedTable, type WithKey } from '../../src/staging/keyed.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'

const allowance = t.pgTable(
  'allowance',
  { owner: t.text().notNull(), spender: t.text().notNull(), amount: t.bigint({ mode: 'bigint' }).notNull() },
  (table) => [t.primaryKey({ columns: [table.owner, table.spender] })],
)
const account = t.pgTable('account', {
  id: t.text().primaryKey(),
  balance: t.numeric({ mode: 'bigint' }).notNull(),
})

const codeOf = (attempt: () => unknown): string => {
  try {
    attempt()
  } catch (error) {
    if (error instanceof ConfigurationError) return error.code
    throw error
  }
  return 'accepted'
}
const withColumn = (column: t.PgColumnBuilderBase): (() => unknown) => {
  const table = t.pgTable('subject', { id: t.text().primaryKey(), v: column })
  return () => tableModelOf('subject', table)
}

describe('keys', () => {
  it('finds a single-column key, inline or declared beside the columns', () => {
    expect(tableModelOf('account', account).key.map(({ property }) => property)).toEqual(['id'])
    const beside = t.pgTable('beside', { id: t.integer() }, (table) => [
      t.primaryKey({ columns: [table.id] }),
    ])
    const model = tableModelOf('beside', beside)
    expect(model.key.map(({ property, notNull }) => [property, notNull])).toEqual([['id', true]])
  })

  it('takes the order of a composite key from keyed()', () => {
    const model = tableModelOf('allowance', keyed(allowance, 'spender', 'owner'))
    expect(model.key.map(({ property }) => property)).toEqual(['spender', 'owner'])
    expect(model.definition).toBe(allowance)
  })

  it('refuses a composite key without keyed(), printing what to write', () => {
    expect(() => tableModelOf('allowance', allowance)).toThrow("keyed(allowance, 'owner', 'spender')")
  })

  it('refuses keyed() that differs from the primary key, naming the difference', () => {
    expect(() => tableModelOf('allowance', keyed(allowance, 'owner'))).toThrow('spender is missing')
    expect(() => tableModelOf('allowance', keyed(allowance, 'owner', 'spender', 'amount'))).toThrow(
      'amount is not part of it',
    )
    expect(() => tableModelOf('allowance', keyed(allowance, 'owner', 'spender', 'owner'))).toThrow(
      'owner twice',
    )
    expect(() => tableModelOf('account', keyed(account, 'balance'))).toThrow('without keyed()')
  })

  it('refuses a table without a primary key, and keys of types without a dependable equality (H45)', () => {
    expect(() => tableModelOf('loose', t.pgTable('loose', { a: t.text() }))).toThrow(
      'loose has no primary key',
    )
    for (const id of [t.real(), t.doublePrecision(), t.jsonb(), t.numeric(), t.text().array(), t.time()]) {
      const table = t.pgTable('subject', { id: (id as t.PgColumnBuilder).primaryKey() })
      expect(() => tableModelOf('subject', table)).toThrow(/subject\.id cannot be part of a key: equality of/)
    }
    for (const id of [
      t.numeric({ mode: 'bigint' }),
      t.numeric({ precision: 5, scale: 2 }),
      t.timestamp(),
      t.uuid(),
    ]) {
      const table = t.pgTable('subject', { id: (id as t.PgColumnBuilder).primaryKey() })
      expect(codeOf(() => tableModelOf('subject', table))).toBe('accepted')
    }
  })

  it('a missing keyed() is a compile error where the types know it', () => {
    expectTypeOf<WithKey<typeof account>>().toEqualTypeOf<typeof account>()
    const declared = keyed(allowance, 'owner', 'spender')
    expectTypeOf(declared).toEqualTypeOf<KeyedTable<typeof allowance, 'owner' | 'spender'>>()
    expectTypeOf<WithKey<typeof declared>>().toEqualTypeOf<typeof declared>()
    expectTypeOf<typeof allowance>().not.toExtend<WithKey<typeof allowance>>()
    // @ts-expect-error there is no such column
    keyed(allowance, 'owner', 'spendr')
  })
})

describe('names (H45)', () => {
  it('follows drizzle’s casing for columns without a name of their own', () => {
    const table = t.pgTable('things', { thingId: t.text().primaryKey(), ownName: t.text('Own Name') })
    const names = (casing?: 'snake_case' | 'camelCase'): string[] =>
      tableModelOf('things', table, { casing }).columns.map(({ sqlName }) => sqlName)
    expect(names()).toEqual(['thingId', 'Own Name'])
    expect(names('snake_case')).toEqual(['thing_id', 'Own Name'])
    expect(
      tableModelOf('things', t.pgSchema('app').table('Order', { id: t.text().primaryKey() })),
    ).toMatchObject({
      schema: 'app',
      sqlName: 'Order',
    })
  })

  it('takes reserved names and 63 bytes, and refuses 64, and two properties that become one column', () => {
    const table = (column: string): (() => unknown) => {
      const definition = t.pgTable('select', { id: t.text().primaryKey(), from: t.text(column) })
      return () => tableModelOf('select', definition)
    }
    expect(codeOf(table('order'))).toBe('accepted')
    expect(codeOf(table('é'.repeat(31) + 'x'))).toBe('accepted')
    expect(codeOf(table('é'.repeat(32)))).toBe('INVALID_NAME')
    const twins = t.pgTable('twins', { id: t.text().primaryKey(), aB: t.text(), a_b: t.text() })
    expect(() => tableModelOf('twins', twins, { casing: 'snake_case' })).toThrow(
      'aB and a_b are both the column "a_b"',
    )
  })
})

describe('what the database alone decides is refused, by name and with a remedy (H66)', () => {
  it.each([
    ['generated column', t.text().generatedAlwaysAs(sql`'x'`), 'DROP EXPRESSION'],
    ['identity', t.integer().generatedAlwaysAsIdentity(), 'SET GENERATED BY DEFAULT'],
    ['$onUpdate', t.text().$onUpdate(() => 'x'), 'set the value in the handler'],
    ['default that does not fit', t.varchar({ length: 2 }).default('abc'), 'its default does not fit'],
    ['type', t.interval(), 'interval is not supported'],
  ] as const)('H66 %s', (_what, column, remedy) => {
    expect(withColumn(column)).toThrow(ConfigurationError)
    expect(withColumn(column)).toThrow(remedy)
    expect(withColumn(column)).toThrow('subject.v: ')
  })

  it('H66 sequences and SQL defaults are taken, but the handler must supply the value', () => {
    for (const column of [
      t.serial(),
      t.integer().generatedByDefaultAsIdentity(),
      t.timestamp().defaultNow(),
    ]) {
      const model = tableModelOf('subject', t.pgTable('subject', { id: t.text().primaryKey(), v: column }))
      expect(model.columns[1]!.suppliedOnly).toMatch(/sequence|SQL expression/)
      expect(model.columns[1]!.makeDefault).toBeUndefined()
    }
    const both = t.pgTable('subject', {
      id: t.text().primaryKey(),
      v: t
        .timestamp()
        .defaultNow()
        .$defaultFn(() => new Date(0)),
    })
    expect(tableModelOf('subject', both).columns[1]).toMatchObject({ suppliedOnly: undefined })
  })

  it.each(['cascade', 'set null', 'set default', 'restrict'] as const)(
    'H66 foreign key with %s',
    (action) => {
      const child = (actions: t.UpdateDeleteAction): t.PgTable =>
        t.pgTable('child', {
          id: t.text().primaryKey(),
          account: t.text().references(() => account.id, { onDelete: actions }),
        })
      expect(() => tableModelOf('child', child(action))).toThrow(
        `onDelete '${action}' of foreign key child_account_account_id_fk`,
      )
      expect(codeOf(() => tableModelOf('child', child('no action')))).toBe('accepted')
    },
  )

  it('refuses what is not a table', () => {
    expect(() => tableModelOf('oops', undefined as never)).toThrow('tables.oops is not a drizzle pgTable')
  })
})
