/**
 * Filters: from what the handler wrote to a checked tree, and that tree evaluated as SQL would (three-valued
 * logic). The same tree becomes SQL in `commit/select.ts`; both must agree on every row (H11).
 */
import { HandlerError } from '../errors.ts'
import { ValueError } from './column/codec.ts'
import type { ColumnModel, Row, TableModel } from './table.ts'

export type Comparison = 'eq' | 'ne' | 'gt' | 'gte' | 'lt' | 'lte'

export type Predicate =
  | { readonly kind: 'and' | 'or'; readonly parts: readonly Predicate[] }
  | { readonly kind: 'not'; readonly part: Predicate }
  | {
      readonly kind: 'compare'
      readonly op: Comparison
      readonly column: ColumnModel
      readonly value: unknown
    }
  | { readonly kind: 'in'; readonly column: ColumnModel; readonly values: readonly unknown[] }
  | { readonly kind: 'isNull'; readonly column: ColumnModel; readonly negated: boolean }

const comparisons = new Set<string>(['eq', 'ne', 'gt', 'gte', 'lt', 'lte'])
const operators = new Set<string>([...comparisons, 'in', 'isNull'])
const everything: Predicate = { kind: 'and', parts: [] }

/** @throws HandlerError `INVALID_WHERE`, naming table, column and what is wrong. */
export function parseWhere(model: TableModel, where: unknown): Predicate {
  if (where === undefined) return everything
  if (!isPlainObject(where)) throw invalid(model, `expected an object, got ${describe(where)}`)
  const parts: Predicate[] = []
  for (const [name, condition] of Object.entries(where)) {
    if (name === 'and' || name === 'or') {
      if (!Array.isArray(condition)) throw invalid(model, `\`${name}\` takes an array of conditions`)
      parts.push({ kind: name, parts: condition.map((part) => parseWhere(model, part)) })
    } else if (name === 'not') {
      parts.push({ kind: 'not', part: parseWhere(model, condition) })
    } else {
      parts.push(parseColumn(model, columnNamed(model, name), condition))
    }
  }
  return parts.length === 1 ? parts[0]! : { kind: 'and', parts }
}

function parseColumn(model: TableModel, column: ColumnModel, condition: unknown): Predicate {
  if (condition === undefined) {
    throw invalid(
      model,
      `the condition is undefined; leave the column out to match every row`,
      column.property,
    )
  }
  if (condition === null) return { kind: 'isNull', column, negated: false }
  if (!isPlainObject(condition)) return compare(model, column, 'eq', condition)
  const parts: Predicate[] = []
  for (const [op, operand] of Object.entries(condition)) {
    if (!operators.has(op)) {
      throw invalid(
        model,
        `unknown operator \`${op}\` (there are ${[...operators].join(', ')})`,
        column.property,
      )
    }
    if (op === 'isNull') {
      if (typeof operand !== 'boolean') throw invalid(model, '`isNull` takes true or false', column.property)
      parts.push({ kind: 'isNull', column, negated: !operand })
    } else if (op === 'in') {
      if (!Array.isArray(operand)) throw invalid(model, '`in` takes an array', column.property)
      const values = operand.map((value) => operandOf(model, column, value))
      parts.push({ kind: 'in', column, values })
    } else {
      parts.push(compare(model, column, op as Comparison, operand))
    }
  }
  if (parts.length === 0) throw invalid(model, 'the condition is an empty object', column.property)
  return parts.length === 1 ? parts[0]! : { kind: 'and', parts }
}

function compare(model: TableModel, column: ColumnModel, op: Comparison, operand: unknown): Predicate {
  return { kind: 'compare', op, column, value: operandOf(model, column, operand) }
}

function operandOf(model: TableModel, column: ColumnModel, operand: unknown): unknown {
  if (operand === null || operand === undefined) {
    throw invalid(model, `cannot compare with ${String(operand)}; use \`isNull\``, column.property)
  }
  if (column.codec.compare === undefined) {
    throw invalid(model, `a column of type ${column.codec.pgType} cannot be filtered`, column.property)
  }
  try {
    return column.codec.canonical(operand)
  } catch (error) {
    if (error instanceof ValueError) throw invalid(model, error.message, column.property)
    throw error
  }
}

export function columnNamed(model: TableModel, name: string): ColumnModel {
  const column = model.columns.find((candidate) => candidate.property === name)
  if (column === undefined) {
    const known = model.columns.map((candidate) => candidate.property).join(', ')
    throw invalid(model, `there is no such column (there are ${known})`, name)
  }
  return column
}

/** true, false, or null for SQL's unknown. */
export function evaluate(predicate: Predicate, row: Row): boolean | null {
  switch (predicate.kind) {
    case 'and': {
      let result: boolean | null = true
      for (const part of predicate.parts) {
        const value = evaluate(part, row)
        if (value === false) return false
        if (value === null) result = null
      }
      return result
    }
    case 'or': {
      let result: boolean | null = false
      for (const part of predicate.parts) {
        const value = evaluate(part, row)
        if (value === true) return true
        if (value === null) result = null
      }
      return result
    }
    case 'not': {
      const value = evaluate(predicate.part, row)
      return value === null ? null : !value
    }
    case 'isNull':
      return (row[predicate.column.property] === null) !== predicate.negated
    case 'in': {
      const value = row[predicate.column.property]
      // an empty list is false, even for NULL: `NULL = ANY('{}')` is false
      if (predicate.values.length === 0) return false
      if (value === null) return null
      const compareValues = predicate.column.codec.compare!
      return predicate.values.some((candidate) => compareValues(value, candidate) === 0)
    }
    case 'compare': {
      const value = row[predicate.column.property]
      if (value === null) return null
      return holds(predicate.op, predicate.column.codec.compare!(value, predicate.value))
    }
    default:
      throw new Error(`unreachable: ${String(predicate satisfies never)}`)
  }
}

function holds(op: Comparison, sign: number): boolean {
  switch (op) {
    case 'eq':
      return sign === 0
    case 'ne':
      return sign !== 0
    case 'gt':
      return sign > 0
    case 'gte':
      return sign >= 0
    case 'lt':
      return sign < 0
    case 'lte':
      return sign <= 0
    default:
      throw new Error(`unreachable: ${String(op satisfies never)}`)
  }
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function describe(value: unknown): string {
  return Array.isArray(value) ? 'an array' : value === null ? 'null' : typeof value
}

export function invalid(model: TableModel, reason: string, column?: string, clause = 'where'): HandlerError {
  const where = column === undefined ? `\`${model.name}\`` : `\`${model.name}.${column}\``
  return new HandlerError('INVALID_WHERE', `${clause} on ${where}: ${reason}.`, { table: model.name, column })
}
