/**
 * What the tables must be after each block: as the naive executor leaves them, one item after the other. Also what was
 * last published of each region.
 */
import type { Context } from '../compute/context.ts'
import type { TablesInput } from '../db.ts'
import { serialise } from '../publish/envelope.ts'
import { positionOf, type Block } from '../source/port.ts'
import type { Casing } from '../staging/table-model.ts'
import type { Row } from '../staging/table.ts'
import { setImmediate as turn } from 'node:timers/promises'
import { referenceRun } from './reference-run.ts'
import { watchedHandlers, type HandlerParts } from './watched-handlers.ts'

export interface State {
  /** Rows in key order. A table that did not change keeps its array. */
  readonly tables: ReadonlyMap<string, readonly Row[]>
  /** JSON, by region. */
  readonly published: ReadonlyMap<string, string>
}

/** By the hash of the last block that is in it. */
export type States = ReadonlyMap<string, State>

export interface TestProgram extends HandlerParts {
  readonly tables: TablesInput
  readonly casing?: Casing | undefined
  readonly beforeRun?: (() => unknown) | undefined
}

export function emptyState({ tables }: TestProgram): State {
  return { tables: new Map(Object.keys(tables).map((name) => [name, []])), published: new Map() }
}

/** @throws whatever a handler throws; HandlerError `CONTEXT_SETTLED` */
export async function statesOf(program: TestProgram, blocks: readonly Block[]): Promise<States> {
  const states = new Map<string, State>()
  let state = emptyState(program)
  const written = new Set<string>()
  let published: ReadonlyMap<string, string> = state.published
  const late: unknown[] = []
  await program.beforeRun?.()
  const { handleBlock, ...handlers } = watchedHandlers(program, {
    wrote: (table) => void written.add(table),
    published: (region, body) => {
      published = new Map([...published, [region, serialise(body)]])
    },
    late: (error) => void late.push(error),
  })
  const see = async (block: Block, db: Context['db']) => {
    const tables = new Map(state.tables)
    for (const name of written) tables.set(name, await db[name]!.find())
    state = { tables, published }
    written.clear()
    states.set(positionOf(block).hash, state)
  }
  await referenceRun<unknown, TablesInput>({
    ...(handlers as object),
    tables: program.tables as never,
    casing: program.casing,
    blocks,
    async handleBlock(block, context) {
      await handleBlock?.(block, context)
      await see(block, context.db)
    },
  })
  // whoever did not await what he began comes by now
  await turn()
  if (late.length > 0) throw late[0]
  return states
}
