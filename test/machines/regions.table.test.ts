/** Region and publisher against their total tables: every state × every word (docs/spec.md shows the same). */
import { describe, expect, test } from 'vitest'
import type { AnyMachineSnapshot, AnyStateMachine } from 'xstate'
import { publisherMachine } from '../../machines/publisher.machine.ts'
import { regionMachine } from '../../machines/region.machine.ts'
import { createStepper, stateNodes } from '../support/model.ts'
import type { ModelEvent, Stepper } from '../support/model.ts'
import { dotted } from '../support/model-invariants.ts'
import type { Case } from '../support/model-table.ts'
import { publisherTable, publisherWords } from '../support/model-table-publisher.ts'
import { regionTable, regionWords } from '../support/model-table-region.ts'

type AnyCase = Case<string, object, undefined>
interface AnyRow {
  readonly facts?: object
  readonly on: Record<string, Record<string, string | readonly AnyCase[]>>
}

interface Subject {
  readonly id: string
  readonly machine: AnyStateMachine
  readonly stepper: Stepper
  /** Where it begins, all its children alive. */
  readonly start: AnyMachineSnapshot
  readonly table: Record<string, AnyRow>
  readonly words: Record<string, Record<string, string>>
}

const limits = { attempts: 3, attemptMs: 1_000, probeMs: 1_000 }
const offered: ModelEvent = { type: 'region.offered', region: 'a', snapshots: 1 }

const subjects: readonly Subject[] = [
  subject(regionMachine as never, { region: 'a', limits }, [], regionTable, regionWords),
  subject(publisherMachine as never, { limits }, [offered], publisherTable, publisherWords),
]

function subject(
  machine: AnyStateMachine,
  input: object,
  said: readonly ModelEvent[],
  table: object,
  words: Subject['words'],
): Subject {
  const stepper = createStepper(machine)
  const start = said.reduce((chart, event) => stepper.step(chart, event).chart, stepper.start(input).chart)
  return { id: machine.id, machine, stepper, start, table: table as Subject['table'], words }
}

describe.each(subjects)('$id', ({ machine, stepper, start, table, words }) => {
  const cells = Object.entries(table).flatMap(([state, row]) =>
    Object.entries(words).flatMap(([speaker, said]) =>
      Object.entries(said).flatMap(([word, type]) => {
        const cell = row.on[speaker]![word]!
        const cases: readonly AnyCase[] = typeof cell === 'string' ? [{ when: '', to: cell }] : cell
        return cases.map((each) => {
          const title = each.when === '' ? '' : `[${each.when}]`
          return { ...each, state, type, title, facts: { ...row.facts, ...each.facts } }
        })
      }),
    ),
  )

  test.each(cells)('$state: $type $title → $to', ({ state, type, to, facts, event: patch }) => {
    const chart = at(state, facts)
    const event = sample(type, patch)
    const settled = stepper.step(chart, { type: 'nothing.said' }).chart
    expect(settled.value, 'the row must be tried at rest').toEqual(chart.value)

    const answering = machine.getTransitionData(chart as never, event)
    const after = stepper.step(chart, event).chart
    expect(after.status).toBe('active')
    if (to === 'ignored') {
      expect(answering).toEqual([])
      expect(after.value).toEqual(chart.value)
    } else {
      expect(answering).not.toEqual([])
      expect(dotted(after.value)).toBe(to === 'stays' ? state : to)
    }
  })

  test('the table has every state of the machine, and no other', () => {
    const leaves = stateNodes(machine).filter((node) => node.type === 'atomic')
    expect(Object.keys(table).sort()).toEqual(leaves.map(({ path }) => path.join('.')).sort())
  })

  test('the table has every event of the machine, and no other', () => {
    const inTable = Object.values(words).flatMap((said) => Object.values(said))
    expect(inTable.sort()).toEqual([...(machine.events as string[])].sort())
  })

  function at(state: string, facts: object): AnyMachineSnapshot {
    const context = { ...(start.context as object), ...facts }
    const [first, second] = state.split('.')
    const value = second === undefined ? first : { [first!]: second }
    const chart = machine.resolveState({ value, context } as never) as unknown as AnyMachineSnapshot
    return { ...chart, children: start.children } as AnyMachineSnapshot
  }
})

function sample(type: string, patch: Readonly<Record<string, unknown>> = {}): ModelEvent {
  const failed = { error: `error of ${type}`, permanent: false, retryInMs: 1 }
  return { type, region: 'a', snapshots: 1, settled: 1, delivered: false, ...failed, ...patch }
}
