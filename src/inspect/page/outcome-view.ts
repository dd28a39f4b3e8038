/** How the run ended: its outcome whole, errors with all their causes. */
import { byId, h } from './dom.ts'
import { field } from './fold.ts'
import * as format from './format.ts'
import { messageOf } from './regions-view.ts'
import type { Part, View } from './view.ts'

/** Causes of causes: deeper ones are in the text of the whole. */
const deepest = 12

export class OutcomeView implements Part {
  readonly #view: View
  readonly #box = byId('outcome')
  #drawn: unknown

  constructor(view: View) {
    this.#view = view
  }

  draw(): void {
    const { outcome: message } = this.#view.moment
    if (message === this.#drawn) return
    this.#drawn = message
    this.#box.hidden = message === undefined
    if (message === undefined) return
    const { outcome } = message
    const status = field(outcome, 'status')
    const words = typeof status === 'string' ? status : 'ended'
    this.#box.classList.toggle('failed', words === 'failed' || words === 'superseded')
    const faults = [field(outcome, 'error'), ...listOf(field(outcome, 'suppressed'))].filter(isThere)
    this.#box.replaceChildren(
      h('p', { class: 'what' }, `The run ended: ${words}.`),
      ...faults.map((error) => faultOf(error, 0)),
      wholeOf('the whole outcome', outcome),
    )
  }
}

function isThere(value: unknown): boolean {
  return value !== undefined && value !== null
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : []
}

function faultOf(error: unknown, depth: number): HTMLElement {
  const name = field(error, 'name')
  const stack = field(error, 'stack')
  const details = [
    'phase',
    'batch',
    'table',
    'key',
    'source',
    'checkpoint',
    'severity',
    'detail',
    'hint',
    'constraint',
  ]
    .map((key) => [key, field(error, key)] as const)
    .filter(([, value]) => isThere(value))
  const fault = h(
    'div',
    { class: 'fault' },
    h('p', {}, h('b', {}, typeof name === 'string' ? `${name} ` : ''), messageOf(error)),
  )
  if (details.length > 0)
    fault.append(
      h(
        'p',
        { class: 'quiet' },
        details.map(([key, value]) => `${key} ${format.short(value, 200)}`).join(' · '),
      ),
    )
  if (typeof stack === 'string') {
    fault.append(
      h('details', {}, h('summary', { class: 'quiet' }, 'stack'), h('pre', { tabindex: 0 }, stack)),
    )
  }
  if (depth >= deepest) return fault
  const cause = field(error, 'cause')
  if (isThere(cause)) fault.append(h('p', { class: 'quiet' }, 'because of'), faultOf(cause, depth + 1))
  for (const inner of [...listOf(field(error, 'errors')), ...listOf(field(error, 'suppressed'))])
    fault.append(faultOf(inner, depth + 1))
  return fault
}

function wholeOf(title: string, value: unknown): HTMLElement {
  return h(
    'details',
    {},
    h('summary', { class: 'quiet' }, title),
    h('pre', { tabindex: 0 }, JSON.stringify(value, null, 2)),
  )
}
