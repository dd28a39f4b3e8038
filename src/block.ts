/** A block after it got its checkpoint. Shared by every folder along the data's way. */

export interface BlockRef {
  readonly checkpoint: number
  readonly source: string
  readonly number: number
  readonly hash: string
  readonly cursor?: string | undefined
  /** Unix seconds, where the source tells. */
  readonly timestamp?: number | undefined
  /**
   * The pipeline's safe checkpoint when this block got its own: no source can take anything at or below it back. At
   * most `checkpoint`; undefined: no source of the pipeline ever forks.
   */
  readonly safe?: number | undefined
}

/** Can no source take this checkpoint back any more? Otherwise its changes keep history (I15). */
export function isSafe(block: BlockRef): boolean {
  return block.safe === undefined || block.checkpoint <= block.safe
}
