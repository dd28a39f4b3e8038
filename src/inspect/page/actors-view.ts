/** The actors of the moment: which chart is shown. Those that always are there at some time can be read beforehand. */
import { byId, h, say, toggle } from './dom.ts'
import { leavesOf, nameOfActor, type Actor } from './fold.ts'
import type { Part, View } from './view.ts'

const always = ['indexer', 'indexer/committer', 'indexer/publisher']

export class ActorsView implements Part {
  readonly #view: View
  readonly #box = byId('actors')
  readonly #buttons = new Map<string, { readonly button: HTMLButtonElement; readonly now: HTMLElement }>()

  constructor(view: View) {
    this.#view = view
  }

  draw(): void {
    const { actors } = this.#view.moment
    const { actors: known } = this.#view.recording.now
    for (const path of [...always, ...known.keys()]) if (!this.#buttons.has(path)) this.#add(path)
    for (const [path, { button, now }] of this.#buttons) {
      const actor = actors.get(path)
      const words = actor === undefined ? '' : ` ${placeOf(actor)}`
      say(now, words)
      toggle(button, 'trouble', / (failed|quarantined|broken|superseded|retrying|backingOff)/.test(words))
      button.setAttribute('aria-pressed', String(path === this.#view.actor))
      button.hidden = !always.includes(path) && !known.has(path)
    }
  }

  #add(path: string): void {
    const now = h('span', { class: 'now' })
    const button = h('button', { type: 'button' }, nameOfActor(path), now)
    button.addEventListener('click', () => this.#view.choose({ actor: path }))
    this.#buttons.set(path, { button, now })
    this.#box.append(button)
  }
}

/** Of the root chart the top state is enough: its lanes stand in the page's head. */
function placeOf({ path, active, chart }: Actor): string {
  const leaves = path === 'indexer' ? [...active].slice(0, 1) : leavesOf(active)
  return leaves.map((id) => id.slice(chart.length + 1)).join(' ')
}
