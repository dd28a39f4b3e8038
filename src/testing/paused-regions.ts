/** A region publisher whose attempts are held up, before they are made and before they are answered. */
import { unlessAborted } from '../publish/deadline.ts'
import type { RegionPublisher } from '../publish/port.ts'
import { gatedRegions } from './gated-regions.ts'
import type { Turns } from './turns.ts'

/** An attempt of a run that dies fails: nobody hears of it, and nothing of it is left on its way. */
export function pausedRegions(publisher: RegionPublisher, turns: Turns): RegionPublisher {
  const port = () => unlessAborted(Promise.resolve(turns.call('publish')), turns.death)
  return {
    // a plain object, as a publisher itself need not be
    ...gatedRegions(publisher).regions,
    async persist(snapshot, signal) {
      await port()
      const delivery = await publisher.persist(snapshot, signal)
      await port()
      return delivery
    },
  }
}
