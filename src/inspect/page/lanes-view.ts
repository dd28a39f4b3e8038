/** The lanes on the page: drawn on a canvas, looked at with pointer and keyboard. */
import { byId, h, say } from './dom.ts'
import { numberOf } from './fold.ts'
import * as format from './format.ts'
import { firstSpan, geometryOf, sharesIn, type Geometry, type Row } from './lanes-geometry.ts'
import { paint } from './lanes-paint.ts'
import { drawTip, spoken, told, toldOf } from './lanes-tip.ts'
import type { Doing, Span } from './lanes.ts'
import { doings, readPalette, type Palette } from './palette.ts'
import { after } from './series.ts'
import type { Part, Stretch, View } from './view.ts'

const stretches: readonly (readonly [string, Stretch])[] = [
  ['0.5 s', { kind: 'ms', ms: 500 }],
  ['2 s', { kind: 'ms', ms: 2_000 }],
  ['10 s', { kind: 'ms', ms: 10_000 }],
  ['1 min', { kind: 'ms', ms: 60_000 }],
  ['5 min', { kind: 'ms', ms: 300_000 }],
  ['10 batches', { kind: 'batches', count: 10 }],
  ['30 batches', { kind: 'batches', count: 30 }],
  ['100 batches', { kind: 'batches', count: 100 }],
  ['all', { kind: 'all' }],
]

export class LanesView implements Part {
  readonly #view: View
  readonly #box = byId('lanes')
  readonly #canvas = byId<HTMLCanvasElement>('lanes-canvas')
  readonly #tip = byId('lanes-tip')
  readonly #said = byId('lanes-said')
  readonly #select = byId<HTMLSelectElement>('stretch')
  readonly #legend = new Map<Doing, HTMLElement>()
  #palette: Palette = readPalette()
  #geometry: Geometry | undefined
  #chosen: { row: number; track: number; span: Span } | undefined
  #pointer: number | undefined
  #drag: { x: number; from: number; to: number; moved: boolean } | undefined

  constructor(view: View) {
    this.#view = view
    for (const [name, text] of Object.entries(doings) as [Doing, string][]) {
      const item = h('li', { hidden: true }, h('span', { class: `swatch ${name}` }), text)
      this.#legend.set(name, item)
      byId('legend').append(item)
    }
    for (const [name] of stretches) this.#select.append(h('option', { value: name }, name))
    this.#select.append(h('option', { value: '', hidden: true }, 'chosen by hand'))
    this.#select.value = '30 batches'
    this.#select.addEventListener('change', () => {
      const stretch = stretches.find(([name]) => name === this.#select.value)?.[1]
      if (stretch !== undefined) view.choose({ stretch })
    })
    this.#box.addEventListener('pointermove', (event) => this.#moved(event))
    this.#box.addEventListener('pointerleave', () => this.#point(undefined))
    this.#box.addEventListener('pointerdown', (event) => this.#pressed(event))
    this.#box.addEventListener('pointerup', (event) => this.#released(event))
    this.#box.addEventListener('pointercancel', () => (this.#drag = undefined))
    this.#box.addEventListener('wheel', (event) => this.#wheel(event), { passive: false })
    this.#box.addEventListener('keydown', (event) => this.#key(event))
    this.#box.addEventListener('blur', () => this.#unchoose())
    new ResizeObserver(() => view.changed('choice')).observe(this.#box)
  }

  /** Another theme. */
  repaint(): void {
    this.#palette = readPalette()
    this.#view.changed('choice')
  }

  draw(): void {
    const view = this.#view
    const { recording } = view
    const window = view.window()
    const width = this.#box.clientWidth
    const geometry = geometryOf(recording.lanes, width, window)
    this.#geometry = geometry
    const ratio = devicePixelRatio || 1
    const [pixels, high] = [Math.round(width * ratio), Math.round(geometry.height * ratio)]
    if (this.#canvas.width !== pixels || this.#canvas.height !== high) {
      this.#canvas.width = pixels
      this.#canvas.height = high
      this.#canvas.style.height = `${geometry.height}px`
    }
    const context = this.#canvas.getContext('2d')!
    context.setTransform(ratio, 0, 0, ratio, 0, 0)
    const shown = {
      lanes: recording.lanes,
      series: recording.series,
      window,
      present: view.presentT,
      cursor: view.held === undefined ? undefined : view.t,
      budget: numberOf(view.moment.hello?.limits?.['stagedBytes']),
      chosen: this.#chosen?.span,
      pointer: this.#pointer,
    }
    paint(context, geometry, shown, this.#palette)
    for (const [name, item] of this.#legend) item.hidden = !recording.lanes.seen.has(name)
    this.#shares(window.from, Math.min(window.to, view.presentT))
    if (view.stretch.kind === 'from') this.#select.value = ''
    else if (this.#select.value === '') {
      const { stretch } = view
      const known = stretches.find(([, each]) => JSON.stringify(each) === JSON.stringify(stretch))
      this.#select.value = known?.[0] ?? ''
    }
  }

  #shares(from: number, to: number): void {
    const start = Math.max(from, this.#view.recording.message(0)?.t ?? 0)
    const { handle, commit, both } = sharesIn(this.#view.recording.lanes, start, to)
    const whole = Math.max(0.001, to - start)
    const shorter = Math.min(handle, commit)
    const ratio = shorter < 0.001 ? '–' : (both / shorter).toFixed(2)
    say(
      byId('in-view'),
      `in view: compute ${format.percent(handle / whole)} · commit ${format.percent(commit / whole)} · overlap ${ratio}`,
    )
  }

  // ── pointer ───────────────────────────────────────────────────────────────────────────────────────────────

  #at(event: PointerEvent | WheelEvent): { x: number; y: number } {
    const { left, top } = this.#box.getBoundingClientRect()
    return { x: event.clientX - left, y: event.clientY - top }
  }

  #moved(event: PointerEvent): void {
    const { x, y } = this.#at(event)
    const drag = this.#drag
    if (drag !== undefined && this.#geometry !== undefined) {
      const by = this.#geometry.t(drag.x) - this.#geometry.t(x)
      if (Math.abs(x - drag.x) > 4) drag.moved = true
      if (drag.moved) {
        this.#view.choose({ stretch: { kind: 'from', from: drag.from + by, to: drag.to + by } })
        return
      }
    }
    this.#point(x)
    this.#tell(this.#under(x, y), x, y)
  }

  #pressed(event: PointerEvent): void {
    if (event.button !== 0 || event.pointerType === 'touch') return
    this.#drag = { x: this.#at(event).x, ...this.#view.window(), moved: false }
    this.#box.setPointerCapture(event.pointerId)
  }

  #released(event: PointerEvent): void {
    const drag = this.#drag
    this.#drag = undefined
    const { x } = this.#at(event)
    if (drag?.moved === true || this.#geometry === undefined || x < this.#geometry.left) return
    this.#view.hold(this.#view.recording.numberAt(this.#geometry.t(x)))
  }

  #wheel(event: WheelEvent): void {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY)
    if (!event.ctrlKey && !event.metaKey && !sideways) return
    event.preventDefault()
    const { from, to } = this.#view.window()
    if (sideways && !event.ctrlKey) {
      const by = ((to - from) * event.deltaX) / Math.max(1, this.#box.clientWidth)
      this.#view.choose({ stretch: { kind: 'from', from: from + by, to: to + by } })
    } else this.#zoom(Math.exp(event.deltaY * 0.004), this.#geometry?.t(this.#at(event).x))
  }

  #zoom(by: number, around?: number): void {
    const { from, to } = this.#view.window()
    const middle = around ?? (this.#view.held === undefined ? to : this.#view.t)
    const most = Math.max(10, this.#view.presentT * 1.2)
    const scale = Math.min(Math.max(by, 1 / (to - from)), most / (to - from))
    if (this.#view.held === undefined && around === undefined) {
      this.#view.choose({ stretch: { kind: 'ms', ms: (to - from) * scale } })
    } else {
      const stretch = {
        kind: 'from' as const,
        from: middle - (middle - from) * scale,
        to: middle + (to - middle) * scale,
      }
      this.#view.choose({ stretch })
    }
  }

  #point(x: number | undefined): void {
    this.#pointer = x !== undefined && x >= (this.#geometry?.left ?? 0) ? x : undefined
    if (x === undefined) this.#unchoose()
    this.#view.changed('choice')
  }

  #under(x: number, y: number): { row: number; track: number; span: Span } | undefined {
    const geometry = this.#geometry
    if (geometry === undefined || x < geometry.left) return undefined
    const row = geometry.rows.findIndex((each) => y >= each.y - 1 && y <= each.y + each.height + 1)
    if (row < 0) return undefined
    const reach = geometry.t(x + 2) - geometry.t(x)
    for (const [track, { spans }] of geometry.rows[row]!.tracks.entries()) {
      const span = spans[firstSpan(spans, geometry.t(x) - reach)]
      if (span !== undefined && span.from <= geometry.t(x) + reach) return { row, track, span }
    }
    return undefined
  }

  #tell(found: { row: number; track: number; span: Span } | undefined, x: number, y: number): void {
    this.#chosen = found
    const geometry = this.#geometry
    if (geometry === undefined) return
    if (found !== undefined)
      drawTip(
        this.#tip,
        told(found.span, laneName(geometry.rows[found.row]!, found.track), this.#view.presentT),
      )
    else {
      const near = y < geometry.axis + 3 ? this.#happeningAt(x) : undefined
      if (near === undefined) {
        this.#tip.hidden = true
        return
      }
      drawTip(this.#tip, near)
    }
    this.#tip.hidden = false
    const room = this.#box.clientWidth - this.#tip.offsetWidth - 6
    this.#tip.style.transform = `translate(${Math.max(4, Math.min(x + 14, room))}px, ${y + 16}px)`
  }

  #happeningAt(x: number) {
    const { happenings } = this.#view.recording.lanes
    const t = this.#geometry!.t(x + 7)
    const happening = happenings[after(happenings, t) - 1]
    return happening === undefined || happening.t < this.#geometry!.t(x - 7) ? undefined : toldOf(happening)
  }

  #unchoose(): void {
    this.#chosen = undefined
    this.#tip.hidden = true
    this.#view.changed('choice')
  }

  // ── keyboard ──────────────────────────────────────────────────────────────────────────────────────────────

  #key(event: KeyboardEvent): void {
    const geometry = this.#geometry
    if (geometry === undefined || event.ctrlKey || event.metaKey || event.altKey) return
    const { key } = event
    if (key === '+' || key === '=') this.#zoom(0.6)
    else if (key === '-') this.#zoom(1.7)
    else if (key === 'ArrowLeft' || key === 'ArrowRight') this.#along(geometry, key === 'ArrowLeft' ? -1 : 1)
    else if (key === 'ArrowUp' || key === 'ArrowDown') this.#across(geometry, key === 'ArrowUp' ? -1 : 1)
    else if (key === 'Enter' && this.#chosen !== undefined) this.#view.hold(this.#chosen.span.n)
    else if (key === 'Escape') this.#unchoose()
    else return
    event.preventDefault()
    event.stopPropagation()
  }

  #along(geometry: Geometry, by: 1 | -1): void {
    const { row, track } = this.#chosen ?? { row: 0, track: 0 }
    const spans = geometry.rows[row]?.tracks[track]?.spans ?? []
    const index =
      this.#chosen === undefined
        ? firstSpan(spans, this.#view.t - 0.001)
        : spans.indexOf(this.#chosen.span) + by
    this.#choose(geometry, row, track, spans[Math.min(Math.max(index, 0), spans.length - 1)])
  }

  #across(geometry: Geometry, by: 1 | -1): void {
    const places = geometry.rows.flatMap(({ tracks }, row) => tracks.map((_track, track) => ({ row, track })))
    const here = places.findIndex(
      ({ row, track }) => row === this.#chosen?.row && track === this.#chosen.track,
    )
    const place = places[Math.min(Math.max(here + by, 0), places.length - 1)]
    if (place === undefined) return
    const { spans } = geometry.rows[place.row]!.tracks[place.track]!
    const t = this.#chosen?.span.from ?? this.#view.t
    this.#choose(geometry, place.row, place.track, spans[Math.min(firstSpan(spans, t), spans.length - 1)])
  }

  #choose(geometry: Geometry, row: number, track: number, span: Span | undefined): void {
    if (span === undefined) {
      say(this.#said, `${laneName(geometry.rows[row]!, track)}: nothing`)
      return
    }
    const { from, to } = this.#view.window()
    if (span.from < from || span.from > to) {
      const length = to - from
      this.#view.choose({
        stretch: { kind: 'from', from: span.from - length / 2, to: span.from + length / 2 },
      })
    }
    const inView = this.#view.window()
    const fresh = geometryOf(this.#view.recording.lanes, geometry.width, inView)
    this.#tell(
      { row, track, span },
      Math.max(fresh.left, fresh.x(span.from)),
      geometry.rows[row]!.y + geometry.rows[row]!.height,
    )
    say(this.#said, spoken(told(span, laneName(geometry.rows[row]!, track), this.#view.presentT)))
    this.#view.changed('choice')
  }
}

function laneName(row: Row, track: number): string {
  const name = row.tracks[track]?.name ?? ''
  return row.lane === 'publish' && name !== '' ? `region ${name}` : row.lane
}
