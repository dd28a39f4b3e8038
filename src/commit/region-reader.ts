/** Reads the regions' committed snapshots: what is delivered is what is durable, and nothing else (I13). */
import { RetryableError, messageOf } from '../errors.ts'
import type { Deliver } from '../staging/snapshots.ts'
import type { QueryText } from './reader.ts'
import { readRegions, readSnapshots } from './region-plans.ts'
import type { RegionRow, StoredSnapshot } from './store.ts'
import { bytesOf, textArrayParameter, textParameter } from './wire/frames.ts'

export interface RegionReader {
  regions(): Promise<readonly RegionRow[]>
  snapshots(regions: readonly string[], deliver: Deliver): Promise<readonly StoredSnapshot[]>
}

/** @param incarnation of the pipeline: the first number of its stamps */
export function regionReader(query: QueryText, pipeline: string, incarnation: number): RegionReader {
  const name = bytesOf(textParameter(pipeline))
  const read = async (text: string, values: readonly Buffer[]) => {
    try {
      return await query(text, values)
    } catch (cause) {
      throw new RetryableError(
        'READ_FAILED',
        `Reading the regions of pipeline '${pipeline}' failed: ${messageOf(cause)}`,
        { cause, phase: 'publish' },
      )
    }
  }
  const rowOf = (values: readonly (string | null)[]): RegionRow => {
    const [region, id, checkpoint, seq, epoch, commit, ordinal, isDelivered, at, undelivered] = values
    return {
      region: region!,
      id: id!,
      checkpoint: Number(checkpoint),
      seq: Number(seq),
      stamp: { incarnation, epoch: Number(epoch), commit: Number(commit), ordinal: Number(ordinal) },
      isDelivered: isDelivered === 't',
      undelivered: Number(undelivered),
      committedAt: new Date(Number(at)),
    }
  }
  return {
    async regions() {
      return (await read(readRegions, [name])).map(rowOf)
    },
    async snapshots(regions, deliver) {
      const rows = await read(readSnapshots[deliver], [name, bytesOf(textArrayParameter(regions))])
      return rows.map((values) => ({ ...rowOf(values), body: values[10] ?? null }))
    },
  }
}
