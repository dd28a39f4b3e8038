/**
 * Where Stately's inspector runs: in a thread, so that its timers and its socket keep no process alive, and what it
 * throws or waits for is its own affair. It is given what it would have been given beside the actors.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { PlainEvent } from './stately-events.ts'
import type { StatelyThreadData, ToMain, ToThread } from './stately.ts'

interface StatelyModule {
  createWebSocketInspector(options: { readonly url: string }): {
    readonly inspect: { next(event: unknown): void }
    stop(): void
  }
}

const { module, url } = workerData as StatelyThreadData

/** By session, while the actor lives. */
const snapshots = new Map<string, unknown>()

/** What Stately's inspector reads off a real one. */
function inspectionEvent({ actor, sourceId, ...event }: PlainEvent): object {
  const { id, sessionId, parentId, config } = actor
  const actorRef = {
    id,
    sessionId,
    ...(parentId === undefined ? {} : { _parent: { sessionId: parentId } }),
    logic: config === undefined ? {} : { config: JSON.parse(config) as unknown },
    // asked for a moment later, when the first one is there
    getSnapshot: () => snapshots.get(sessionId) ?? { status: 'active' },
  }
  return { ...event, actorRef, sourceRef: sourceId === undefined ? undefined : { sessionId: sourceId } }
}

function remember({ type, actor, snapshot }: PlainEvent): void {
  if (type !== '@xstate.snapshot') return
  if ((snapshot as { readonly status?: unknown } | undefined)?.status === 'active') {
    snapshots.set(actor.sessionId, snapshot)
  } else {
    snapshots.delete(actor.sessionId)
  }
}

function say(message: ToMain): void {
  parentPort?.postMessage(message)
}

async function begin(): Promise<void> {
  const { createWebSocketInspector } = (await import(module)) as StatelyModule
  const inspector = createWebSocketInspector({ url })
  parentPort?.on('message', (message: ToThread) => {
    if (message === 'close') {
      inspector.stop()
      // after what was told before, which it sends a turn later
      setTimeout(() => process.exit(), 20)
      return
    }
    remember(message)
    inspector.inspect.next(inspectionEvent(message))
  })
  say({ type: 'ready' })
}

begin().catch((error: unknown) => {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  say({ type: 'failed', isMissing: code === 'ERR_MODULE_NOT_FOUND', message: String(message) })
})
