/** Regions as their readers see them: the latest snapshots, former ones, and changes as they happen. */
import { ConfigurationError } from '../errors.ts'
import type { RegionChange, RegionPublisher, RegionSnapshot } from './port.ts'

/** What reads and watches; every publisher does. */
export type RegionReader = Pick<RegionPublisher, 'read' | 'history' | 'watch'>

/**
 * The current snapshot of a region; undefined: it has none.
 * @throws RetryableError, ConfigurationError, FatalError `REGION_UNREADABLE`
 * @example
 * const snapshot = await readRegion(redisRegions({ url }), 'mena')
 */
export async function readRegion(reader: RegionReader, id: string): Promise<RegionSnapshot | undefined> {
  return (await reader.read([id])).get(id)
}

/**
 * The current snapshots of several regions, in one round trip; a region that has none is left out.
 * @throws RetryableError, ConfigurationError, FatalError `REGION_UNREADABLE`
 */
export async function readRegions(
  reader: RegionReader,
  ids: readonly string[],
): Promise<Record<string, RegionSnapshot>> {
  return Object.fromEntries(await reader.read(ids))
}

/**
 * The snapshots of a region, newest first, the current one included. Default: all that are kept.
 * @throws RetryableError, ConfigurationError, FatalError `REGION_UNREADABLE`
 */
export async function regionHistory(
  reader: RegionReader,
  id: string,
  { limit = 10_001 }: { readonly limit?: number | undefined } = {},
): Promise<readonly RegionSnapshot[]> {
  if (!Number.isSafeInteger(limit) || limit < 1) {
    throw new ConfigurationError(
      'INVALID_OPTIONS',
      `limit must be a whole number from 1; it is ${String(limit)}. Leave it out for all that are kept.`,
      { phase: 'options' },
    )
  }
  return reader.history(id, limit)
}

/**
 * Changes of regions as they happen, until the signal is aborted. Each says that a region has another snapshot, or none
 * any more; it does not carry the body. A watcher that goes on later gives the entries that it saw last (`after`), and
 * misses nothing that the stream still holds.
 * @throws ConfigurationError, FatalError; an outage is waited out
 * @example
 * for await (const { region } of watchRegions(regions, ['mena'], { signal })) show(await readRegion(regions, region))
 */
export function watchRegions(
  reader: RegionReader,
  ids: readonly string[],
  options: { readonly signal: AbortSignal; readonly after?: Readonly<Record<string, string>> | undefined },
): AsyncIterable<RegionChange> {
  return reader.watch(ids, options)
}
