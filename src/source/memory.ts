/** Blocks from memory, or from a function that can start anywhere. Ends when the blocks end; forks when they do. */
import { ConfigurationError } from '../errors.ts'
import { Comparison, isRepeated, standingUnder } from './lineage.ts'
import {
  positionOf,
  type Block,
  type OpenSource,
  type Position,
  type Source,
  type SourceMessage,
} from './port.ts'

export interface MemorySourceOptions<Item> {
  readonly id: string
  /**
   * An iterable is read from its beginning at every opening, and what was indexed is passed over; the function is told
   * where to go on, and gives the blocks after that.
   *
   * With a `historyDepth` above 0 the blocks may fork, each with a `hash` of its own: a block whose `parentHash` is not
   * the hash of the one before, or whose number is not above it, takes back what it does not stand on (by its
   * `parentHash`, where it has one, else by its number). What a later reading gives is held against what was indexed,
   * too: of an iterable every block that is known, of the function the first one's `parentHash`.
   */
  readonly blocks: Iterable<Block<Item>> | ((from?: Position) => AsyncIterable<Block<Item>>)
  /** Blocks below the last that may still fork. Default: 0, they never do. */
  readonly historyDepth?: number | undefined
}

/** Blocks given to the pump at once. */
const chunkBlocks = 256
/** Known positions that are kept at least. */
const keptPositions = 1_024

/**
 * @example
 * ```ts
 * memorySource({ id: 'orders', blocks: (from) => readOrders({ after: from?.number }) })
 * ```
 * @example Block 2 forks.
 * ```ts
 * memorySource({
 *   id: 'chain',
 *   historyDepth: 10,
 *   blocks: [
 *     { number: 1, hash: '1a', items: [] },
 *     { number: 2, hash: '2a', parentHash: '1a', items: [] },
 *     { number: 2, hash: '2b', parentHash: '1a', items: [] },
 *   ],
 * })
 * ```
 */
export function memorySource<Item>(options: MemorySourceOptions<Item>): Source<Item> {
  const { id, blocks, historyDepth = 0 } = options
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
  const parts: Parts<Item> = { ...options, historyDepth, settled: 0 }
  let hasOpened = false
  return {
    id,
    historyDepth,
    async *open(request): AsyncGenerator<SourceMessage<Item>> {
      if (hasOpened && isOneShot(blocks)) throw exhausted(id)
      hasOpened = true
      yield* historyDepth > 0 ? readForking(parts, request) : read(parts, request)
    },
  }
}

interface Parts<Item> extends MemorySourceOptions<Item> {
  readonly historyDepth: number
  /** Of an iterable: how many of its blocks were read when the last of them forked. They fork no more. */
  settled: number
}

async function* read<Item>(
  { id, blocks }: Parts<Item>,
  { from, signal }: OpenSource,
): AsyncGenerator<SourceMessage<Item>> {
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
}

/** Until the blocks end, or one forks. */
async function* readForking<Item>(
  parts: Parts<Item>,
  { from, recent, signal }: OpenSource,
): AsyncGenerator<SourceMessage<Item>> {
  const { blocks, historyDepth, settled } = parts
  const fromStart = typeof blocks !== 'function'
  const stored = recent.length === 0 && from !== undefined ? [from] : recent.toReversed()
  const comparison = new Comparison(fromStart ? stored : [])
  const known = [...stored]
  const keep = Math.max(keptPositions, 2 * historyDepth)
  let isPassing = fromStart && from !== undefined
  let chunk: Block<Item>[] = []
  const passed = { count: 0 }
  for await (const block of fromStart ? settledBlocks(blocks, settled, passed) : blocks(from)) {
    if (signal.aborted) return
    const refuted = comparison.refutedBy(block)
    if (refuted !== undefined) {
      yield { type: 'fork', ...refuted }
      return
    }
    if (isPassing && from !== undefined && block.number <= from.number) {
      isPassing = block.number < from.number
      continue
    }
    isPassing = false
    const standing = standingUnder(block, known)
    if (standing < known.length && !isRepeated(block, known)) {
      if (chunk.length > 0) yield { type: 'blocks', blocks: chunk }
      parts.settled = Math.max(settled, passed.count)
      yield { type: 'fork', validTo: known[standing - 1] ?? null }
      return
    }
    known.push(positionOf(block))
    if (known.length > 2 * keep) known.splice(0, keep)
    chunk.push(block)
    if (fromStart && chunk.length < chunkBlocks) continue
    yield { type: 'blocks', blocks: chunk }
    chunk = []
  }
  if (chunk.length > 0) yield { type: 'blocks', blocks: chunk }
  const refuted = comparison.refutedByEnd()
  yield refuted === undefined ? { type: 'end' } : { type: 'fork', ...refuted }
}

/** Of the first `settled` blocks those that are left after their forks; then all the others. */
function* settledBlocks<Item>(
  blocks: Iterable<Block<Item>>,
  settled: number,
  passed: { count: number },
): Generator<Block<Item>> {
  const left: Block<Item>[] = []
  const known: Position[] = []
  for (const block of blocks) {
    if (++passed.count > settled) {
      yield* left.splice(0)
      yield block
      continue
    }
    left.length = known.length = standingUnder(block, known)
    left.push(block)
    known.push(positionOf(block))
  }
  yield* left
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
