/**
 * Makes history ready for a pipeline that has just been taken: its tables and functions fit the user's tables, images
 * of another life of the pipeline are gone, and every source's position is one that a fork can go back to.
 */
import type pg from 'pg'
import { ConfigurationError, SupersededError, TailraceError, messageOf } from '../errors.ts'
import type { TableModel } from '../staging/table.ts'
import { advisoryLock } from './bookkeeping.ts'
import {
  createHistorySchema,
  historyChanges,
  historyPlan,
  ownershipFix,
  readHalves,
  readHistory,
  type Half,
  type HistoryFacts,
  type HistoryPlan,
} from './history.ts'
import type { Taken } from './ownership.ts'
import { holdPipeline, keepAnchors, loseHistory } from './plans.ts'
import { canFork } from './shape.ts'
import type { OpenStore } from './store.ts'

/** The newest checkpoint that each half of the history has an image of; 0: it is empty. */
export type Newest = Readonly<Record<Half, number>>

export const noImages: Newest = { a: 0, b: 0 }

export interface ReadyHistory {
  readonly plans: readonly HistoryPlan[]
  /** Triggers feed it: the run before stood near its heads. Undefined: that of some tables only, and of others not. */
  readonly armed: boolean | undefined
  readonly newest: Newest
  readonly restorableFrom: number
}

/** @throws ConfigurationError `NOT_TABLE_OWNER`, `HISTORY_REFUSED`; SupersededError */
export async function prepareHistory(
  client: pg.Client,
  { pipeline, models, sources }: Pick<OpenStore, 'pipeline' | 'models' | 'sources'>,
  taken: Taken,
): Promise<ReadyHistory> {
  const plans = models.map(historyPlan)
  const facts = await factsOf(client, plans)
  const [first] = facts
  const armed = facts.every((each) => each.armed === first?.armed) ? first?.armed : undefined
  if (!canFork(sources)) return { plans, armed, newest: noImages, restorableFrom: taken.restorableFrom }
  refuseForeignTables(models, facts)
  let { restorableFrom } = taken
  let newest = noImages
  try {
    await client.query('BEGIN')
    await client.query('SELECT pg_advisory_xact_lock($1, $2)', [advisoryLock.space, advisoryLock.install])
    const held = await client.query(holdPipeline, [pipeline, taken.epoch])
    if (held.rowCount === 0) throw superseded(pipeline)
    // whoever held the lock before may have done it
    const changes = (await factsOf(client, plans)).map((each, index) => historyChanges(plans[index]!, each))
    const statements = changes.flatMap((change) => change.statements)
    if (statements.length > 0) {
      for (const statement of [createHistorySchema, ...statements]) await client.query(statement)
    }
    for (const { forget } of plans) for (const sql of forget) await client.query(sql, [taken.counter])
    newest = await newestImages(client, plans)
    await client.query(keepAnchors, [pipeline])
    if (changes.some(({ lost }) => lost)) {
      const { rows } = await client.query<{ restorable_from: string }>(loseHistory, [pipeline])
      restorableFrom = Number(rows[0]!.restorable_from)
    }
    await client.query('COMMIT')
  } catch (cause) {
    await client.query('ROLLBACK').catch(() => undefined)
    if (cause instanceof TailraceError) throw cause
    throw new ConfigurationError(
      'HISTORY_REFUSED',
      `Cannot prepare the history that forks need, in schema tailrace_history: ${messageOf(cause)}. The role needs CREATE on the database.`,
      { cause, phase: 'opening' },
    )
  }
  return { plans, armed, newest, restorableFrom }
}

async function newestImages(client: pg.Client, plans: readonly HistoryPlan[]): Promise<Newest> {
  const { rows } = await client.query<Record<Half, string | null>>(readHalves(plans))
  const { a, b } = rows[0]!
  return { a: Number(a ?? 0), b: Number(b ?? 0) }
}

async function factsOf(client: pg.Client, plans: readonly HistoryPlan[]): Promise<HistoryFacts[]> {
  const { rows } = await client.query<HistoryFacts>(readHistory, [
    plans.map(({ name }) => name),
    plans.map(({ model }) => model.schema),
    plans.map(({ model }) => model.sqlName),
  ])
  return rows
}

/** Only its owner may drop a trigger again. */
function refuseForeignTables(models: readonly TableModel[], facts: readonly HistoryFacts[]): void {
  const foreign = models.filter((_, index) => facts[index]?.owned === false)
  if (foreign.length === 0) return
  const fixes = foreign.map((model) => `    ${ownershipFix(model, facts[0]!.role)};`)
  throw new ConfigurationError(
    'NOT_TABLE_OWNER',
    `A source that forks needs history, which triggers keep; role ${facts[0]!.role} does not own table ${foreign.map(({ name }) => `\`${name}\``).join(', ')}. Run, or have it run by a member of both roles:\n${fixes.join('\n')}`,
    { phase: 'opening' },
  )
}

function superseded(pipeline: string): SupersededError {
  return new SupersededError(
    'SUPERSEDED',
    `Another process took pipeline '${pipeline}' while this one was opening it.`,
    { phase: 'opening' },
  )
}
