/**
 * `npm run demo -- --inspect`: the inspector's page on the demo. The run is slowed enough to be watched, and the page
 * stays until Ctrl-C.
 */
import type { Indexer } from 'tailrace'
import { inspect } from 'tailrace/inspect'
import { cyan, fact, say } from './terminal.ts'

/** A block takes so much longer. */
export const watchedPaceMs = 40

export interface Watching extends AsyncDisposable {
  /** Resolves when the signal is aborted. */
  until(signal: AbortSignal): Promise<void>
}

export async function watching(indexer: Indexer): Promise<Watching> {
  const inspector = await inspect(indexer)
  fact('inspector', cyan(inspector.url))
  say()
  // a viewer of our own: who opens the page later sees the run from its beginning
  const leaving = new AbortController()
  const gone = look(`${inspector.url}events`, leaving.signal)
  return {
    async until(signal) {
      fact('inspector', `${cyan(inspector.url)} stays open; Ctrl-C ends it`)
      say()
      // an open server keeps no process alive
      const alive = setInterval(() => undefined, 60_000)
      if (!signal.aborted) {
        await new Promise<void>((resolve) =>
          signal.addEventListener('abort', () => resolve(), { once: true }),
        )
      }
      clearInterval(alive)
    },
    async [Symbol.asyncDispose]() {
      leaving.abort()
      await gone
      await inspector.close()
    },
  }
}

async function look(url: string, signal: AbortSignal): Promise<void> {
  try {
    const { body } = await fetch(url, { signal })
    await body?.pipeTo(new WritableStream(), { signal })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
