/**
 * The worker behind a region: `deliver` → `delivery.sent`, then `delivery.done` | `delivery.failed`; after `cut` nothing
 * more of that attempt is said. Snapshots of one region go one after the other, regions beside each other.
 */
import { fromCallback } from 'xstate'
import type { DeliveryCommand, DeliveryEvent } from '../../machines/events.ts'
import type { RegionLimits } from '../../machines/limits.ts'
import type { RegionInput } from '../../machines/region.machine.ts'
import { jitteredMs } from '../commit/jitter.ts'
import { FatalError, RetryableError, type TailraceError, asTailraceError, messageOf } from '../errors.ts'
import type { RegionSettled } from '../regions.ts'
import type { RunSystem } from '../run-system.ts'
import type { Delivery, Outgoing, PublisherSettings, RegionPublisher } from './port.ts'

export interface DeliveryParts<Row> {
  readonly publisher: RegionPublisher
  toDeliver(region: string): Promise<readonly { readonly row: Row; readonly outgoing: Outgoing }[]>
  attempting(region: string, attempt: number): void
  /** So many are to be delivered by this attempt. */
  waiting(region: string, snapshots: number): void
  /** Something with a higher stamp is there: whoever has been succeeded is to hear of that, and not of the region. */
  confirm(): Promise<void>
  /** Of each snapshot that readers see now. */
  delivered(row: Row, delivery: Delivery): void
  /** Of each that a later one of ours has overtaken. */
  passed(row: Row): void
  failed(region: string, error: TailraceError, isQuarantined: boolean): void
  settled(settled: Omit<RegionSettled, 'checkpoint'>, row: Row | undefined): void
}

export function delivery<Row>(partsOf: (run: RunSystem) => DeliveryParts<Row>) {
  return fromCallback<DeliveryCommand, RegionInput>(({ input, sendBack, receive, system }) => {
    const parts = () => partsOf(system)
    const { region } = input
    const say = (event: DeliveryEvent) => sendBack(event)
    let began = 0
    let current: { readonly abort: AbortController; attempt: number } | undefined

    const failed = (error: TailraceError, attempt: number, overtaken?: Row) => {
      const isQuarantined = !(error instanceof RetryableError) || attempt >= input.limits.attempts
      parts().failed(region, error, isQuarantined)
      if (!isQuarantined) return
      const ms = performance.now() - began
      const status = overtaken === undefined ? 'failed' : 'stale'
      parts().settled({ region, status, ms, bytes: 0, attempts: attempt, error }, overtaken)
    }

    const deliver = async (attempt: number) => {
      const mine = { abort: new AbortController(), attempt }
      current = mine
      if (attempt === 1) began = performance.now()
      const { publisher, toDeliver, attempting, confirm, delivered, passed, settled } = parts()
      attempting(region, attempt)
      let overtaken: Row | undefined
      try {
        const waiting = await toDeliver(region)
        if (current !== mine) return
        parts().waiting(region, waiting.length)
        let progress = false
        for (const { row, outgoing } of waiting) {
          // each has a deadline of its own; whoever ends the run by now lets none begin any more (I7)
          say({ type: 'delivery.sent', progress })
          if (current !== mine) return
          const made = await publisher.persist(outgoing, mine.abort.signal)
          if (current !== mine) return
          const { status, bytes } = made
          // a later one of ours stands there: a run before has delivered this one, and could not mark it any more
          if (status === 'stale' && outgoing !== waiting.at(-1)!.outgoing) {
            passed(row)
            continue
          }
          if (status === 'stale') {
            await confirm()
            if (current !== mine) return
            overtaken = row
            throw stale(outgoing, publisher)
          }
          progress = true
          mine.attempt = 1
          delivered(row, made)
          settled({ region, status, ms: performance.now() - began, bytes, attempts: attempt }, row)
        }
        current = undefined
        say({ type: 'delivery.done' })
      } catch (cause) {
        if (current !== mine) return
        current = undefined
        const error = asTailraceError(cause, 'INTERNAL', `Region '${region}': ${messageOf(cause)}`)
        failed(error, mine.attempt, overtaken)
        const permanent = !(error instanceof RetryableError)
        const { backoffMs, maxBackoffMs } = publisher.settings
        say({
          type: 'delivery.failed',
          error,
          permanent,
          retryInMs: jitteredMs(mine.attempt, maxBackoffMs, Math.random, backoffMs),
        })
      }
    }

    const cut = () => {
      if (current === undefined) return
      const { abort, attempt } = current
      current = undefined
      const { attemptMs } = input.limits
      const { address } = parts().publisher
      abort.abort()
      failed(
        new RetryableError(
          'REGION_DEADLINE',
          `Region '${region}' was not written within ${attemptMs} ms: ${address} did not answer. It is not known whether it arrived; said again it does no harm.`,
          { phase: 'publish' },
        ),
        attempt,
      )
    }

    receive((command) => {
      switch (command.type) {
        case 'deliver':
          return void deliver(command.attempt)
        case 'cut':
          return cut()
        case 'stop':
          current = undefined
          return
        default:
          throw new Error(`unreachable: ${String(command satisfies never)}`)
      }
    })
    return () => {
      current?.abort.abort()
      current = undefined
    }
  })
}

/** Of a publisher's settings, what its charts go by. */
export function limitsOf({ attempts, attemptMs, probeMs }: PublisherSettings): RegionLimits {
  return { attempts, attemptMs, probeMs }
}

/** For whoever owns the region: not to be. */
function stale({ region, stamp }: Outgoing, { address }: RegionPublisher): FatalError {
  return new FatalError(
    'REGION_STALE',
    `Region '${region}' at ${address} already shows a snapshot with a higher stamp than ${Object.values(stamp).join('.')}: nothing was changed. Another process has taken over, or the database was set back to an earlier state; in that case remove the region's keys, and it is published again.`,
    { phase: 'publish' },
  )
}
