/** A duplicate that only the store knew, told as Postgres' is told: with the block and the item that inserted it. */
import { FatalError, TailraceError } from '../errors.ts'
import type { Group } from '../staging/batch.ts'
import { describeKey, keyIdOfCanonical, keyIdOfRow } from '../staging/table-row.ts'

export function withOrigin(error: unknown, group: Group | undefined): unknown {
  if (!(error instanceof TailraceError) || error.code !== 'DUPLICATE_KEY' || error.block !== undefined) {
    return error
  }
  const { key } = error
  for (const { model, inserts, origins } of group?.slices.flatMap(({ tables }) => tables) ?? []) {
    if (model.name !== error.table) continue
    const id = keyIdOfCanonical(model, key)
    const origin = origins[inserts.findIndex((row) => keyIdOfRow(model, row) === id)]
    const block = group?.batches
      .flatMap(({ blocks }) => blocks)
      .find(({ checkpoint }) => checkpoint === origin?.insertedAt)
    if (origin === undefined || block === undefined) continue
    const { insertedItem: item } = origin
    const { source, number } = block
    const what = item < 0 ? 'handleBlock' : `item ${item}`
    return new FatalError(
      'DUPLICATE_KEY',
      `The row with key ${describeKey(model, key)} that ${what} of block ${number} of source '${source}' inserted into table \`${model.name}\` is already in the database. Use \`set\` for rows that may exist.`,
      {
        cause: error,
        phase: 'commit',
        table: model.name,
        key,
        block: { source, number },
        item: item < 0 ? undefined : item,
      },
    )
  }
  return error
}
