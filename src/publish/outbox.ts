/**
 * What of the committed snapshots readers do not see yet. Nothing is kept here but which region has something, and what
 * was delivered since the last commit: bodies are read again from their rows when their turn comes, so that what is
 * delivered is what is durable, whatever happened in between (I13, H59).
 */
import type { OutboxEvent } from '../../machines/events.ts'
import { timerMs } from '../../machines/limits.ts'
import type { StoredSnapshot, StoreSession } from '../commit/store.ts'
import { messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Group, RegionMark } from '../staging/batch.ts'
import { compareStamps, type Stamp } from '../stamp.ts'
import type { Board } from './board.ts'
import { contentHash } from './envelope.ts'
import type { Outgoing, RegionPublisher } from './port.ts'

export interface OutboxParts {
  readonly session: Pick<StoreSession, 'regions' | 'snapshots'>
  readonly publisher: RegionPublisher
  /** The pipeline's name. */
  readonly writer: string
  readonly board: Board
  readonly log: Logger
}

export class Outbox {
  readonly #parts: OutboxParts
  /** By region; those that no commit has saved yet. */
  #marks: readonly RegionMark[] = []
  /** What this run has delivered last, by region: not sent again, unless a look finds that it is gone. */
  readonly #shown = new Map<string, Stamp>()
  #say: (event: OutboxEvent) => void = () => undefined
  #asked: { readonly regions: string[]; readonly answer: Promise<readonly StoredSnapshot[]> } | undefined
  #looking: Promise<void> | undefined
  #isOver = false

  constructor(parts: OutboxParts) {
    this.#parts = parts
  }

  /** Says what there is to `say` until it is halted. */
  open(say: (event: OutboxEvent) => void): void {
    this.#say = (event) => {
      if (!this.#isOver) say(event)
    }
    this.#say({ type: 'publish.offered', snapshots: 1 })
    void this.#answerLook()
    // a server that was emptied says nothing of it, and one that comes back may be another (H77)
    const again = () => void this.#lookAnew()
    const timer = setInterval(again, timerMs(this.#parts.publisher.settings.probeMs))
    timer.unref()
    const unheard = this.#parts.publisher.onReconnect(again)
    this.#close = () => {
      clearInterval(timer)
      unheard()
    }
  }

  #close: () => void = () => undefined

  halt(): void {
    this.#isOver = true
    this.#close()
  }

  /** A group is durable. @returns how many snapshots are to be settled now */
  landed({ snapshots, marks }: Group): number {
    this.#marks = this.#marks.filter((mark) => !marks.includes(mark))
    const regions = new Set<string>()
    for (const { region, checkpoint } of snapshots) {
      this.#parts.board.committed(region, checkpoint)
      regions.add(region)
    }
    for (const region of regions) this.#say({ type: 'region.offered', region, snapshots: 1 })
    return regions.size
  }

  /** A rollback has landed: what it brought back is looked for. @returns as `landed` */
  rolledBack(target: number): number {
    this.#parts.board.rolledBack(target)
    void this.#answerLook()
    return 1
  }

  /** For the next commit. They stay until it has landed. */
  get marks(): readonly RegionMark[] {
    return this.#marks
  }

  /** What a region has to show now, or, where every snapshot counts, what is not delivered yet; oldest first. */
  async toDeliver(
    region: string,
  ): Promise<readonly { readonly row: StoredSnapshot; readonly outgoing: Outgoing }[]> {
    const { publisher, writer } = this.#parts
    const rows = await this.#rowsOf(region)
    const shown = this.#shown.get(region)
    const unshown = shown === undefined ? rows : rows.filter(({ stamp }) => compareStamps(stamp, shown) > 0)
    return unshown.map((row) => ({
      row,
      outgoing: {
        region,
        id: row.id,
        stamp: row.stamp,
        body: row.body,
        hash: row.body === null ? '' : contentHash(row.body, publisher.settings.contentOf),
        writer,
      },
    }))
  }

  delivered({ region, checkpoint, seq, stamp, isDelivered }: StoredSnapshot): void {
    this.#shown.set(region, stamp)
    if (isDelivered) return
    const mark = { region, checkpoint, seq, commit: stamp.commit }
    const isSame = (other: RegionMark) =>
      other.region === region && other.checkpoint === checkpoint && other.seq === seq
    this.#marks = [...this.#marks.filter((other) => !isSame(other)), mark]
  }

  /** Offers every region whose current snapshot is not delivered, or not there any more. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  /** One that is under way may have asked before. */
  async #lookAnew(): Promise<void> {
    await this.#looking
    await this.look()
  }

  async #answerLook(): Promise<void> {
    await this.#lookAnew()
    this.#say({ type: 'outbox.looked', snapshots: 1 })
  }

  async #look(): Promise<void> {
    const { session, publisher, board, log } = this.#parts
    try {
      const rows = await session.regions()
      const shown = await publisher.standing(rows.map(({ region }) => region)).catch((error: unknown) => {
        log.warn('what readers see is not known', { address: publisher.address, error: messageOf(error) })
        return undefined
      })
      for (const row of rows) {
        const { region, stamp, isDelivered } = row
        const there = shown?.get(region)
        const isThere = shown === undefined || isAtLeast(there?.stamp, stamp)
        const isShown = isThere && (isDelivered || isAtLeast(this.#shown.get(region), stamp))
        board.found(row, isShown)
        if (isShown) continue
        if (!isThere) this.#shown.delete(region)
        this.#say({ type: 'publish.offered', snapshots: 1 })
        this.#say({ type: 'region.offered', region, snapshots: 1, found: shown !== undefined })
      }
    } catch (error) {
      if (!this.#isOver) {
        log.warn('a look at the regions failed', { error: messageOf(error) })
      }
    }
  }

  /** Regions that ask in one turn share a query. */
  async #rowsOf(region: string): Promise<readonly StoredSnapshot[]> {
    if (this.#asked === undefined) {
      const regions: string[] = []
      const { session, publisher } = this.#parts
      const answer = Promise.resolve().then(() => {
        this.#asked = undefined
        return session.snapshots(regions, publisher.settings.deliver)
      })
      this.#asked = { regions, answer }
    }
    const { regions, answer } = this.#asked
    regions.push(region)
    return (await answer).filter((row) => row.region === region)
  }
}

function isAtLeast(there: Stamp | undefined, stamp: Stamp): boolean {
  return there !== undefined && compareStamps(there, stamp) >= 0
}
