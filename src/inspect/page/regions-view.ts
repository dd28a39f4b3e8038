/** The regions board: what readers of each see, how old it is, what stands in its way. */
import { byId, h, say } from './dom.ts'
import { field, leavesOf, numberOf, type Moment } from './fold.ts'
import * as format from './format.ts'
import type { Part, View } from './view.ts'

const healths: Readonly<Record<string, string>> = { ok: 'good', stale: 'warn', empty: '', quarantined: 'bad' }

export class RegionsView implements Part {
  readonly #view: View
  readonly #box = byId('regions')
  #drawn: unknown[] = []

  constructor(view: View) {
    this.#view = view
  }

  draw(): void {
    const { moment } = this.#view
    const names = namesOf(moment)
    const actors = names.map((name) => moment.actors.get(pathOf(name)))
    const key = [moment.meter, this.#view.actor, ...names, ...actors]
    if (key.length === this.#drawn.length && key.every((each, index) => each === this.#drawn[index])) return
    this.#drawn = key
    const statuses = names.map((name) => field(moment.meter?.regions, name))
    const ill = statuses.filter(
      (status) => !['ok', 'empty', undefined].includes(field(status, 'health') as string),
    ).length
    say(
      byId('regions-note'),
      names.length === 0
        ? ''
        : `${format.plural(names.length, 'region')}${ill === 0 ? '' : `, ${ill} not well`}`,
    )
    if (names.length === 0) {
      this.#box.replaceChildren(
        h('p', { class: 'empty' }, 'This run publishes no regions, or none has been heard of yet.'),
      )
      return
    }
    const focused = document.activeElement?.closest('tr')?.dataset['region']
    const head = ['region', 'health', 'chart', 'age', 'left', 'tries'].map((name, index) =>
      h('th', { scope: 'col', class: index > 2 ? 'number' : index === 2 ? 'place' : undefined }, name),
    )
    const rows = names.flatMap((name, index) => this.#row(name, statuses[index], moment))
    this.#box.replaceChildren(h('table', {}, h('thead', {}, h('tr', {}, ...head)), h('tbody', {}, ...rows)))
    if (focused === undefined) return
    const row = [...this.#box.querySelectorAll('tr')].find(({ dataset }) => dataset['region'] === focused)
    row?.querySelector('button')?.focus({ preventScroll: true })
  }

  #row(name: string, status: unknown, moment: Readonly<Moment>): HTMLTableRowElement[] {
    const health = field(status, 'health')
    const word = typeof health === 'string' ? health : '–'
    const actor = moment.actors.get(pathOf(name))
    const place =
      actor === undefined
        ? '–'
        : leavesOf(actor.active)
            .map((id) => id.replace(/^region\./, ''))
            .join(' ')
    const open = h('button', { type: 'button', 'aria-label': `chart of region ${name}` }, name)
    open.addEventListener('click', () => this.#view.choose({ actor: pathOf(name) }))
    const age = numberOf(field(status, 'ageMs'))
    const row = h(
      'tr',
      { 'data-region': name },
      h('td', {}, open),
      h('td', { class: `state-word ${healths[word] ?? ''}` }, word),
      h('td', { class: 'mono state-word place' }, place),
      h('td', { class: 'number' }, age === undefined ? '–' : format.ms(age)),
      h('td', { class: 'number' }, text(field(status, 'undelivered'))),
      h('td', { class: 'number' }, text(field(status, 'attempts'))),
    )
    const error = field(status, 'error') ?? undefined
    if (error === undefined) return [row]
    return [row, h('tr', { class: 'failure' }, h('td', { colspan: 6 }, messageOf(error)))]
  }
}

function pathOf(region: string): string {
  return `indexer/publisher/region:${region}`
}

/** Those of the meter, and those whose actors are there already. */
function namesOf({ meter, actors }: Readonly<Moment>): string[] {
  const begun = [...actors.values()].filter(({ chart }) => chart === 'region')
  const names = begun.map(({ path }) => path.slice(path.indexOf('/region:') + '/region:'.length))
  return [...new Set([...Object.keys(meter?.regions ?? {}), ...names])].toSorted()
}

function text(value: unknown): string {
  const number = numberOf(value)
  return number === undefined ? '–' : format.count(number)
}

export function messageOf(error: unknown): string {
  const message = field(error, 'message')
  const code = field(error, 'code')
  const words = typeof message === 'string' ? message : format.short(error, 300)
  return typeof code === 'string' ? `${code}: ${words}` : words
}
