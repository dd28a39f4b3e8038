/** How the regions stand: one line each, kept up to date by whoever delivers. */
import type { TailraceError } from '../errors.ts'
import type { RegionHealth, RegionStatus } from '../regions.ts'
import type { PublisherSettings } from './port.ts'

interface Line {
  delivered: number | undefined
  committed: number | undefined
  confirmedAt: number | undefined
  undelivered: number
  attempts: number
  error: TailraceError | undefined
  isQuarantined: boolean
  /** As it was last told. */
  told: RegionHealth | undefined
}

export class Board {
  readonly #settings: Pick<PublisherSettings, 'deliver' | 'staleAfterMs'>
  readonly #changed: (region: string, health: RegionHealth, was: RegionHealth | undefined) => void
  readonly #lines = new Map<string, Line>()

  /** @param changed told of every change of a region's health */
  constructor(
    settings: Pick<PublisherSettings, 'deliver' | 'staleAfterMs'>,
    changed: (region: string, health: RegionHealth, was: RegionHealth | undefined) => void,
  ) {
    this.#settings = settings
    this.#changed = changed
  }

  get regions(): readonly string[] {
    return [...this.#lines.keys()]
  }

  /** A stored snapshot, and whether readers see it. One of an earlier run was confirmed when it was committed, or later. */
  found(region: string, checkpoint: number, isDelivered: boolean, committedAt: Date): void {
    const line = this.#line(region)
    line.committed = checkpoint
    line.undelivered = isDelivered ? 0 : Math.max(1, line.undelivered)
    if (isDelivered) {
      line.delivered = checkpoint
      line.confirmedAt ??= committedAt.getTime()
    }
    this.#tell(region, line)
  }

  committed(region: string, checkpoint: number): void {
    const line = this.#line(region)
    line.committed = checkpoint
    line.undelivered = this.#settings.deliver === 'every' ? line.undelivered + 1 : 1
    this.#tell(region, line)
  }

  /** A rollback: newer ones are nobody's. */
  rolledBack(target: number): void {
    for (const [region, line] of this.#lines) {
      if ((line.committed ?? 0) <= target) continue
      line.committed = target
      line.undelivered = 1
      this.#tell(region, line)
    }
  }

  attempting(region: string, attempt: number): void {
    this.#line(region).attempts = attempt
  }

  /** Readers see it. @param isNewest nothing newer waits */
  delivered(region: string, checkpoint: number, isNewest: boolean): void {
    const line = this.#line(region)
    line.delivered = checkpoint
    line.confirmedAt = Date.now()
    line.undelivered = isNewest ? 0 : Math.max(0, line.undelivered - 1)
    line.error = undefined
    line.isQuarantined = false
    this.#tell(region, line)
  }

  failed(region: string, error: TailraceError, isQuarantined: boolean): void {
    const line = this.#line(region)
    line.error = error
    line.isQuarantined = isQuarantined
    this.#tell(region, line)
  }

  /** Whether a newer snapshot than this one is committed. */
  isNewest(region: string, checkpoint: number): boolean {
    return (this.#line(region).committed ?? 0) <= checkpoint
  }

  read(): Readonly<Record<string, RegionStatus>> {
    return Object.fromEntries(
      [...this.#lines].map(([region, line]): [string, RegionStatus] => [
        region,
        {
          health: this.#healthOf(line),
          delivered: line.delivered === undefined ? undefined : BigInt(line.delivered),
          committed: line.committed === undefined ? undefined : BigInt(line.committed),
          ageMs: line.confirmedAt === undefined ? undefined : Math.max(0, Date.now() - line.confirmedAt),
          undelivered: line.undelivered,
          attempts: line.attempts,
          ...(line.error === undefined ? {} : { error: line.error }),
        },
      ]),
    )
  }

  #healthOf({ isQuarantined, delivered, confirmedAt, undelivered, error }: Line): RegionHealth {
    if (isQuarantined) return 'quarantined'
    if (delivered === undefined) return 'empty'
    const isOld = confirmedAt !== undefined && Date.now() - confirmedAt > this.#settings.staleAfterMs
    return isOld || (undelivered > 0 && error !== undefined) ? 'stale' : 'ok'
  }

  #tell(region: string, line: Line): void {
    const health = this.#healthOf(line)
    if (health === line.told) return
    const was = line.told
    line.told = health
    this.#changed(region, health, was)
  }

  #line(region: string): Line {
    let line = this.#lines.get(region)
    if (line === undefined) {
      line = {
        delivered: undefined,
        committed: undefined,
        confirmedAt: undefined,
        undelivered: 0,
        attempts: 0,
        error: undefined,
        isQuarantined: false,
        told: undefined,
      }
      this.#lines.set(region, line)
    }
    return line
  }
}
