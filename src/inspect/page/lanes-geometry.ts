/** Where things stand in the lanes: rows from top to bottom, time from left to right. */
import type { Lanes, Span } from './lanes.ts'

export interface Row {
  /** `compute`, `commit`, `publish`; of the last there may be several. */
  readonly lane: 'compute' | 'commit' | 'publish'
  readonly label: string
  readonly y: number
  readonly height: number
  /** One above the other: the regions that share the row. */
  readonly tracks: readonly { readonly name: string; readonly spans: readonly Span[] }[]
}

export interface Geometry {
  readonly width: number
  readonly height: number
  /** Where time begins; labels stand before it. */
  readonly left: number
  readonly axis: number
  readonly rows: readonly Row[]
  readonly overlap: { readonly y: number; readonly height: number }
  readonly staged: { readonly y: number; readonly height: number }
  x(t: number): number
  t(x: number): number
}

/** More regions share rows. */
const mostRows = 6
const axisHeight = 34
const laneHeight = 34
const overlapHeight = 15
const publishHeight = 9
const stagedHeight = 44

export function geometryOf(
  lanes: Lanes,
  width: number,
  window: { readonly from: number; readonly to: number },
): Geometry {
  const left = width < 560 ? 62 : 78
  const scale = Math.max(1, width - left - 2) / Math.max(0.001, window.to - window.from)
  const rows: Row[] = []
  let y = axisHeight + 4
  rows.push({
    lane: 'compute',
    label: 'compute',
    y,
    height: laneHeight,
    tracks: [{ name: 'compute', spans: lanes.compute }],
  })
  y += laneHeight
  const overlap = { y, height: overlapHeight }
  y += overlapHeight
  rows.push({
    lane: 'commit',
    label: 'commit',
    y,
    height: laneHeight,
    tracks: [{ name: 'commit', spans: lanes.commit }],
  })
  y += laneHeight + 6
  for (const [index, tracks] of shared(lanes).entries()) {
    rows.push({ lane: 'publish', label: index === 0 ? 'publish' : '', y, height: publishHeight, tracks })
    y += publishHeight + 2
  }
  const staged = { y: y + 6, height: stagedHeight }
  return {
    width,
    height: y + 6 + stagedHeight + 8,
    left,
    axis: axisHeight,
    rows,
    overlap,
    staged,
    x: (t) => left + (t - window.from) * scale,
    t: (x) => window.from + (x - left) / scale,
  }
}

function shared(lanes: Lanes): Row['tracks'][] {
  const regions = [...lanes.publish].filter(([name]) => name !== '' || lanes.publish.size === 1)
  const rows: { name: string; spans: readonly Span[] }[][] = [[]]
  for (const [index, [name, spans]] of regions.entries()) {
    const row = index % mostRows
    rows[row] ??= []
    rows[row].push({ name, spans })
  }
  return rows
}

/** Position of the first span that ends after that time. */
export function firstSpan(spans: readonly Span[], t: number): number {
  let low = 0
  let high = spans.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (spans[middle]!.to <= t) low = middle + 1
    else high = middle
  }
  return low
}

export interface Shares {
  readonly handle: number
  readonly commit: number
  readonly both: number
}

/** Milliseconds in that stretch: handlers ran (speculatively too), a commit was on the wire, both at once. */
export function sharesIn(lanes: Lanes, from: number, to: number): Shares {
  let handle = 0
  let commit = 0
  let both = 0
  for (const [start, end] of stretches(lanes.commit, from, to, isOnWire)) commit += end - start
  for (const [start, end] of stretches(lanes.compute, from, to, isComputing)) {
    handle += end - start
    for (const [a, b] of stretches(lanes.commit, start, end, isOnWire)) both += b - a
  }
  return { handle, commit, both }
}

export function* overlaps(lanes: Lanes, from: number, to: number): Iterable<readonly [number, number]> {
  for (const [start, end] of stretches(lanes.compute, from, to, isComputing)) {
    yield* stretches(lanes.commit, start, end, isOnWire)
  }
}

function isComputing({ doing }: Span): boolean {
  return doing === 'handle' || doing === 'preload'
}

function isOnWire({ doing }: Span): boolean {
  return doing === 'commit' || doing === 'resolve'
}

function* stretches(
  spans: readonly Span[],
  from: number,
  to: number,
  is: (span: Span) => boolean,
): Iterable<readonly [number, number]> {
  for (let index = firstSpan(spans, from); index < spans.length; index++) {
    const span = spans[index]!
    if (span.from >= to) break
    if (is(span)) yield [Math.max(from, span.from), Math.min(to, span.to)]
  }
}
