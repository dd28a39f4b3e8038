/**
 * The shape a pipeline was indexed with: its sources and its tables, stored in its row. A run that was configured
 * otherwise would go on in rows that mean something else; it is refused with the exact difference (H46). What only adds
 * is let through.
 */
import { ConfigurationError } from '../errors.ts'
import type { TableModel } from '../staging/table.ts'
import { declaredType } from './declared.ts'
import { qualified } from './sql-names.ts'

export interface SourceShape {
  readonly id: string
  /** 0: it never forks. */
  readonly historyDepth: number
}

/** Some source can fork: positions and history are kept above the safe checkpoint. */
export function canFork(sources: readonly SourceShape[]): boolean {
  return sources.some(({ historyDepth }) => historyDepth > 0)
}

interface ColumnShape {
  readonly type: string
  readonly notNull: boolean
  readonly hasDefault: boolean
}

interface TableShape {
  readonly relation: string
  readonly key: readonly string[]
  readonly columns: Readonly<Record<string, ColumnShape>>
}

/** As stored: plain JSON. */
export interface Shape {
  readonly sources: Readonly<Record<string, { readonly historyDepth: number }>>
  readonly tables: Readonly<Record<string, TableShape>>
}

export interface ShapeDifferences {
  /** Each with what to do about it. */
  readonly refused: readonly string[]
  /** Additions, and changes that leave what is stored right. */
  readonly noted: readonly string[]
}

export function shapeOf(sources: readonly SourceShape[], models: readonly TableModel[]): Shape {
  return {
    sources: Object.fromEntries(sources.map(({ id, historyDepth }) => [id, { historyDepth }])),
    tables: Object.fromEntries(models.map((model) => [model.name, tableShape(model)])),
  }
}

function tableShape(model: TableModel): TableShape {
  const columns = model.columns.map((column): [string, ColumnShape] => [
    column.sqlName,
    {
      type: declaredType(model, column),
      notNull: column.notNull,
      hasDefault: column.makeDefault !== undefined,
    },
  ])
  return {
    relation: qualified(model.schema, model.sqlName),
    key: model.key.map(({ sqlName }) => sqlName),
    columns: Object.fromEntries(columns),
  }
}

/** From the shape that was stored to the one of this run. */
export function shapeDifferences(stored: Shape, now: Shape): ShapeDifferences {
  const refused: string[] = []
  const noted: string[] = []
  for (const [id, { historyDepth }] of Object.entries(stored.sources)) {
    const source = now.sources[id]
    if (source === undefined) {
      refused.push(
        `source '${id}' was indexed and is not there any more (there is ${listed(now.sources)}): its rows would stand still while the frontier moves on. Give it back under its id`,
      )
    } else if (historyDepth > 0 && source.historyDepth === 0) {
      refused.push(
        `source '${id}' had historyDepth ${historyDepth} and now says that it never forks: a fork of what is stored would go unnoticed. Give it back a historyDepth`,
      )
    } else if (historyDepth !== source.historyDepth) {
      noted.push(`source '${id}': historyDepth ${historyDepth} is now ${source.historyDepth}`)
    }
  }
  for (const id of added(stored.sources, now.sources)) noted.push(`source '${id}' is new`)
  for (const [name, table] of Object.entries(stored.tables)) {
    const other = now.tables[name]
    if (other === undefined) {
      refused.push(
        `table \`${name}\` (${table.relation}) was written and is not in \`tables\` any more: its rows would stand still while the frontier moves on. Give it back`,
      )
    } else {
      tableDifferences(name, table, other, refused, noted)
    }
  }
  for (const name of added(stored.tables, now.tables)) {
    noted.push(`table \`${name}\` is new: blocks that were handled before left nothing in it`)
  }
  return { refused, noted }
}

function tableDifferences(
  name: string,
  stored: TableShape,
  now: TableShape,
  refused: string[],
  noted: string[],
): void {
  if (stored.relation !== now.relation) {
    refused.push(
      `table \`${name}\` was ${stored.relation} and is now ${now.relation}, which holds none of its rows. Name the table it was, or give the new one a name of its own`,
    )
    return
  }
  if (stored.key.join() !== now.key.join()) {
    refused.push(
      `table \`${name}\` had the key (${stored.key.join(', ')}) and now has (${now.key.join(', ')}). Change it back`,
    )
  }
  for (const [column, { type, notNull }] of Object.entries(stored.columns)) {
    const other = now.columns[column]
    if (other === undefined) {
      refused.push(
        `column \`${name}.${column}\` was written and is not declared any more: rows written from now on would keep its old values. Declare it again`,
      )
    } else if (other.type !== type) {
      refused.push(
        `column \`${name}.${column}\` was ${type} and is now ${other.type}: values from before and after would be mixed. Change it back`,
      )
    } else if (other.notNull !== notNull) {
      noted.push(`column \`${name}.${column}\` is ${other.notNull ? 'NOT NULL' : 'nullable'} now`)
    }
  }
  for (const column of added(stored.columns, now.columns)) {
    const { notNull, hasDefault } = now.columns[column]!
    if (notNull && !hasDefault) {
      refused.push(
        `column \`${name}.${column}\` is new and NOT NULL, and no handler gave it a value for the rows that are there. Make it nullable, or give it a default`,
      )
    } else {
      noted.push(`column \`${name}.${column}\` is new: rows from before have its default, or NULL`)
    }
  }
}

/** @throws ConfigurationError `SHAPE_CHANGED`, naming every difference and what to do */
export function refuseChangedShape(pipeline: string, { refused }: ShapeDifferences): void {
  if (refused.length === 0) return
  throw new ConfigurationError(
    'SHAPE_CHANGED',
    `Pipeline '${pipeline}' was indexed otherwise than this run is configured; nothing was changed.\n${refused.map((line) => `- ${line}.`).join('\n')}\nOr index anew: \`tailrace reset ${pipeline}\`, or another name and fresh tables.`,
    { phase: 'opening' },
  )
}

function added(before: object, now: object): string[] {
  return Object.keys(now).filter((name) => !Object.hasOwn(before, name))
}

function listed(record: object): string {
  return Object.keys(record)
    .map((name) => `'${name}'`)
    .join(', ')
}
