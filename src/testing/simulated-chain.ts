/** A chain that tests grow, fork and end at will; its source behaves as a real one at its head. */
import { positionOf, type Block, type Position, type Source, type SourceMessage } from '../source/port.ts'

export interface SimulatedChain<Item> {
  readonly source: Source<Item>
  /** The blocks that are valid now. */
  readonly blocks: readonly Block<Item>[]
  append(blocks: readonly Block<Item>[]): void
  /** Orphans every block above that height and puts others in their place. */
  fork(fork: { readonly above: number; readonly blocks: readonly Block<Item>[] }): void
  /** No block will follow. */
  end(): void
}

export interface SimulatedChainOptions {
  readonly id: string
  /** Blocks below the head that may fork. Default: 0. */
  readonly historyDepth?: number | undefined
}

/**
 * Blocks without a hash get one that differs from branch to branch; `parentHash` is filled in.
 * @example
 * ```ts
 * const chain = simulatedChain<Transfer>({ id: 'chain', historyDepth: 10 })
 * chain.append([{ number: 1, items: [a, b] }])
 * chain.fork({ above: 0, blocks: [{ number: 1, items: [a] }] })
 * chain.end()
 * ```
 */
export function simulatedChain<Item = unknown>(options: SimulatedChainOptions): SimulatedChain<Item> {
  let blocks: Block<Item>[] = []
  let branch = 0
  let ended = false
  let changed: () => void = () => undefined
  let change = nextChange()

  function nextChange(): Promise<void> {
    return new Promise((resolve) => {
      changed = resolve
    })
  }

  function tell(): void {
    const told = changed
    change = nextChange()
    told()
  }

  function grow(more: readonly Block<Item>[]): void {
    for (const block of more) {
      const parent = blocks.at(-1)
      if (parent !== undefined && block.number <= parent.number) {
        throw new Error(
          `simulatedChain '${options.id}': block ${block.number} does not follow block ${parent.number}`,
        )
      }
      blocks.push({
        ...block,
        hash: block.hash ?? `${options.id}-${branch}-${block.number}`,
        parentHash: block.parentHash ?? parent?.hash,
      })
    }
  }

  const isValid = (position: Position) =>
    blocks.some((block) => block.number === position.number && block.hash === position.hash)

  async function* open(request: Parameters<Source<Item>['open']>[0]): AsyncGenerator<SourceMessage<Item>> {
    const { from, recent, signal } = request
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    /** What was given, newest last; a fork is seen when the last of it is no longer valid. */
    const given: Position[] = [...recent].toReversed()
    if (given.length === 0 && from !== undefined) given.push(from)
    let toldCaughtUp = false
    while (!signal.aborted) {
      const last = given.at(-1)
      if (last !== undefined && !isValid(last)) {
        yield { type: 'fork', validTo: given.findLast(isValid) ?? null }
        return
      }
      const above = last?.number ?? -1
      const fresh = blocks.filter((block) => block.number > above)
      const head = blocks.at(-1)?.number
      if (fresh.length > 0) {
        given.push(...fresh.map(positionOf))
        yield { type: 'blocks', blocks: fresh, head }
        continue
      }
      if (ended) {
        yield { type: 'end' }
        return
      }
      if (!toldCaughtUp) {
        toldCaughtUp = true
        yield { type: 'caughtUp' }
        continue
      }
      await Promise.race([change, aborted])
    }
  }

  return {
    source: { id: options.id, historyDepth: options.historyDepth, open },
    get blocks() {
      return blocks
    },
    append(more) {
      grow(more)
      tell()
    },
    fork({ above, blocks: others }) {
      blocks = blocks.filter((block) => block.number <= above)
      branch++
      grow(others)
      tell()
    },
    end() {
      ended = true
      tell()
    },
  }
}
