import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { evmSource, type EvmLog } from '../../src/source/evm/index.ts'
import { redact } from '../../src/source/evm/redact.ts'
import { startAnvil, type Anvil } from '../support/anvil.ts'
import { deployErc20, erc20Abi, type Erc20 } from '../support/erc20.ts'
import {
  blocksOf,
  result,
  rpcError,
  startRpcProxy,
  type ProxiedCall,
  type RpcProxy,
} from '../support/rpc-proxy.ts'
import { balances, read, tokenOptions, type Reader } from './reading.ts'

/** 122 blocks with events, of which 64 are within history depth. */
let anvil: Anvil
let token: Erc20
let proxy: RpcProxy
let head: number
let events: number

beforeAll(async () => {
  anvil = await startAnvil()
  token = await deployErc20(anvil)
  const { transactions } = await token.populate({
    transfers: 500,
    approvals: 50,
    blocks: 120,
    accounts: 10,
    seed: 3,
  })
  events = transactions + 1
  head = await anvil.head()
})
afterAll(() => anvil.stop())
beforeEach(async () => {
  proxy = await startRpcProxy(anvil.url)
})
afterEach(() => proxy.close())

const options = () => tokenOptions(anvil, token, proxy.url)

/** Whatever the endpoint does: the whole truth arrives. */
async function expectTruth(reader: Reader<{ readonly type: string; readonly args: unknown }>): Promise<void> {
  await reader.until('caughtUp')
  expect(reader.items).toHaveLength(events)
  expect(balances(reader.items)).toEqual(token.balances)
}

function logger(): { readonly log: EvmLog; readonly messages: string[] } {
  const messages: string[] = []
  return { messages, log: (_level, message) => void messages.push(message) }
}

const isLogs = ({ method }: ProxiedCall): boolean => method === 'eth_getLogs'
const hasLogs = (calls: readonly ProxiedCall[]): boolean => calls.some(isLogs)
/** The first `times` exchanges that carry logs. */
function first(times: number): (calls: readonly ProxiedCall[]) => boolean {
  let left = times
  return (calls) => hasLogs(calls) && left-- > 0
}

describe('too many results', () => {
  it('shrinks the range until it is accepted, and grows it back', async () => {
    proxy.faults = {
      rewrite: (call, answer) =>
        blocksOf(call) > 10 ? rpcError(call, -32005, 'query returned more than 10000 results') : answer,
    }
    await using reader = read(evmSource({ ...options(), historyDepth: 0 }))
    await expectTruth(reader)
    const accepted = proxy.calls.map(blocksOf).filter((blocks) => blocks > 0 && blocks <= 10)
    expect(Math.max(...accepted)).toBeGreaterThan(Math.min(...accepted))
  })

  it('takes the range that the endpoint suggests', async () => {
    proxy.faults = {
      rewrite: (call, answer) => {
        if (blocksOf(call) <= 25) return answer
        const from = Number(call.params[0].fromBlock)
        return rpcError(
          call,
          -32602,
          `this block range should work: [0x${from.toString(16)}, 0x${(from + 24).toString(16)}]`,
        )
      },
    }
    await using reader = read(evmSource({ ...options(), historyDepth: 0, concurrency: 1 }))
    await expectTruth(reader)
    expect(proxy.calls.map(blocksOf).filter((blocks) => blocks > 0)[1]).toBe(25)
  })

  it('is not confused by a suggestion of the very range that was refused', async () => {
    proxy.faults = {
      rewrite: (call, answer) => {
        if (blocksOf(call) <= 8) return answer
        const { fromBlock, toBlock } = call.params[0]
        return rpcError(
          call,
          -32602,
          `query exceeds max results 20000, retry with the range ${Number(fromBlock)}-${Number(toBlock)}`,
        )
      },
    }
    await using reader = read(evmSource(options()))
    await expectTruth(reader)
  })

  it('reads a single block that is still too large from its receipts', async () => {
    proxy.faults = {
      rewrite: (call, answer) =>
        isLogs(call) ? rpcError(call, -32000, 'query returns too many logs, narrow your filter: 1') : answer,
    }
    await using reader = read(evmSource({ ...options(), fromBlock: 3, toBlock: 6 }))
    await reader.until('end')
    expect(reader.items.length).toBeGreaterThan(10)
    expect(proxy.calls.some(({ method }) => method === 'eth_getBlockReceipts')).toBe(true)
  })

  it('fails clearly when a single block is too large in every way', async () => {
    proxy.faults = {
      rewrite: (call, answer) =>
        isLogs(call)
          ? rpcError(call, -32005, 'Too many logs requested')
          : call.method === 'eth_getBlockReceipts'
            ? rpcError(call, -32601, 'method not found')
            : answer,
    }
    await using reader = read(evmSource({ ...options(), fromBlock: 5 }))
    await expect(reader.until('caughtUp')).rejects.toMatchObject({
      name: 'FatalError',
      code: 'LOGS_TOO_MANY',
      block: { source: 'evm-31337', number: 5 },
      message: expect.stringContaining('Watch fewer contracts or events'),
    })
  })

  it('counts an answer above maxResponseBytes as one', async () => {
    await using reader = read(evmSource({ ...options(), maxResponseBytes: 40_000 }))
    await expectTruth(reader)
    expect(Math.min(...proxy.calls.map(blocksOf).filter((blocks) => blocks > 0))).toBeLessThan(60)
  })

  it('asks for less when a range takes too long', async () => {
    proxy.faults = { instead: (calls) => (calls.some((call) => blocksOf(call) > 40) ? 'hang' : undefined) }
    await using reader = read(
      evmSource({ ...options(), requestTimeoutMs: 100, historyDepth: 0, concurrency: 1 }),
    )
    await expectTruth(reader)
  })
})

describe('an endpoint with trouble', () => {
  it.each([
    ['429 with Retry-After', { status: 429, body: 'slow down', headers: { 'retry-after': '1' } }],
    ['502 with a page', { status: 502, body: '<html>bad gateway</html>' }],
    ['503', { status: 503, body: '' }],
    ['404 while it is deployed', { status: 404, body: 'no such route' }],
    ['200 that is not JSON', { status: 200, body: '{"jsonrpc":"2.0","id":1,"result":[' }],
    ['200 with an empty body', { status: 200, body: '' }],
    ['an object where a batch was asked', { status: 200, body: '{"jsonrpc":"2.0","id":1,"result":[]}' }],
    ['an empty list for a batch', { status: 200, body: '[]' }],
    [
      'a rate limit inside a 200',
      { status: 200, body: '{"jsonrpc":"2.0","error":{"code":-32005,"message":"rate limit"}}' },
    ],
    ['a cut connection', 'drop'],
  ] as const)('is asked again after %s', async (_what, fault) => {
    const failing = first(2)
    proxy.faults = { instead: (calls) => (failing(calls) ? fault : undefined) }
    await using reader = read(evmSource(options()))
    await expectTruth(reader)
  })

  it.each([
    ['null where a list has to be', null],
    ['a list of nonsense', [{ address: '0x12' }]],
    ['a number', 7],
  ])('is asked again after logs that are %s', async (_what, value) => {
    let left = 2
    proxy.faults = { rewrite: (call, answer) => (isLogs(call) && left-- > 0 ? result(call, value) : answer) }
    await using reader = read(evmSource(options()))
    await expectTruth(reader)
  })

  it('that hangs is given up, naming request, URL, attempts and the last cause', async () => {
    proxy.faults = { instead: (calls) => (hasLogs(calls) ? undefined : 'hang') }
    const source = evmSource({
      ...options(),
      requestTimeoutMs: 20,
      retry: { attempts: 3, baseMs: 1, maxMs: 1 },
    })
    await using reader = read(source)
    await expect(reader.next()).rejects.toMatchObject({
      name: 'RetryableError',
      code: 'RPC_TIMEOUT',
      message: expect.stringMatching(
        new RegExp(
          `^${proxy.url}/ did not answer eth_chainId \\[\\] in 3 attempts; the last one: no complete answer within 20 ms`,
        ),
      ),
    })
  })

  it('that always answers nonsense is given up with its words', async () => {
    proxy.faults = { rewrite: (call, answer) => (isLogs(call) ? result(call, 'nope') : answer) }
    await using reader = read(evmSource({ ...options(), retry: { attempts: 4, baseMs: 1, maxMs: 1 } }))
    await expect(reader.until('caughtUp')).rejects.toMatchObject({
      code: 'RPC_MALFORMED',
      message: expect.stringMatching(
        /eth_getLogs .* in 4 attempts; the last one: "nope" where a list of logs has to be/,
      ),
    })
  })

  it('that refuses for good is not asked again', async () => {
    proxy.faults = { instead: (calls) => (hasLogs(calls) ? { status: 401, body: 'no such key' } : undefined) }
    await using reader = read(evmSource({ ...options(), concurrency: 1 }))
    await expect(reader.until('caughtUp')).rejects.toMatchObject({
      name: 'ConfigurationError',
      code: 'RPC_REFUSED',
    })
    expect(proxy.exchanges.filter(hasLogs)).toHaveLength(1)
  })

  it.each([0, 1, 2])('that takes batches of %d only gets smaller ones', async (most) => {
    proxy.faults = {
      instead: (calls) =>
        calls.length > Math.max(most, 1)
          ? {
              status: 500,
              body: '{"error":{"code":31,"message":"Batch of that many requests are not allowed on free tier"}}',
            }
          : undefined,
    }
    const { log, messages } = logger()
    await using reader = read(evmSource({ ...options(), log }))
    await expectTruth(reader)
    expect(messages).toContain('the endpoint takes smaller batches only')
  })

  it.each([
    ['an error', (call: ProxiedCall) => rpcError(call, -32602, 'unknown tag')],
    ['null', (call: ProxiedCall) => result(call, null)],
  ])(
    'I15: that answers %s for `finalized` is asked for `safe`, without either for none',
    async (_what, refuse) => {
      const unknown = new Set(['finalized'])
      proxy.faults = { rewrite: (call, answer) => (unknown.has(call.params[0]) ? refuse(call) : answer) }
      const { number } = await anvil.request<{ number: string }>('eth_getBlockByNumber', ['safe', false])
      await using reader = read(evmSource(options()))
      expect(await reader.until('blocks')).toMatchObject({ head, finalized: Number(number) })
      await expectTruth(reader)
      unknown.add('safe')
      await using other = read(evmSource(options()))
      expect(await other.until('blocks')).not.toHaveProperty('finalized')
      await expectTruth(other)
    },
  )

  it('whose logger throws is not an endpoint with trouble', async () => {
    const failing = first(2)
    proxy.faults = { instead: (calls) => (failing(calls) ? 'drop' : undefined) }
    const log = (): never => {
      throw new Error('logger')
    }
    await using reader = read(evmSource({ ...options(), log }))
    await expectTruth(reader)
  })
})

describe('the wrong endpoint', () => {
  it('of another chain is refused, naming both', async () => {
    await using reader = read(evmSource({ ...options(), chainId: 1 }))
    await expect(reader.next()).rejects.toMatchObject({
      name: 'ConfigurationError',
      code: 'WRONG_CHAIN',
      message: expect.stringMatching(/serves chain 31337, but source 'evm-1' is configured for chain 1\./),
    })
  })

  it('that nobody serves is reported after a few attempts', async () => {
    await proxy.close()
    await using reader = read(evmSource(options()))
    await expect(reader.next()).rejects.toMatchObject({
      name: 'RetryableError',
      code: 'RPC_UNREACHABLE',
      message: expect.stringMatching(
        /did not answer eth_chainId \[\] in 5 attempts; the last one: .*ECONNREFUSED/,
      ),
    })
  })

  it('keeps its credentials out of every message, also when it repeats them', async () => {
    const key = 'abcdef0123456789abcdef0123456789'
    proxy.faults = {
      instead: () => ({ status: 401, body: `key ${key} of me-myself is unknown: secret-token` }),
    }
    const url = `${proxy.url.replace('//', '//me-myself:pass-word@')}/v2/${key}?token=secret-token`
    await using reader = read(evmSource({ ...options(), rpcUrl: url }))
    const error = await reader.next().catch((thrown: Error) => thrown)
    const told = `${(error as Error).message} ${String((error as Error).cause)} ${JSON.stringify(error)}`
    expect(told).toContain('/v2/…?…')
    for (const secret of [key, 'me-myself', 'pass-word', 'secret-token']) expect(told).not.toContain(secret)
  })

  it('is shown with what is not secret', () => {
    expect(redact(new URL('https://mainnet.example:8545/rpc/v1')).url).toBe(
      'https://mainnet.example:8545/rpc/v1',
    )
    expect(redact(new URL('https://u:p@h.example/v3/0123456789abcdef?k=1')).url).toBe(
      'https://h.example/v3/…?…',
    )
  })
})

describe('H68: logs that a node leaves out', () => {
  it('because it lags behind the range are asked for again', async () => {
    const lagging = first(3)
    let lags = false
    proxy.faults = {
      before: async (calls) => void (lags = lagging(calls)),
      // A node that has not got the upper blocks yet: no such block, and no logs instead of an error.
      rewrite: (call, answer) => {
        if (!lags) return answer
        if (isLogs(call)) return result(call, [])
        return Number(call.params[0]) > 20 ? result(call, null) : answer
      },
    }
    await using reader = read(evmSource({ ...options(), concurrency: 1 }))
    await expectTruth(reader)
  })

  it('though it has the block are found through the bloom filter', async () => {
    // The answer to a range is empty, as from an index that is being built; every header is there.
    let hidden = 0
    proxy.faults = {
      rewrite: (call, answer) =>
        isLogs(call) && blocksOf(call) > 0 && ++hidden <= 2 ? result(call, []) : answer,
    }
    const { log, messages } = logger()
    await using reader = read(evmSource({ ...options(), fromBlock: head - 50, log }))
    await reader.until('caughtUp')
    await using truth = read(evmSource({ ...options(), rpcUrl: anvil.url, fromBlock: head - 50 }))
    await truth.until('caughtUp')
    expect(hidden).toBeGreaterThanOrEqual(2)
    expect(reader.items).toEqual(truth.items)
    expect(messages).toContain('the node had left out the logs of a block')
  })

  it('even when asked by hash are found in the receipts', async () => {
    proxy.faults = { rewrite: (call, answer) => (isLogs(call) ? result(call, []) : answer) }
    await using reader = read(evmSource({ ...options(), fromBlock: head - 50 }))
    await reader.until('caughtUp')
    await using truth = read(evmSource({ ...options(), rpcUrl: anvil.url, fromBlock: head - 50 }))
    await truth.until('caughtUp')
    expect(reader.items).toEqual(truth.items)
  })

  it('are not there when the filter errs: "perhaps" is confirmed, then believed', async () => {
    const full = `0x${'f'.repeat(512)}`
    proxy.faults = {
      rewrite: (call, answer) => {
        if (call.method === 'eth_getBlockReceipts') return rpcError(call, -32601, 'method not found')
        return answer.result?.logsBloom === undefined
          ? answer
          : result(call, { ...answer.result, logsBloom: full })
      },
    }
    const contracts = { token: { abi: erc20Abi, address: token.deployer } }
    await using reader = read(evmSource({ ...options(), contracts, fromBlock: head - 4 }))
    await reader.until('caughtUp')
    expect(reader.blocks).toHaveLength(5)
    expect(reader.items).toHaveLength(0)
    // Twice by hash for each block; receipts were tried, and then no longer.
    expect(proxy.calls.filter(({ params }) => params[0]?.blockHash !== undefined)).toHaveLength(10)
    expect(proxy.calls.filter(({ method }) => method === 'eth_getBlockReceipts')).toHaveLength(3)
  })

  it('is never asked for blocks beyond the head', async () => {
    await using reader = read(evmSource({ ...options(), toBlock: head + 1_000 }))
    await reader.until('caughtUp')
    const asked = proxy.calls
      .filter((call) => blocksOf(call) > 0)
      .map(({ params }) => Number(params[0].toBlock))
    expect(Math.max(...asked)).toBe(head)
  })

  it('and logs that the filter rules out are refused unless the block itself has them', async () => {
    const empty = `0x${'0'.repeat(512)}`
    const blank = (call: ProxiedCall, answer: { readonly result?: { readonly logsBloom?: string } }) =>
      answer.result?.logsBloom === undefined
        ? undefined
        : result(call, { ...answer.result, logsBloom: empty })
    proxy.faults = { rewrite: (call, answer) => blank(call, answer) ?? answer }
    await using unused = read(evmSource(options()))
    await expectTruth(unused)
    proxy.faults = {
      rewrite: (call, answer) =>
        blank(call, answer) ?? (isLogs(call) && blocksOf(call) === 0 ? result(call, []) : answer),
    }
    await using reader = read(evmSource({ ...options(), fromBlock: head - 5 }))
    await expect(reader.until('caughtUp')).rejects.toMatchObject({
      name: 'RetryableError',
      code: 'CHAIN_UNSTEADY',
      message: expect.stringContaining('rules out the logs listed for it'),
    })
  })
})

describe('H27: answers that contradict themselves', () => {
  const otherHash = `0x${'e'.repeat(64)}`

  it.each([
    [
      'two hashes for one block',
      (logs: any[]) => logs.map((log, at) => (at % 2 === 1 ? { ...log, blockHash: otherHash } : log)),
    ],
    ['another hash than the header', (logs: any[]) => logs.map((log) => ({ ...log, blockHash: otherHash }))],
    ['a removed log', (logs: any[]) => logs.map((log, at) => (at === 0 ? { ...log, removed: true } : log))],
    [
      'a pending log',
      (logs: any[]) => logs.map((log, at) => (at === 0 ? { ...log, blockNumber: null } : log)),
    ],
    ['two logs in one place', (logs: any[]) => [...logs, { ...logs[0], data: `0x${'0'.repeat(64)}` }]],
    [
      'a log of a block that was not asked for',
      (logs: any[]) => [...logs, { ...logs[0], blockNumber: '0xffff' }],
    ],
  ])('%s: refused and asked again', async (_what, spoil) => {
    let left = 3
    proxy.faults = {
      rewrite: (call, answer) =>
        isLogs(call) && answer.result?.length > 1 && left-- > 0 ? result(call, spoil(answer.result)) : answer,
    }
    await using reader = read(evmSource({ ...options(), concurrency: 2 }))
    await expectTruth(reader)
    expect(left).toBeLessThanOrEqual(0)
  })

  it('a header that does not follow the one before it: refused and asked again', async () => {
    let left = 2
    proxy.faults = {
      rewrite: (call, answer) =>
        Number(call.params[0]) === head - 10 && left-- > 0
          ? result(call, { ...answer.result, parentHash: otherHash })
          : answer,
    }
    await using reader = read(evmSource(options()))
    await expectTruth(reader)
    const near = reader.blocks.filter(({ number }) => number > head - 64)
    expect(near.slice(1).map(({ parentHash }) => parentHash)).toEqual(
      near.slice(0, -1).map((block) => block.hash),
    )
    expect(left).toBeLessThanOrEqual(0)
  })

  it('the same log twice, out of order: once, in order', async () => {
    proxy.faults = {
      rewrite: (call, answer) =>
        isLogs(call) ? result(call, [...answer.result, ...answer.result].reverse()) : answer,
    }
    await using reader = read(evmSource(options()))
    await expectTruth(reader)
    expect(reader.items.map(({ id }) => id)).toEqual(reader.items.map(({ id }) => id).sort())
  })

  it('without end: given up after a bounded number of tries', async () => {
    proxy.faults = {
      rewrite: (call, answer) =>
        isLogs(call)
          ? result(
              call,
              answer.result.map((log: object) => ({ ...log, blockHash: otherHash })),
            )
          : answer,
    }
    await using reader = read(evmSource(options()))
    await expect(reader.until('caughtUp')).rejects.toMatchObject({
      name: 'RetryableError',
      code: 'CHAIN_UNSTEADY',
    })
    expect(reader.items).toEqual([])
  })
})
