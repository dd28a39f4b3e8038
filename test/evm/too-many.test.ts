import { describe, expect, it } from 'vitest'
import { classify } from '../../src/source/evm/too-many.ts'

/** Wordings of nodes and providers, as they were seen, with the number of blocks that they offer. */
const TOO_MANY: readonly [
  who: string,
  code: number,
  message: string,
  blocks: number | undefined,
  data?: unknown,
][] = [
  [
    'Alchemy',
    -32602,
    'Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit on the response size, or you can request any block range with a cap of 10K logs in the response. Based on your parameters and the response size limit, this block range should work: [0x10, 0x19]',
    10,
  ],
  [
    'Alchemy, free',
    -32600,
    'You can make eth_getLogs requests with up to a 500 block range. Based on your parameters, this block range should work: [0x123c9b2, 0x123cba5]',
    500,
  ],
  ['Infura', -32005, 'query returned more than 10000 results. Try with this block range [0x1, 0x64].', 100],
  ['Infura, by range', -32602, 'range 1000000 exceeds limit of 10000', 10_000],
  ['QuickNode', -32614, 'eth_getLogs is limited to a 10,000 range', 10_000],
  ['QuickNode, free', -32615, 'eth_getLogs is limited to a 5 range', 5],
  ['Ankr', -32600, 'block range is too wide', undefined],
  ['Chainstack', -32002, 'Block range limit exceeded.', undefined],
  ['dRPC', 35, 'ranges over 10000 blocks are not supported on freetier', 10_000],
  ['Blast', -32600, 'eth_getLogs request exceeds the range allowed for your plan (20000 > 500)', 500],
  ['BlockPI', -32602, 'eth_getLogs is limited to 1024 block range', 1_024],
  ['1RPC', -32001, 'response size should not greater than 10000000 bytes', undefined],
  [
    'Cloudflare',
    -32047,
    'Invalid eth_getLogs request. fromBlock-toBlock range too large. Max range: 800',
    800,
  ],
  ['thirdweb', -32000, 'Maximum allowed number of requested blocks is 3500', 3_500],
  ['Coinbase', -32602, 'please limit the query to at most 1,000 blocks', 1_000],
  ['PublicNode', -32701, 'exceed maximum block range: 50000', 50_000],
  ['Merkle', -32000, 'eth_getLogs range is too large, max is 10k blocks', 10_000],
  ['Tenderly', -32602, 'invalid params', 2_000, { payload: 'range 9009594 is bigger than range limit 2000' }],
  ['geth', -32000, 'query returned more than 10000 results', undefined],
  ['reth, by results', -32602, 'query exceeds max results 20000, retry with the range 257-300', 44],
  ['reth, by range', -32602, 'query exceeds max block range 100000', 100_000],
  ['Erigon, by results', -32000, 'query returns too many logs, narrow your filter: 20000', undefined],
  ['Erigon, by range', -32000, 'query block range exceeds server limit, narrow your filter: 1000', 1_000],
  ['Nethermind', -32005, 'Too many logs requested. Max logs per response is 20000.', undefined],
  ['Besu', -32005, 'Requested range exceeds maximum RPC range limit', undefined],
  ['Arbitrum', -32000, 'logs matched by query exceeds limit of 10000', undefined],
  ['Avalanche', -32000, 'requested too many blocks from 1 to 5000, maximum is set to 2048', 2_048],
  ['Optimism', -32011, 'backend response too large', undefined],
  ['Base', -32000, 'block range too large', undefined],
  ['Scroll', -32000, 'block range is bigger than maxBlockRange', undefined],
  ['Harmony', -32000, 'query must be smaller than size 1024', 1_024],
  ['Moonbeam', -32603, 'block range is too wide (maximum 1024)', 1_024],
  ['Ethermint', -32000, 'maximum [from, to] blocks distance: 10000', 10_000],
  ['Swell', -32000, 'block range greater than 2000 max', 2_000],
  ['Somnia', -32000, 'block range exceeds 1000', 1_000],
  ['Aurora', -32000, 'up to a 2,000 block range', 2_000],
  ['bare code', -32005, 'limit', undefined],
]

describe('classification of JSON-RPC errors', () => {
  it.each(TOO_MANY)('%s: too many results (%d)', (_who, code, message, blocks, data) => {
    const fault = classify('eth_getLogs', { code, message, data })
    expect(fault).toMatchObject({ kind: 'tooMany', blocks })
  })

  it.each([
    ['Infura, throttled', -32005, 'daily request count exceeded, request rate limited', 'busy'],
    ['Alchemy, throttled', 429, 'Your app has exceeded its compute units per second capacity.', 'busy'],
    ['QuickNode, throttled', -32007, '100/second request limit reached - reduce calls per second', 'busy'],
    ['Base, overloaded', -32011, 'no backend is currently healthy to serve traffic', 'busy'],
    ['dRPC, batch', 31, 'Batch of more than 3 requests are not allowed on free tier', 'batch'],
    ['geth, batch', -32600, 'batch too large', 'batch'],
    ['geth, slow', -32002, 'request timed out', 'timeout'],
    ['Erigon, slow', -32000, 'query timeout exceeded: context deadline exceeded', 'timeout'],
    ['geth, lagging', -32602, 'block range extends beyond current head block', 'unsteady'],
    ['anvil, orphaned hash', -32000, 'unknown block', 'unsteady'],
    ['geth, orphaned hash', -32000, 'header for hash not found', 'unsteady'],
    ['unknown method', -32601, 'the method eth_getLogs does not exist/is not available', 'refused'],
    ['plan without the method', 35, 'method is not available on freetier', 'refused'],
    ['bad parameter', -32602, 'invalid argument 0: hex string has length 3', 'refused'],
    ['something else', -32603, 'internal error', 'server'],
    ['no message', -32000, undefined, 'server'],
  ])('%s: %d %s → %s', (_who, code, message, kind) => {
    expect(classify('eth_getLogs', { code, message }).kind).toBe(kind)
  })

  it('does not take the error of another method for one about ranges', () => {
    expect(classify('eth_getBlockByNumber', { code: -32005, message: 'limit' }).kind).toBe('busy')
    expect(classify('eth_call', { code: -32000, message: 'block range too large' }).kind).toBe('server')
  })
})
