/**
 * XState's inspection events as they go to the thread of Stately's inspector: the same, but plain. Its own conversion
 * loses bigints and Maps, and reads an actor's snapshot when there may be a later one.
 */
import type { AnyActorRef, InspectionEvent } from 'xstate'
import { chartsFrom, isOfChart } from './actors.ts'
import type { Redact } from './redact.ts'
import { serialise } from './serialise.ts'

export interface PlainActor {
  readonly id: string
  readonly sessionId: string
  readonly parentId: string | undefined
  /** Of a chart: its definition, as JSON. */
  readonly config: string | undefined
}

export interface PlainEvent {
  readonly type: '@xstate.actor' | '@xstate.event' | '@xstate.snapshot'
  readonly rootId: string
  readonly actor: PlainActor
  readonly sourceId?: string | undefined
  readonly event?: unknown
  readonly snapshot?: unknown
}

export class PlainEvents {
  readonly #redact: Redact | undefined
  readonly #configs = new WeakMap<object, string>()

  constructor(redact: Redact | undefined) {
    this.#redact = redact
  }

  /** Undefined: of a kind that Stately's inspector passes over. */
  of(event: InspectionEvent): PlainEvent | undefined {
    const { rootId } = event
    const actor = this.#actor(event.actorRef as AnyActorRef)
    switch (event.type) {
      case '@xstate.actor':
        return { type: event.type, rootId, actor }
      case '@xstate.event':
        return {
          type: event.type,
          rootId,
          actor,
          sourceId: event.sourceRef?.sessionId,
          event: this.#plain(event.event),
        }
      case '@xstate.snapshot':
        return {
          type: event.type,
          rootId,
          actor,
          event: this.#plain(event.event),
          snapshot: this.#snapshot(event.snapshot),
        }
      case '@xstate.microstep':
      case '@xstate.action':
      case '@xstate.transition':
        return undefined
      default:
        // of a later XState
        return undefined
    }
  }

  /** What somebody who comes late has to know: the charts that there are, and where they stand. */
  *present(root: AnyActorRef): Iterable<PlainEvent> {
    const rootId = root.sessionId
    for (const { actor: ref, snapshot } of chartsFrom(root)) {
      const actor = this.#actor(ref)
      yield { type: '@xstate.actor', rootId, actor }
      yield {
        type: '@xstate.snapshot',
        rootId,
        actor,
        event: { type: '' },
        snapshot: this.#snapshot(snapshot),
      }
    }
  }

  #actor(ref: AnyActorRef): PlainActor {
    return {
      id: ref.id,
      sessionId: ref.sessionId,
      parentId: ref._parent?.sessionId,
      config: this.#configOf(ref),
    }
  }

  /** Written once a chart. */
  #configOf(ref: AnyActorRef): string | undefined {
    const { logic } = ref as unknown as { readonly logic?: { readonly config?: unknown } }
    const config = logic?.config
    if (typeof config !== 'object' || config === null) return undefined
    let json = this.#configs.get(config)
    if (json === undefined) {
      json = JSON.stringify(config, (_key, value: unknown) =>
        typeof value === 'function'
          ? { type: value.name }
          : typeof value === 'bigint'
            ? String(value)
            : value,
      )
      this.#configs.set(config, json)
    }
    return json
  }

  #snapshot(snapshot: unknown): unknown {
    if (!isOfChart(snapshot)) return this.#plain(snapshot)
    const { status, value, context, output, error, tags } = snapshot
    return this.#plain({
      status,
      value,
      context,
      output: output as unknown,
      error,
      tags: [...tags],
      children: {},
    })
  }

  #plain(value: unknown): unknown {
    return serialise(value, { redact: this.#redact, stacks: false })
  }
}
