/**
 * The worker behind `opening`: opens the store once. `cancel` → its connections are destroyed, and `open.cancelled`
 * follows; unless it was open already, which is then what it says.
 */
import { fromCallback } from 'xstate'
import type { OpenerCommand, OpenerEvent } from '../../machines/events.ts'
import type { RunSystem } from '../run-system.ts'

/** @param open resolves to the committed frontier */
export function opener(open: (signal: AbortSignal, run: RunSystem) => Promise<number>) {
  return fromCallback<OpenerCommand>(({ sendBack, receive, system }) => {
    const say = (event: OpenerEvent) => sendBack(event)
    const abort = new AbortController()
    receive(() => abort.abort())
    const work = async () => {
      try {
        say({ type: 'opened', committed: await open(abort.signal, system) })
      } catch (error) {
        say(abort.signal.aborted ? { type: 'open.cancelled' } : { type: 'open.failed', error })
      }
    }
    void work()
    return () => abort.abort()
  })
}
