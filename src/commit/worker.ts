/** The wire behind a commit: `write` freezes a group and sends it, in the same turn in which the commit starts. */
import type { RunSystem } from '../run-system.ts'
import type { Group, RegionMark } from '../staging/batch.ts'
import type { Staging } from '../staging/staging.ts'
import type { GroupSizer } from './group-sizer.ts'
import type { WriteEnd } from './store.ts'
import { wireActor, type WireActorParts } from './wire-actor.ts'

export interface Landing {
  readonly group: Group
  /** From the freeze to the last byte in the socket's buffer; then to the answer. */
  readonly encodeMs: number
  readonly commitMs: number
}

export interface WireParts extends WireActorParts {
  readonly staging: Staging
  readonly sizer: GroupSizer
  /** Of snapshots that were delivered since the commit before. */
  readonly marks: readonly RegionMark[]
  landed(landing: Landing): void
  /** @returns how many snapshots are to be settled now */
  offer(group: Group): number
}

export function wire(partsOf: (run: RunSystem) => WireParts) {
  return wireActor<WriteEnd, WireParts>('commit', partsOf, (say, { from: committed }, parts) => {
    let sent: { readonly group: Group; readonly began: number; encodeMs: number } | undefined
    return {
      send(batches) {
        const { session, staging, marks } = parts()
        const began = performance.now()
        const group = { ...(batches === 0 ? marksAlone(committed) : staging.freeze(batches)), marks }
        say({ type: 'write.started', upTo: group.upTo })
        const writing = session.write(group, () => say({ type: 'frames.flushed' }))
        sent = { group, began, encodeMs: performance.now() - began }
        return writing
      },
      checkpoints() {
        const { batches, upTo } = sent!.group
        return { from: batches[0]?.blocks[0]?.checkpoint ?? upTo, upTo }
      },
      landed() {
        const { staging, sizer, landed, offer } = parts()
        const { group, began, encodeMs } = sent!
        const commitMs = performance.now() - began - encodeMs
        const batches = group.batches.length
        staging.land(batches)
        if (batches > 0) landed({ group, encodeMs, commitMs })
        return {
          batches,
          committed: group.upTo,
          stagedBatches: staging.batches.length,
          stagedBytes: staging.uncommittedBytes,
          groupLimit: batches === 0 ? -1 : sizer.next(batches, encodeMs + commitMs),
          snapshots: offer(group),
        }
      },
    }
  })
}

/** Everything is committed, and a delivery mark is left. */
export function marksAlone(committed: number): Group {
  return {
    batches: [],
    upTo: committed,
    slices: [],
    rows: 0,
    bytes: 0,
    cursors: [],
    positions: [],
    safe: undefined,
    snapshots: [],
    marks: [],
  }
}
