/** Rows of tailrace.regions as a run would have left them. */
import type { World } from '../support/indexers.ts'

export interface SnapshotRow {
  readonly region: string
  readonly checkpoint: number
  readonly seq?: number
  /** Null: a tombstone. */
  readonly body?: string | null
  readonly commit?: number
  readonly committedHoursAgo?: number
  /** Undefined: not delivered. */
  readonly deliveredHoursAgo?: number
}

export async function addSnapshots(
  world: World,
  pipeline: string,
  rows: readonly SnapshotRow[],
): Promise<void> {
  for (const { region, checkpoint, seq = 0, body = '{}', commit = 1, ...ago } of rows) {
    await world.query(
      `INSERT INTO tailrace.regions
         (pipeline, region, checkpoint, seq, id, body, epoch, commit_number, ordinal, committed_at, delivered_at)
       VALUES ($1, $2, $3, $4, $5, $6, 1, $7, 0,
         clock_timestamp() - $8 * interval '1 h', clock_timestamp() - $9 * interval '1 h')`,
      [
        pipeline,
        region,
        checkpoint,
        seq,
        `${region}-${checkpoint}-${seq}`,
        body,
        commit,
        ago.committedHoursAgo ?? 3,
        ago.deliveredHoursAgo ?? null,
      ],
    )
  }
}
