import {
  encodeAbiParameters,
  encodeEventTopics,
  decodeEventLog,
  parseAbi,
  type Abi,
  type Address,
  type Hex,
} from 'viem'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { evmSource, type EvmContracts, type EvmEvent } from '../../src/source/evm/index.ts'
import { Decoder, eventId } from '../../src/source/evm/decode.ts'
import { watchList } from '../../src/source/evm/events.ts'
import type { RawLog } from '../../src/source/evm/wire.ts'
import type { Source } from '../../src/source/port.ts'
import { erc20Abi } from '../support/erc20.ts'

const address = '0x5FbDB2315678afecb367f032d93F642f64180aa3'
const other = '0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512'
const base = { rpcUrl: 'http://127.0.0.1:1', chainId: 31_337, fromBlock: 0 }
const poolAbi = parseAbi([
  'event Swap(address indexed who, int24 tick)',
  'event Swap(address indexed who, uint256 amount)',
  'event Sync()',
])

const noteAbi = [
  { type: 'event', name: 'Note', anonymous: true, inputs: [{ name: 'x', type: 'uint256', indexed: false }] },
] as const

type Items<source> = source extends Source<infer item> ? item : never

describe('types of events', () => {
  it('are a union over all contracts, discriminated by type', () => {
    const source = evmSource({
      ...base,
      contracts: {
        token: { abi: erc20Abi, address },
        nft: { abi: parseAbi(['event Minted(uint256 indexed tokenId, string)']), address: [other] },
      },
    })
    type Event = Items<typeof source>
    expectTypeOf<Event['type']>().toEqualTypeOf<'token.Transfer' | 'token.Approval' | 'nft.Minted'>()
    type Transfer = Extract<Event, { type: 'token.Transfer' }>
    expectTypeOf<Transfer['args']>().toEqualTypeOf<{ from: Address; to: Address; value: bigint }>()
    expectTypeOf<Transfer['contract']>().toEqualTypeOf<'token'>()
    expectTypeOf<Transfer['name']>().toEqualTypeOf<'Transfer'>()
    expectTypeOf<Transfer['transactionHash']>().toEqualTypeOf<Hex>()
    expectTypeOf<Extract<Event, { type: 'nft.Minted' }>['args']>().toEqualTypeOf<readonly [bigint, string]>()
    expect(source.itemTypes).toEqual(['token.Transfer', 'token.Approval', 'nft.Minted'])
  })

  it('narrow to the events that are asked for', () => {
    const source = evmSource({ ...base, contracts: { token: { abi: erc20Abi, events: ['Approval'] } } })
    expectTypeOf<Items<typeof source>['type']>().toEqualTypeOf<'token.Approval'>()
    expect(source.itemTypes).toEqual(['token.Approval'])
  })

  it('refuse a misspelt event at compile time and at construction', () => {
    expect(() =>
      // @ts-expect-error the ABI has no event of this name
      evmSource({ ...base, contracts: { token: { abi: erc20Abi, events: ['Transfr'] } } }),
    ).toThrow("contract 'token' has no event 'Transfr' in its ABI; it has: Transfer, Approval.")
  })

  it('fall back to plain strings for an ABI that is only known at run time', () => {
    const abi: Abi = erc20Abi
    const source = evmSource({ ...base, contracts: { token: { abi } } })
    expectTypeOf<Items<typeof source>['type']>().toEqualTypeOf<`token.${string}`>()
    expectTypeOf<EvmEvent<EvmContracts>['id']>().toEqualTypeOf<string>()
  })
})

describe('construction', () => {
  const refusal = (contracts: EvmContracts): unknown => {
    try {
      evmSource({ ...base, contracts })
    } catch (error) {
      return error
    }
    return undefined
  }

  it.each([
    ['no contract', {}, 'EVM_NO_CONTRACTS', /name at least one/],
    [
      'an ABI without an event',
      { token: { abi: parseAbi(['function f()']) } },
      'EVM_NO_EVENTS',
      /contract 'token' has no event/,
    ],
    ['an empty selection', { token: { abi: erc20Abi, events: [] } }, 'EVM_NO_EVENTS', /leave it out/],
    [
      'an overloaded event',
      { pool: { abi: poolAbi } },
      'EVM_OVERLOADED_EVENT',
      /'Swap' of contract 'pool'.*Swap\(address,int24\).*once per variant/,
    ],
    ['an anonymous event', { a: { abi: noteAbi } }, 'EVM_ANONYMOUS_EVENT', /'Note' of contract 'a'/],
    ['no address in a list', { token: { abi: erc20Abi, address: [] } }, 'EVM_BAD_ADDRESS', /empty list/],
    [
      'something else for an address',
      { token: { abi: erc20Abi, address: '0x12' } },
      'EVM_BAD_ADDRESS',
      /'token' is '0x12'/,
    ],
    [
      'one event under two names',
      { a: { abi: erc20Abi, address }, b: { abi: erc20Abi, address: [address] } },
      'EVM_SAME_EVENT_TWICE',
      /'a.Transfer' and 'b.Transfer'/,
    ],
  ] satisfies [string, EvmContracts, string, RegExp][])('refuses %s', (_what, contracts, code, message) => {
    expect(refusal(contracts)).toMatchObject({
      name: 'ConfigurationError',
      code,
      message: expect.stringMatching(message),
    })
  })

  it('takes the other events of an ABI that has an overloaded one', () => {
    expect(evmSource({ ...base, contracts: { pool: { abi: poolAbi, events: ['Sync'] } } }).itemTypes).toEqual(
      ['pool.Sync'],
    )
  })

  it.each([
    [{ rpcUrl: 'ws://127.0.0.1' }, /`rpcUrl` has to be an http/],
    [{ rpcUrl: 'nonsense' }, /`rpcUrl` has to be an http/],
    [{ chainId: 0 }, /`chainId` is 0; it has to be a whole number, 1 or more/],
    [{ fromBlock: -1 }, /`fromBlock` is -1/],
    [{ fromBlock: 9, toBlock: 8 }, /`toBlock` is 8; it has to be a whole number, 9 or more/],
    [{ concurrency: 0.5 }, /`concurrency` is 0.5/],
    [{ retry: { attempts: 0 } }, /`retry.attempts` is 0/],
    [{ id: '' }, /`id` is ''/],
  ])('refuses %o', (changed, message) => {
    expect(() => evmSource({ ...base, contracts: { token: { abi: erc20Abi } }, ...changed })).toThrow(message)
  })

  it('names itself after the chain and knows how deep the chain forks', () => {
    const contracts = { token: { abi: erc20Abi } }
    expect(evmSource({ ...base, contracts })).toMatchObject({ id: 'evm-31337', historyDepth: 64 })
    expect(evmSource({ ...base, chainId: 137, contracts })).toMatchObject({
      id: 'evm-137',
      historyDepth: 256,
    })
    expect(evmSource({ ...base, id: 'mine', historyDepth: 3, contracts })).toMatchObject({
      id: 'mine',
      historyDepth: 3,
    })
  })
})

describe('decoding', () => {
  const abi = parseAbi([
    'struct Pair { uint8 a; string b; }',
    'event Everything(string indexed text, (uint8 a, string b) pair, int256 indexed amount, bytes32[2] words, bytes data, bool flag)',
    'event Bare()',
    'event Nameless(uint256, address indexed)',
  ])
  const contracts = { c: { abi, address } } as const
  const decoder = (named: EvmContracts) =>
    new Decoder({ chainId: 7, id: 'evm-7', log: () => undefined }, watchList(named))
  const log = (topics: readonly Hex[], data: Hex): RawLog => ({
    address: address.toLowerCase() as Hex,
    topics,
    data,
    blockNumber: 12,
    blockHash: `0x${'1'.repeat(64)}`,
    transactionHash: `0x${'2'.repeat(64)}`,
    transactionIndex: 3,
    logIndex: 4,
  })
  const logs = [
    log(
      encodeEventTopics({ abi, eventName: 'Everything', args: { text: 'hello', amount: -5n } }) as Hex[],
      encodeAbiParameters(
        [
          {
            type: 'tuple',
            components: [
              { name: 'a', type: 'uint8' },
              { name: 'b', type: 'string' },
            ],
          },
          { type: 'bytes32[2]' },
          { type: 'bytes' },
          { type: 'bool' },
        ],
        [{ a: 1, b: 'ü' }, [`0x${'a'.repeat(64)}`, `0x${'b'.repeat(64)}`], '0x1234', true],
      ),
    ),
    log(encodeEventTopics({ abi, eventName: 'Bare' }) as Hex[], '0x'),
    log(
      encodeEventTopics({ abi, eventName: 'Nameless', args: [other] as never }) as Hex[],
      encodeAbiParameters([{ type: 'uint256' }], [9n]),
    ),
  ]

  it("gives what viem's decodeEventLog gives, for every kind of parameter", async () => {
    const events = await decoder(contracts).decode(logs)
    const expected = logs.map(({ topics, data }) => decodeEventLog({ abi, topics: topics as [Hex], data }))
    expect(events.map(({ name }) => name)).toEqual(expected.map(({ eventName }) => eventName))
    expect(events.map(({ args }) => args)).toEqual(expected.map(({ args }) => args ?? []))
  })

  it('names a place in the chain, chain id first, in an order that text keeps', async () => {
    const [event] = await decoder(contracts).decode(logs)
    expect(event).toMatchObject({
      id: '7:0000000012:00004',
      address,
      transactionIndex: 3,
      contract: 'c',
      type: 'c.Everything',
    })
    expect(eventId(1, 9, 10) < eventId(1, 10, 9)).toBe(true)
  })

  it('fails on a log of a named address that the ABI does not fit, and says which', async () => {
    const [first] = logs
    const broken = { ...(first as RawLog), data: '0x1234' as Hex }
    await expect(decoder(contracts).decode([broken])).rejects.toMatchObject({
      code: 'EVM_LOG_UNFIT',
      block: { source: 'evm-7', number: 12 },
      message: expect.stringMatching(/Log 4 of block 12.*does not fit event 'Everything'.*contract 'c'/),
    })
    const short = { ...(first as RawLog), topics: (first as RawLog).topics.slice(0, 2) }
    await expect(decoder(contracts).decode([short])).rejects.toMatchObject({ code: 'EVM_LOG_UNFIT' })
  })

  it('skips such a log where any address is watched', async () => {
    const [first, second] = logs as [RawLog, RawLog]
    const events = await decoder({ c: { abi } }).decode([{ ...first, data: '0x1234' }, second])
    expect(events.map(({ name }) => name)).toEqual(['Bare'])
  })

  it('gives a log to the contract that names its address, before one that takes any', async () => {
    const events = await decoder({
      any: { abi, events: ['Bare'] },
      one: { abi, address, events: ['Bare'] },
    }).decode([logs[1] as RawLog, { ...(logs[1] as RawLog), address: other.toLowerCase() as Hex }])
    expect(events.map(({ type }) => type)).toEqual(['one.Bare', 'any.Bare'])
  })
})
