import type { Hex } from 'viem'
import { describe, expect, it } from 'vitest'
import { bloomBits } from '../../src/source/evm/bloom.ts'
import { isFault, type FaultKind } from '../../src/source/evm/fault.ts'
import { checkHash, checkLinked, groupLogs, present } from '../../src/source/evm/logs.ts'
import { readHeader, readLogs, readQuantity, type Header } from '../../src/source/evm/wire.ts'

const hash = (digit: number): Hex => `0x${String(digit).repeat(64)}`
const raw = (changed: object = {}) => ({
  address: `0x${'A'.repeat(40)}`,
  topics: [hash(1)],
  data: '0x',
  blockNumber: '0x5',
  blockHash: hash(5),
  transactionHash: hash(7),
  transactionIndex: '0x0',
  logIndex: '0x0',
  ...changed,
})
const header = (number: number, parent: number): Header => ({
  number,
  hash: hash(number),
  parentHash: hash(parent),
  timestamp: 0,
  logsBloom: undefined,
})

function faultOf(what: () => unknown): FaultKind | undefined {
  try {
    what()
    return undefined
  } catch (thrown) {
    return (['malformed', 'unsteady'] as const).find((kind) => isFault(thrown, kind))
  }
}

describe('H27: logs of one answer', () => {
  const group = (...logs: object[]) => groupLogs(readLogs(logs.map(raw)), 4, 6)

  it('come in order, grouped by block, each once', () => {
    const groups = group(
      { logIndex: '0x9' },
      { blockNumber: '0x4', logIndex: '0x3' },
      { logIndex: '0x2' },
      { logIndex: '0x9' },
    )
    expect([...groups].map(([number, logs]) => [number, logs.map(({ logIndex }) => logIndex)])).toEqual([
      [4, [3]],
      [5, [2, 9]],
    ])
  })

  it.each([
    ['two hashes for one block', [{}, { logIndex: '0x1', blockHash: hash(6) }], 'unsteady'],
    ['two logs in one place', [{}, { data: '0x00' }], 'malformed'],
    ['two transactions in one place', [{}, { transactionHash: hash(8) }], 'malformed'],
    ['a block below the range', [{ blockNumber: '0x3' }], 'malformed'],
    ['a block above the range', [{ blockNumber: '0x7' }], 'malformed'],
    ['a removed log', [{ removed: true }], 'malformed'],
    ['a pending log', [{ blockHash: null }], 'malformed'],
    ['a short address', [{ address: '0x12' }], 'malformed'],
    ['a log index that is no quantity', [{ logIndex: 3 }], 'malformed'],
  ])('are refused with %s', (_what, logs, kind) => {
    expect(faultOf(() => group(...logs))).toBe(kind)
  })
})

describe('H68: a header', () => {
  it('that is not there means that the node lags, whatever it listed', () => {
    expect(faultOf(() => present(readHeader(null), 5))).toBe('unsteady')
    expect(faultOf(() => present(undefined, 5))).toBe('unsteady')
    expect(faultOf(() => present(header(6, 5), 5))).toBe('malformed')
    expect(present(header(5, 4), 5).number).toBe(5)
  })

  it('has to have the hash that its logs say, and follow the one before it', () => {
    const logs = readLogs([raw()])
    expect(faultOf(() => checkHash(header(5, 4), logs))).toBeUndefined()
    expect(faultOf(() => checkHash(header(6, 4), logs))).toBe('unsteady')
    expect(faultOf(() => checkLinked([header(4, 3), header(5, 4)]))).toBeUndefined()
    expect(faultOf(() => checkLinked([header(4, 3), header(5, 3)]))).toBe('unsteady')
  })

  it('is read strictly', () => {
    expect(faultOf(() => readHeader({ number: '0x1' }))).toBe('malformed')
    expect(faultOf(() => readHeader([]))).toBe('malformed')
    expect(faultOf(() => readQuantity('0xffffffffffffffff', 'x'))).toBe('malformed')
    expect(faultOf(() => readQuantity('5', 'x'))).toBe('malformed')
  })
})

describe('bloom bits', () => {
  it('are those of the specification', () => {
    // keccak256('0x…00', 20 bytes) begins 5380 c7b7 ae81: bits 0x380, 0x7b7, 0x681.
    expect(bloomBits('0x0000000000000000000000000000000000000000')).toEqual([
      [255 - (0x380 >> 3), 1 << (0x380 & 7)],
      [255 - (0x7b7 >> 3), 1 << (0x7b7 & 7)],
      [255 - (0x681 >> 3), 1 << (0x681 & 7)],
    ])
  })
})
