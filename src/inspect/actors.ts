/** Charts among XState's actors: which of them there are, what they are called, what is told of one. */
import type { AnyActorRef, AnyMachineSnapshot, AnyTransitionDefinition } from 'xstate'
import type { TransitionTaken } from './protocol.ts'

/** Workers are callback actors: their snapshots have no machine, and nothing is told of them. */
export function isOfChart(snapshot: unknown): snapshot is AnyMachineSnapshot {
  return typeof snapshot === 'object' && snapshot !== null && 'machine' in snapshot
}

/** `indexer/publisher/region:europe` */
export function pathOf(actor: AnyActorRef): string {
  const { _parent: parent } = actor
  return parent === undefined ? rootIdOf(actor) : `${pathOf(parent)}/${actor.id}`
}

/** A root actor's own id is a number of XState's. */
function rootIdOf(actor: AnyActorRef): string {
  const { logic } = actor as unknown as { readonly logic?: { readonly id?: unknown } }
  return typeof logic?.id === 'string' ? logic.id : actor.id
}

export interface Standing {
  readonly actor: AnyActorRef
  readonly snapshot: AnyMachineSnapshot
}

/** The actor and those below it that are charts, parents first. */
export function* chartsFrom(actor: AnyActorRef): Iterable<Standing> {
  const snapshot: unknown = actor.getSnapshot()
  if (!isOfChart(snapshot)) return
  yield { actor, snapshot }
  for (const child of Object.values(snapshot.children as Record<string, AnyActorRef | undefined>)) {
    if (child !== undefined) yield* chartsFrom(child)
  }
}

/** Of a chart's facts, what never changes: the greeting has it. */
export const constantFacts: readonly string[] = ['limits', 'regionLimits']

export function takenOf({ source, target, eventType, guard }: AnyTransitionDefinition): TransitionTaken {
  const name = guardName(guard)
  return {
    source: source.id,
    targets: (target ?? []).map(({ id }) => id),
    event: eventType,
    ...(name === '' ? {} : { guard: name }),
  }
}

interface Combined {
  readonly name?: string
  readonly type?: string
  readonly guards?: readonly unknown[]
  readonly stateValue?: unknown
}

/** As in docs/machines. XState's own combinators are functions, told apart by their names. */
export function guardName(guard: unknown): string {
  if (typeof guard === 'string') return guard
  if ((typeof guard !== 'object' && typeof guard !== 'function') || guard === null) return ''
  const { name, type, guards, stateValue } = guard as Combined
  if (typeof stateValue === 'string') return `in ${stateValue.replace(/^#[^.]+\./, '')}`
  if (guards === undefined) return type ?? name ?? ''
  const names = guards.map(guardName)
  if (name === 'not') return `not ${names[0] ?? ''}`
  return names.join(name === 'or' ? ' or ' : ' and ')
}
