/** Regions' snapshots among the staged changes: which are kept, in which order they are written, what they weigh. */
import { describe, expect, test } from 'vitest'
import type { BlockRef } from '../../src/block.ts'
import { ConfigurationError } from '../../src/errors.ts'
import type { Group } from '../../src/staging/batch.ts'
import { Staging } from '../../src/staging/staging.ts'
import { workspace } from '../../src/staging/workspace.ts'
import { MemoryDatabase } from '../support/memory-database.ts'

const block = (checkpoint: number): BlockRef => ({
  checkpoint,
  source: 's',
  number: checkpoint,
  hash: String(checkpoint),
})
/** Bytes beside the body, and a body of one byte. */
const weight = 161

type Published = readonly [region: string, checkpoint: number, body: string]

/** Batches of two blocks each, the first of checkpoints 1 and 2, with what each publishes. */
function stagingOf(
  deliver: 'newest' | 'every',
  collapses: boolean,
  ...batches: readonly Published[][]
): Staging {
  const staging = new Staging([], 1e9, deliver)
  for (const [index, published] of batches.entries()) {
    staging.begin([block(2 * index + 1), block(2 * index + 2)], collapses)
    for (const [region, checkpoint, body] of published) staging.publish(region, body, { checkpoint, item: 0 })
    staging.end()
  }
  return staging
}
const shown = ({ snapshots }: Group) =>
  snapshots.map(({ region, checkpoint, seq, body }) => `${region}${checkpoint}.${seq}=${body}`).join(' ')

describe('where only the newest counts', () => {
  const published: readonly Published[][] = [
    [
      ['a', 1, 'A'],
      ['b', 1, 'B'],
      ['a', 1, 'C'],
      ['a', 2, 'D'],
    ],
    [
      ['b', 3, 'E'],
      ['c', 4, 'F'],
    ],
  ]

  test('I13: a batch that collapses holds one a region, and so does the group', () => {
    const staging = stagingOf('newest', true, ...published)
    expect(staging.batches[0]!.snapshots.map(({ body }) => body)).toEqual(['B', 'D'])
    expect(shown(staging.freeze(1))).toBe('b1.0=B a2.0=D')
    expect(shown(staging.freeze(2))).toBe('a2.0=D b3.0=E c4.0=F')
  })

  test('I15: above the safe checkpoint each checkpoint keeps its own', () => {
    const staging = stagingOf('newest', false, ...published)
    expect(shown(staging.freeze(2))).toBe('b1.0=B a1.0=C a2.0=D b3.0=E c4.0=F')
  })

  test('H75: a fork takes back what is above it', () => {
    const staging = stagingOf('newest', false, ...published)
    expect(staging.uncommittedBytes).toBe(5 * weight)
    expect(staging.cut(1)).toEqual({ dropped: 1, trimmed: 1 })
    expect(shown(staging.freeze(1))).toBe('b1.0=B a1.0=C')
    expect(staging.uncommittedBytes).toBe(2 * weight)
  })
})

test('I14: where every one counts, all are kept, numbered within their region and checkpoint', () => {
  const published: Published[] = [
    ['a', 1, 'A'],
    ['a', 1, 'B'],
    ['b', 1, 'C'],
    ['a', 2, 'D'],
    ['a', 1, 'E'],
  ]
  for (const collapses of [true, false]) {
    const staging = stagingOf('every', collapses, published, [['a', 3, 'F']])
    expect(shown(staging.freeze(2))).toBe('a1.0=A a1.1=B b1.0=C a2.0=D a1.2=E a3.0=F')
    expect(staging.uncommittedBytes).toBe(6 * weight)
  }
})

test('I11: their bytes count, are given back with them, and are those of UTF-8', () => {
  const staging = stagingOf('newest', true, [['a', 1, 'é'.repeat(10)]])
  expect(staging.uncommittedBytes).toBe(180)
  expect(staging.freeze(1).bytes).toBe(180)
  staging.begin([block(3)], true)
  staging.publish('a', 'x', { checkpoint: 3, item: 0 })
  expect(staging.uncommittedBytes).toBe(180 + weight)
  staging.publish('a', 'xx', { checkpoint: 3, item: 0 })
  expect(staging.uncommittedBytes).toBe(180 + weight + 1)
  staging.discard()
  expect(staging.uncommittedBytes).toBe(180)
  staging.land(1)
  expect([staging.uncommittedBytes, staging.batches]).toEqual([0, []])
})

describe('a handler’s publish', () => {
  const given = (jsonOf?: (region: string, body: unknown) => string) => {
    const staging = new Staging([], 1e9)
    const compute = workspace(staging, new MemoryDatabase([]), jsonOf)
    compute.begin([block(1)])
    return { staging, compute }
  }

  test('is staged under its checkpoint, and not at all by the speculative pass', () => {
    const { staging, compute } = given((region, body) => JSON.stringify([region, body]))
    compute.scope(1, 0, true, () => '').publish('a', 1)
    expect(staging.uncommittedBytes).toBe(0)
    compute.scope(1, 0, false, () => '').publish('a', { n: 1 })
    compute.end()
    expect(shown(staging.freeze(1))).toBe('a1.0=["a",{"n":1}]')
  })

  test('H10: is refused after the handler has settled', () => {
    const { compute } = given(() => '')
    const scope = compute.scope(1, 0, false, () => 'the handler')
    void scope.settle()
    expect(() => scope.publish('a', 1)).toThrow('the handler used its context after it had settled')
  })

  test('needs somewhere to publish to', () => {
    const attempt = () =>
      given()
        .compute.scope(1, 0, false, () => '')
        .publish('a', 1)
    expect(attempt).toThrow(ConfigurationError)
    expect(attempt).toThrow(
      expect.objectContaining({
        code: 'NO_REGIONS',
        phase: 'compute',
        message:
          "region('a').publish() needs somewhere to publish to: give createIndexer `regions: redisRegions({ url })`, " +
          "from 'tailrace/redis'.",
      }),
    )
  })
})

test('what has no batch to go to is a mistake of ours', () => {
  const staging = new Staging([], 1e9)
  expect(() => staging.publish('a', 'x', { checkpoint: 1, item: 0 })).toThrow('no batch is open')
  expect(() => staging.end()).toThrow('no batch is open')
  expect(() => staging.discard()).not.toThrow()
  expect(() => staging.freeze(0)).toThrow('an empty group')
  staging.begin([block(1)], true)
  expect(() => staging.begin([block(2)], true)).toThrow('a batch is open already')
  expect(() => staging.cut(0)).toThrow('a batch is open')
})
