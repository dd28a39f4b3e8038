/** The simulated chain says what a real one at its head would, to everybody who reads it, whenever they open it. */
import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import type { Position, SourceMessage } from '../../src/index.ts'
import { simulatedChain, type SimulatedChain } from '../../src/testing/index.ts'
import { blocks, spoken } from './feeding.ts'

/** Reads until closed; what was said so far, with the hashes of blocks in their place. */
function reader(chain: SimulatedChain<string>, ...recent: Position[]) {
  const controller = new AbortController()
  const { signal } = controller
  const [from] = recent
  const messages: SourceMessage<string>[] = []
  const reading = (async () => {
    for await (const message of chain.source.open({
      ...(from === undefined ? {} : { from }),
      recent,
      signal,
    })) {
      messages.push(message)
    }
  })()
  return {
    said: async () => {
      await spoken()
      return messages
        .splice(0)
        .map((message) => (message.type === 'blocks' ? message.blocks.map(({ number }) => number) : message))
    },
    raw: messages,
    signal,
    async close() {
      controller.abort()
      await reading
    },
  }
}
const caughtUp = { type: 'caughtUp' }
const end = { type: 'end' }
const at = (number: number, branch = 0): Position => ({ number, hash: `c-${branch}-${number}` })
const fork = (validTo: Position | null) => ({ type: 'fork', validTo })
const chainOf = (count: number) => {
  const chain = simulatedChain<string>({ id: 'c', historyDepth: 10 })
  chain.append(blocks(count))
  return chain
}

test('several read at once, from where each of them wants', async () => {
  const chain = chainOf(3)
  const [one, two] = [reader(chain), reader(chain, at(2), at(1))]
  expect(await one.said()).toEqual([[1, 2, 3], caughtUp])
  expect(await two.said()).toEqual([[3], caughtUp])
  chain.append(blocks(1, 1, 4))
  const late = reader(chain, at(4))
  expect(await one.said()).toEqual([[4]])
  expect(await two.said()).toEqual([[4]])
  expect(await late.said()).toEqual([caughtUp])
  chain.fork({ above: 2, blocks: blocks(1, 1, 3) })
  expect(await one.said()).toEqual([fork(at(2))])
  expect(await two.said()).toEqual([fork(at(2))])
  // this one was never told of anything else
  expect(await late.said()).toEqual([fork(null)])
  const again = reader(chain, at(2), at(1))
  chain.end()
  expect(await again.said()).toEqual([[3], end])
})

test('a fork with nothing in its place, and then something', async () => {
  const chain = chainOf(3)
  const one = reader(chain)
  await one.said()
  chain.fork({ above: 1, blocks: [] })
  expect(await one.said()).toEqual([fork(at(1))])
  const two = reader(chain, at(1))
  expect(await two.said()).toEqual([caughtUp])
  chain.append(blocks(1, 1, 2))
  expect(await two.said()).toEqual([[2]])
  expect(chain.blocks.at(-1)).toMatchObject({ hash: 'c-1-2', parentHash: 'c-0-1' })
  await two.close()
})

test.each([0, -1])('a fork of everything, above %d', async (above) => {
  const chain = chainOf(3)
  const one = reader(chain)
  await one.said()
  chain.fork({ above, blocks: [] })
  expect(await one.said()).toEqual([fork(null)])
  expect(chain.blocks).toEqual([])
  const two = reader(chain)
  expect(await two.said()).toEqual([caughtUp])
  chain.append(blocks(2))
  expect(await two.said()).toEqual([[1, 2]])
  expect(chain.blocks[0]).toMatchObject({ hash: 'c-1-1' })
  await two.close()
})

test('forks while nobody reads are seen at the next opening, before any block', async () => {
  const chain = chainOf(5)
  const stored = [at(5), at(4), at(2)]
  chain.fork({ above: 4, blocks: blocks(2, 1, 5) })
  expect(await reader(chain, ...stored).said()).toEqual([fork(at(4))])
  chain.fork({ above: 3, blocks: blocks(9, 1, 4) })
  expect(await reader(chain, ...stored).said()).toEqual([fork(at(2))])
  chain.fork({ above: 0, blocks: [] })
  expect(await reader(chain, ...stored).said()).toEqual([fork(null)])
})

test('a fork of what was not read yet is none', async () => {
  const chain = chainOf(5)
  chain.fork({ above: 3, blocks: blocks(1, 1, 4) })
  const one = reader(chain, at(3))
  expect(await one.said()).toEqual([[4], caughtUp])
  await one.close()
})

test('what is final is told with the head, also without a block, and does not fork', async () => {
  const chain = chainOf(5)
  const one = reader(chain)
  await spoken()
  expect(one.raw).toMatchObject([{ head: 5, finalized: undefined }, caughtUp])
  one.raw.length = 0
  chain.finalize(3)
  chain.finalize(2)
  await spoken()
  expect(one.raw).toEqual([{ type: 'blocks', blocks: [], head: 5, finalized: 3 }])
  const before = chain.blocks
  expect(() => chain.fork({ above: 2, blocks: [] })).toThrow(
    "simulatedChain 'c': a fork above 2 takes back block 3, which is final",
  )
  expect(() => chain.fork({ above: 4, blocks: blocks(1, 1, 4) })).toThrow('block 4 does not follow block 4')
  expect(chain.blocks).toEqual(before)
  const two = reader(chain, at(5))
  await spoken()
  expect(two.raw).toEqual([{ type: 'blocks', blocks: [], head: 5, finalized: 3 }, caughtUp])
  await one.close()
  await two.close()
})

test('I16: a reader that is closed leaves nothing on its signal', async () => {
  const chain = chainOf(1)
  const one = reader(chain)
  await one.said()
  await one.close()
  expect(getEventListeners(one.signal, 'abort')).toEqual([])
  const two = reader(chain)
  chain.end()
  await two.said()
  expect(getEventListeners(two.signal, 'abort')).toEqual([])
})
