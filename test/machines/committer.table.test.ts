/** The committer against its total table: every state × every word (docs/spec.md shows the same). */
import { describe, expect, test } from 'vitest'
import type { AnyMachineSnapshot } from 'xstate'
import { committerMachine } from '../../machines/committer.machine.ts'
import type { CommitterContext } from '../../machines/committer.machine.ts'
import { createStepper, stateNodes } from '../support/model.ts'
import type { ModelEvent } from '../support/model.ts'
import { dotted } from '../support/model-invariants.ts'
import { committerTable, committerWords, passedThrough } from '../support/model-table-committer.ts'
import type { Case } from '../support/model-table.ts'

type AnyCase = Case<string, CommitterContext, undefined>
type AnyRow = { readonly on: Record<string, Record<string, string | readonly AnyCase[]>> }

const words: Record<string, Record<string, string>> = committerWords
const stepper = createStepper(committerMachine)
const start = stepper.start({
  kind: 'commit',
  batches: 2,
  from: 100,
  upTo: 120,
  commitDeadlineMs: 1_000,
}).chart

const rows = Object.entries(committerTable as unknown as Record<string, AnyRow>).map(([state, row]) => ({
  state,
  row,
}))

describe.each(rows)('$state', ({ state, row }) => {
  const cells = Object.entries(words).flatMap(([speaker, said]) =>
    Object.entries(said).flatMap(([word, type]) => {
      const cell = row.on[speaker]![word]!
      const cases: readonly AnyCase[] = typeof cell === 'string' ? [{ when: '', to: cell }] : cell
      return cases.map((each) => ({ ...each, type, title: each.when === '' ? '' : `[${each.when}]` }))
    }),
  )

  test.each(cells)('$type $title → $to', ({ type, to, facts, event: patch }) => {
    const chart = at(state, facts ?? {})
    const event = sample(type, patch)
    if (chart.status === 'done') {
      // an actor at its end hears nothing
      expect(to).toBe('ignored')
      return
    }
    const answering = committerMachine.getTransitionData(chart as never, event as never)
    const after = stepper.step(chart, event).chart
    if (to === 'ignored') {
      expect(answering).toEqual([])
      expect(after.value).toEqual(chart.value)
    } else {
      expect(answering).not.toEqual([])
      expect(dotted(after.value)).toBe(to === 'stays' ? state : to)
    }
  })
})

describe('the table is total', () => {
  test('it has every state of the machine, and no other', () => {
    const leaves = stateNodes(committerMachine).filter(
      (node) => node.type === 'atomic' || node.type === 'final',
    )
    expect([...rows.map(({ state }) => state), passedThrough].sort()).toEqual(
      leaves.map(({ path }) => path.join('.')).sort(),
    )
  })

  test('it has every event of the machine, and no other', () => {
    const inTable = Object.values(words).flatMap((said) => Object.values(said))
    expect(inTable.sort()).toEqual([...committerMachine.events].sort())
  })
})

function at(state: string, facts: Partial<CommitterContext>): AnyMachineSnapshot {
  const context = { ...(start.context as CommitterContext), ...facts }
  const [first, second] = state.split('.')
  const value = second === undefined ? first : { [first!]: second }
  const chart = committerMachine.resolveState({ value, context } as never) as unknown as AnyMachineSnapshot
  return { ...chart, children: chart.status === 'active' ? start.children : {} } as AnyMachineSnapshot
}

function sample(type: string, patch: Readonly<Record<string, unknown>> = {}): ModelEvent {
  const isLanded = type.endsWith('.landed')
  const landed = { batches: 2, committed: 120, stagedBatches: 0, stagedBytes: 0, groupLimit: 2, snapshots: 0 }
  return { type, upTo: 120, error: `error of ${type}`, retryInMs: 1, ...(isLanded ? landed : {}), ...patch }
}
