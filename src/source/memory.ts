/** Blocks from memory, or from a function that can start anywhere. Ends when the blocks end. */
import { ConfigurationError } from '../errors.ts'
import { positionOf, type Block, type Position, type Source, type SourceMessage } from './port.ts'

export interface MemorySourceOptions<Item> {
  readonly id: string
  /** An iterable is read from its beginning at every opening; the function is told where to go on. */
  readonly blocks: Iterable<Block<Item>> | ((from?: Position) => AsyncIterable<Block<Item>>)
  /** Blocks below the last that may still fork. Default: 0. */
  readonly historyDepth?: number | undefined
}

/** Blocks given to the pump at once. */
const chunkBlocks = 256

/**
 * @example
 * ```ts
 * memorySource({ id: 'orders', blocks: (from) => readOrders({ after: from?.number }) })
 * ```
 */
export function memorySource<Item>(options: MemorySourceOptions<Item>): Source<Item> {
  const { id, blocks, historyDepth } = options
  if (typeof id !== 'string' || id === '') {
    throw new ConfigurationError(
      'INVALID_OPTIONS',
      'memorySource({ id }) is missing: the cursor is stored by it.',
      {
        phase: 'options',
      },
    )
  }
  if (typeof blocks !== 'function' && typeof blocks?.[Symbol.iterator] !== 'function') {
    throw new ConfigurationError(
      'INVALID_OPTIONS',
      `memorySource({ id: '${id}', blocks }) must be an iterable of blocks, or a function that returns an async one.`,
      { phase: 'options' },
    )
  }
  let hasOpened = false
  return {
    id,
    historyDepth,
    async *open({ from, signal }): AsyncGenerator<SourceMessage<Item>> {
      if (hasOpened && isOneShot(blocks)) throw exhausted(id)
      hasOpened = true
      let chunk: Block<Item>[] = []
      const above = from?.number ?? -1
      for await (const block of typeof blocks === 'function' ? blocks(from) : blocks) {
        if (signal.aborted) return
        // an iterable starts at its beginning; what was committed is passed over
        if (typeof blocks !== 'function' && block.number <= above) {
          refuseOtherHash(id, block, from)
          continue
        }
        chunk.push(block)
        if (chunk.length < chunkBlocks && typeof blocks !== 'function') continue
        yield { type: 'blocks', blocks: chunk }
        chunk = []
      }
      if (chunk.length > 0) yield { type: 'blocks', blocks: chunk }
      yield { type: 'end' }
    },
  }
}

/** A generator gives its blocks once; read again it would be empty, and the run would "finish" without them. */
function isOneShot(blocks: MemorySourceOptions<unknown>['blocks']): boolean {
  return typeof blocks !== 'function' && (blocks[Symbol.iterator]() as unknown) === blocks
}

function exhausted(id: string): ConfigurationError {
  return new ConfigurationError(
    'SOURCE_EXHAUSTED',
    `Source '${id}': its \`blocks\` are a generator, which gives them only once, and they are to be read again. Give an array, or a function that starts anew.`,
    { phase: 'source' },
  )
}

/** The same height under another hash: these are not the blocks that were indexed. */
function refuseOtherHash(id: string, block: Block, from: Position | undefined): void {
  if (from === undefined || block.number !== from.number || positionOf(block).hash === from.hash) return
  throw new ConfigurationError(
    'SOURCE_CHANGED',
    `Source '${id}': block ${block.number} has hash ${positionOf(block).hash}, but ${from.hash} was indexed. These are other blocks; use another pipeline name and fresh tables.`,
    { phase: 'source' },
  )
}
