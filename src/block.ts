/** A block after it got its checkpoint. Shared by every folder along the data's way. */

export interface BlockRef {
  readonly checkpoint: number
  readonly source: string
  readonly number: number
  readonly hash: string
  readonly cursor?: string | undefined
  /** Height at and below which its source cannot fork any more; undefined: the source never forks. */
  readonly finalBelow?: number | undefined
}

/** Can its source no longer orphan this block? */
export function isFinal(block: BlockRef): boolean {
  return block.finalBelow === undefined || block.number <= block.finalBelow
}
