/** Beside the chart: the chosen state, or the actor as a whole, at the moment that is looked at. */
import type { Chart, Charts, ChartState, GuardPart, Transition } from './charts.ts'
import { attribute, byId, h, s, toggle } from './dom.ts'
import { nameOfActor, type Actor } from './fold.ts'
import * as format from './format.ts'
import type { Visits } from './history.ts'
import { shortEvent, shortState, valueText } from './lines.ts'
import { chartOfActor, takenTransitions } from './taken.ts'
import type { Part, View } from './view.ts'

export class StateView implements Part {
  readonly #view: View
  readonly #charts: Charts
  readonly #box = byId('state')
  #drawn = ''

  constructor(view: View, charts: Charts) {
    this.#view = view
    this.#charts = charts
    byId('details').addEventListener('click', () => {
      view.hasDetails = !(view.hasDetails || view.state !== undefined)
      view.choose({ state: undefined })
    })
  }

  draw(): void {
    const view = this.#view
    const chart = chartOfActor(this.#charts, view.actor)
    if (chart === undefined) return
    const { moment } = view
    const isShown = view.hasDetails || view.state !== undefined
    attribute(byId('details'), 'aria-pressed', String(isShown))
    toggle(this.#box, 'folded', !isShown)
    const actor = moment.actors.get(view.actor)
    const state = chart.states.find(({ id }) => id === view.state)
    // an actor that has not moved is drawn once; of a state the time that goes on counts
    const key = `${view.actor} ${actor?.n} ${view.state} ${moment.hello?.at} ${state === undefined ? '' : Math.round(view.t / 100)}`
    if (key === this.#drawn) return
    this.#drawn = key
    const open = [...this.#box.querySelectorAll('details')].map((details) => details.open)
    const { scrollTop } = this.#box
    this.#box.replaceChildren(
      ...(state === undefined ? this.#actor(chart, actor) : this.#state(chart, state, actor)),
    )
    for (const [index, details] of [...this.#box.querySelectorAll('details')].entries())
      details.open = open[index] ?? details.open
    this.#box.scrollTop = scrollTop
  }

  #actor(chart: Chart, actor: Actor | undefined): Node[] {
    const name = nameOfActor(this.#view.actor)
    if (actor === undefined) {
      return [
        h('p', { class: 'title' }, name),
        h('p', { class: 'quiet' }, 'Not there at this moment. Choose a state to read what it means.'),
      ]
    }
    const taken = takenTransitions(chart, actor.transitions)
    return [
      h('p', { class: 'title' }, name),
      h('p', { class: 'mono' }, valueText(actor.value)),
      h(
        'p',
        { class: 'quiet' },
        `last step at ${format.moment(actor.t)}${actor.status === 'active' ? '' : `, ${actor.status}`}`,
      ),
      h(
        'h3',
        {},
        actor.event === undefined ? 'found in this state' : `last word: ${shortEvent(actor.event)}`,
      ),
      h('ul', {}, ...taken.map((transition) => this.#transition(transition, chart, actor))),
      h('h3', {}, 'facts'),
      factsOf(actor.facts),
    ]
  }

  #state(chart: Chart, state: ChartState, actor: Actor | undefined): Node[] {
    const { moment, t } = this.#view
    const visits = this.#view.recording.history.of(this.#view.actor, state.id, { n: moment.n, t })
    const back = h('button', { type: 'button' }, `all of ${nameOfActor(this.#view.actor)}`)
    back.addEventListener('click', () => this.#view.choose({ state: undefined }))
    const outgoing = chart.transitions.filter(({ source }) => source === state.id)
    const incoming = chart.transitions.filter(({ targets }) => targets.includes(state.id))
    return [
      h('div', {}, back),
      h('p', { class: 'title' }, shortState(state.id, chart.id)),
      h('p', {}, sentence(state.description)),
      ...this.#history(visits, actor?.active.has(state.id) === true),
      ...this.#invariants(chart, state),
      ...listOf('on entry', state.entry),
      ...listOf('workers', state.invokes),
      ...(outgoing.length === 0
        ? []
        : [
            h('h3', {}, 'leaves, or stays, by'),
            h('ul', {}, ...outgoing.map((each) => this.#transition(each, chart, actor))),
          ]),
      ...(incoming.length === 0
        ? []
        : [
            h(
              'details',
              {},
              h('summary', { class: 'quiet' }, `entered by ${format.plural(incoming.length, 'transition')}`),
              h('ul', {}, ...incoming.map((each) => this.#transition(each, chart, actor))),
            ),
          ]),
    ]
  }

  #history({ entered, durations, totalMs, since, enteredAt }: Visits, isActive: boolean): Node[] {
    const { t } = this.#view
    const now = isActive && since !== undefined ? `, there for ${format.ms(t - since)}` : ''
    const share = t > 0 ? `, ${format.percent(totalMs / t)} of the time` : ''
    const nodes: Node[] = [
      h('h3', {}, 'history'),
      h(
        'p',
        {},
        entered === 0
          ? 'not entered yet'
          : `entered ${format.plural(entered, 'time')}${now}; in all ${format.ms(totalMs)}${share}`,
      ),
    ]
    if (durations.length > 0) {
      nodes.push(spark(durations))
      nodes.push(
        h(
          'p',
          { class: 'quiet' },
          `latest: ${durations.slice(-5).toReversed().map(format.ms).join(', ')}; longest of the last ${durations.length}: ${format.ms(Math.max(...durations))}`,
        ),
      )
    }
    if (enteredAt !== undefined) {
      const go = h('button', { type: 'button' }, 'to its last entry')
      go.addEventListener('click', () => this.#view.hold(enteredAt))
      nodes.push(h('div', {}, go))
    }
    return nodes
  }

  /** Its own, and those of the states around it. */
  #invariants(chart: Chart, state: ChartState): Node[] {
    const ids: string[] = []
    for (let each: ChartState | undefined = state; each !== undefined;) {
      ids.push(...each.invariants)
      const { parent }: ChartState = each
      each = chart.states.find(({ id }) => id === parent)
    }
    const all = [...new Set(ids)]
    if (all.length === 0) return []
    return [
      h('h3', {}, 'what holds there'),
      h(
        'ul',
        {},
        ...all.map((id) =>
          h('li', {}, h('b', { class: 'mono' }, `${id} `), this.#charts.invariants[id] ?? ''),
        ),
      ),
    ]
  }

  #transition(transition: Transition, chart: Chart, actor: Actor | undefined): HTMLLIElement {
    const { source, targets, when, parts, actions } = transition
    const isTaken = actor !== undefined && takenTransitions(chart, actor.transitions).includes(transition)
    const where = targets.length === 0 ? '' : ` → ${targets.map((id) => shortState(id, chart.id)).join(', ')}`
    const from = source === this.#view.state ? '' : `${shortState(source, chart.id)}: `
    return h(
      'li',
      isTaken ? { class: 'taken' } : {},
      h('span', { class: 'when' }, `${from}${when}${where}`),
      ...(isTaken ? [h('span', { class: 'quiet' }, ' taken last')] : []),
      ...(parts.length === 0
        ? []
        : [h('br'), ...parts.map((part) => partOf(part, isTaken ? undefined : actor))]),
      ...(actions.length === 0 ? [] : [h('div', { class: 'quiet' }, `does ${actions.join(', ')}`)]),
    )
  }
}

/** A condition on a state tells by itself whether it holds; one on facts only names them. */
function partOf({ name, negated, state }: GuardPart, actor: Actor | undefined): HTMLSpanElement {
  const words = `${negated ? 'not ' : ''}${name}`
  if (state === null || actor === undefined) return h('span', { class: 'part' }, words)
  const holds = actor.active.has(state) !== negated
  return h('span', { class: `part ${holds ? 'holds' : 'fails'}` }, `${holds ? '✓' : '✗'} ${words}`)
}

function listOf(title: string, names: readonly string[]): Node[] {
  return names.length === 0
    ? []
    : [
        h(
          'p',
          {},
          h('span', { class: 'quiet' }, `${title}: `),
          h('span', { class: 'mono' }, names.join(', ')),
        ),
      ]
}

function factsOf(facts: Readonly<Record<string, unknown>>): HTMLElement {
  const rows = Object.entries(facts).flatMap(([name, value]) => [
    h('dt', {}, name),
    h('dd', {}, format.short(value, 240)),
  ])
  return h('dl', { class: 'facts' }, ...rows)
}

function spark(durations: readonly number[]): SVGSVGElement {
  const most = Math.max(...durations, 0.001)
  const bars = durations.map((duration, index) => {
    const height = Math.max(1, (duration / most) * 30)
    return s('rect', { x: index * 10, y: 30 - height, width: 8, height })
  })
  return s(
    'svg',
    { class: 'spark', viewBox: '0 0 240 30', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    ...bars,
  )
}

function sentence(text: string): string {
  return text === '' ? '' : `${text[0]!.toUpperCase()}${text.slice(1)}.`
}
