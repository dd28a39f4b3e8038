/** Draws the lanes. Of spans narrower than a pixel the one that took most of it is shown: any stretch costs the same. */
import * as format from './format.ts'
import { firstSpan, overlaps, type Geometry, type Row } from './lanes-geometry.ts'
import type { Batch, Doing, Group, Happening, Lanes, Span } from './lanes.ts'
import { numberOf } from './fold.ts'
import type { Palette } from './palette.ts'
import type { Point, Series } from './series.ts'
import { after } from './series.ts'

export interface Shown {
  readonly lanes: Lanes
  readonly series: Series
  readonly window: { readonly from: number; readonly to: number }
  /** The present: what goes on ends there. */
  readonly present: number
  /** Of the moment that is held. */
  readonly cursor: number | undefined
  readonly budget: number | undefined
  readonly chosen: Span | undefined
  readonly pointer: number | undefined
}

type Context = CanvasRenderingContext2D

export function paint(context: Context, geometry: Geometry, shown: Shown, palette: Palette): void {
  const { width, height, left } = geometry
  context.clearRect(0, 0, width, height)
  context.font = `11px ${palette.mono}`
  context.textBaseline = 'middle'
  axis(context, geometry, shown, palette)
  context.save()
  context.beginPath()
  context.rect(left, 0, width - left, height)
  context.clip()
  for (const row of geometry.rows) lane(context, geometry, row, shown, palette)
  groups(context, geometry, shown, palette)
  overlapStrip(context, geometry, shown, palette)
  stagedArea(context, geometry, shown, palette)
  happenings(context, geometry, shown, palette)
  lines(context, geometry, shown, palette)
  context.restore()
  labels(context, geometry, shown, palette)
}

function axis(context: Context, { width, left, x, height }: Geometry, shown: Shown, palette: Palette): void {
  const { from, to } = shown.window
  const step = stepOf((to - from) / Math.max(2, (width - left) / 110))
  context.fillStyle = palette.dim
  context.strokeStyle = palette.line
  context.lineWidth = 1
  context.textAlign = 'left'
  for (let t = Math.max(0, Math.ceil(from / step) * step); t <= to; t += step) {
    const at = Math.round(x(t)) + 0.5
    context.beginPath()
    context.moveTo(at, 0)
    context.lineTo(at, height)
    context.stroke()
    if (at + 60 < width) context.fillText(tick(t, step), at + 4, 9)
  }
}

function stepOf(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 0.001)))
  return (least / power <= 2 ? 2 : least / power <= 5 ? 5 : 10) * power
}

function tick(t: number, step: number): string {
  if (step < 1_000)
    return t >= 60_000 ? format.moment(t) : `${(t / 1000).toFixed(step >= 100 ? 1 : step >= 10 ? 2 : 3)} s`
  return t < 60_000 ? `${Math.round(t / 1000)} s` : format.moment(t).replace(/\.000$/, '')
}

function lane(context: Context, geometry: Geometry, row: Row, shown: Shown, palette: Palette): void {
  const { left, width } = geometry
  context.fillStyle = palette.idle
  context.globalAlpha = 0.55
  context.fillRect(left, row.y, width - left, row.height)
  context.globalAlpha = 1
  for (const { spans } of row.tracks) bars(context, geometry, row, spans, shown, palette)
}

function bars(
  context: Context,
  geometry: Geometry,
  row: Row,
  spans: readonly Span[],
  shown: Shown,
  palette: Palette,
): void {
  const { from, to } = shown.window
  const column = new Map<Doing, number>()
  let columnX = -1
  const flush = (): void => {
    if (column.size === 0) return
    let [most, longest] = ['pull' as Doing, -1]
    let busy = 0
    for (const [doing, share] of column) {
      busy += share
      if (share > longest) [most, longest] = [doing, share]
    }
    context.fillStyle = palette.doings[most]
    // a pixel in which little was done is pale
    context.globalAlpha = Math.min(1, Math.max(0.15, busy))
    context.fillRect(columnX, row.y, 1, row.height)
    context.globalAlpha = 1
    column.clear()
  }
  for (let index = firstSpan(spans, from); index < spans.length; index++) {
    const span = spans[index]!
    if (span.from > to) break
    const x0 = Math.max(geometry.left - 2, geometry.x(span.from))
    const x1 = Math.min(geometry.width + 2, geometry.x(Math.min(span.to, shown.present)))
    if (x1 - x0 < 1.2) {
      const at = Math.floor(x0)
      if (at !== columnX) {
        flush()
        columnX = at
      }
      column.set(span.doing, (column.get(span.doing) ?? 0) + Math.max(0.001, x1 - x0))
      continue
    }
    flush()
    bar(context, row, span, x0, x1, palette)
  }
  flush()
  const { chosen } = shown
  if (chosen !== undefined && spans.includes(chosen)) {
    const x0 = geometry.x(chosen.from)
    context.strokeStyle = palette.text
    context.lineWidth = 2
    context.strokeRect(
      x0,
      row.y,
      Math.max(2, geometry.x(Math.min(chosen.to, shown.present)) - x0),
      row.height,
    )
  }
}

function bar(context: Context, row: Row, span: Span, x0: number, x1: number, palette: Palette): void {
  context.fillStyle = palette.patterns[span.doing] ?? palette.doings[span.doing]
  const gap = x1 - x0 > 4 ? 0.6 : 0
  context.fillRect(x0, row.y, x1 - x0 - gap, row.height)
  if (row.height < 20 || x1 - x0 < 26) return
  const text = wordsOf(span)
  if (text === '' || context.measureText(text).width > x1 - x0 - 8) return
  context.textAlign = 'left'
  const isHatched = palette.patterns[span.doing] !== undefined
  if (isHatched) {
    context.fillStyle = palette.idle
    context.fillRect(x0 + 3, row.y + 9, context.measureText(text).width + 5, row.height - 18)
  }
  context.fillStyle = isHatched ? palette.text : palette.inks[span.doing]
  context.fillText(text, x0 + 5, row.y + row.height / 2 + 0.5)
}

function wordsOf({ doing, batch, group }: Span): string {
  if (doing === 'handle') return batch === undefined ? '' : `#${batch.index}`
  if (doing === 'commit') return group === undefined ? '' : `×${group.batches}`
  return doing === 'rollback' || doing === 'retry' || doing === 'resolve' || doing === 'budget' ? doing : ''
}

/** Which batches a commit took: a bracket under them, and a wedge to the commit of what is chosen. */
function groups(context: Context, geometry: Geometry, shown: Shown, palette: Palette): void {
  const { lanes, window, chosen } = shown
  const { overlap, x } = geometry
  const top = overlap.y + 2
  const chosenGroup = chosen?.group ?? groupOf(lanes, chosen?.batch)
  let before: Group | undefined
  for (let index = firstSpan(lanes.commit, window.from); index < lanes.commit.length; index++) {
    const { group, from, to } = lanes.commit[index]!
    if (from > window.to + (window.to - window.from)) break
    if (group === undefined || group === before || group.kind !== 'commit') continue
    before = group
    const [first, last] = batchesOf(lanes, group)
    if (first === undefined || last === undefined) continue
    const x0 = x(startOf(lanes, first))
    const x1 = x(last.t)
    if (x1 < geometry.left || x0 > geometry.width) continue
    const isChosen = group === chosenGroup
    if (isChosen) {
      context.fillStyle = palette.doings.commit
      context.globalAlpha = 0.3
      context.beginPath()
      context.moveTo(x0, top)
      context.lineTo(x1, top)
      context.lineTo(x(Math.min(to, shown.present)), overlap.y + overlap.height)
      context.lineTo(x(from), overlap.y + overlap.height)
      context.fill()
      context.globalAlpha = 1
    } else if (x1 - x0 < 3) continue
    context.fillStyle = isChosen ? palette.text : palette.doings.commit
    context.fillRect(x0 + 1, top, Math.max(1, x1 - x0 - 2), isChosen ? 3 : 2)
  }
}

export function batchesOf(lanes: Lanes, group: Group): [Batch | undefined, Batch | undefined] {
  const { batches } = lanes
  let low = 0
  let high = batches.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (batches[middle]!.checkpoint <= group.upTo) low = middle + 1
    else high = middle
  }
  // after a rollback checkpoints go on from above what was orphaned: they only grow
  const last = batches[low - 1]
  const first = batches[Math.max(0, low - group.batches)]
  return last === undefined || last.checkpoint <= group.from ? [undefined, undefined] : [first, last]
}

function groupOf(lanes: Lanes, batch: Batch | undefined): Group | undefined {
  if (batch === undefined) return undefined
  const index = firstSpan(lanes.commit, batch.t)
  for (const { group } of lanes.commit.slice(Math.max(0, index - 1), index + 12)) {
    if (group?.kind === 'commit' && batch.checkpoint > group.from && batch.checkpoint <= group.upTo)
      return group
  }
  return undefined
}

/** When the handlers of a batch began. */
function startOf(lanes: Lanes, batch: Batch): number {
  let index = firstSpan(lanes.compute, batch.t - 0.001)
  while (index > 0 && lanes.compute[index - 1]!.batch === batch) index--
  while (index < lanes.compute.length && lanes.compute[index]!.doing === 'pull') index++
  const span = lanes.compute[index]
  return span?.batch === batch ? span.from : batch.t
}

/** Lit where handlers ran while a commit was on the wire: what this library is for. */
function overlapStrip(context: Context, geometry: Geometry, shown: Shown, palette: Palette): void {
  const { overlap, x } = geometry
  const { from, to } = shown.window
  context.fillStyle = palette.overlap
  let drawnTo = -Infinity
  for (const [start, end] of overlaps(shown.lanes, from, Math.min(to, shown.present))) {
    const x0 = Math.max(x(start), drawnTo)
    const x1 = x(end)
    if (x1 - x0 < 0.25) continue
    context.fillRect(x0, overlap.y + 7, x1 - x0, 5)
    drawnTo = x1
  }
}

function stagedArea(context: Context, geometry: Geometry, shown: Shown, palette: Palette): void {
  const { staged, x, width, left } = geometry
  const { window, budget, present } = shown
  const points = shown.series.staged
  const begin = Math.max(0, after(points, window.from) - 1)
  let most = budget ?? 1
  for (let index = begin; index < points.length && points[index]!.t <= window.to; index++) {
    most = Math.max(most, points[index]!.value)
  }
  const y = (value: number) => staged.y + staged.height - (value / (most * 1.08)) * staged.height
  const floor = staged.y + staged.height
  context.fillStyle = palette.idle
  context.globalAlpha = 0.35
  context.fillRect(left, staged.y, width - left, staged.height)
  context.globalAlpha = 1
  context.beginPath()
  let at: Point | undefined
  let columnX = -Infinity
  for (let index = begin; index < points.length; index++) {
    const point = points[index]!
    if (point.t > window.to) break
    const px = x(point.t)
    if (at === undefined) context.moveTo(px, floor)
    else if (px - columnX < 0.5) {
      // many in a pixel: the highest counts
      if (point.value > at.value) context.lineTo(px, y(point.value))
      at = point
      continue
    } else context.lineTo(px, y(at.value))
    context.lineTo(px, y(point.value))
    columnX = px
    at = point
  }
  if (at !== undefined) {
    const end = x(Math.min(window.to, present))
    context.lineTo(end, y(at.value))
    context.lineTo(end, floor)
    context.fillStyle = palette.doings.handle
    context.globalAlpha = 0.45
    context.fill()
    context.globalAlpha = 1
  }
  if (budget === undefined) return
  context.strokeStyle = palette.doings.budget
  context.setLineDash([5, 4])
  context.lineWidth = 1
  context.beginPath()
  context.moveTo(left, Math.round(y(budget)) + 0.5)
  context.lineTo(width, Math.round(y(budget)) + 0.5)
  context.stroke()
  context.setLineDash([])
}

const signs: Readonly<Record<Happening['kind'], string>> = {
  fork: 'Y',
  rollback: '↺',
  retry: '↻',
  region: '▲',
  error: '✕',
  end: '■',
  ownership: '◆',
  head: '▸',
}

export function colourOf(kind: Happening['kind'], palette: Palette): string {
  if (kind === 'fork' || kind === 'rollback') return palette.doings.rollback
  if (kind === 'retry') return palette.doings.retry
  if (kind === 'error') return palette.doings.quarantine
  return kind === 'region' ? palette.doings.quarantine : palette.dim
}

function happenings(context: Context, geometry: Geometry, shown: Shown, palette: Palette): void {
  const { happenings: all } = shown.lanes
  context.textAlign = 'center'
  let drawnTo = -Infinity
  for (let index = after(all, shown.window.from); index < all.length; index++) {
    const { t, kind } = all[index]!
    if (t > shown.window.to) break
    const px = Math.round(geometry.x(t)) + 0.5
    if (px - drawnTo < 3) continue
    drawnTo = px
    context.strokeStyle = context.fillStyle = colourOf(kind, palette)
    context.lineWidth = 1
    context.globalAlpha = 0.7
    context.beginPath()
    context.moveTo(px, geometry.axis)
    context.lineTo(px, geometry.staged.y + geometry.staged.height)
    context.stroke()
    context.globalAlpha = 1
    context.font = `bold 13px ${palette.sans}`
    context.fillText(signs[kind], px, geometry.axis - 9)
    context.font = `11px ${palette.mono}`
  }
}

function lines(context: Context, geometry: Geometry, shown: Shown, palette: Palette): void {
  const { height, x } = geometry
  if (shown.pointer !== undefined) {
    context.fillStyle = palette.dim
    context.globalAlpha = 0.6
    context.fillRect(Math.round(shown.pointer), 0, 1, height)
    context.globalAlpha = 1
  }
  if (shown.cursor === undefined) return
  const at = Math.round(x(shown.cursor))
  // what came later is there, and stands back
  context.fillStyle = palette.panel
  context.globalAlpha = 0.55
  context.fillRect(at, geometry.axis, geometry.width - at, height)
  context.globalAlpha = 1
  context.fillStyle = palette.accent
  context.fillRect(at - 1, 0, 2, height)
  context.beginPath()
  context.moveTo(at - 6, 0)
  context.lineTo(at + 6, 0)
  context.lineTo(at, 8)
  context.fill()
}

function labels(context: Context, geometry: Geometry, shown: Shown, palette: Palette): void {
  const { rows, staged, overlap, left } = geometry
  context.textAlign = 'right'
  context.fillStyle = palette.dim
  for (const { label, y, height } of rows) context.fillText(label, left - 8, y + height / 2)
  context.fillText('both', left - 8, overlap.y + 9.5)
  context.fillText('staged', left - 8, staged.y + 9)
  const budget = numberOf(shown.budget)
  if (budget !== undefined)
    context.fillText(`≤ ${format.bytes(budget).replace(' ', '')}`, left - 8, staged.y + 26)
}
