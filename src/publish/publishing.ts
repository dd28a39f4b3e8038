/** Everything a run has for its regions, made when the store is open. */
import { maxRegions } from '../../machines/limits.ts'
import type { StoreSession } from '../commit/store.ts'
import { ConfigurationError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { RegionHealth, RegionSettled } from '../regions.ts'
import { Board } from './board.ts'
import { serialise } from './envelope.ts'
import { checkRegion } from './keys.ts'
import { Outbox } from './outbox.ts'
import type { RegionPublisher } from './port.ts'

export interface PublishingParts {
  readonly pipeline: string
  readonly session: StoreSession
  readonly publisher: RegionPublisher
  readonly log: Logger
  settled(settled: RegionSettled): void
  changed(region: string, health: RegionHealth, was: RegionHealth | undefined): void
}

export class Publishing {
  readonly publisher: RegionPublisher
  readonly board: Board
  readonly outbox: Outbox
  readonly settled: (settled: RegionSettled) => void
  readonly confirm: () => Promise<void>
  readonly #pipeline: string
  readonly #regions = new Set<string>()

  constructor({ pipeline, session, publisher, log, settled, changed }: PublishingParts) {
    this.publisher = publisher
    this.settled = settled
    this.board = new Board(publisher.settings, changed)
    this.outbox = new Outbox({ session, publisher, writer: pipeline, board: this.board, log })
    this.confirm = () => session.confirm?.() ?? Promise.resolve()
    this.#pipeline = pipeline
  }

  /** What earlier runs have published. @throws ConfigurationError `TOO_MANY_REGIONS` */
  async load(session: Pick<StoreSession, 'regions'>): Promise<void> {
    for (const row of await session.regions()) {
      this.#add(row.region)
      this.board.found(row, row.isDelivered)
    }
  }

  /** @throws ConfigurationError `INVALID_REGION`, `TOO_MANY_REGIONS`, `BODY_NOT_SERIALISABLE` */
  readonly jsonOf = (region: string, body: unknown): string => {
    this.#add(region)
    return serialise(body)
  }

  #add(region: string): void {
    if (this.#regions.has(region)) return
    checkRegion(region)
    if (this.#regions.size >= maxRegions) {
      throw new ConfigurationError(
        'TOO_MANY_REGIONS',
        `Region '${region}' would be number ${maxRegions + 1} of pipeline '${this.#pipeline}', and there may be ${maxRegions}: each is an actor with keys of its own, meant for continents, markets or tenants and not for one per row. Publish fewer, larger snapshots.`,
        { phase: 'publish' },
      )
    }
    this.#regions.add(region)
  }
}
