/** A chain that tests grow, fork and end at will; its source behaves as a real one at its head. */
import {
  positionOf,
  type Block,
  type OpenSource,
  type Position,
  type Source,
  type SourceMessage,
} from '../source/port.ts'

export interface SimulatedChain<Item> {
  readonly source: Source<Item>
  /** The blocks that are valid now. */
  readonly blocks: readonly Block<Item>[]
  append(blocks: readonly Block<Item>[]): void
  /** Orphans every block above that height and puts others, or none, in their place. @throws below what is final */
  fork(fork: { readonly above: number; readonly blocks: readonly Block<Item>[] }): void
  /** Nothing at or below that height forks any more; readers are told, also without a new block. */
  finalize(height: number): void
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
 * chain.finalize(1)
 * chain.end()
 * ```
 */
export function simulatedChain<Item = unknown>(options: SimulatedChainOptions): SimulatedChain<Item> {
  const { id, historyDepth } = options
  let blocks: readonly Block<Item>[] = []
  let finalized: number | undefined
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

  function grown(from: readonly Block<Item>[], more: readonly Block<Item>[], name: number): Block<Item>[] {
    const chain = [...from]
    for (const block of more) {
      const parent = chain.at(-1)
      if (parent !== undefined && block.number <= parent.number) {
        throw new Error(
          `simulatedChain '${id}': block ${block.number} does not follow block ${parent.number}`,
        )
      }
      chain.push({
        ...block,
        hash: block.hash ?? `${id}-${name}-${block.number}`,
        parentHash: block.parentHash ?? parent?.hash,
      })
    }
    return chain
  }

  const isValid = (position: Position) =>
    blocks.some((block) => block.number === position.number && block.hash === position.hash)

  async function* open({ from, recent, signal }: OpenSource): AsyncGenerator<SourceMessage<Item>> {
    let leave: () => void = () => undefined
    const aborted = new Promise<void>((resolve) => {
      leave = resolve
    })
    signal.addEventListener('abort', leave, { once: true })
    /** What was given, newest last; a fork is seen when the last of it is no longer valid. */
    const given: Position[] = [...recent].toReversed()
    if (given.length === 0 && from !== undefined) given.push(from)
    let toldCaughtUp = false
    let toldFinalized: number | undefined
    try {
      while (!signal.aborted) {
        const last = given.at(-1)
        if (last !== undefined && !isValid(last)) {
          yield { type: 'fork', validTo: given.findLast(isValid) ?? null }
          return
        }
        const above = last?.number ?? -1
        const fresh = blocks.filter((block) => block.number > above)
        if (fresh.length > 0 || finalized !== toldFinalized) {
          given.push(...fresh.map(positionOf))
          toldFinalized = finalized
          yield { type: 'blocks', blocks: fresh, head: blocks.at(-1)?.number, finalized }
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
    } finally {
      signal.removeEventListener('abort', leave)
    }
  }

  return {
    source: { id, historyDepth, open },
    get blocks() {
      return blocks
    },
    append(more) {
      blocks = grown(blocks, more, branch)
      tell()
    },
    fork({ above, blocks: others }) {
      if (finalized !== undefined && above < finalized) {
        throw new Error(
          `simulatedChain '${id}': a fork above ${above} takes back block ${finalized}, which is final`,
        )
      }
      const kept = blocks.filter((block) => block.number <= above)
      blocks = grown(kept, others, branch + 1)
      branch++
      tell()
    },
    finalize(height) {
      finalized = Math.max(finalized ?? height, height)
      tell()
    },
    end() {
      ended = true
      tell()
    },
  }
}
