/** The root chart against its total table: every state of every lane × every word (docs/spec.md shows the same). */
import { describe, expect, test } from 'vitest'
import type { AnyMachineSnapshot } from 'xstate'
import { indexerMachine } from '../../machines/indexer.machine.ts'
import type { IndexerFacts } from '../../machines/facts.ts'
import { initialFacts } from '../../machines/facts.ts'
import { defaultLimits } from '../../machines/limits.ts'
import { createStepper, stateNodes } from '../support/model.ts'
import type { ModelEvent } from '../support/model.ts'
import { dotted, lanesOf } from '../support/model-invariants.ts'
import { indexerTables, indexerWords } from '../support/model-table-indexer.ts'
import type { SiteLanes } from '../support/model-table-indexer.ts'
import type { Case } from '../support/model-table.ts'

type Lane = keyof typeof indexerTables
type AnyCase = Case<string, IndexerFacts, SiteLanes>
interface AnyRow {
  readonly facts?: Partial<IndexerFacts>
  readonly lanes?: SiteLanes
  readonly on: Record<string, Record<string, string | readonly AnyCase[]>>
}

const tables = indexerTables as unknown as Record<Lane, Record<string, AnyRow>>
const words: Record<string, Record<string, string>> = indexerWords
const input = { limits: { ...defaultLimits, stagedBytes: 2 } }
const stepper = createStepper(indexerMachine)
const children = livingChildren()

const rows = (Object.keys(tables) as Lane[]).flatMap((lane) =>
  Object.entries(tables[lane]).map(([state, row]) => ({ lane, state, row })),
)

describe.each(rows)('$lane: $state', ({ lane, state, row }) => {
  const cells = Object.entries(words).flatMap(([speaker, said]) =>
    Object.entries(said).flatMap(([word, type]) => {
      const cell = row.on[speaker]![word]!
      const cases = typeof cell === 'string' ? [{ when: '', to: cell }] : cell
      return cases.map((each) => ({ ...each, type, title: each.when === '' ? '' : `[${each.when}]` }))
    }),
  )

  test.each(cells)('$type $title → $to', ({ type, to, ...each }) => {
    const chart = at(lane, state, row, each)
    const event = sample(type, each.event)
    if (chart.status === 'done') {
      // an actor at its end hears nothing
      expect(to).toBe('ignored')
      return
    }
    const answering = answersOf(chart, event)
    const own = answering.filter((source) => belongsTo(source, lane))
    const settled = stepper.step(chart, { type: 'nothing.said' }).chart
    expect(settled.value, 'the row must be tried at rest').toEqual(chart.value)

    const after = stepper.step(chart, event).chart
    if (after.status === 'error') {
      // nobody lives who could say it; the walks show that it is never said
      expect({ type, to, answering }).toEqual({ type, to: 'ignored', answering: [] })
      return
    }
    const now = placeOf(after, lane)
    if (to === 'ignored') {
      expect(own).toEqual([])
      expect(now).toBe(placeOf(chart, lane))
    } else if (to === 'stays') {
      expect(own).not.toEqual([])
      expect(now).toBe(placeOf(chart, lane))
    } else {
      expect(now).toBe(to)
    }
  })
})

describe('the table is total', () => {
  test('it has every state of the machine, and no other', () => {
    const leaves = stateNodes(indexerMachine).filter(
      (node) => node.type === 'atomic' || node.type === 'final',
    )
    const inTable = rows.map(({ lane, state }) => (lane === 'top' ? state : `active.${lane}.${state}`))
    expect(inTable.filter((state) => state !== 'active').sort()).toEqual(
      leaves.map(({ path }) => path.join('.')).sort(),
    )
  })

  test('it has every event of the machine, and no other', () => {
    const inTable = Object.values(words).flatMap((said) => Object.values(said))
    expect(inTable.sort()).toEqual([...indexerMachine.events].sort())
  })
})

/** A snapshot with this lane in this state, the others where the row and the case put them, all children alive. */
function at(lane: Lane, state: string, row: AnyRow, each: Partial<AnyCase>): AnyMachineSnapshot {
  const context: IndexerFacts = {
    ...initialFacts(input),
    committed: 100,
    processed: 100,
    ...row.facts,
    ...each.facts,
  }
  const lanes = {
    control: 'flowing',
    source: 'reading',
    compute: 'pulling',
    commit: 'idle',
    publish: 'idle',
    ...row.lanes,
    ...(lane === 'top' ? {} : { [lane]: state }),
    ...each.lanes,
  }
  const isActive = lane !== 'top' || state === 'active'
  const value = isActive
    ? { active: Object.fromEntries(Object.entries(lanes).map(([key, place]) => [key, nested(place)])) }
    : nested(state)
  const chart = indexerMachine.resolveState({ value, context } as never) as unknown as AnyMachineSnapshot
  const alive = isActive
    ? [
        'sources',
        'computer',
        'publisher',
        ...(lanes.commit === 'committing' ? ['committer'] : []),
        ...(lanes.control.startsWith('rollingBack') ? ['restorer'] : []),
      ]
    : state.startsWith('opening')
      ? ['opener']
      : []
  return {
    ...chart,
    children: Object.fromEntries(alive.map((id) => [id, children[id]!])),
  } as AnyMachineSnapshot
}

/** One living reference of each kind, taken from charts that were walked to. */
function livingChildren(): AnyMachineSnapshot['children'] {
  const opening = stepper.start(input).chart
  const active = stepper.step(opening, { type: 'opened', committed: 100 }).chart
  const pulled = stepper.step(active, sample('batch.pulled')).chart
  const committing = stepper.step(pulled, sample('batch.handled')).chart
  const forked = [sample('source.fork'), { type: 'batch.cancelled' }, { type: 'source.closed' }].reduce(
    (chart, event) => stepper.step(chart, event).chart,
    active,
  )
  return { ...opening.children, ...committing.children, ...forked.children }
}

function sample(type: string, patch: Readonly<Record<string, unknown>> = {}): ModelEvent {
  const { output: outputPatch, ...facts } = patch
  const base: Record<string, Record<string, unknown>> = {
    opened: { committed: 100 },
    'batch.pulled': { from: 101, upTo: 110, items: 1 },
    'batch.handled': { upTo: 110, stagedBytes: 1 },
    'source.fork': { source: 'a', target: 100 },
    'publish.offered': { snapshots: 1 },
    'region.settled': { settled: 1, delivered: true, error: null },
  }
  const isDone = type.startsWith('xstate.done.actor.')
  const output = {
    status: 'committed',
    landed: 0,
    committed: 100,
    stagedBatches: 0,
    stagedBytes: 0,
    groupLimit: 1,
    snapshots: 0,
    error: null,
    inDoubt: null,
    owner: null,
    ...(outputPatch as object | undefined),
  }
  const error = /failed|abort|error/.test(type) ? { error: `error of ${type}` } : {}
  return { type, ...base[type], ...error, ...facts, ...(isDone ? { output } : {}) }
}

/** Paths of the states whose transitions answer this event. */
function answersOf(chart: AnyMachineSnapshot, event: ModelEvent): string[] {
  return indexerMachine
    .getTransitionData(chart as never, event as never)
    .map(({ source }) => (source as unknown as { path: string[] }).path.join('.'))
}

function belongsTo(source: string, lane: Lane): boolean {
  if (lane !== 'top') return source.startsWith(`active.${lane}`)
  return source === 'active' || source.startsWith('opening')
}

/** The lane's state, or the end that the whole run has come to. */
function placeOf(chart: AnyMachineSnapshot, lane: Lane): string {
  const lanes = lanesOf(chart)
  if (lanes === null) return dotted(chart.value)
  return lane === 'top' ? 'active' : lanes[lane]
}

function nested(place: string): unknown {
  const [first, ...rest] = place.split('.')
  return rest.length === 0 ? first : { [first!]: nested(rest.join('.')) }
}
