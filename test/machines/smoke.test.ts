/**
 * What neither TypeScript nor `createMachine` catches: an unknown delay in `after` fires at once, an unknown
 * `initial` breaks at start, an invoke without `onError` breaks its parent. One look at each machine.
 */
import { describe, expect, test } from 'vitest'
import { createActor } from 'xstate'
import type { AnyStateMachine } from 'xstate'
import { committerMachine } from '../../machines/committer.machine.ts'
import { indexerMachine } from '../../machines/indexer.machine.ts'
import { defaultLimits, defaultRegionLimits, timerMs } from '../../machines/limits.ts'
import { regionMachine } from '../../machines/region.machine.ts'
import { stateNodes } from '../support/model.ts'

const machines = [
  { id: 'indexer', machine: indexerMachine as unknown as AnyStateMachine, input: { limits: defaultLimits } },
  {
    id: 'committer',
    machine: committerMachine as unknown as AnyStateMachine,
    input: { kind: 'commit', batches: 1, from: 0, upTo: 1, commitDeadlineMs: 1_000 },
  },
  {
    id: 'region',
    machine: regionMachine as unknown as AnyStateMachine,
    input: { region: 'r', limits: defaultRegionLimits },
  },
]

describe.each(machines)('$id', ({ id, machine, input }) => {
  const nodes = [machine.root, ...stateNodes(machine)]

  test('starts, stops, and its name is its root', () => {
    const actor = createActor(machine, { input } as never)
    actor.subscribe({ error: () => undefined })
    actor.start()
    expect(actor.getSnapshot().status).toBe('active')
    expect(machine.root.id).toBe(id)
    actor.stop()
  })

  test('every delay of an `after` has its name', () => {
    const declared = Object.keys(machine.implementations.delays)
    const used = nodes.flatMap((node) => Object.keys((node.config.after ?? {}) as object))
    expect(used.filter((delay) => !declared.includes(delay))).toEqual([])
    expect(declared.filter((delay) => !used.includes(delay))).toEqual([])
  })

  test('every action, guard and actor that is named is declared, and every declared one is used', () => {
    const { actions, guards, actors } = machine.implementations
    const config = JSON.stringify(machine.config, (_key, value: unknown) =>
      typeof value === 'function' ? guardNames(value) : value,
    )
    for (const name of [...Object.keys(actions), ...Object.keys(guards), ...Object.keys(actors)]) {
      expect(config.includes(`"${name}"`), `${name} is declared and not used`).toBe(true)
    }
  })

  test('every compound state has an initial state', () => {
    for (const node of nodes.filter(({ type }) => type === 'compound')) {
      const target = node.initial.target as unknown as { parent: unknown }[]
      expect(target).toHaveLength(1)
    }
  })

  test('every invoke listens to the error of its actor', () => {
    for (const node of nodes) {
      for (const { id: child } of node.invoke as { id: string }[]) {
        expect([...node.transitions.keys()], node.id).toContain(`xstate.error.actor.${child}`)
      }
    }
  })

  test('no state listens to everything, and runaway steps are bounded', () => {
    for (const node of nodes) expect([...node.transitions.keys()]).not.toContain('*')
    expect((machine.options as { maxIterations: number }).maxIterations).toBe(1_000)
  })

  test('every state that can be entered by itself says what it means', () => {
    const silent = stateNodes(machine).filter(
      (node) => node.description === undefined && node.parent?.type !== 'parallel',
    )
    expect(silent.map((node) => node.id)).toEqual([])
  })
})

test('a timer takes any limit: none is negative, none overflows 32 bits', () => {
  expect([-1, 0, 10, 2 ** 31, Infinity].map(timerMs)).toEqual([0, 0, 10, 2 ** 31 - 1, 2 ** 31 - 1])
})

/** The names inside `and`, `or` and `not`. */
function guardNames(guard: unknown): unknown {
  const { guards } = guard as { guards?: unknown[] }
  return guards?.map((inner) => (typeof inner === 'string' ? inner : guardNames(inner)))
}
