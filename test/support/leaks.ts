/** What a run left behind (I16): handles and threads of the process, and actors that are still alive. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { AnyActorRef, InspectionEvent } from 'xstate'

/** Kinds that the test runner itself may open or close while a test runs. */
const ignored = new Set([
  'Immediate',
  'FSReqPromise',
  'FSReqCallback',
  'PipeWrap',
  'MessagePort',
  'TickObject',
])

function count(): Map<string, number> {
  const kinds = new Map<string, number>()
  for (const kind of process.getActiveResourcesInfo()) {
    if (!ignored.has(kind)) kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  }
  kinds.set('Thread', threads())
  return kinds
}

/** Worker threads that are alive; an unreferenced one is no active resource. */
function threads(): number {
  const { report } = process as unknown as { report: { excludeNetwork?: boolean; getReport(): unknown } }
  report.excludeNetwork = true
  return (report.getReport() as { readonly workers: readonly unknown[] }).workers.length
}

export interface Handles {
  /** Kinds of which there are more now than at the beginning; a socket's close takes a few turns to be seen. */
  left(): Promise<Record<string, number>>
}

export function handlesBefore(): Handles {
  const before = count()
  const more = () =>
    Object.fromEntries(
      [...count()]
        .map(([kind, now]) => [kind, now - (before.get(kind) ?? 0)] as const)
        .filter(([, n]) => n > 0),
    )
  return {
    async left() {
      for (let turn = 0; turn < 50 && Object.keys(more()).length > 0; turn++) await nextTurn()
      return more()
    },
  }
}

/** Give `inspect` to an indexer; afterwards `alive()` names the actors that have not ended. */
export function actorsOf(): { readonly inspect: (event: InspectionEvent) => void; alive(): string[] } {
  const actors = new Set<AnyActorRef>()
  return {
    inspect(event) {
      if (event.type === '@xstate.actor') actors.add(event.actorRef as AnyActorRef)
    },
    alive: () =>
      [...actors]
        .filter((actor) => (actor.getSnapshot() as { status?: string } | undefined)?.status === 'active')
        .map((actor) => actor.id),
  }
}
