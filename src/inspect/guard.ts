/**
 * Passes XState's inspection events to an observer of the user's. XState does not guard observers: one that throws on
 * a snapshot leaves the actor's mailbox stuck for ever. Ours is told once, and goes on.
 */
import type { InspectionEvent, Observer } from 'xstate'
import { messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'

export type InspectionObserver = Observer<InspectionEvent> | ((event: InspectionEvent) => void)

export function guarded(observer: InspectionObserver, log: Logger): (event: InspectionEvent) => void {
  const tell = typeof observer === 'function' ? observer : (event: InspectionEvent) => observer.next?.(event)
  let complained = false
  return (event) => {
    try {
      tell(event)
    } catch (error) {
      if (!complained)
        log.error('the inspection observer threw; its errors are ignored', { error: messageOf(error) })
      complained = true
    }
  }
}
