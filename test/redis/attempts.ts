/** Delivers as a region's actor would: again after what may pass. For tests with outages. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { RetryableError } from '../../src/errors.ts'
import type { Delivery, Outgoing, RegionPublisher } from '../../src/publish/port.ts'
import { noSignal } from './snapshots.ts'

export interface Attempted {
  readonly delivery: Delivery
  /** Codes of the attempts that failed. */
  readonly failures: readonly string[]
}

/** @param isEnough after so many failures the last error is thrown */
export async function delivered(
  publisher: RegionPublisher,
  outgoing: Outgoing,
  isEnough: (failures: readonly string[]) => boolean = () => false,
): Promise<Attempted> {
  const failures: string[] = []
  for (;;) {
    try {
      return { delivery: await publisher.persist(outgoing, noSignal), failures }
    } catch (error) {
      if (!(error instanceof RetryableError)) throw error
      failures.push(error.code)
      if (isEnough(failures)) throw error
      await nextTurn()
    }
  }
}
