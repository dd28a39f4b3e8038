/** The regions' rows of a memory store: what `tailrace.regions` is to the real one. */
import type { Group, RegionMark } from '../staging/batch.ts'
import type { Deliver } from '../staging/snapshots.ts'
import type { RegionRow, StoredSnapshot } from '../commit/store.ts'

/** Milliseconds; any life of a memory store is the first one. */
export const memoryIncarnation = 1

export class MemoryRegionRows {
  /** In the order of their region, checkpoint and place. */
  #rows: readonly StoredSnapshot[] = []

  apply({ snapshots, marks }: Group, epoch: number, commit: number): void {
    this.#mark(marks)
    const added = snapshots.map(({ region, checkpoint, seq, body }, ordinal): StoredSnapshot => ({
      region,
      checkpoint,
      seq,
      id: `${memoryIncarnation}-${checkpoint}-${seq}`,
      body,
      stamp: { incarnation: memoryIncarnation, epoch, commit, ordinal },
      isDelivered: false,
      undelivered: 1,
      committedAt: new Date(Date.now()),
    }))
    this.#rows = [...this.#rows, ...added].toSorted(byPlace)
  }

  /** @param floor a checkpoint that cannot be taken back any more */
  prune(floor: number, deliver: Deliver): void {
    this.#rows = this.#rows.filter((row) => {
      const current = this.#rows.findLast((other) => other.region === row.region && other.checkpoint <= floor)
      const isOlder = current !== undefined && byPlace(row, current) < 0
      return !isOlder || (deliver === 'every' && !row.isDelivered)
    })
  }

  restore(target: number, epoch: number, commit: number): void {
    const changed = new Set(
      this.#rows.filter(({ checkpoint }) => checkpoint > target).map(({ region }) => region),
    )
    this.#rows = this.#rows.filter(({ checkpoint }) => checkpoint <= target)
    for (const [ordinal, region] of [...changed].toSorted().entries()) {
      const stamp = { incarnation: memoryIncarnation, epoch, commit, ordinal }
      const kept = this.#rows.findLast((row) => row.region === region)
      const again = {
        ...(kept ?? { region, checkpoint: target, seq: 0, id: `tombstone-${commit}`, body: null }),
        stamp,
        isDelivered: false,
        undelivered: 1,
        committedAt: new Date(Date.now()),
      }
      this.#rows = [...this.#rows.filter((row) => row !== kept), again].toSorted(byPlace)
    }
  }

  current(): RegionRow[] {
    return this.#rows
      .filter((row, index) => this.#rows[index + 1]?.region !== row.region)
      .map((row) => withoutBody({ ...row, undelivered: this.#undelivered(row.region) }))
  }

  #undelivered(of: string): number {
    return this.#rows.filter(({ region, isDelivered }) => region === of && !isDelivered).length
  }

  read(regions: readonly string[], deliver: Deliver): StoredSnapshot[] {
    const current = new Set(
      this.current().map(({ region, checkpoint, seq }) => `${region} ${checkpoint} ${seq}`),
    )
    return this.#rows
      .filter((row) => regions.includes(row.region))
      .filter(
        (row) =>
          current.has(`${row.region} ${row.checkpoint} ${row.seq}`) ||
          (deliver === 'every' && !row.isDelivered),
      )
      .map((row) => ({ ...row, undelivered: this.#undelivered(row.region) }))
      .toSorted(
        (a, b) =>
          compareText(a.region, b.region) ||
          a.stamp.epoch - b.stamp.epoch ||
          a.stamp.commit - b.stamp.commit ||
          a.stamp.ordinal - b.stamp.ordinal,
      )
  }

  #mark(marks: readonly RegionMark[]): void {
    this.#rows = this.#rows.map((row) =>
      marks.some(
        (mark) =>
          mark.region === row.region &&
          (row.checkpoint - mark.checkpoint || row.seq - mark.seq) <= 0 &&
          row.stamp.commit <= mark.commit,
      )
        ? { ...row, isDelivered: true }
        : row,
    )
  }
}

function withoutBody(row: StoredSnapshot): RegionRow {
  const { region, id, checkpoint, seq, stamp, isDelivered, undelivered, committedAt } = row
  return { region, id, checkpoint, seq, stamp, isDelivered, undelivered, committedAt }
}

function byPlace(a: StoredSnapshot, b: StoredSnapshot): number {
  return compareText(a.region, b.region) || a.checkpoint - b.checkpoint || a.seq - b.seq
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
