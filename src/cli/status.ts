/** `tailrace status [name]`: what the database knows of its pipelines, in one consistent look. */
import { knownPipeline, unknownPipeline, withDatabase, type Database } from './database.ts'
import {
  clockOf,
  inTransaction,
  readCursors,
  readHistoryTables,
  readPipelines,
  readRegions,
  regionsSince,
  schemaVersionOf,
  type Cursor,
  type HistoryTable,
  type Ownership,
  type Pipeline,
  type Region,
} from './queries.ts'
import { statusLines } from './status-text.ts'
import { columnsOf, print, printJson } from './terminal.ts'

export interface PipelineStatus extends Pipeline {
  readonly ownership: Ownership
  readonly sources: readonly Cursor[]
  /** Empty where none was ever published. */
  readonly regions: readonly Region[]
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

/** A look changes nothing, so that a database which no indexer of this version has met yet is shown as it is. */
const oldestShown = 2

export async function status(name: string | undefined, options: { readonly json?: boolean }): Promise<void> {
  const found = await readStatus(name)
  if (options.json === true) printJson(statusDocument(found))
  else print(statusLines(found, columnsOf(process.stdout)))
}

function readStatus(name: string | undefined): Promise<Status> {
  const read = (database: Database) =>
    inTransaction(database.client, 'read', async (): Promise<Status> => {
      const { client, target } = database
      const version = (await schemaVersionOf(client)) ?? 0
      const pipelines = await readPipelines(client, name)
      if (name !== undefined && pipelines.length === 0) throw await unknownPipeline(database, name)
      const cursors = await readCursors(client, name)
      const regions = version < regionsSince ? [] : await readRegions(client, name)
      const ownerships = new Map<string, Ownership>()
      for (const pipeline of pipelines) {
        ownerships.set(pipeline.name, await knownPipeline(database, pipeline.name))
      }
      return {
        database: target,
        schemaVersion: version,
        at: await clockOf(client),
        pipelines: pipelines.map((pipeline) => ({
          ...pipeline,
          ownership: ownerships.get(pipeline.name)!,
          sources: cursors.filter((cursor) => cursor.pipeline === pipeline.name),
          regions: regions.filter((region) => region.pipeline === pipeline.name),
        })),
        history: await readHistoryTables(client),
      }
    })
  return withDatabase(read, oldestShown)
}

/** The shape of `--json`, described in docs/cli.md: fields are added, never renamed. */
function statusDocument({ pipelines, history, ...rest }: Status): object {
  return {
    ...rest,
    pipelines: pipelines.map(({ ownership, sources, regions, ...pipeline }) => ({
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
      regions: regions.map(({ region, state, deliveredAt, deliveredAgeMs, ...current }) => ({
        id: region,
        state,
        checkpoint: current.checkpoint,
        commitNumber: current.commitNumber,
        snapshot: current.snapshot,
        tombstone: current.isTombstone,
        undelivered: current.undelivered,
        waitingMs: current.waitingMs,
        delivered: { at: deliveredAt, ageMs: deliveredAgeMs },
      })),
    })),
    history,
  }
}
