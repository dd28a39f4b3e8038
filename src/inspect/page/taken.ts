/** Which of a chart's transitions a message names; which chart an actor has. */
import type { TransitionTaken } from '../protocol.ts'
import type { Chart, Charts, Transition } from './charts.ts'
import { nameOfActor } from './fold.ts'

export function takenTransitions(chart: Chart, taken: readonly TransitionTaken[]): Transition[] {
  return taken.flatMap(({ source, targets, event, guard }) => {
    const alike = chart.transitions.filter(
      (each) => each.source === source && each.event === event && each.targets.join() === targets.join(),
    )
    const exact = alike.filter((each) => each.guard === (guard ?? ''))
    return exact.length > 0 ? exact.slice(0, 1) : alike.slice(0, 1)
  })
}

const chartNames: Readonly<Record<string, string>> = { restorer: 'committer' }

/** By its name: also of one that has not been seen yet. */
export function chartOfActor({ charts }: Charts, path: string): Chart | undefined {
  const name = nameOfActor(path)
  const id = name.startsWith('region:') ? 'region' : (chartNames[name] ?? name)
  return charts.find((chart) => chart.id === id)
}
