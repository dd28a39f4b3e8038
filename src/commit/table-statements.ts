/** One table's share of a group as statements: INSERT for what must be new, upsert for the rest, DELETE last. */
import { rowBytes } from '../staging/table-row.ts'
import type { TableGroup } from '../staging/batch.ts'
import type { ColumnModel, Row, TableModel } from '../staging/table.ts'
import { qualified, quoteName } from './sql-names.ts'
import { columnParameter, copiedRows, isCopied, unnest, unnestedColumn } from './wire/columns.ts'
import type { Statements } from './statements.ts'

export type Step = 'insert' | 'upsert' | 'delete'

/** What a statement of a flight was for, so that an error can be told in the user's words. */
export interface StatementNote {
  readonly step: Step
  readonly table: TableGroup
}

/** Bytes of one statement's parameters, roughly; Postgres takes no message of 1 GB. */
const statementBytes = 64 * 1024 * 1024
const keyBytesGuess = 256

/** Prepared texts of one table; made once. */
export interface TablePlan {
  /** Undefined: it has a column that COPY cannot take. */
  readonly copy: string | undefined
  readonly insert: string
  readonly upsert: string
  readonly remove: string
}

export function tablePlan(model: TableModel): TablePlan {
  const target = qualified(model.schema, model.sqlName)
  const names = model.columns.map((column) => quoteName(column.sqlName))
  const keyNames = model.key.map((column) => quoteName(column.sqlName)).join(', ')
  const selected = model.columns.map(unnestedColumn)
  // in key order: sequential index pages, and the same lock order in every commit
  const order = model.key.map((column) => selected[model.columns.indexOf(column)]).join(', ')
  const insert = `INSERT INTO ${target} (${names.join(', ')}) SELECT ${selected.join(', ')} FROM ${unnest(model.columns)} ORDER BY ${order}`
  const changes = model.columns
    .filter((column) => !model.key.includes(column))
    .map((column) => `${quoteName(column.sqlName)} = EXCLUDED.${quoteName(column.sqlName)}`)
  const conflict = changes.length === 0 ? 'DO NOTHING' : `DO UPDATE SET ${changes.join(', ')}`
  const matches = model.key.map(
    (column, index) => `t.${quoteName(column.sqlName)} = ${unnestedColumn(column, index)}`,
  )
  return {
    copy: isCopied(model.columns)
      ? `COPY ${target} (${names.join(', ')}) FROM STDIN (FORMAT binary)`
      : undefined,
    insert,
    upsert: `${insert} ON CONFLICT (${keyNames}) ${conflict}`,
    remove: `DELETE FROM ${target} AS t USING ${unnest(model.key)} WHERE ${matches.join(' AND ')}`,
  }
}

/** @param copies rows that must be new may go by COPY, in 0.5–0.8 of an INSERT's time (docs/performance.md) */
export function writeTable(
  statements: Statements,
  plan: TablePlan,
  group: TableGroup,
  copies: boolean,
): void {
  const { model } = group
  const write = (step: Step, sql: string, columns: readonly ColumnModel[], rows: readonly Row[]) => {
    for (const [from, to] of chunks(model, rows, step)) {
      const parameters = columns.map((column) => columnParameter(column, rows, from, to))
      statements.add(sql, parameters, { step, table: group })
    }
  }
  if (copies && plan.copy !== undefined && group.inserts.length > 0) {
    statements.addCopy(plan.copy, copiedRows(model.columns, group.inserts), { step: 'insert', table: group })
  } else {
    write('insert', plan.insert, model.columns, group.inserts)
  }
  write('upsert', plan.upsert, model.columns, group.upserts)
  write('delete', plan.remove, model.key, group.deletes)
}

function* chunks(model: TableModel, rows: readonly Row[], step: Step): Generator<readonly [number, number]> {
  let from = 0
  let bytes = 0
  for (let index = 0; index < rows.length; index++) {
    bytes += step === 'delete' ? keyBytesGuess : rowBytes(model, rows[index]!)
    if (bytes >= statementBytes) {
      yield [from, index + 1]
      from = index + 1
      bytes = 0
    }
  }
  if (from < rows.length) yield [from, rows.length]
}
