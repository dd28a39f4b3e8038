/** One block a batch, from a source that reads ahead, or from one that waits for each commit. */
import type { Block, Source } from '../../../src/index.ts'

/** Every block as soon as it is asked for. */
export function ahead(blocks: readonly Block[]): Source {
  return oneByOne(blocks, () => undefined)
}

/** The next block only once the one before is durable: with it the same indexer runs sequentially. */
export function awaitingEachCommit(blocks: readonly Block[]): Source {
  let durable = 0
  let heard: () => void = () => undefined
  return oneByOne(
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

function oneByOne(
  blocks: readonly Block[],
  before: (index: number) => Promise<void> | undefined,
  committed: () => void = () => undefined,
): Source {
  return {
    id: 'bench',
    committed,
    async *open() {
      for (const [index, block] of blocks.entries()) {
        await before(index)
        yield { type: 'blocks', blocks: [block] }
      }
      yield { type: 'end' }
    },
  }
}
