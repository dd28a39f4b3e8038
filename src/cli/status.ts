/** `tailrace status [name]`: what the database knows of its pipelines, in one consistent look. */
import { knownPipeline, unknownPipeline, withDatabase } from './database.ts'
import {
  clockOf,
  inTransaction,
  readCursors,
  readHistoryTables,
  readPipelines,
  schemaVersionOf,
  type Cursor,
  type HistoryTable,
  type Ownership,
  type Pipeline,
} from './queries.ts'
import { statusLines } from './status-text.ts'
import { columnsOf, print, printJson } from './terminal.ts'

export interface PipelineStatus extends Pipeline {
  readonly ownership: Ownership
  readonly sources: readonly Cursor[]
}

export interface Status {
  /** `user@host:port/database` */
  readonly database: string
  readonly schemaVersion: number
  /** The database's clock. */
  readonly at: Date
  readonly pipelines: readonly PipelineStatus[]
  /** Of all pipelines: which of them writes a table is not stored. */
  readonly history: readonly HistoryTable[]
}

export async function status(name: string | undefined, options: { readonly json?: boolean }): Promise<void> {
  const found = await readStatus(name)
  if (options.json === true) printJson(statusDocument(found))
  else print(statusLines(found, columnsOf(process.stdout)))
}

function readStatus(name: string | undefined): Promise<Status> {
  return withDatabase((database) =>
    inTransaction(database.client, 'read', async () => {
      const { client, target } = database
      const pipelines = await readPipelines(client, name)
      if (name !== undefined && pipelines.length === 0) throw await unknownPipeline(database, name)
      const cursors = await readCursors(client, name)
      const ownerships = new Map<string, Ownership>()
      for (const pipeline of pipelines) {
        ownerships.set(pipeline.name, await knownPipeline(database, pipeline.name))
      }
      return {
        database: target,
        schemaVersion: (await schemaVersionOf(client)) ?? 0,
        at: await clockOf(client),
        pipelines: pipelines.map((pipeline) => ({
          ...pipeline,
          ownership: ownerships.get(pipeline.name)!,
          sources: cursors.filter((cursor) => cursor.pipeline === pipeline.name),
        })),
        history: await readHistoryTables(client),
      }
    }),
  )
}

/** The shape of `--json`, described in docs/cli.md: fields are added, never renamed. */
function statusDocument({ pipelines, history, ...rest }: Status): object {
  return {
    ...rest,
    pipelines: pipelines.map(({ ownership, sources, ...pipeline }) => ({
      name: pipeline.name,
      state: ownership.state,
      owner:
        ownership.owner === null
          ? null
          : { ...ownership.owner, silentMs: Math.round(ownership.owner.silentMs) },
      epoch: ownership.epoch,
      commitNumber: pipeline.commitNumber,
      committed: { checkpoint: pipeline.committed, at: pipeline.committedAt, ageMs: pipeline.committedAgeMs },
      counter: pipeline.counter,
      restorableFrom: pipeline.restorableFrom,
      sources: sources.map(({ source, number, hash, cursor, checkpoint, positions }) => ({
        id: source,
        number,
        hash,
        cursor,
        checkpoint,
        positions,
      })),
    })),
    history,
  }
}
