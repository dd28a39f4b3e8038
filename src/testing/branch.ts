/**
 * Orphaned branches, made from the blocks that a test gives: the items that come next anyway, cut into blocks in another
 * way, ending anywhere, sometimes with one missing. In their own order, so that handlers find what they build upon.
 */
import type { Block } from '../source/port.ts'
import type { Seeded } from './seeded.ts'

export interface PlannedFork {
  /** So many of the given blocks stand below it. */
  readonly keep: number
  /** Shown first, and orphaned then. */
  readonly branch: readonly Block[]
  /** The chain turns when its source has been asked so often whether there is more. */
  readonly after: number
  /** Or when a run has ended, before the next begins. */
  readonly inPause: boolean
}

/** @param calls about as many calls as the ports of a run get */
export function plannedFork(
  random: Seeded,
  blocks: readonly Block[],
  calls: number,
  nth: number,
): PlannedFork {
  const keep = random.below(blocks.length)
  const coming = blocks.slice(keep).flatMap(({ items }) => items)
  const items = coming.slice(0, random.below(Math.min(coming.length, 12) + 1))
  if (items.length > 1 && random.chance(0.25)) items.splice(random.below(items.length), 1)
  return {
    keep,
    branch: branchOf(random, blocks, keep, cut(random, items), nth),
    // before anything of it is handled, amid that, or when all of it is committed
    after: Math.floor(random.pick([0, 0.05, 0.3, 1, 3]) * calls),
    inPause: random.chance(0.5),
  }
}

/** Into one to four parts; some may be empty. */
function cut(random: Seeded, items: readonly unknown[]): unknown[][] {
  const parts: unknown[][] = random.some(1, 4, () => [])
  const bounds = parts.map(() => random.below(items.length + 1)).toSorted((a, b) => a - b)
  bounds[bounds.length - 1] = items.length
  return parts.map((_, at) => items.slice(bounds[at - 1] ?? 0, bounds[at]))
}

/** With the heights and times of the blocks in whose place they are, and hashes of the same make. */
function branchOf(
  random: Seeded,
  blocks: readonly Block[],
  keep: number,
  parts: readonly unknown[][],
  nth: number,
): Block[] {
  const branch: Block[] = []
  for (const [at, items] of parts.entries()) {
    const before = branch.at(-1) ?? blocks[keep - 1]
    const instead = blocks[keep + at]
    const like = instead ?? blocks.at(-1)!
    const parentHash = before?.hash ?? like.parentHash
    branch.push({
      number: instead?.number ?? before!.number + 1,
      hash: hashLike(random, like.hash, `orphan-${nth + 1}-${at + 1}`),
      ...(like.parentHash === undefined || parentHash === undefined ? {} : { parentHash }),
      ...(like.timestamp === undefined ? {} : { timestamp: like.timestamp }),
      items,
    })
  }
  return branch
}

/** Handlers may decode it. */
function hashLike(random: Seeded, hash: string | undefined, otherwise: string): string {
  const hex = /^(0x)?([0-9a-f]{16,})$/i.exec(hash ?? '')
  if (hex === null) return otherwise
  return (
    (hex[1] ?? '') + random.some(hex[2]!.length, hex[2]!.length, () => random.below(16).toString(16)).join('')
  )
}
