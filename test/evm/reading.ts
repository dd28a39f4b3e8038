/** Reads a source message by message, for tests: nothing here waits on a clock. */
import type { Block, Position, Source, SourceMessage } from '../../src/source/port.ts'
import type { EvmSourceOptions } from '../../src/source/evm/index.ts'
import type { Anvil } from '../support/anvil.ts'
import { erc20Abi, type Erc20 } from '../support/erc20.ts'

/** Options of a source for the token, quick to retry and to poll. */
export function tokenOptions(anvil: Anvil, token: Erc20, rpcUrl = anvil.url) {
  return {
    rpcUrl,
    chainId: anvil.chainId,
    contracts: { token: { abi: erc20Abi, address: token.address } },
    fromBlock: 0,
    pollingIntervalMs: 5,
    retry: { baseMs: 1, maxMs: 5 },
  } as const satisfies EvmSourceOptions
}

export interface Reader<Item> extends AsyncDisposable {
  /** Everything said so far. */
  readonly messages: readonly SourceMessage<Item>[]
  readonly blocks: readonly Block<Item>[]
  readonly items: readonly Item[]
  readonly controller: AbortController
  next(): Promise<SourceMessage<Item> | undefined>
  /** Reads on until a message of this type, which is returned; throws when the source ends without it. */
  until<type extends SourceMessage['type']>(type: type): Promise<Extract<SourceMessage<Item>, { type: type }>>
  /** Reads on until the block at this height was emitted. */
  untilBlock(number: number): Promise<Block<Item>>
  /** Position of the newest block emitted. */
  position(): Position
  /** All positions emitted, newest first. */
  recent(): Position[]
  close(): Promise<void>
}

export function read<Item>(
  source: Source<Item>,
  from?: Position,
  recent?: readonly Position[],
): Reader<Item> {
  const controller = new AbortController()
  const iterator = source
    .open({ from, recent: recent ?? (from === undefined ? [] : [from]), signal: controller.signal })
    [Symbol.asyncIterator]()
  const messages: SourceMessage<Item>[] = []
  const blocks: Block<Item>[] = []
  const reader: Reader<Item> = {
    messages,
    blocks,
    controller,
    get items() {
      return blocks.flatMap((block) => block.items)
    },
    async next() {
      const { done, value } = await iterator.next()
      if (done === true) return undefined
      messages.push(value)
      if (value.type === 'blocks') blocks.push(...value.blocks)
      return value
    },
    async until(type) {
      for (;;) {
        const message = await reader.next()
        if (message === undefined) throw new Error(`the source ended without '${type}'`)
        if (message.type === type) return message as Extract<SourceMessage<Item>, { type: typeof type }>
      }
    },
    async untilBlock(number) {
      for (;;) {
        const block = blocks.find((one) => one.number === number)
        if (block !== undefined) return block
        const message = await reader.next()
        if (message === undefined || message.type === 'fork')
          throw new Error(`${message?.type ?? 'end'} before block ${number}`)
      }
    },
    position: () => position(blocks.at(-1)),
    recent: () => blocks.map(position).reverse(),
    async close() {
      controller.abort()
      await iterator.return?.()
    },
    [Symbol.asyncDispose]: () => reader.close(),
  }
  return reader
}

function position(block: Block | undefined): Position {
  if (block?.hash === undefined) throw new Error('no block, or a block without a hash')
  return { number: block.number, hash: block.hash }
}

/** Balances as the Transfer events tell them, without the zero address. */
export function balances(
  items: readonly { readonly type: string; readonly args: unknown }[],
): Map<string, bigint> {
  const balances = new Map<string, bigint>()
  for (const { type, args } of items) {
    if (type !== 'token.Transfer') continue
    const { from, to, value } = args as { from: string; to: string; value: bigint }
    balances.set(from, (balances.get(from) ?? 0n) - value)
    balances.set(to, (balances.get(to) ?? 0n) + value)
  }
  balances.delete('0x0000000000000000000000000000000000000000')
  return balances
}
