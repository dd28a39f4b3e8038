/**
 * `tailrace reset <name>`: removes what tailrace keeps of a pipeline, and empties the tables that are named, in one
 * transaction. Which tables a pipeline writes is not stored, so that only those that are named are touched.
 */
import pg from 'pg'
import { historyName, halves } from '../commit/history.ts'
import { ask, askingTerminal } from './ask.ts'
import { knownPipeline, withDatabase, type Database } from './database.ts'
import {
  emptyTables,
  existingHistory,
  findTables,
  inTransaction,
  lockPipeline,
  readPipelines,
  removeBookkeeping,
  type Pipeline,
  type Removed,
  type UserTable,
} from './queries.ts'
import { Refusal } from './refusal.ts'
import {
  bold,
  bytes,
  columnsOf,
  count,
  fact,
  green,
  plural,
  print,
  printJson,
  titled,
  yellow,
} from './terminal.ts'

export interface ResetOptions {
  readonly tables?: readonly string[]
  readonly confirm?: string
  readonly json?: boolean
}

export function reset(name: string, options: ResetOptions): Promise<void> {
  return withDatabase(async (database) => {
    const seen = await idlePipeline(database, name)
    const tables = await userTables(database, options.tables ?? [])
    await confirm(name, seen, tables, options)
    const removed = await inTransaction(database.client, 'write', async () => {
      await lockPipeline(database.client, name)
      const now = await idlePipeline(database, name)
      if (now.epoch !== seen.epoch || now.commitNumber !== seen.commitNumber) throw ranMeanwhile(name)
      await empty(database, tables)
      return removeBookkeeping(database.client, name)
    })
    report(name, removed, tables, options)
  })
}

type Idle = Pipeline & { readonly epoch: bigint }

/** @throws Refusal while somebody owns it; one whose connection has ended cannot commit any more */
async function idlePipeline(database: Database, name: string): Promise<Idle> {
  const { state, owner, epoch } = await knownPipeline(database, name)
  if (state === 'running' || state === 'silent') {
    throw new Refusal(
      `Pipeline '${name}' is held by process ${owner?.pid ?? '?'} on ${owner?.host ?? '?'}. Stop that process first, or take the pipeline from it: tailrace release ${name}. Nothing was changed.`,
    )
  }
  const [pipeline] = await readPipelines(database.client, name)
  return { ...pipeline!, epoch }
}

const ranMeanwhile = (name: string) =>
  new Refusal(
    `Pipeline '${name}' has run meanwhile. Nothing was changed; look with \`tailrace status ${name}\`, then reset it again.`,
  )

// ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────

async function userTables({ client, target }: Database, names: readonly string[]): Promise<UserTable[]> {
  const tables: UserTable[] = []
  for (const name of new Set(names)) {
    const found = await findTables(client, name)
    const [table] = found
    if (table === undefined) {
      throw new Refusal(
        `There is no table '${name}' in ${target}. Name it as the database does, with its schema unless that is public. Nothing was changed.`,
      )
    }
    if (found.length > 1) {
      throw new Refusal(
        `'${name}' is more than one table in ${target}: ${found.map((each) => `${each.name} in schema ${each.schema}`).join(', ')}. Empty it yourself. Nothing was changed.`,
      )
    }
    if (table.kind !== 'r' && table.kind !== 'p') {
      throw new Refusal(`'${name}' is no table, so it cannot be emptied. Nothing was changed.`)
    }
    if (['tailrace', 'tailrace_history', 'information_schema'].includes(table.schema)) {
      throw new Refusal(
        `'${name}' is no table of a pipeline. Name those that its handlers write. Nothing was changed.`,
      )
    }
    tables.push(table)
  }
  return tables
}

async function empty({ client }: Database, tables: readonly UserTable[]): Promise<void> {
  const wanted = tables.flatMap((table) => {
    const history = historyName({ schema: table.schema, sqlName: table.name })
    return halves.map((half) => `${history}.${half}`)
  })
  const history = await existingHistory(client, wanted)
  try {
    await emptyTables(client, [...tables, ...history.map((name) => ({ schema: 'tailrace_history', name }))])
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || error.code !== '0A000') throw error
    throw new Refusal(
      `The tables cannot be emptied: ${error.message}${error.detail === undefined ? '' : ` (${error.detail.replace(/\.$/, '')})`}. Name the table that refers to it in --tables as well. Nothing was changed.`,
      1,
      error,
    )
  }
}

const titleOf = ({ schema, name }: UserTable): string => `${schema}.${name}`

// ── words ───────────────────────────────────────────────────────────────────────────────────────────────────

async function confirm(
  name: string,
  seen: Idle,
  tables: readonly UserTable[],
  options: ResetOptions,
): Promise<void> {
  if (options.confirm === name) return
  if (options.confirm !== undefined) {
    throw new Refusal(`--confirm says '${options.confirm}', the pipeline is '${name}'. Nothing was changed.`)
  }
  const asking = askingTerminal()
  if (asking === undefined) {
    throw new Refusal(
      `A reset cannot be undone, and there is no terminal to ask at: give --confirm ${name}. Nothing was changed.`,
    )
  }
  const width = columnsOf(process.stderr)
  const lines = [
    `  ${bold(name)}`,
    ...fact(
      'committed',
      [`checkpoint ${count(seen.committed)}`, `commit ${count(seen.commitNumber)}`],
      width,
    ),
    ...fact('removes', ['everything that tailrace keeps of this pipeline'], width),
    ...tableLines('empties', tables, width),
  ]
  asking.output.write(`\n${lines.join('\n')}\n\n`)
  const answer = await ask(asking, `  Type the pipeline's name to go on: `)
  if (answer !== name) throw new Refusal('That is not its name. Nothing was changed.')
}

function tableLines(label: string, tables: readonly UserTable[], width: number): string[] {
  if (tables.length === 0)
    return fact(label, ['no table', 'name those that it shall empty in --tables'], width)
  return tables.flatMap((table, index) =>
    fact(index === 0 ? label : '', [titleOf(table), bytes(table.bytes)], width),
  )
}

function report(name: string, removed: Removed, tables: readonly UserTable[], { json }: ResetOptions): void {
  if (json === true) {
    const emptied = tables.map((table) => ({ table: titleOf(table), bytes: table.bytes }))
    printJson({ pipeline: name, removed, emptied })
    return
  }
  const width = columnsOf(process.stdout)
  const rows = [
    "the pipeline's row",
    plural(removed.cursors, 'cursor'),
    plural(removed.checkpoints, 'position'),
    plural(removed.regions, 'region snapshot'),
  ]
  const shown =
    removed.regions === 0
      ? []
      : fact('regions', ['what Redis shows of them stays until the pipeline publishes again'], width)
  const emptied =
    tables.length === 0
      ? fact('emptied', [yellow('no table'), 'empty those of this pipeline before it runs again'], width)
      : tableLines('emptied', tables, width)
  print([
    '',
    titled(name, green('reset')),
    ...fact('removed', rows, width),
    ...emptied,
    ...shown,
    ...fact('next', ['a run of that name begins at the beginning'], width),
    '',
  ])
}
