/** One block a batch, from a source that reads ahead, or from one that waits for each commit. */
import type { Block, Source } from '../../../src/index.ts'

export interface TimedSource {
  readonly source: Source
  /** When the source was opened: the run's first moment. */
  openedAt(): number
}

/** Every block as soon as it is asked for. */
export function ahead(blocks: readonly Block[]): TimedSource {
  return timed(blocks, () => undefined)
}

/** The next block only once the one before is durable: with it the same indexer runs sequentially. */
export function awaitingEachCommit(blocks: readonly Block[]): TimedSource {
  let durable = 0
  let heard: () => void = () => undefined
  return timed(
    blocks,
    async (index) => {
      while (durable < index) await new Promise<void>((resolve) => (heard = resolve))
    },
    () => {
      durable++
      heard()
    },
  )
}

function timed(
  blocks: readonly Block[],
  before: (index: number) => Promise<void> | undefined,
  committed: () => void = () => undefined,
): TimedSource {
  let openedAt = 0
  return {
    openedAt: () => openedAt,
    source: {
      id: 'bench',
      committed,
      async *open() {
        openedAt = performance.now()
        for (const [index, block] of blocks.entries()) {
          await before(index)
          yield { type: 'blocks', blocks: [block] }
        }
        yield { type: 'end' }
      },
    },
  }
}
