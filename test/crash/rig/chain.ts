/**
 * A chain that forks again and again, the same for every process: before each site its reader is given blocks that are
 * orphaned once they are committed, so that each of them is rolled back in the database.
 */
import type { Block, Position, Source } from '../../../src/index.ts'
import { blocksOf, type Item } from '../../support/indexers.ts'

export interface ChainPlan {
  readonly blocks: number
  readonly itemsPerBlock: number
  readonly seed: number
  /** Blocks between two forks. */
  readonly every: number
  /** Blocks that each of them orphans. */
  readonly depth: number
  /** At its end it stays open, as a chain does at its head. */
  readonly stays?: boolean | undefined
}

const accounts = 12

/** The blocks that survive. */
export function survivors({ blocks, itemsPerBlock, seed }: ChainPlan): Block<Item>[] {
  return blocksOf(blocks, itemsPerBlock, { seed, accounts }).map((block) => ({
    ...block,
    hash: `final-${block.number}`,
  }))
}

function orphansAbove({ itemsPerBlock, seed, depth }: ChainPlan, site: number): Block<Item>[] {
  const options = { from: site + 1, seed: seed + site, accounts, tag: `orphan${site}-` }
  return blocksOf(depth, itemsPerBlock, options).map((block) => ({
    ...block,
    hash: `orphan-${site}-${block.number}`,
  }))
}

const isOrphan = ({ hash }: Position) => hash.startsWith('orphan-')

/**
 * One source for all runs of a process: a fork that it has told is not told again.
 * @param settled told when all of it is committed
 */
export function forkingSource(plan: ChainPlan, settled: () => void = () => undefined): Source<Item> {
  const final = survivors(plan)
  const told = new Set<number>()
  let committed: Position | undefined
  let heard: () => void = () => undefined
  return {
    id: 'm',
    historyDepth: 2 * plan.depth,
    async *open({ from, recent, signal }) {
      const known = recent.length > 0 ? recent : from === undefined ? [] : [from]
      const [newest] = known
      if (newest !== undefined && isOrphan(newest)) {
        yield { type: 'fork', validTo: known.find((position) => !isOrphan(position)) ?? null }
        return
      }
      let at = newest?.number ?? 0
      const leave = () => heard()
      signal.addEventListener('abort', leave, { once: true })
      try {
        while (!signal.aborted && at < final.length) {
          const upTo = Math.min(final.length, (Math.floor(at / plan.every) + 1) * plan.every)
          yield { type: 'blocks', blocks: final.slice(at, upTo), head: upTo }
          at = upTo
          if (plan.depth === 0 || told.has(at) || at === final.length) continue
          told.add(at)
          const orphans = orphansAbove(plan, at)
          const tip = orphans.at(-1)!
          yield { type: 'blocks', blocks: orphans, head: tip.number }
          while (committed?.hash !== tip.hash && !signal.aborted) {
            await new Promise<void>((resolve) => (heard = resolve))
          }
          if (signal.aborted) return
          const { number, hash } = final[at - 1]!
          yield { type: 'fork', validTo: { number, hash: hash! } }
          return
        }
        yield { type: plan.stays === true ? 'caughtUp' : 'end' }
        while (plan.stays === true && !signal.aborted) await new Promise<void>((resolve) => (heard = resolve))
      } finally {
        signal.removeEventListener('abort', leave)
      }
    },
    committed(position) {
      committed = position
      if (position.hash === final.at(-1)!.hash) settled()
      heard()
    },
  }
}
