/** The paths of a replay: the shortest way to every state and through every transition, and random ones. */
import { indexerMachine } from '../../machines/indexer.machine.ts'
import type { CommitOutcome } from '../../machines/outcome.ts'
import type { Bounds } from './model-indexer.ts'
import {
  begin,
  createStepper,
  eventsOf,
  follow,
  walk,
  type Model,
  type ModelEvent,
  type Stepper,
  type Walk,
  type Way,
} from './model.ts'
import { reasonAgainst, type Reason, type ReplayState, type ReplayWorld, wholeModel } from './replay-model.ts'
import type { Step } from './replay-world.ts'

const stepper: Stepper = createStepper(indexerMachine)

/** One way for each path: it ends with it, after the shortest way there. No path is the beginning of another. */
export function coveringWays(walked: Walk<ReplayWorld>): Way[] {
  const inner = new Set<string>()
  const last = new Set<Way>()
  for (const key of walked.states.keys()) {
    const path = walked.waysTo(key)
    for (const way of path) inner.add(way.from)
    if (path.length > 0) last.add(path.at(-1)!)
  }
  return walked.ways.filter((way) => !(last.has(way) && inner.has(way.to)))
}

/** The path that ends with this way. Its last state is worked out: the walk knows only one of each key. */
export function pathOf(model: Model<ReplayWorld>, walked: Walk<ReplayWorld>, way: Way): Step[] {
  const steps = walked.waysTo(way.from).map(({ from, event, to }) => ({
    before: walked.states.get(from)!,
    event,
    after: walked.states.get(to)!,
  }))
  const before = walked.states.get(way.from)!
  return [...steps, { before, event: way.event, after: follow(model, stepper, before, way.event).after }]
}

/** Any path: what the abstraction merges is told apart by what happened before. */
export function randomPath(model: Model<ReplayWorld>, random: () => number, length: number): Step[] {
  const steps: Step[] = []
  let state: ReplayState = begin(model, stepper).first
  while (steps.length < length) {
    const events = eventsOf(model, state)
    if (events.length === 0) break
    // what ends the run is rare, so that paths are long
    const calm = events.filter((event) => !endsRun(event))
    const among = calm.length > 0 && random() < 0.98 ? calm : events
    const event = among[Math.floor(random() * among.length)]!
    const { after } = follow(model, stepper, state, event)
    steps.push({ before: state, event, after })
    state = after
  }
  return steps
}

function endsRun(event: ModelEvent): boolean {
  const output = event['output'] as CommitOutcome | undefined
  if (output !== undefined) return output.status === 'failed' || output.status === 'superseded'
  return /^(stop|abort|ownership\.lost|source\.ended|.*failed|.*Deadline.*)$/.test(event.type)
}

/** How many transitions of the whole walk are replayed, and why the others are not. */
export function countReasons(bounds: Bounds): {
  readonly states: number
  readonly transitions: number
  readonly reasons: ReadonlyMap<Reason | 'replayed', number>
} {
  const whole = walk(wholeModel(bounds))
  const reasons = new Map<Reason | 'replayed', number>()
  for (const { from, event } of whole.ways) {
    const reason = reasonAgainst(whole.states.get(from)!, event) ?? 'replayed'
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  }
  return { states: whole.states.size, transitions: whole.ways.length, reasons }
}
