/** What Postgres refused, in the user's words: table, key, block and item, and the first cause. */
import type pg from 'pg'
import { ConfigurationError, FatalError, SupersededError, messageOf, type TailraceError } from '../errors.ts'
import type { BlockRef } from '../block.ts'
import type { Group, TableGroup } from '../staging/batch.ts'
import { describeKey, keyOf } from '../staging/table-row.ts'
import { sqlState } from './bookkeeping.ts'
import type { StatementNote } from './table-statements.ts'

/** @param note what the statement was for; undefined: one of our own, or the commit itself */
export function refusal(
  error: pg.DatabaseError,
  note: StatementNote | undefined,
  group: Group,
): TailraceError {
  const batch = { from: BigInt(group.batches[0]!.blocks[0]!.checkpoint), upTo: BigInt(group.upTo) }
  const facts = {
    cause: error,
    phase: 'commit',
    batch,
    table: note?.table.model.name ?? error.table,
    column: error.column,
  } as const
  if (isFenced(error)) return superseded(error, facts)
  if (error.code === '23505' && note?.step === 'insert') return duplicate(error, note.table, group, facts)
  if (error.code === '42501') {
    return new ConfigurationError('NO_PRIVILEGE', `${messageOf(error)}. GRANT the role what it lacks.`, facts)
  }
  const place = facts.table === undefined ? '' : ` into table \`${facts.table}\``
  const constraint = error.constraint === undefined ? '' : ` (constraint ${error.constraint})`
  const detail = error.detail === undefined ? '' : ` ${error.detail}`
  return new FatalError(
    'COMMIT_REFUSED',
    `Postgres refused to commit checkpoints ${batch.from}–${batch.upTo}${place}: ${error.message}${constraint}.${detail}`,
    facts,
  )
}

/** What Postgres refused of a rollback. */
export function restoreRefusal(error: pg.DatabaseError, target: number): TailraceError {
  const facts = { cause: error, phase: 'rollback', table: error.table, column: error.column } as const
  if (isFenced(error)) return superseded(error, facts)
  return new FatalError(
    'ROLLBACK_REFUSED',
    `Postgres refused to roll back to checkpoint ${target}: ${error.message}.${error.detail === undefined ? '' : ` ${error.detail}`} Nothing was changed.`,
    facts,
  )
}

function isFenced(error: pg.DatabaseError): boolean {
  return error.code === sqlState.epoch || error.code === sqlState.fence
}

function superseded(
  error: pg.DatabaseError,
  facts: ConstructorParameters<typeof SupersededError>[2],
): SupersededError {
  return new SupersededError('SUPERSEDED', `Another owner has the pipeline: ${error.message}.`, facts)
}

function duplicate(
  error: pg.DatabaseError,
  table: TableGroup,
  group: Group,
  facts: ConstructorParameters<typeof FatalError>[2],
): FatalError {
  const { model } = table
  const index = table.inserts.findIndex((row) => isNamed(error, table, row))
  if (index === -1) {
    return new FatalError(
      'DUPLICATE_KEY',
      `A row inserted into table \`${model.name}\` is already in the database: ${error.detail ?? error.message} Use \`set\` for rows that may exist.`,
      facts,
    )
  }
  return duplicateKey(table, index, group, facts)
}

/** The insert at that place of the table's was not the first of its key: by whom, in which block. */
export function duplicateKey(
  { model, inserts, origins }: TableGroup,
  index: number,
  group: Group,
  facts: ConstructorParameters<typeof FatalError>[2],
): FatalError {
  const { insertedAt, insertedItem } = origins[index]!
  const block = group.batches
    .flatMap((batch) => batch.blocks)
    .find((candidate) => candidate.checkpoint === insertedAt)
  const key = keyOf(model, inserts[index]!)
  return new FatalError(
    'DUPLICATE_KEY',
    `The row with key ${describeKey(model, key)} that ${placeOf(block, insertedItem)} inserted into table \`${model.name}\` is already in the database. Use \`set\` for rows that may exist.`,
    {
      ...facts,
      table: model.name,
      key,
      item: insertedItem < 0 ? undefined : insertedItem,
      block: block === undefined ? undefined : { source: block.source, number: block.number },
    },
  )
}

/** Does `Key (a, b)=(1, 2) already exists.` name this row? */
function isNamed(
  error: pg.DatabaseError,
  table: TableGroup,
  row: Readonly<Record<string, unknown>>,
): boolean {
  const named = /^Key \(.*?\)=\((.*)\) already exists\.$/s.exec(error.detail ?? '')?.[1]
  if (named === undefined) return false
  const { key } = table.model
  // the values of a composite key are joined by ", ", which a value may hold too: then nothing is claimed
  const values = key.length === 1 ? [named] : named.split(', ')
  if (values.length !== key.length) return false
  return key.every(({ codec, property }, index) => {
    try {
      return codec.identity(codec.decode(values[index]!)) === codec.identity(row[property])
    } catch {
      return false
    }
  })
}

function placeOf(block: BlockRef | undefined, item: number): string {
  const what = item < 0 ? 'handleBlock' : `item ${item}`
  return block === undefined ? what : `${what} of block ${block.number} of source '${block.source}'`
}
