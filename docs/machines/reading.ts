/** Reads a machine's definition: what its pages and its picture both need. */
import type { AnyStateMachine, AnyTransitionDefinition } from 'xstate'
import { shortEvent } from '../../test/support/model.ts'

export type StateNode = AnyStateMachine['root']

export function transitionsOf(node: StateNode): AnyTransitionDefinition[] {
  return [
    ...((node.always ?? []) as AnyTransitionDefinition[]),
    ...[...(node.transitions as Map<string, AnyTransitionDefinition[]>).values()].flat(),
  ]
}

export function eventOf({ eventType }: AnyTransitionDefinition): string {
  return eventType === '' ? 'always' : shortEvent(eventType)
}

/** XState adds the arming of its timers to the entry actions. */
export function visible(actions: readonly unknown[]): unknown[] {
  return actions.filter((action) => typeof action !== 'function')
}

export function nameOfAction(action: unknown): string {
  if (typeof action === 'string') return action
  const { type, params } = action as { type: string; params?: unknown }
  return params === undefined ? type : `${type}(${Object.values(params as object).join(', ')})`
}

interface Combined {
  readonly name: string
  readonly guards?: unknown[]
  readonly stateValue?: string
}

export function guardText(guard: unknown): string {
  if (guard === undefined) return ''
  if (typeof guard === 'string') return guard
  // XState's own combinators are functions; only their names tell them apart in a production build
  const { name, guards, stateValue } = guard as Combined
  if (stateValue !== undefined) return `in ${stateValue.replace(/^#[^.]+\./, '')}`
  if (guards === undefined) throw new Error(`a guard without a name: ${String(guard)}`)
  const texts = guards.map(guardText)
  if (name === 'not') return `not ${texts[0]}`
  return texts.join(name === 'or' ? ' or ' : ' and ')
}

/** A guard's conditions, all of which must hold: names, whether they are turned round, the state they ask for. */
export function guardParts(
  machine: AnyStateMachine,
  guard: unknown,
): { name: string; negated: boolean; state: string | null }[] {
  if (guard === undefined) return []
  const { name, guards, stateValue } = (typeof guard === 'string' ? { name: guard } : guard) as Combined
  const known = (machine.implementations.guards as Record<string, Partial<Combined> | undefined>)[name]
  const state = stateValue ?? known?.stateValue
  if (typeof guard === 'string' || guards === undefined) {
    return [{ name: guardText(guard), negated: false, state: state?.replace(/^#/, '') ?? null }]
  }
  const inner = guards.flatMap((each) => guardParts(machine, each))
  if (name === 'and') return inner
  if (name === 'not' && inner.length === 1) return [{ ...inner[0]!, negated: true }]
  return [{ name: guardText(guard), negated: false, state: null }]
}
