import { createRequire } from 'node:module'
import { encodeAbiParameters, encodeFunctionData, getAddress, parseAbi, type Address, type Hex } from 'viem'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { evmSource } from '../../src/source/evm/index.ts'
import { startAnvil, type Anvil } from '../support/anvil.ts'
import { deployErc20, erc20Abi, holder, type Erc20, type Populated } from '../support/erc20.ts'
import { startRpcProxy, blocksOf } from '../support/rpc-proxy.ts'
import { balances, read, tokenOptions } from './reading.ts'

/** One chain for the tests that only read: 302 blocks, the last 64 of them within history depth. */
let anvil: Anvil
let token: Erc20
let traffic: Populated
let head: number

beforeAll(async () => {
  anvil = await startAnvil({ slotsInAnEpoch: 8 })
  token = await deployErc20(anvil)
  traffic = await token.populate({ transfers: 900, approvals: 100, blocks: 200, accounts: 20, seed: 7 })
  await anvil.mine(100)
  head = await anvil.head()
})

afterAll(() => anvil.stop())

describe('reading a chain', () => {
  it('gives every event once, in order, typed, and arrives at the true balances', async () => {
    await using reader = read(evmSource(tokenOptions(anvil, token)))
    await reader.until('caughtUp')
    expect(reader.items).toHaveLength(traffic.transactions + 1)
    expect(new Set(reader.items.map(({ id }) => id)).size).toBe(reader.items.length)
    expect([...reader.items].sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual(reader.items)
    expect(balances(reader.items)).toEqual(token.balances)
    const approvals = new Map<string, bigint>()
    for (const item of reader.items) {
      // Narrowed by `type`, without a cast.
      if (item.type === 'token.Approval')
        approvals.set(`${item.args.owner} ${item.args.spender}`, item.args.value)
    }
    expect(approvals).toEqual(token.allowances)
    expect(reader.items[0]).toMatchObject({
      type: 'token.Transfer',
      contract: 'token',
      name: 'Transfer',
      address: token.address,
      logIndex: 0,
      args: { from: '0x0000000000000000000000000000000000000000', to: token.deployer, value: token.supply },
      id: `${anvil.chainId}:000000000${token.deployedAt}:00000`,
    })
  })

  it('H28: gives blocks with events only, then every block within history depth, each with its header', async () => {
    await using reader = read(evmSource(tokenOptions(anvil, token)))
    await reader.until('caughtUp')
    const numbers = reader.blocks.map(({ number }) => number)
    expect([...new Set(numbers)].sort((a, b) => a - b)).toEqual(numbers)
    const settled = head - 64
    expect(numbers.filter((number) => number > settled)).toEqual(
      Array.from({ length: 64 }, (_, i) => settled + 1 + i),
    )
    // The range's last block has no event: it is there so that the position advances.
    expect(numbers.filter((number) => number > traffic.lastBlock && number <= settled)).toEqual([settled])
    for (const block of reader.blocks.filter((_, index) => index % 40 === 0)) {
      const raw = await anvil.request<{ hash: string; parentHash: string; timestamp: string }>(
        'eth_getBlockByNumber',
        [`0x${block.number.toString(16)}`, false],
      )
      expect(block).toMatchObject({
        hash: raw.hash,
        parentHash: raw.parentHash,
        timestamp: Number(raw.timestamp),
      })
    }
  })

  it('says head and finalized with the blocks', async () => {
    await using reader = read(evmSource(tokenOptions(anvil, token)))
    expect(await reader.until('blocks')).toMatchObject({ head, finalized: head - 16 })
  })

  it('ends at toBlock, deep in the past and at the head', async () => {
    for (const toBlock of [50, head]) {
      await using reader = read(evmSource({ ...tokenOptions(anvil, token), fromBlock: 10, toBlock }))
      await reader.until('end')
      expect(reader.blocks[0]?.number).toBe(10)
      expect(reader.blocks.at(-1)?.number).toBe(toBlock)
      expect(reader.messages.some(({ type }) => type === 'caughtUp')).toBe(false)
      expect(await reader.next()).toBeUndefined()
    }
  })

  it('goes on after the position it is given: nothing twice, nothing missing, the same ids', async () => {
    await using whole = read(evmSource({ ...tokenOptions(anvil, token), maxBlockRange: 30 }))
    await whole.until('caughtUp')
    for (const cut of [whole.blocks[60], whole.blocks.at(-10), whole.blocks.at(-1)]) {
      const position = { number: cut?.number ?? 0, hash: cut?.hash ?? '' }
      await using rest = read(evmSource({ ...tokenOptions(anvil, token), maxBlockRange: 77 }), position)
      await rest.until('caughtUp')
      expect(rest.items).toEqual(
        whole.blocks.filter(({ number }) => number > position.number).flatMap(({ items }) => items),
      )
    }
  })

  it('gives the same with any range size, any number of requests at once and any batch size', async () => {
    await using whole = read(evmSource(tokenOptions(anvil, token)))
    await whole.until('caughtUp')
    for (const limits of [
      { maxBlockRange: 1 },
      { maxBlockRange: 7, concurrency: 1 },
      { concurrency: 16, maxBlockRange: 5, maxBatchSize: 1 },
    ]) {
      await using reader = read(evmSource({ ...tokenOptions(anvil, token), ...limits }))
      await reader.until('caughtUp')
      expect(reader.items).toEqual(whole.items)
    }
  })

  it('reads only the events that are asked for', async () => {
    const source = evmSource({
      ...tokenOptions(anvil, token),
      contracts: { token: { abi: erc20Abi, address: token.address, events: ['Approval'] } },
    })
    await using reader = read(source)
    await reader.until('caughtUp')
    expect(reader.items).toHaveLength(100)
    expect(new Set(reader.items.map(({ type }) => type))).toEqual(new Set(['token.Approval']))
  })

  it('understands a compressed answer', async () => {
    await using proxy = await startRpcProxy(anvil.url, { gzip: true })
    await using reader = read(evmSource(tokenOptions(anvil, token, proxy.url)))
    await reader.until('caughtUp')
    expect(reader.items).toHaveLength(traffic.transactions + 1)
  })

  it('asks once for all contracts', async () => {
    await using proxy = await startRpcProxy(anvil.url)
    const source = evmSource({
      ...tokenOptions(anvil, token, proxy.url),
      contracts: {
        token: { abi: erc20Abi, address: token.address, events: ['Transfer'] },
        other: { abi: erc20Abi, address: holder(1, 1), events: ['Approval'] },
      },
      toBlock: 100,
    })
    await using reader = read(source)
    await reader.until('end')
    const asked = proxy.calls.filter(({ method }) => method === 'eth_getLogs')
    expect(asked).toHaveLength(1)
    expect(asked.map(blocksOf)).toEqual([101])
    // The filter also matches Approvals of the token, which nobody asked for.
    expect(new Set(reader.items.map(({ type }) => type))).toEqual(new Set(['token.Transfer']))
  })
})

describe('following the head', () => {
  it('says caughtUp once, then gives new blocks as they come, empty ones too', async () => {
    await using node = await startAnvil()
    const coin = await deployErc20(node)
    await using reader = read(evmSource(tokenOptions(node, coin)))
    await reader.until('caughtUp')
    await coin.transfer(coin.deployer, holder(1, 1), 5n)
    await node.mine(3)
    const next = (await reader.until('blocks')).blocks
    await reader.untilBlock(4)
    expect(reader.blocks.map(({ number }) => number)).toEqual([0, 1, 2, 3, 4])
    expect(next[0]?.items[0]).toMatchObject({ type: 'token.Transfer', args: { to: holder(1, 1), value: 5n } })
    await node.mine()
    await reader.untilBlock(5)
    expect(reader.messages.filter(({ type }) => type === 'caughtUp')).toHaveLength(1)
  })

  it('waits for a toBlock that is beyond the head, and ends there', async () => {
    await using node = await startAnvil()
    const coin = await deployErc20(node)
    await using reader = read(evmSource({ ...tokenOptions(node, coin), toBlock: 4 }))
    await reader.until('caughtUp')
    await node.mine(9)
    await reader.until('end')
    expect(reader.blocks.map(({ number }) => number)).toEqual([0, 1, 2, 3, 4])
  })

  it('waits for a fromBlock that is beyond the head', async () => {
    await using node = await startAnvil()
    const coin = await deployErc20(node)
    await using reader = read(evmSource({ ...tokenOptions(node, coin), fromBlock: 3 }))
    await reader.until('caughtUp')
    await node.mine(3)
    expect((await reader.untilBlock(3)).number).toBe(3)
    expect(reader.blocks[0]?.number).toBe(3)
  })
})

describe('watching any address', () => {
  const nftAbi = parseAbi([
    'event Transfer(address indexed from, address indexed to, uint256 indexed tokenId)',
    'function mint(address to)',
  ])

  it('tells ERC-20 from ERC-721, whose Transfer has the same topic', async () => {
    await using node = await startAnvil()
    const coin = await deployErc20(node)
    const nft = await deployNft(node, coin.deployer)
    await node.request('eth_sendTransaction', [
      {
        from: coin.deployer,
        to: nft,
        gas: '0x100000',
        data: encodeFunctionData({ abi: nftAbi, functionName: 'mint', args: [holder(2, 2)] }),
      },
    ])
    await node.mine()
    const options = tokenOptions(node, coin)
    await using coins = read(evmSource({ ...options, contracts: { token: { abi: erc20Abi } } }))
    await coins.until('caughtUp')
    expect(coins.items.map(({ address }) => address)).toEqual([coin.address])
    await using both = read(
      evmSource({ ...options, contracts: { token: { abi: erc20Abi }, nft: { abi: nftAbi } } }),
    )
    await both.until('caughtUp')
    expect(both.items.map(({ type, address }) => [type, address])).toEqual([
      ['token.Transfer', coin.address],
      ['nft.Transfer', nft],
    ])
    expect(both.items[1]?.args).toEqual({
      from: '0x0000000000000000000000000000000000000000',
      to: holder(2, 2),
      tokenId: 0n,
    })
  })

  it('fails where a named address emits what its ABI does not fit', async () => {
    const wrong = parseAbi([
      'event Transfer(address indexed from, address indexed to, uint256 indexed value)',
    ])
    const source = evmSource({
      ...tokenOptions(anvil, token),
      contracts: { token: { abi: wrong, address: token.address } },
    })
    await using reader = read(source)
    await expect(reader.until('caughtUp')).rejects.toMatchObject({
      name: 'ConfigurationError',
      code: 'EVM_LOG_UNFIT',
    })
  })
})

async function deployNft(node: Anvil, from: Address): Promise<Address> {
  const artifact = createRequire(import.meta.url)(
    '@openzeppelin/contracts/build/contracts/ERC721PresetMinterPauserAutoId.json',
  ) as { readonly bytecode: Hex }
  const parameters = encodeAbiParameters(
    [{ type: 'string' }, { type: 'string' }, { type: 'string' }],
    ['N', 'N', 'ipfs://'],
  )
  const hash = await node.request<Hex>('eth_sendTransaction', [
    { from, gas: '0x600000', data: `${artifact.bytecode}${parameters.slice(2)}` },
  ])
  await node.mine()
  const { contractAddress } = await node.request<{ contractAddress: Address }>('eth_getTransactionReceipt', [
    hash,
  ])
  return getAddress(contractAddress)
}
