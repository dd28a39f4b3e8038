/**
 * Compares what the database has with what the schema declares, and says for each difference that would break a
 * guarantee what to run. Pure. What must hold: a table without differences can be written in any order within a
 * commit, reads before a commit as it reads after it, and changes by nobody's hand but ours.
 */
import type { ColumnModel, TableModel } from '../staging/table.ts'
import type { ColumnFacts, ConstraintFacts, TableFacts } from './catalog-query.ts'
import { declaredType, drizzleColumn, enumOf } from './declared.ts'
import { tableDdl } from './ddl.ts'
import { qualified, quoteName, quoteNames, quoteText } from './sql-names.ts'

export interface Difference {
  readonly table: string
  /** What is wrong, and why that matters where it is not plain. */
  readonly message: string
  /** SQL that mends it; where there is none, the message says what else to do. */
  readonly fix?: string | undefined
}

/** Everything about one table, in reading order. Empty: it fits. */
export function tableDifferences(
  model: TableModel,
  facts: TableFacts,
  models: readonly TableModel[],
): readonly Difference[] {
  const found: Difference[] = []
  const say: Say = (message, fix) => void found.push({ table: model.name, message, fix })
  if (!facts.exists) {
    const ddl = tableDdl(model, models)
    const statements = [
      ...ddl.enums.map(({ statement }) => statement),
      ddl.table,
      ...ddl.foreignKeys,
      ...ddl.indexes,
    ]
    say(`does not exist; pass createTables: true, or run`, statements.join(';\n'))
    return found
  }
  const kind = kinds[facts.kind]
  if (kind !== undefined) {
    say(`is ${kind}; only an ordinary table can be written and rolled back`)
    return found
  }
  storage(model, facts, say)
  access(model, facts, say)
  columns(model, facts, say)
  key(model, facts, say)
  for (const constraint of facts.constraints ?? []) deferral(model, constraint, say)
  uniqueIndexes(model, facts, say)
  return found
}

type Say = (message: string, fix?: string) => void

const kinds: Readonly<Record<string, string>> = {
  v: 'a view',
  m: 'a materialized view',
  f: 'a foreign table',
  p: 'a partitioned table',
}

const alter = (model: TableModel, change: string) =>
  `ALTER TABLE ${qualified(model.schema, model.sqlName)} ${change}`

function storage(model: TableModel, facts: TableFacts, say: Say): void {
  if (facts.persistence === 'u') {
    say(
      `is unlogged: after a crash of the server its rows are gone, the checkpoint is not`,
      alter(model, 'SET LOGGED'),
    )
  }
  for (const child of facts.children ?? []) {
    say(
      `has the inheritance child ${child}, whose rows would appear in it`,
      `ALTER TABLE ${child} NO INHERIT ${qualified(model.schema, model.sqlName)}`,
    )
  }
  for (const parent of facts.parents ?? []) {
    say(`is an inheritance child or a partition of ${parent}; only a table that stands alone will do`)
  }
  for (const trigger of facts.triggers ?? []) {
    say(
      `has the trigger ${trigger}: what it does would be missing from rows that handlers read before their commit; do it in the handler`,
      alter(model, `DISABLE TRIGGER ${quoteName(trigger)}`),
    )
  }
  for (const rule of facts.rules ?? []) {
    say(
      `has the rule ${rule}, which rewrites what a commit says`,
      `DROP RULE ${quoteName(rule)} ON ${qualified(model.schema, model.sqlName)}`,
    )
  }
}

function access(model: TableModel, facts: TableFacts, say: Say): void {
  const role = quoteName(facts.role)
  if (!facts.schemaUsable) {
    say(
      `the role ${facts.role} may not use the schema ${model.schema}`,
      `GRANT USAGE ON SCHEMA ${quoteName(model.schema)} TO ${role}`,
    )
  }
  const missing = facts.missingPrivileges ?? []
  if (missing.length > 0) {
    say(
      `the role ${facts.role} lacks ${missing.join(', ')}`,
      `GRANT ${missing.join(', ')} ON ${qualified(model.schema, model.sqlName)} TO ${role}`,
    )
  }
  if (facts.rowSecurity) {
    say(
      `row level security hides or refuses rows for the role ${facts.role}; let it bypass that, or disable it for the table`,
      `ALTER ROLE ${role} BYPASSRLS`,
    )
  }
}

function columns(model: TableModel, facts: TableFacts, say: Say): void {
  const present = new Map((facts.columns ?? []).map((column) => [column.name, column]))
  for (const column of model.columns) {
    const inDatabase = present.get(column.sqlName)
    const name = quoteName(column.sqlName)
    if (inDatabase === undefined) {
      const notNull = column.notNull ? ' NOT NULL' : ''
      say(
        `the column ${column.sqlName} is missing${notNull === '' ? '' : ' (where the table has rows, give it a default too)'}`,
        alter(model, `ADD COLUMN ${name} ${declaredType(model, column)}${notNull}`),
      )
      continue
    }
    present.delete(column.sqlName)
    columnType(model, column, inDatabase, say)
    if (inDatabase.notNull && !column.notNull && !model.key.includes(column)) {
      say(
        `the column ${column.sqlName} is NOT NULL, the schema allows null; add .notNull() there, or`,
        alter(model, `ALTER COLUMN ${name} DROP NOT NULL`),
      )
    }
    if (inDatabase.generated) {
      say(
        `the column ${column.sqlName} is generated: its value is known only after the commit; compute it in the handler`,
        alter(model, `ALTER COLUMN ${name} DROP EXPRESSION`),
      )
    }
    if (inDatabase.identity === 'a') {
      say(
        `the column ${column.sqlName} is GENERATED ALWAYS AS IDENTITY and takes no value from a handler`,
        alter(model, `ALTER COLUMN ${name} SET GENERATED BY DEFAULT`),
      )
    }
    if (inDatabase.nondeterministic !== null) {
      say(
        `the column ${column.sqlName} has the nondeterministic collation ${inDatabase.nondeterministic}: texts that differ count as equal`,
        alter(model, `ALTER COLUMN ${name} TYPE ${declaredType(model, column)} COLLATE "C"`),
      )
    }
  }
  for (const { name, notNull, hasDefault, identity } of present.values()) {
    if (!notNull || hasDefault || identity !== '') continue
    say(
      `the column ${name} is NOT NULL without a default and not in the schema: no row could be inserted; declare it, or`,
      alter(model, `ALTER COLUMN ${quoteName(name)} DROP NOT NULL`),
    )
  }
}

function columnType(model: TableModel, column: ColumnModel, inDatabase: ColumnFacts, say: Say): void {
  const declared = enumOf(drizzleColumn(model, column))
  const wanted = declaredType(model, column)
  const convert = alter(
    model,
    `ALTER COLUMN ${quoteName(column.sqlName)} TYPE ${wanted} USING ${quoteName(column.sqlName)}::text::${wanted}`,
  )
  if (declared === undefined) {
    if (inDatabase.type === wanted) return
    say(`the column ${column.sqlName} is ${inDatabase.type}, the schema says ${wanted}`, convert)
    return
  }
  const found = inDatabase.enum
  const isArray = inDatabase.type.endsWith('[]')
  if (
    found === null ||
    found.schema !== declared.schema ||
    found.name !== declared.name ||
    isArray !== declared.isArray
  ) {
    say(`the column ${column.sqlName} is ${inDatabase.type}, the schema says ${wanted}`, convert)
    return
  }
  if (JSON.stringify(found.labels) === JSON.stringify(declared.labels)) return
  const added = declared.labels.filter((label) => !found.labels.includes(label))
  const appended = JSON.stringify([...found.labels, ...added]) === JSON.stringify(declared.labels)
  say(
    `the column ${column.sqlName} is of the enum ${found.name} (${found.labels.join(', ')}), ` +
      `the schema declares (${declared.labels.join(', ')}), and their order is the order of the rows` +
      (appended ? '' : `; declare it as the database has it`),
    appended
      ? added
          .map((label) => `ALTER TYPE ${qualified(found.schema, found.name)} ADD VALUE ${quoteText(label)}`)
          .join(';\n')
      : undefined,
  )
}

function key(model: TableModel, facts: TableFacts, say: Say): void {
  const wanted = model.key.map(({ sqlName }) => sqlName)
  const add = `ADD PRIMARY KEY (${quoteNames(wanted)})`
  const primary = (facts.constraints ?? []).find(({ type }) => type === 'p')
  if (primary === undefined) {
    say(`has no primary key, the schema says (${wanted.join(', ')})`, alter(model, add))
    return
  }
  const replace = alter(model, `DROP CONSTRAINT ${quoteName(primary.name)}, ${add}`)
  if (JSON.stringify([...primary.columns].sort()) !== JSON.stringify([...wanted].sort())) {
    say(`its primary key is (${primary.columns.join(', ')}), the schema says (${wanted.join(', ')})`, replace)
  } else if (primary.deferrable) {
    say(`its primary key is deferrable, and ON CONFLICT cannot go by such`, replace)
  }
}

const actions: Readonly<Record<string, string>> = {
  r: 'RESTRICT',
  c: 'CASCADE',
  n: 'SET NULL',
  d: 'SET DEFAULT',
}

/** In one commit a row may take over what another one gives up, and come before the row that it refers to. */
function deferral(model: TableModel, constraint: ConstraintFacts, say: Say): void {
  const { name, type, deferrable, definition } = constraint
  const renew = (to: string) =>
    alter(model, `DROP CONSTRAINT ${quoteName(name)}, ADD CONSTRAINT ${quoteName(name)} ${to}`)
  if (type === 'f') {
    const events = [
      ['ON DELETE', actions[constraint.onDelete]],
      ['ON UPDATE', actions[constraint.onUpdate]],
    ].filter(([, action]) => action !== undefined)
    if (events.length > 0) {
      const clauses = events.map((event) => event.join(' '))
      const why = clauses.every((clause) => clause.endsWith('RESTRICT'))
        ? 'which is checked at once, also within a commit'
        : 'which changes rows that no handler wrote; do it in the handler'
      const plain = definition
        .replace(/ ON (DELETE|UPDATE) (RESTRICT|CASCADE|SET NULL|SET DEFAULT)( \([^)]*\))?/g, '')
        .replace(/( NOT DEFERRABLE| DEFERRABLE| INITIALLY (DEFERRED|IMMEDIATE))/g, '')
      const validity = plain.endsWith(' NOT VALID') ? ' NOT VALID' : ''
      const body = plain.slice(0, plain.length - validity.length)
      say(`the foreign key ${name} says ${clauses.join(' ')}, ${why}`, renew(`${body} DEFERRABLE${validity}`))
    } else if (!deferrable) {
      say(
        `the foreign key ${name} is not deferrable: the rows of a commit come in no particular order`,
        alter(model, `ALTER CONSTRAINT ${quoteName(name)} DEFERRABLE`),
      )
    }
    return
  }
  if (type === 'p' || deferrable) return
  if (type === 'x') {
    say(
      `the exclusion constraint ${name} is not deferrable: a row could not take over what another one gives up in the same commit`,
      renew(`${definition} DEFERRABLE`),
    )
    return
  }
  // Whatever holds the key can only be violated together with it.
  if (model.key.every(({ sqlName }) => constraint.columns.includes(sqlName))) return
  const { referencedBy } = constraint
  say(
    `the unique constraint ${name} is not deferrable: a row could not take over a value that another one gives up in the same commit` +
      (referencedBy === null
        ? ''
        : `. Postgres lets no foreign key refer to a deferrable one, so first let these refer to the primary key: ${referencedBy.join(', ')}`),
    renew(`${definition} DEFERRABLE`),
  )
}

function uniqueIndexes(model: TableModel, facts: TableFacts, say: Say): void {
  for (const { name, columns: indexed, special, definition } of facts.uniqueIndexes ?? []) {
    if (model.key.every(({ sqlName }) => indexed.includes(sqlName))) continue
    const drop = `DROP INDEX ${qualified(model.schema, name)}`
    if (special) {
      say(
        `the unique index ${name} cannot be deferred, and what is partial or of an expression cannot be a constraint; ` +
          `keep it unique in the handler`,
        drop,
      )
      continue
    }
    const nulls = definition.includes(' NULLS NOT DISTINCT') ? 'NULLS NOT DISTINCT ' : ''
    const add = `ADD CONSTRAINT ${quoteName(name)} UNIQUE ${nulls}(${quoteNames(indexed)}) DEFERRABLE`
    say(`the unique index ${name} cannot be deferred, a constraint can`, `${drop};\n${alter(model, add)}`)
  }
}
