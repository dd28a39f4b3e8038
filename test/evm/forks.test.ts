import { describe, expect, it } from 'vitest'
import { evmSource } from '../../src/source/evm/index.ts'
import { KnownPositions } from '../../src/source/evm/fork.ts'
import type { Position } from '../../src/source/port.ts'
import { startAnvil } from '../support/anvil.ts'
import { deployErc20, holder } from '../support/erc20.ts'
import { startRpcProxy, result } from '../support/rpc-proxy.ts'
import type { PulledBatch } from '../../src/source/feed.ts'
import { feedOf, rollBack } from '../source/feeding.ts'
import { balances, read, tokenOptions } from './reading.ts'

describe('a fork while the head is followed', () => {
  it.each([1, 3, 5])(
    'H26: of depth %d is seen without a restart, and says how far the chain still stands',
    async (depth) => {
      await using anvil = await startAnvil()
      const token = await deployErc20(anvil)
      await token.populate({ transfers: 40, approvals: 0, blocks: 10, accounts: 5, seed: depth })
      const source = evmSource(tokenOptions(anvil, token))
      await using reader = read(source)
      await reader.until('caughtUp')
      const head = reader.position().number
      await anvil.reorg(depth)
      const { validTo } = await reader.until('fork')
      const valid = reader.recent().find(({ number }) => number === head - depth) as Position
      expect(validTo).toEqual(valid)
      // One fork, one message: the consumer opens anew.
      expect(await reader.next()).toBeUndefined()
      await using again = read(
        source,
        valid,
        reader.recent().filter(({ number }) => number <= valid.number),
      )
      await anvil.mine()
      await again.untilBlock(head + 1)
      expect(again.blocks.map(({ number }) => number)).toEqual(
        Array.from({ length: depth + 1 }, (_, i) => valid.number + 1 + i),
      )
      expect(again.blocks[0]?.parentHash).toBe(valid.hash)
      expect(again.items).toEqual([])
    },
  )

  it('is seen by the head itself, without a new block on top', async () => {
    await using anvil = await startAnvil()
    const token = await deployErc20(anvil)
    await anvil.mine(5)
    await using reader = read(evmSource(tokenOptions(anvil, token)))
    await reader.until('caughtUp')
    await anvil.reorg(2)
    expect((await reader.until('fork')).validTo?.number).toBe(4)
  })

  it('is seen when the new chain is shorter, then longer', async () => {
    await using anvil = await startAnvil()
    const token = await deployErc20(anvil)
    await anvil.mine(9)
    await using reader = read(evmSource(tokenOptions(anvil, token)))
    await reader.until('caughtUp')
    await anvil.request('anvil_rollback', [4])
    await token.transfer(token.deployer, holder(1, 1), 1n)
    await anvil.mine(1)
    expect((await reader.until('fork')).validTo?.number).toBe(6)
  })

  it('leaves the events of the surviving chain when the reader follows', async () => {
    await using anvil = await startAnvil()
    const token = await deployErc20(anvil)
    const source = evmSource(tokenOptions(anvil, token))
    const kept = new Map<number, { hash: string; items: readonly { type: string; args: unknown }[] }>()
    let from: Position | undefined
    for (let round = 0; round < 6; round++) {
      await token.transfer(token.deployer, holder(9, round), BigInt(round + 1))
      await anvil.mine(2)
      const recent = [...kept].map(([number, { hash }]) => ({ number, hash })).reverse()
      await using reader = read(source, from, recent)
      const forked = round % 2 === 1
      if (forked) {
        await reader.until('caughtUp')
        await anvil.reorg(3)
      }
      const last = await reader.until(forked ? 'fork' : 'caughtUp')
      for (const { number, hash = '', items } of reader.blocks) kept.set(number, { hash, items })
      if (last.type === 'fork')
        for (const number of kept.keys()) if (number > (last.validTo?.number ?? -1)) kept.delete(number)
      from = [...kept].map(([number, { hash }]) => ({ number, hash })).at(-1)
    }
    await using rest = read(source, from)
    await rest.until('caughtUp')
    for (const { number, hash = '', items } of rest.blocks) kept.set(number, { hash, items })
    await using truth = read(source)
    await truth.until('caughtUp')
    expect([...kept].map(([number, { hash }]) => [number, hash])).toEqual(
      truth.blocks.map(({ number, hash }) => [number, hash]),
    )
    expect(balances([...kept.values()].flatMap(({ items }) => items))).toEqual(balances(truth.items))
  })
})

describe('a fork while nobody read', () => {
  it('is reported first, before any block, with the deepest position that still stands', async () => {
    await using anvil = await startAnvil()
    const token = await deployErc20(anvil)
    await anvil.mine(40)
    const source = evmSource(tokenOptions(anvil, token))
    await using before = read(source)
    await before.until('caughtUp')
    await before.close()
    await anvil.reorg(30)
    await anvil.mine(7)
    await using reader = read(source, before.position(), before.recent())
    expect(await reader.next()).toEqual({
      type: 'fork',
      validTo: { number: 11, hash: before.blocks[11]?.hash },
    })
    expect(await reader.next()).toBeUndefined()
  })

  it('goes back to the nearest stored position when few were stored', async () => {
    await using anvil = await startAnvil()
    const token = await deployErc20(anvil)
    await anvil.mine(30)
    const source = evmSource(tokenOptions(anvil, token))
    await using before = read(source)
    await before.until('caughtUp')
    await anvil.reorg(10)
    const sparse = before.recent().filter(({ number }) => number % 9 === 4)
    await using reader = read(source, sparse[0], sparse)
    expect(await reader.next()).toMatchObject({ type: 'fork', validTo: { number: 13 } })
  })

  it('H33: says null when nothing that was stored stands, once, and ends', async () => {
    await using anvil = await startAnvil()
    const token = await deployErc20(anvil)
    await anvil.mine(5)
    const orphaned = [5, 4, 3].map((number) => ({ number, hash: `0x${String(number).repeat(64)}` }))
    await using reader = read(evmSource(tokenOptions(anvil, token)), orphaned[0], orphaned)
    expect(await reader.next()).toEqual({ type: 'fork', validTo: null })
    expect(await reader.next()).toBeUndefined()
  })

  it('is not seen where there is none: a position at the head, one far below it', async () => {
    await using anvil = await startAnvil()
    const token = await deployErc20(anvil)
    await anvil.mine(20)
    const source = evmSource(tokenOptions(anvil, token))
    await using before = read(source)
    await before.until('caughtUp')
    for (const position of [before.recent()[0], before.recent()[15]] as Position[]) {
      await using reader = read(source, position, before.recent())
      await reader.until('caughtUp')
      expect(reader.blocks).toHaveLength(before.position().number - position.number)
    }
  })

  it('waits for a node that is behind what was read', async () => {
    await using anvil = await startAnvil()
    const token = await deployErc20(anvil)
    await anvil.mine(4)
    const source = evmSource(tokenOptions(anvil, token))
    await using before = read(source)
    await before.until('caughtUp')
    await using proxy = await startRpcProxy(anvil.url)
    let behind = 5
    proxy.faults = {
      // Five polls of a node that has two blocks less.
      rewrite: (call, answer) => {
        if (call.method !== 'eth_getBlockByNumber' || behind === 0) return answer
        if (call.params[0] === 'latest' && --behind >= 0) return result(call, before.blocks[3] && raw[3])
        return Number(call.params[0]) > 3 ? result(call, null) : answer
      },
    }
    const raw = await anvil.batch(
      [0, 1, 2, 3].map((number) => ['eth_getBlockByNumber', [`0x${number}`, false]]),
    )
    const logged: string[] = []
    const log = (_level: string, message: string) => void logged.push(message)
    await using reader = read(
      evmSource({ ...tokenOptions(anvil, token, proxy.url), log }),
      before.position(),
      before.recent(),
    )
    await anvil.mine()
    await reader.untilBlock(6)
    expect(reader.messages.some(({ type }) => type === 'fork')).toBe(false)
    expect(logged).toEqual(['the node does not have yet what was read before; waiting for it'])
  })
})

describe('a fork while nobody read, however long ago', () => {
  it('H26: is found below hundreds of blocks that came since, by whatever was stored', async () => {
    await using anvil = await startAnvil()
    const token = await deployErc20(anvil)
    await anvil.mine(40)
    const source = evmSource(tokenOptions(anvil, token))
    await using before = read(source)
    await before.until('caughtUp')
    const [newest, ...older] = before.recent()
    await before.close()
    await anvil.reorg(30)
    await anvil.mine(400)
    const anchor = older.find(({ number }) => number === 8) as Position
    const few = [newest as Position, ...older.slice(0, 4)]
    await using anchored = read(source, newest, [...few, anchor])
    expect(await anchored.next()).toEqual({ type: 'fork', validTo: anchor })
    // deeper than everything that was stored
    await using lost = read(source, newest, few)
    expect(await lost.next()).toEqual({ type: 'fork', validTo: null })
    expect(lost.blocks).toEqual([])
  })

  it('H26: is found when the node serves another chain altogether, but for its genesis', async () => {
    await using anvil = await startAnvil()
    const token = await deployErc20(anvil)
    await anvil.mine(10)
    await using before = read(evmSource(tokenOptions(anvil, token)))
    await before.until('caughtUp')
    const stored = before.recent()
    await using other = await startAnvil()
    const otherToken = await deployErc20(other)
    await otherToken.transfer(otherToken.deployer, holder(3, 3), 7n)
    await other.mine(30)
    const source = evmSource(tokenOptions(other, otherToken))
    await using reader = read(source, stored[0], stored)
    const { validTo } = await reader.until('fork')
    expect(validTo === null || validTo.number <= token.deployedAt).toBe(true)
    const upTo = validTo?.number ?? -1
    await using none = read(
      source,
      stored[0],
      stored.filter(({ number }) => number > upTo),
    )
    expect(await none.next()).toEqual({ type: 'fork', validTo: null })
  })
})

describe('through the feed', () => {
  it.each([3, 4, 5])(
    'H26, I15: a live fork of depth %d, and again: what is left is the chain',
    async (depth) => {
      await using anvil = await startAnvil({ slotsInAnEpoch: 4 })
      const token = await deployErc20(anvil)
      await token.populate({ transfers: 60, approvals: 0, blocks: 30, accounts: 5, seed: depth })
      const source = evmSource({ ...tokenOptions(anvil, token), historyDepth: 10 })
      const { feed, until, forks, untilCaughtUp } = feedOf(source)
      const kept: PulledBatch['blocks'][number][] = []
      const pullUpTo = async (height: number) => {
        while (kept.at(-1)?.ref.number !== height) kept.push(...(await feed.pull())!.blocks)
      }
      feed.open()
      for (let round = 1; round <= 2; round++) {
        await pullUpTo(await anvil.head())
        await untilCaughtUp(source.id)
        // finalized: eight blocks below the head, nearer than by depth
        const head = await anvil.head()
        expect(kept.at(-1)!.ref.safe).toBe(kept.find(({ ref }) => ref.number === head - 8)?.ref.checkpoint)
        await anvil.reorg(depth)
        await token.transfer(token.deployer, holder(9, round), BigInt(round))
        await anvil.mine(2)
        const { target } = await until('source.fork', round)
        const valid = kept.find(({ ref }) => ref.number === head - depth)!.ref
        expect(forks.at(-1)).toEqual({ source: source.id, validTo: valid.number, depth, target })
        expect(target).toBe(valid.checkpoint)
        kept.length = kept.findIndex(({ ref }) => ref.checkpoint > target)
        await rollBack(feed, target)
      }
      await pullUpTo(await anvil.head())
      await feed.close()
      await using truth = read(source)
      await truth.until('caughtUp')
      const near = truth.blocks.filter(({ items }) => items.length > 0)
      expect(kept.filter(({ block }) => block.items.length > 0).map(({ ref }) => ref.hash)).toEqual(
        near.map(({ hash }) => hash),
      )
      expect(kept.flatMap(({ block }) => block.items)).toEqual(truth.items)
    },
  )
})

describe('a fork while a range is read', () => {
  it('is seen although the read had already begun', async () => {
    await using anvil = await startAnvil()
    const token = await deployErc20(anvil)
    await anvil.mine(20)
    await using proxy = await startRpcProxy(anvil.url)
    const source = evmSource({ ...tokenOptions(anvil, token, proxy.url), concurrency: 1, maxBlockRange: 4 })
    await using reader = read(source)
    let reads = 0
    proxy.faults = {
      before: async (calls) => {
        if (calls.some(({ method }) => method === 'eth_getLogs') && ++reads === 4) await anvil.reorg(12)
      },
    }
    const { validTo } = await reader.until('fork')
    expect(validTo?.number).toBe(9)
    expect(validTo?.hash).toBe(reader.blocks.find(({ number }) => number === 9)?.hash)
  })
})

describe('known positions', () => {
  const at = (number: number): Position => ({ number, hash: `0x${number}` })

  it('go on from the newest, and are bounded', () => {
    const known = new KnownPositions(at(10), [at(10), at(9), at(3)], 4)
    expect(known.newest).toEqual(at(10))
    for (let number = 11; number < 20_000; number++) known.add(at(number))
    expect(known.newest).toEqual(at(19_999))
    expect(known.all.length).toBeLessThan(2_100)
    expect(known.all.slice(0, 3)).toEqual([at(3), at(9), at(10)])
  })
})
