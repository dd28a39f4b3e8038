/** The wire behind a commit: `write` freezes a group and sends it, in the same turn in which the commit starts. */
import type { Group } from '../staging/batch.ts'
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
  landed(landing: Landing): void
}

export function wire(parts: () => WireParts) {
  return wireActor<WriteEnd>('commit', parts, (say) => {
    let sent: { readonly group: Group; readonly began: number; encodeMs: number } | undefined
    return {
      send(batches) {
        const { session, staging } = parts()
        const began = performance.now()
        const group = staging.freeze(batches)
        say({ type: 'write.started', upTo: group.upTo })
        const writing = session.write(group, () => say({ type: 'frames.flushed' }))
        sent = { group, began, encodeMs: performance.now() - began }
        return writing
      },
      checkpoints() {
        const { batches, upTo } = sent!.group
        return { from: batches[0]!.blocks[0]!.checkpoint, upTo }
      },
      landed() {
        const { staging, sizer, landed } = parts()
        const { group, began, encodeMs } = sent!
        const commitMs = performance.now() - began - encodeMs
        const batches = group.batches.length
        staging.land(batches)
        landed({ group, encodeMs, commitMs })
        return {
          batches,
          committed: group.upTo,
          stagedBatches: staging.batches.length,
          stagedBytes: staging.uncommittedBytes,
          groupLimit: sizer.next(batches, encodeMs + commitMs),
          snapshots: 0,
        }
      },
    }
  })
}
