/** The four charts as `tailrace/machines` gives them: their names, what they say of themselves, and the limits they run by. */
import { describe, expect, test } from 'vitest'
import type { AnyStateMachine } from 'xstate'
import {
  committerMachine,
  defaultLimits,
  defaultRegionLimits,
  indexerMachine,
  maxRegions,
  publisherMachine,
  regionMachine,
} from '../../machines/index.ts'
import { attemptDeadlineMs, handOverMs, maxLostAttempts } from '../../machines/limits.ts'
import { stateNodes } from '../support/model.ts'

const charts = [
  { name: 'indexer', machine: indexerMachine as unknown as AnyStateMachine },
  { name: 'committer', machine: committerMachine as unknown as AnyStateMachine },
  { name: 'publisher', machine: publisherMachine as unknown as AnyStateMachine },
  { name: 'region', machine: regionMachine as unknown as AnyStateMachine },
]

describe.each(charts)('the chart $name', ({ name, machine }) => {
  test('has its name, and steps that end', () => {
    expect(machine.root.id).toBe(name)
    expect((machine.options as { maxIterations: number }).maxIterations).toBe(1_000)
  })

  test('says in words what every state means that can be entered by itself', () => {
    const silent = stateNodes(machine).filter(
      (node) => node.parent?.type !== 'parallel' && !/\w \w/.test(node.description ?? ''),
    )
    expect(silent.map(({ id }) => id)).toEqual([])
  })
})

test('the limits of a run that sets none', () => {
  expect(defaultLimits).toEqual({
    stagedBytes: 67_108_864,
    readAheadBytes: 33_554_432,
    batchItems: 2_000,
    batchBytes: 8_388_608,
    groupLatencyMs: 1_000,
    commitDeadlineMs: 300_000,
    drainDeadlineMs: 300_000,
    failDeadlineMs: 1_000,
  })
  expect(defaultRegionLimits).toEqual({ attempts: 5, attemptMs: 5_000, probeMs: 30_000 })
  expect([maxRegions, handOverMs, attemptDeadlineMs, maxLostAttempts]).toEqual([100, 10, 120_000, 3])
})
