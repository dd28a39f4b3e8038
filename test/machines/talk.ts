/**
 * Talking to a chart and hearing what it tells its workers and its parent: `worker.word`, `+child` for one that starts,
 * `~delay` for a clock that is wound up. Where it goes meanwhile is in the tables; that nothing is told out of turn, in the
 * walks.
 */
import { expect } from 'vitest'
import type { AnyStateMachine } from 'xstate'
import { createStepper, shortEvent } from '../support/model.ts'
import type { ModelEvent, Step } from '../support/model.ts'

export type Talk = readonly (readonly [said: ModelEvent | string, told: readonly string[]])[]

/** Says one thing after the other; returns the last step. */
export function talk(machine: unknown, input: unknown, begins: readonly string[], lines: Talk): Step {
  const stepper = createStepper(machine as AnyStateMachine)
  let step = stepper.start(input)
  expect(wordsOf(step), 'at the start').toEqual(begins)
  for (const [said, told] of lines) {
    const event = typeof said === 'string' ? { type: said } : said
    step = stepper.step(step.chart, event)
    expect(wordsOf(step), event.type).toEqual(told)
  }
  return step
}

function wordsOf({ commands, spawned, armed }: Step): string[] {
  return [
    ...spawned.map(({ id }) => `+${id}`),
    ...commands.map(({ to, type, ...facts }) =>
      Object.keys(facts).length === 0 ? `${to}.${type}` : `${to}.${type} ${JSON.stringify(facts)}`,
    ),
    ...armed.map((id) => shortEvent(id).replace('after ', '~')),
  ]
}
