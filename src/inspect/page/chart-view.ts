/** The chart: every state and arrow where elk put them, what is active lit, the last transition marked. */
import type { Chart, Charts, ChartState, Link, Mark } from './charts.ts'
import { ChartZoom } from './chart-zoom.ts'
import { attribute, byId, s, toggle } from './dom.ts'
import type { Actor } from './fold.ts'
import { chartOfActor, takenTransitions } from './taken.ts'
import type { Part, View } from './view.ts'

interface Drawn {
  readonly chart: Chart
  readonly svg: SVGSVGElement
  readonly zoom: ChartZoom
  readonly nodes: ReadonlyMap<string, SVGGElement>
  readonly links: readonly SVGGElement[]
  /** Its one stop of the tab key. */
  stop: string
}

export class ChartView implements Part {
  readonly #view: View
  readonly #charts: Charts
  readonly #box = byId('chart')
  /** Each with its own zoom, kept while another is looked at. */
  readonly #drawn = new Map<string, Drawn>()
  #shown: Drawn | undefined
  #lit: Actor | undefined
  #hasFocused = false

  constructor(view: View, charts: Charts) {
    this.#view = view
    this.#charts = charts
    byId('zoom-in').addEventListener('click', () => this.#shown?.zoom.by(1.35))
    byId('zoom-out').addEventListener('click', () => this.#shown?.zoom.by(1 / 1.35))
    byId('zoom-fit').addEventListener('click', () => this.#shown?.zoom.whole())
    byId('zoom-focus').addEventListener('click', () => this.#focusActive())
  }

  draw(): void {
    const chart = chartOfActor(this.#charts, this.#view.actor)
    if (chart === undefined) return
    const drawn = this.#drawn.get(chart.id) ?? this.#make(chart)
    if (this.#shown !== drawn) {
      this.#box.replaceChildren(drawn.svg)
      this.#shown = drawn
      this.#lit = undefined
      drawn.zoom.fitted()
    }
    const actor = this.#view.moment.actors.get(this.#view.actor)
    if (actor !== this.#lit) this.#light(drawn, actor)
    this.#lit = actor
    for (const [id, node] of drawn.nodes) toggle(node, 'chosen', id === this.#view.state)
    if (!this.#hasFocused && actor?.active.has('indexer.active') === true) {
      this.#hasFocused = true
      this.#focusActive()
    }
  }

  #light(drawn: Drawn, actor: Actor | undefined): void {
    const active = actor?.active ?? new Set<string>()
    for (const state of drawn.chart.states) {
      const node = drawn.nodes.get(state.id)!
      const isActive = active.has(state.id)
      toggle(node, 'active', isActive)
      attribute(node, 'aria-label', labelOf(state, isActive))
    }
    const taken = actor === undefined ? [] : takenTransitions(drawn.chart, actor.transitions)
    for (const [index, link] of drawn.links.entries()) {
      const lines = taken.filter((transition) => transition.link === index).map(({ line }) => line)
      toggle(link, 'last', lines.length > 0)
      for (const text of link.querySelectorAll('text'))
        toggle(text, 'last', lines.includes(Number(text.dataset['line'])))
    }
  }

  /** The outermost state it is in that has lanes or places of its own. */
  #focusActive(): void {
    const drawn = this.#shown
    if (drawn === undefined) return
    const active = this.#view.moment.actors.get(this.#view.actor)?.active
    const boxes = drawn.chart.states.filter(({ id, parent }) => active?.has(id) === true && parent === null)
    const [box] = boxes
    if (box === undefined || box.kind === 'final' || box.width * 4 < drawn.chart.width) drawn.zoom.whole()
    else if (this.#box.clientWidth < box.width * 0.4) {
      // too small to be read: the lane that most is about
      drawn.zoom.to(drawn.chart.states.find(({ id }) => id === 'indexer.active.compute') ?? box)
    } else drawn.zoom.to(box)
  }

  // ── drawing ───────────────────────────────────────────────────────────────────────────────────────────────

  #make(chart: Chart): Drawn {
    const tip = `tip-${chart.id}`
    const nodes = new Map(chart.states.map((state) => [state.id, this.#node(state)]))
    const links = chart.links.map((link) => linkOf(link, tip))
    const canvas = s(
      'g',
      {},
      ...nodes.values(),
      ...chart.states.flatMap(gearOf),
      ...chart.marks.map(markOf),
      ...links,
    )
    const svg = s(
      'svg',
      { role: 'group', 'aria-label': `chart of ${chart.id}` },
      s(
        'defs',
        { class: 'tips' },
        s(
          'marker',
          {
            id: tip,
            viewBox: '0 0 8 8',
            refX: 7,
            refY: 4,
            markerWidth: 9,
            markerHeight: 9,
            markerUnits: 'userSpaceOnUse',
            orient: 'auto-start-reverse',
          },
          s('path', { d: 'M0 0.8 L8 4 L0 7.2 Z' }),
        ),
      ),
      canvas,
    )
    const drawn: Drawn = {
      chart,
      svg,
      zoom: new ChartZoom(svg, chart),
      nodes,
      links,
      stop: chart.states[0]!.id,
    }
    nodes.get(drawn.stop)!.setAttribute('tabindex', '0')
    svg.addEventListener('keydown', (event) => this.#key(event, drawn))
    this.#drawn.set(chart.id, drawn)
    return drawn
  }

  #node(state: ChartState): SVGGElement {
    const isOuter = state.kind === 'compound' || state.kind === 'parallel'
    const node = s(
      'g',
      {
        class: `node ${isOuter ? 'outer' : 'leaf'} ${state.kind}`,
        role: 'button',
        tabindex: -1,
        'data-state': state.id,
      },
      s('title', {}, state.description),
      s('rect', { x: state.x, y: state.y, width: state.width, height: state.height, rx: isOuter ? 9 : 6 }),
    )
    if (state.kind === 'final') {
      node.append(
        s('rect', {
          class: 'inner',
          x: state.x + 3,
          y: state.y + 3,
          width: state.width - 6,
          height: state.height - 6,
          rx: 4,
        }),
      )
    }
    node.append(s('text', { class: 'title', x: state.x + 12, y: state.y + 26 }, state.key))
    node.addEventListener('click', () => {
      if (this.#shown?.zoom.hasMoved === true) return
      this.#choose(state.id)
    })
    return node
  }

  #choose(id: string): void {
    this.#view.choose({ state: id === this.#view.state ? undefined : id })
    const state = this.#shown?.chart.states.find((each) => each.id === id)
    const panel = byId('state')
    panel.classList.remove('folded')
    if (state !== undefined && getComputedStyle(panel).position === 'absolute') {
      const covered = Math.max(
        0,
        this.#box.getBoundingClientRect().right - panel.getBoundingClientRect().left,
      )
      this.#shown?.zoom.show(state, covered)
    }
  }

  // ── keyboard ──────────────────────────────────────────────────────────────────────────────────────────────

  #key(event: KeyboardEvent, drawn: Drawn): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const { key } = event
    const here = (event.target as Element).closest<SVGGElement>('.node')?.dataset['state']
    if (key === '+' || key === '=') drawn.zoom.by(1.35)
    else if (key === '-') drawn.zoom.by(1 / 1.35)
    else if (key === '0') drawn.zoom.whole()
    else if ((key === 'Enter' || key === ' ') && here !== undefined) this.#choose(here)
    else if (key.startsWith('Arrow') && here !== undefined) this.#walk(drawn, here, key)
    else return
    event.preventDefault()
    event.stopPropagation()
  }

  /** To the nearest state that way. */
  #walk(drawn: Drawn, from: string, key: string): void {
    const here = middle(drawn.chart.states.find(({ id }) => id === from)!)
    const [dx, dy] =
      key === 'ArrowLeft' ? [-1, 0] : key === 'ArrowRight' ? [1, 0] : key === 'ArrowUp' ? [0, -1] : [0, 1]
    let nearest: ChartState | undefined
    let best = Infinity
    for (const state of drawn.chart.states) {
      const there = middle(state)
      const along = (there.x - here.x) * dx + (there.y - here.y) * dy
      const aside = Math.abs((there.x - here.x) * dy) + Math.abs((there.y - here.y) * dx)
      if (state.id === from || along <= 4) continue
      const cost = along + aside * 2.2
      if (cost < best) [best, nearest] = [cost, state]
    }
    if (nearest === undefined) return
    drawn.nodes.get(drawn.stop)!.setAttribute('tabindex', '-1')
    drawn.stop = nearest.id
    const node = drawn.nodes.get(nearest.id)!
    node.setAttribute('tabindex', '0')
    drawn.zoom.show(nearest)
    node.focus({ preventScroll: true })
  }
}

/** An outer state's place is its title's: it is where it is read. */
function middle({ x, y, width, height, kind }: ChartState): { x: number; y: number } {
  return kind === 'compound' || kind === 'parallel'
    ? { x: x + 30, y: y + 18 }
    : { x: x + width / 2, y: y + height / 2 }
}

function labelOf({ id, kind }: ChartState, isActive: boolean): string {
  const path = id.slice(id.indexOf('.') + 1)
  return `${path}${kind === 'final' ? ', an end' : ''}${isActive ? ', active' : ''}`
}

/** Beside its button, not in it: it is no part of its name. Where there is no room, the panel tells it. */
function gearOf(state: ChartState): SVGTextElement[] {
  const words = `⚙ ${state.invokes.join(', ')}`
  if (state.invokes.length === 0 || state.key.length * 10.2 + words.length * 7.2 + 36 > state.width) return []
  const [x, y] = [state.x + state.width - 10, state.y + 24]
  return [s('text', { class: 'invokes', 'aria-hidden': 'true', x, y, 'text-anchor': 'end' }, words)]
}

function linkOf({ points, label, lines, isBarrier }: Link, tip: string): SVGGElement {
  const link = s(
    'g',
    { class: 'link' },
    s('path', { d: rounded(points), class: isBarrier ? 'barrier' : undefined, 'marker-end': `url(#${tip})` }),
  )
  for (const [line, text] of lines.entries()) {
    link.append(s('text', { x: label!.x + 3, y: label!.y + 13 + line * 16, 'data-line': line }, text))
  }
  return link
}

function markOf({ kind, x, y, width, height }: Mark): SVGGElement {
  const mark = s('g', { class: 'mark' })
  if (kind === 'initial') mark.append(s('circle', { cx: x + width / 2, cy: y + height / 2, r: 5 }))
  else {
    mark.append(
      s('rect', { x, y, width, height, rx: 9 }),
      s('text', { x: x + width / 2, y: y + 15, 'text-anchor': 'middle' }, 'anywhere'),
    )
  }
  return mark
}

/** Corners of six pixels. */
function rounded(points: Link['points']): string {
  const parts = [`M${points[0]!.join(' ')}`]
  for (let index = 1; index < points.length - 1; index++) {
    const [before, at, next] = [points[index - 1]!, points[index]!, points[index + 1]!]
    parts.push(`L${towards(at, before).join(' ')}`, `Q${at.join(' ')} ${towards(at, next).join(' ')}`)
  }
  return `${parts.join(' ')} L${points.at(-1)!.join(' ')}`
}

function towards(from: readonly [number, number], to: readonly [number, number]): [number, number] {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]]
  const share = Math.min(6, Math.hypot(dx, dy) / 2) / Math.max(1, Math.hypot(dx, dy))
  return [from[0] + dx * share, from[1] + dy * share]
}
