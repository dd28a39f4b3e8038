/**
 * Regions' snapshots among the staged changes: published with a batch, cut with it, frozen with it. Where only the newest
 * counts, a batch that collapses holds one a region; above the safe checkpoint each checkpoint's is kept, since a fork may
 * go back to it.
 */
import type { StagedBatch, StagedSnapshot } from './batch.ts'

export type Deliver = 'newest' | 'every'

/** Beside the body: the bookkeeping of one snapshot. */
const snapshotBytes = 160

export function addSnapshot(
  batch: StagedBatch,
  deliver: Deliver,
  { region, checkpoint, body }: Pick<StagedSnapshot, 'region' | 'checkpoint' | 'body'>,
): void {
  const isSame = (other: StagedSnapshot) =>
    other.region === region && (other.checkpoint === checkpoint || (deliver === 'newest' && batch.collapses))
  const same = batch.snapshots.filter(isSame)
  const seq = deliver === 'every' ? same.length : 0
  const kept = deliver === 'every' ? batch.snapshots : batch.snapshots.filter((other) => !isSame(other))
  const bytes = Buffer.byteLength(body) + snapshotBytes
  batch.snapshots = [...kept, { region, checkpoint, seq, body, bytes }]
}

/** What one commit of these batches has to write. */
export function collectSnapshots(batches: readonly StagedBatch[], deliver: Deliver): StagedSnapshot[] {
  if (deliver === 'every') return batches.flatMap(({ snapshots }) => snapshots)
  const collected = new Map<string, StagedSnapshot>()
  for (const { collapses, snapshots } of batches) {
    for (const snapshot of snapshots) {
      const key = collapses ? snapshot.region : `${snapshot.region}\n${snapshot.checkpoint}`
      // the newest comes last, where it was published
      collected.delete(key)
      collected.set(key, snapshot)
    }
  }
  return [...collected.values()]
}
