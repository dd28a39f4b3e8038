/** Numbers over time: staged bytes at every change of theirs, items handled. */
import type { Message } from '../protocol.ts'
import { field, numberOf } from './fold.ts'

export interface Point {
  readonly t: number
  readonly value: number
}

const rateOverMs = 2_000

export class Series {
  /** Staged bytes, the group on the wire included. */
  staged: Point[] = []
  /** Items since the recording began, at the end of each batch. */
  items: Point[] = []

  add(message: Message): void {
    if (message.kind === 'state' && message.chart === 'indexer') {
      const value = numberOf(message.facts?.['stagedBytes'])
      if (value !== undefined && value !== this.staged.at(-1)?.value)
        this.staged.push({ t: message.t, value })
    } else if (message.kind === 'event' && message.name === 'batch.processed') {
      const before = this.items.at(-1)?.value ?? 0
      this.items.push({ t: message.t, value: before + (numberOf(field(message.data, 'items')) ?? 0) })
    }
  }

  /** Items a second, over the last two seconds before it (or as much as there is). */
  itemsPerSecond(t: number): number {
    const ms = Math.min(rateOverMs, Math.max(1, t))
    return ((valueAt(this.items, t) - valueAt(this.items, t - ms)) / ms) * 1000
  }

  forgetBefore(t: number): void {
    this.staged = this.staged.slice(Math.max(0, after(this.staged, t) - 1))
    this.items = this.items.slice(Math.max(0, after(this.items, t) - 1))
  }
}

export function valueAt(points: readonly Point[], t: number): number {
  return points[after(points, t) - 1]?.value ?? 0
}

/** Position of the first point later than that. */
export function after(points: readonly { readonly t: number }[], t: number): number {
  let low = 0
  let high = points.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (points[middle]!.t <= t) low = middle + 1
    else high = middle
  }
  return low
}
