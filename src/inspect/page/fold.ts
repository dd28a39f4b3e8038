/** A moment of the run: what all messages up to it come to. Pure; one message after the other. */
import type { Message, MeterMessage, HelloMessage, OutcomeMessage, TransitionTaken } from '../protocol.ts'

/** A chart's actor at a moment. */
export interface Actor {
  /** `indexer/publisher/region:europe` */
  readonly path: string
  readonly chart: string
  readonly value: unknown
  /** Ids of all states it is in, outer ones first. */
  readonly active: ReadonlySet<string>
  readonly status: string
  readonly facts: Readonly<Record<string, unknown>>
  /** What it was told last, and what it did then. */
  readonly event: string | undefined
  readonly transitions: readonly TransitionTaken[]
  readonly n: number
  readonly t: number
}

export interface Moment {
  n: number
  t: number
  hello: HelloMessage | undefined
  meter: MeterMessage | undefined
  outcome: OutcomeMessage | undefined
  /** By path, in the order in which they were first seen. */
  readonly actors: Map<string, Actor>
  /** Messages that are known to be missing. */
  dropped: number
}

export function emptyMoment(): Moment {
  return {
    n: -1,
    t: 0,
    hello: undefined,
    meter: undefined,
    outcome: undefined,
    actors: new Map(),
    dropped: 0,
  }
}

export function copied(moment: Moment): Moment {
  return { ...moment, actors: new Map(moment.actors) }
}

export function fold(moment: Moment, message: Message): void {
  moment.n = message.n
  moment.t = message.t
  switch (message.kind) {
    case 'hello':
      // another run of the same process: nothing of the one before stands any more
      if (moment.hello !== undefined && moment.hello.run !== message.run) {
        moment.actors.clear()
        moment.meter = undefined
        moment.outcome = undefined
      }
      moment.hello = message
      break
    case 'state':
      moment.actors.set(message.actor, {
        path: message.actor,
        chart: message.chart,
        value: message.value,
        active: activeStates(message.chart, message.value),
        status: message.status,
        facts: message.facts ?? {},
        event: message.event,
        transitions: message.transitions ?? [],
        n: message.n,
        t: message.t,
      })
      break
    case 'meter':
      moment.meter = message
      break
    case 'outcome':
      moment.outcome = message
      break
    case 'dropped':
      moment.dropped += message.count
      break
    case 'event':
      break
    default:
      // a kind of a later version: nothing that this page knows to do with
      message satisfies never
  }
}

/** `{ active: { commit: 'idle' } }` → `indexer.active`, `indexer.active.commit`, `indexer.active.commit.idle`. */
export function activeStates(chart: string, value: unknown): Set<string> {
  const ids = new Set<string>()
  const enter = (id: string, inner: unknown): void => {
    ids.add(id)
    into(id, inner)
  }
  const into = (id: string, inner: unknown): void => {
    if (typeof inner === 'string') ids.add(`${id}.${inner}`)
    else if (typeof inner === 'object' && inner !== null) {
      for (const [key, deeper] of Object.entries(inner)) enter(`${id}.${key}`, deeper)
    }
  }
  into(chart, value)
  return ids
}

/** The innermost states, without the chart's name: `cpu.handling`. Of a parallel state one a lane. */
export function leavesOf(active: Iterable<string>): string[] {
  const ids = [...active]
  return ids.filter((id) => !ids.some((other) => other.startsWith(`${id}.`)))
}

/** A lane's place in the root chart: `cpu.handling` of `compute`. */
export function laneState(active: ReadonlySet<string>, lane: string): string | undefined {
  const prefix = `indexer.active.${lane}.`
  let longest: string | undefined
  for (const id of active) {
    if (id.startsWith(prefix) && id.length > (longest?.length ?? 0)) longest = id
  }
  return longest?.slice(prefix.length)
}

/** Last part of an actor's path: `region:europe`. */
export function nameOfActor(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

export function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  if (typeof value === 'bigint') return Number(value)
  if (typeof value !== 'string' || value === '') return undefined
  const number = Number(value)
  return Number.isNaN(number) ? undefined : number
}

/** A field of something that came over the wire. */
export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined
}
