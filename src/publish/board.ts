/** How the regions stand: one line each, kept up to date by whoever delivers. */
import type { RegionRow } from '../commit/store.ts'
import type { TailraceError } from '../errors.ts'
import type { RegionHealth, RegionStatus } from '../regions.ts'
import type { PublisherSettings } from './port.ts'

interface Line {
  /** What is stored has been told: by a look, or by every commit since. */
  isKnown: boolean
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

  /** What is stored, and whether readers see it; of an earlier run, it was confirmed when it was committed, or later. */
  found({ region, checkpoint, undelivered, committedAt }: RegionRow, isShown: boolean): void {
    const line = this.#line(region)
    if (!line.isKnown) {
      line.isKnown = true
      line.committed = checkpoint
      line.undelivered = this.#settings.deliver === 'every' ? undelivered : 0
    }
    if ((line.committed ?? 0) > checkpoint) return
    if (isShown) {
      // those before it were delivered before it
      line.undelivered = 0
      line.delivered = checkpoint
      line.confirmedAt ??= committedAt.getTime()
    } else {
      line.undelivered = Math.max(1, line.undelivered)
    }
    this.#tell(region, line)
  }

  committed(region: string, checkpoint: number): void {
    const line = this.#line(region)
    line.isKnown = true
    line.committed = checkpoint
    line.undelivered = this.#settings.deliver === 'every' ? line.undelivered + 1 : 1
    this.#tell(region, line)
  }

  /** A rollback: newer ones are nobody's; what is stored now is found by the next look. */
  rolledBack(target: number): void {
    for (const [region, line] of this.#lines) {
      if ((line.committed ?? 0) <= target) continue
      line.isKnown = false
      line.committed = target
      line.undelivered = 1
      this.#tell(region, line)
    }
  }

  attempting(region: string, attempt: number): void {
    this.#line(region).attempts = attempt
  }

  /** What a delivery has found: whatever was counted before, so many it is. */
  waiting(region: string, snapshots: number): void {
    const line = this.#line(region)
    line.undelivered = snapshots
    this.#tell(region, line)
  }

  /** Readers see it. */
  delivered(region: string, checkpoint: number): void {
    const line = this.#line(region)
    line.delivered = checkpoint
    line.confirmedAt = Date.now()
    line.error = undefined
    line.isQuarantined = false
    this.passed(region, checkpoint)
  }

  /** Nothing is to be done about it any more. */
  passed(region: string, checkpoint: number): void {
    const line = this.#line(region)
    const isNewest = (line.committed ?? 0) <= checkpoint
    if (this.#settings.deliver === 'every') line.undelivered = Math.max(0, line.undelivered - 1)
    else if (isNewest) line.undelivered = 0
    this.#tell(region, line)
  }

  failed(region: string, error: TailraceError, isQuarantined: boolean): void {
    const line = this.#line(region)
    line.error = error
    line.isQuarantined = isQuarantined
    this.#tell(region, line)
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
        isKnown: false,
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
