/** Where a region's snapshot stands in the order of its region. */

/**
 * Compared number by number, from the left. Of an indexer: the pipeline's incarnation (milliseconds at which its row was
 * made, by the database's clock, so that one that is reset goes on above itself), its epoch, the number of the commit that
 * holds the snapshot, its place in that commit. Of `publishRegions`: 0, the publisher's run, the call, the place in it.
 */
export interface Stamp {
  readonly incarnation: number
  readonly epoch: number
  readonly commit: number
  readonly ordinal: number
}

/** Below zero: `a` comes before `b`. */
export function compareStamps(a: Stamp, b: Stamp): number {
  return a.incarnation - b.incarnation || a.epoch - b.epoch || a.commit - b.commit || a.ordinal - b.ordinal
}
