/**
 * The publish lane's workers: the outbox, which tells the publisher chart of committed snapshots, and one delivery a
 * region.
 */
import { fromCallback } from 'xstate'
import { publisherMachine } from '../../machines/publisher.machine.ts'
import { regionMachine } from '../../machines/region.machine.ts'
import type { RegionSettled } from '../regions.ts'
import type { RunSystem } from '../run-system.ts'
import type { Board } from './board.ts'
import { delivery } from './delivery.ts'
import type { Outbox } from './outbox.ts'
import type { RegionPublisher } from './port.ts'

export interface PublisherParts {
  readonly publisher: RegionPublisher
  readonly outbox: Outbox
  readonly board: Board
  /** Asks whether the pipeline is still ours. */
  confirm(): Promise<void>
  settled(settled: RegionSettled): void
}

export function publisher(partsOf: (run: RunSystem) => PublisherParts): typeof publisherMachine {
  return publisherMachine.provide({
    actors: {
      outbox: fromCallback(({ sendBack, receive, system }) => {
        const { outbox } = partsOf(system)
        outbox.open(sendBack)
        receive(() => outbox.halt())
        return () => outbox.halt()
      }),
      region: regionMachine.provide({
        actors: {
          delivery: delivery((run) => {
            const { publisher: to, outbox, board, confirm, settled } = partsOf(run)
            return {
              publisher: to,
              toDeliver: (region) => outbox.toDeliver(region),
              confirm,
              attempting: (region, attempt) => board.attempting(region, attempt),
              delivered: (row) => {
                outbox.delivered(row)
                board.delivered(row.region, row.checkpoint)
              },
              waiting: (region, snapshots) => board.waiting(region, snapshots),
              passed: (row) => board.passed(row.region, row.checkpoint),
              failed: (region, error, isQuarantined) => board.failed(region, error, isQuarantined),
              settled: (told, row) =>
                settled({ ...told, checkpoint: row === undefined ? undefined : BigInt(row.checkpoint) }),
            }
          }),
        },
      }),
    },
  })
}
