/** Loads for handlers: rows by key, and what `find` asks of the database. Finds of one microtask share a query. */
import { RetryableError, messageOf } from '../errors.ts'
import type { FindQuery, Reader } from '../staging/reader.ts'
import type { Row, TableModel } from '../staging/table.ts'
import { findMany, findOne, shapeOf, type Shape } from './find-statements.ts'
import { columnList, columnName, tableName } from './select.ts'
import { columnParameter, unnest, unnestedColumn } from './wire/columns.ts'
import { bytesOf } from './wire/frames.ts'

type RawRow = readonly (string | null)[]

/** What a reader needs of a pool: rows as arrays of raw text. */
export type QueryText = (text: string, values: readonly Buffer[]) => Promise<readonly RawRow[]>

/** A find that waits for others of its shape. */
interface Asked {
  readonly model: TableModel
  readonly query: FindQuery
  readonly shape: Shape
  resolve(rows: readonly Row[]): void
  reject(error: unknown): void
}

export function reader(query: QueryText): Reader {
  const load = async (model: TableModel, text: string, values: readonly Buffer[]) => {
    try {
      return await query(text, values)
    } catch (cause) {
      throw new RetryableError('READ_FAILED', `Reading table \`${model.name}\` failed: ${messageOf(cause)}`, {
        cause,
        phase: 'compute',
        table: model.name,
      })
    }
  }

  const askOne = async (model: TableModel, one: FindQuery) => {
    const { text, values } = findOne(model, one)
    const rows = await load(model, text, values)
    return rows.map((row) => decodeRow(model, row))
  }

  const askTogether = async (asked: readonly Asked[]) => {
    const [{ model, query: one }] = asked as [Asked]
    try {
      if (asked.length === 1) return asked[0]!.resolve(await askOne(model, one))
      const { text, values } = findMany(
        asked.map(({ shape }) => shape),
        asked.map(({ query: { limit } }) => limit),
      )
      const answers = asked.map((): Row[] => [])
      for (const row of await load(model, text, values)) {
        answers[Number(row[0]) - 1]!.push(decodeRow(model, row, 1))
      }
      asked.forEach(({ resolve }, index) => resolve(answers[index]!))
    } catch (error) {
      for (const { reject } of asked) reject(error)
    }
  }

  /** By shape; asked at the end of the microtask. */
  let gathering: Map<string, Asked[]> | undefined
  const gather = (asked: Asked) => {
    if (gathering === undefined) {
      gathering = new Map()
      queueMicrotask(() => {
        const gathered = gathering!
        gathering = undefined
        for (const together of gathered.values()) void askTogether(together)
      })
    }
    const together = gathering.get(asked.shape.text)
    if (together === undefined) gathering.set(asked.shape.text, [asked])
    else together.push(asked)
  }

  return {
    async byKeys(model, keys) {
      const matches = model.key.map(
        (column, index) => `${columnName(column)} = ${unnestedColumn(column, index)}`,
      )
      const text = `SELECT ${columnList(model)} FROM ${unnest(model.key)} JOIN ${tableName(model)} AS t ON ${matches.join(' AND ')}`
      const values = model.key.map((column) => bytesOf(columnParameter(column, keys)))
      const rows = await load(model, text, values)
      return rows.map((row) => decodeRow(model, row))
    },
    find(model, one) {
      const shape = shapeOf(model, one)
      if (shape === undefined) return askOne(model, one)
      return new Promise((resolve, reject) => gather({ model, query: one, shape, resolve, reject }))
    },
  }
}

/** Rows come as text, so that every type is read by the codec that knows what was staged. */
function decodeRow(model: TableModel, values: RawRow, first = 0): Row {
  const row = model.blankRow()
  const { columns } = model
  for (let index = 0; index < columns.length; index++) {
    const value = values[first + index]
    const column = columns[index]!
    row[column.property] = value === null || value === undefined ? null : column.codec.decode(value)
  }
  return Object.freeze(row)
}
