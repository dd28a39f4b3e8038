/**
 * Before-images of the user's rows, for rollbacks, in schema `tailrace_history`: for each table of theirs a view over two
 * halves, filled by statement-level triggers with transition tables. The triggers do nothing unless the flight says at
 * which checkpoint it stands (`tailrace.checkpoint`). A disabled trigger would still have Postgres collect its
 * transition table, so that a backfill has none at all: a flight creates and drops them.
 *
 * Images are only appended, without any index, to one half; once nothing of the other is needed any more it is emptied
 * and takes its turn. Deleting them row by row, or keeping them unique, would cost more than writing them.
 *
 * What must hold: after `restore` every row is what it was when the flight of the target had landed.
 */
import { createHash } from 'node:crypto'
import type { TableModel } from '../staging/table.ts'
import { qualified, quoteName, quoteNames, quoteText } from './sql-names.ts'

const historySchema = 'tailrace_history'
/** Postgres' 63 bytes, and room for the name of a half. */
const longestName = 61

/** Two columns of ours before the user's. */
const checkpointColumn = 'tailrace_checkpoint'
/** Whether the row was there before; else the image is its key. */
const existedColumn = 'tailrace_existed'

/** Told to the triggers: at which checkpoint the following statements stand. $1 text; empty: no history. */
export const setCheckpoint = `SELECT set_config('tailrace.checkpoint', $1, true)`
/** Told to the triggers once a flight: where to put images. $1 text. */
export const setHalf = `SELECT set_config('tailrace.half', $1, true)`

export const halves = ['a', 'b'] as const
export type Half = (typeof halves)[number]

/** Everything that is said about one table's history; made once. */
export interface HistoryPlan {
  readonly model: TableModel
  /** Name inside the schema, of the view and of the trigger function; the halves add `.a` and `.b`. */
  readonly name: string
  readonly create: readonly string[]
  readonly createView: string
  readonly dropView: string
  readonly createFunction: string
  /** The body of the function, as `pg_proc.prosrc` has it. */
  readonly functionBody: string
  readonly arm: readonly string[]
  readonly disarm: readonly string[]
  /** $1 int8: back to that checkpoint. In this order; the first two change the user's table. */
  readonly restore: readonly string[]
  /** $1 int8: no image above it. */
  readonly forget: readonly string[]
  readonly empty: Readonly<Record<Half, string>>
}

export function historyPlan(model: TableModel): HistoryPlan {
  const name = historyName(model)
  const view = qualified(historySchema, name)
  const half = (which: Half) => qualified(historySchema, `${name}.${which}`)
  const target = qualified(model.schema, model.sqlName)
  const names = model.columns.map((column) => column.sqlName)
  const keyNames = model.key.map((column) => column.sqlName)
  const key = quoteNames(keyNames)
  const functionBody = triggerBody(half, names, keyNames)
  // One checkpoint gives two images of a row only when it inserts and deletes it: then it was not there before.
  const images = (columns: string) =>
    `SELECT DISTINCT ON (${key}) ${columns} FROM ${view} WHERE ${checkpointColumn} > $1 ORDER BY ${key}, ${checkpointColumn}, ${existedColumn}`
  const changes = names
    .filter((column) => !keyNames.includes(column))
    .map((column) => `${quoteName(column)} = EXCLUDED.${quoteName(column)}`)
  const conflict = changes.length === 0 ? 'DO NOTHING' : `DO UPDATE SET ${changes.join(', ')}`
  return {
    model,
    name,
    // not LIKE: of a row that was not there only the key is kept
    create: halves.map(
      (which) =>
        `CREATE TABLE ${half(which)} AS SELECT 0::bigint AS ${checkpointColumn}, false AS ${existedColumn}, ${quoteNames(names)} FROM ${target} WITH NO DATA`,
    ),
    createView: `CREATE VIEW ${view} AS ${halves.map((which) => `SELECT * FROM ${half(which)}`).join(' UNION ALL ')}`,
    dropView: `DROP VIEW IF EXISTS ${view}`,
    createFunction: `CREATE OR REPLACE FUNCTION ${view}() RETURNS trigger LANGUAGE plpgsql AS ${quoteText(functionBody)}`,
    functionBody,
    arm: triggerEvents.map(
      ({ event, rows }) =>
        `CREATE OR REPLACE TRIGGER ${triggerName(event)} AFTER ${event} ON ${target} REFERENCING ${rows} TABLE AS tailrace_rows FOR EACH STATEMENT EXECUTE FUNCTION ${view}()`,
    ),
    disarm: triggerEvents.map(({ event }) => `DROP TRIGGER IF EXISTS ${triggerName(event)} ON ${target}`),
    restore: [
      `DELETE FROM ${target} AS t USING (${images(`${key}, ${existedColumn}`)}) AS image WHERE NOT image.${existedColumn} AND ${keyNames.map((column) => `t.${quoteName(column)} = image.${quoteName(column)}`).join(' AND ')}`,
      `INSERT INTO ${target} (${quoteNames(names)}) SELECT ${quoteNames(names)} FROM (${images('*')}) AS image WHERE ${existedColumn} ORDER BY ${key} ON CONFLICT (${key}) ${conflict}`,
    ],
    forget: halves.map((which) => `DELETE FROM ${half(which)} WHERE ${checkpointColumn} > $1`),
    empty: { a: `TRUNCATE ${half('a')}`, b: `TRUNCATE ${half('b')}` },
  }
}

const triggerEvents = [
  { event: 'INSERT', rows: 'NEW' },
  { event: 'UPDATE', rows: 'OLD' },
  { event: 'DELETE', rows: 'OLD' },
] as const

const triggerName = (event: string) => `tailrace_history_${event.toLowerCase()}`

/** `schema.table`; where that is too long, or could be another table's, with a hash at its end. */
export function historyName({ schema, sqlName }: Pick<TableModel, 'schema' | 'sqlName'>): string {
  const plain = `${schema}.${sqlName}`
  if (Buffer.byteLength(plain) <= longestName && !schema.includes('.') && !sqlName.includes('.')) return plain
  const hash = createHash('sha256')
    .update(JSON.stringify([schema, sqlName]))
    .digest('hex')
    .slice(0, 16)
  let prefix = plain.slice(0, longestName - hash.length - 1)
  while (Buffer.byteLength(prefix) > longestName - hash.length - 1) prefix = prefix.slice(0, -1)
  return `${prefix}.${hash}`
}

function triggerBody(
  half: (which: Half) => string,
  names: readonly string[],
  keyNames: readonly string[],
): string {
  const rows = (columns: readonly string[]) => columns.map((column) => `r.${quoteName(column)}`).join(', ')
  const insertImages = (which: Half, existed: boolean, columns: readonly string[]) =>
    `INSERT INTO ${half(which)} (${checkpointColumn}, ${existedColumn}, ${quoteNames(columns)})
        SELECT tailrace_now, ${existed}, ${rows(columns)} FROM tailrace_rows AS r;`
  const byHalf = (existed: boolean, columns: readonly string[]) => `
    IF tailrace_half = 'b' THEN
      ${insertImages('b', existed, columns)}
    ELSE
      ${insertImages('a', existed, columns)}
    END IF;`
  return `
#variable_conflict use_variable
DECLARE
  tailrace_now bigint := nullif(current_setting('tailrace.checkpoint', true), '')::bigint;
  tailrace_half text := current_setting('tailrace.half', true);
BEGIN
  IF tailrace_now IS NULL THEN
    RETURN NULL;
  ELSIF TG_OP = 'INSERT' THEN${byHalf(false, keyNames)}
  ELSE${byHalf(true, names)}
  END IF;
  RETURN NULL;
END
`
}

// ── what is there ───────────────────────────────────────────────────────────────────────────────────────────

/** Of one history table: its columns with their types, the body of its function, and whether triggers feed it. */
export interface HistoryFacts {
  readonly columns: Readonly<Record<string, string>> | null
  readonly body: string | null
  readonly armed: boolean
  readonly owned: boolean
  readonly role: string
  /** Types of the user's table. */
  readonly wanted: Readonly<Record<string, string>>
}

/** $1 text[] history names, $2 text[] schemas, $3 text[] tables of the user's. One row each, in their order. */
export const readHistory = `
  SELECT
    (SELECT json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod))
      FROM pg_class h JOIN pg_attribute a ON a.attrelid = h.oid
      WHERE h.relnamespace = to_regnamespace('${historySchema}') AND h.relname = wanted.history || '.a'
        AND h.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
    (SELECT p.prosrc FROM pg_proc p
      WHERE p.pronamespace = to_regnamespace('${historySchema}') AND p.proname = wanted.history AND p.pronargs = 0) AS body,
    pg_has_role(c.relowner, 'USAGE') AS owned,
    current_user AS role,
    EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname LIKE 'tailrace\\_history\\_%') AS armed,
    (SELECT coalesce(json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)), '{}')
      FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS wanted
  FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS wanted (history, schema_name, table_name, ord)
  JOIN pg_namespace n ON n.nspname = wanted.schema_name
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.table_name
  ORDER BY wanted.ord`

export interface HistoryChanges {
  readonly statements: readonly string[]
  /** Images kept so far do not fit the table any more, and go: nothing committed so far can be taken back. */
  readonly lost: boolean
}

/** What makes the history fit the table. */
export function historyChanges(plan: HistoryPlan, facts: HistoryFacts): HistoryChanges {
  const { columns, wanted } = facts
  const names = plan.model.columns.map(({ sqlName }) => sqlName)
  const createFunction = facts.body === plan.functionBody ? [] : [plan.createFunction]
  const half = (which: Half) => qualified(historySchema, `${plan.name}.${which}`)
  if (columns === null) {
    return { statements: [...plan.create, plan.createView, ...createFunction], lost: false }
  }
  if (names.some((name) => columns[name] !== undefined && columns[name] !== wanted[name])) {
    const drop = [plan.dropView, ...halves.map((which) => `DROP TABLE ${half(which)}`)]
    // triggers depend on the function, not on what it writes to
    return { statements: [...drop, ...plan.create, plan.createView, ...createFunction], lost: true }
  }
  const added = names
    .filter((name) => columns[name] === undefined)
    .flatMap((name) =>
      halves.map((which) => `ALTER TABLE ${half(which)} ADD COLUMN ${quoteName(name)} ${wanted[name]}`),
    )
  const alter = added.length === 0 ? [] : [plan.dropView, ...added, plan.createView]
  return { statements: [...alter, ...createFunction], lost: false }
}

/** One row: the newest checkpoint that each half has an image of. */
export function readHalves(plans: readonly HistoryPlan[]): string {
  const newest = (which: Half) =>
    plans
      .map(
        ({ name }) =>
          `(SELECT max(${checkpointColumn}) FROM ${qualified(historySchema, `${name}.${which}`)})`,
      )
      .join(', ')
  return `SELECT ${halves.map((which) => `greatest(${newest(which)}) AS ${which}`).join(', ')}`
}

export const createHistorySchema = `CREATE SCHEMA IF NOT EXISTS ${historySchema}`

/** What is said to somebody who may not create triggers. */
export const ownershipFix = (model: TableModel, role: string): string =>
  `ALTER TABLE ${qualified(model.schema, model.sqlName)} OWNER TO ${quoteName(role)}`
