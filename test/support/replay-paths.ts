/** The paths of a replay: the shortest way to every state and through every transition. */
import { createStepper, type Walk, type Way } from './model.ts'
import type { ReplayState, ReplayWorld } from './replay-model.ts'
import type { Step } from './replay-world.ts'
import { indexerMachine } from '../../machines/indexer.machine.ts'

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
export function pathOf(walked: Walk<ReplayWorld>, way: Way): Step[] {
  const steps = walked.waysTo(way.from).map(({ from, event, to }) => ({
    before: walked.states.get(from)!,
    event,
    after: walked.states.get(to)!,
  }))
  const before = walked.states.get(way.from)!
  const { chart } = createStepper(indexerMachine).step(before.chart, way.event)
  const known = walked.states.get(way.to)!
  const after: ReplayState = { ...known, status: chart.status, chart }
  return [...steps, { before, event: way.event, after }]
}
