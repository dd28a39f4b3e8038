/** The log: every message a line, filtered; only the lines in sight are there. Filtering goes in slices. */
import { byId, h, say, toggle } from './dom.ts'
import * as format from './format.ts'
import { lineOf, type Kind } from './lines.ts'
import type { Change, Part, View } from './view.ts'

const rowHeight = 22
const sliceMs = 6
const kinds: Readonly<Record<Kind, string>> = {
  state: 'steps',
  event: 'events',
  trouble: 'trouble',
  meter: 'meter',
}

export class LogView implements Part {
  readonly #view: View
  readonly #box = byId('log')
  readonly #space = h('div', { role: 'presentation' })
  readonly #filter = byId<HTMLInputElement>('log-filter')
  readonly #shownKinds = new Set<Kind>(['state', 'event', 'trouble'])
  /** Numbers of the messages that pass, oldest first; up to which message that is known. */
  #passing: number[] = []
  #known = -1
  #needle = ''
  #recordingAt: number | undefined
  readonly #rows = new Map<number, HTMLElement>()
  #isSlicing = false

  constructor(view: View) {
    this.#view = view
    this.#box.append(this.#space)
    this.#space.style.position = 'relative'
    for (const [kind, name] of Object.entries(kinds) as [Kind, string][]) {
      const button = h(
        'button',
        { type: 'button', 'aria-pressed': this.#shownKinds.has(kind) ? 'true' : 'false' },
        name,
      )
      button.addEventListener('click', () => {
        if (!this.#shownKinds.delete(kind)) this.#shownKinds.add(kind)
        button.setAttribute('aria-pressed', String(this.#shownKinds.has(kind)))
        this.#anew()
      })
      byId('log-kinds').append(button)
    }
    this.#filter.addEventListener('input', () => {
      this.#needle = this.#filter.value.trim().toLowerCase()
      this.#anew()
    })
    this.#box.addEventListener('scroll', () => this.#rowsInSight())
    this.#box.addEventListener('keydown', (event) => this.#key(event))
    byId('message').parentElement!.addEventListener('toggle', () => this.#tellMessage())
  }

  draw(changed: ReadonlySet<Change>): void {
    const { recording, held } = this.#view
    const { hello } = recording.now
    if (hello?.at !== this.#recordingAt || recording.last < this.#known) {
      this.#recordingAt = hello?.at
      this.#clear()
    }
    const wasAtEnd = this.#isAtEnd()
    this.#pass()
    if (held === undefined && (wasAtEnd || changed.has('moment')))
      this.#box.scrollTop = this.#box.scrollHeight
    else if (held !== undefined && changed.has('moment')) this.#bringIntoSight(this.#selected())
    this.#rowsInSight()
    if (changed.has('moment') || changed.has('data')) this.#tellMessage()
  }

  #clear(): void {
    this.#passing = []
    this.#known = -1
    for (const row of this.#rows.values()) row.remove()
    this.#rows.clear()
  }

  #anew(): void {
    this.#clear()
    this.#view.changed('moment')
  }

  /** What is new; a whole recording takes several slices. */
  #pass(): void {
    const { recording } = this.#view
    const until = performance.now() + sliceMs
    let index = recording.indexOf(this.#known + 1)
    while (index < recording.size && performance.now() < until) {
      const message = recording.message(index++)!
      this.#known = message.n
      const line = lineOf(message)
      if (!this.#shownKinds.has(line.kind)) continue
      if (this.#needle !== '' && !`${line.who} ${line.text}`.toLowerCase().includes(this.#needle)) continue
      this.#passing.push(message.n)
    }
    if (recording.forgotten > 0)
      this.#passing = this.#passing.slice(lowerBound(this.#passing, recording.first))
    this.#space.style.height = `${this.#passing.length * rowHeight}px`
    const isFiltered = this.#needle !== '' || this.#shownKinds.size < 3
    const missing = recording.now.dropped + recording.forgotten
    say(
      byId('log-count'),
      `${format.count(this.#passing.length)}${isFiltered ? ` of ${format.count(recording.size)}` : ''}${missing === 0 ? '' : `, ${format.count(missing)} missing before`}`,
    )
    if (index < recording.size && !this.#isSlicing) {
      this.#isSlicing = true
      setTimeout(() => {
        this.#isSlicing = false
        this.#view.changed('moment')
      })
    }
  }

  #isAtEnd(): boolean {
    const { scrollTop, clientHeight, scrollHeight } = this.#box
    return scrollTop + clientHeight >= scrollHeight - rowHeight
  }

  /** Position of the last line at or before the moment. */
  #selected(): number {
    return lowerBound(this.#passing, this.#view.n + 1) - 1
  }

  #bringIntoSight(index: number): void {
    const { scrollTop, clientHeight } = this.#box
    const y = Math.max(0, index) * rowHeight
    if (y < scrollTop + rowHeight || y > scrollTop + clientHeight - rowHeight * 2) {
      this.#box.scrollTop = y - clientHeight / 2
    }
  }

  #rowsInSight(): void {
    const { scrollTop, clientHeight } = this.#box
    const from = Math.max(0, Math.floor(scrollTop / rowHeight) - 4)
    const to = Math.min(this.#passing.length, Math.ceil((scrollTop + clientHeight) / rowHeight) + 4)
    const selected = this.#selected()
    for (const [index, row] of this.#rows) {
      if (index < from || index >= to) {
        row.remove()
        this.#rows.delete(index)
      }
    }
    for (let index = from; index < to; index++) {
      const n = this.#passing[index]!
      let row = this.#rows.get(index)
      if (row === undefined || row.dataset['n'] !== String(n)) {
        row?.remove()
        row = this.#row(index, n)
        this.#rows.set(index, row)
        this.#space.append(row)
      }
      row.setAttribute('aria-selected', String(index === selected))
      row.setAttribute('aria-setsize', String(this.#passing.length))
      toggle(row, 'later', index > selected)
    }
    const active = this.#rows.get(selected)
    if (active === undefined) this.#box.removeAttribute('aria-activedescendant')
    else this.#box.setAttribute('aria-activedescendant', active.id)
  }

  #row(index: number, n: number): HTMLElement {
    const { recording } = this.#view
    const message = recording.message(recording.indexOf(n))!
    const { kind, who, text } = lineOf(message)
    const row = h(
      'div',
      { id: `log-${n}`, class: `row of-${kind}`, role: 'option', 'data-n': n, 'aria-posinset': index + 1 },
      h('span', { class: 't' }, format.moment(message.t)),
      h('span', { class: 'who' }, who),
      h('span', { class: 'text', title: text }, text),
    )
    row.style.top = `${index * rowHeight}px`
    row.addEventListener('click', () => this.#view.hold(n))
    return row
  }

  #tellMessage(): void {
    const details = byId('message').parentElement as HTMLDetailsElement
    if (!details.open) return
    const { recording, n } = this.#view
    const message = recording.message(recording.indexOf(n))
    say(byId('message'), message === undefined ? '' : JSON.stringify(message, null, 2))
  }

  #key(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.#box.clientHeight / rowHeight) - 1)
    const by = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity }[
      event.key
    ]
    // a filter may have been typed a moment ago
    this.#pass()
    if (by === undefined || event.ctrlKey || event.metaKey || event.altKey || this.#passing.length === 0)
      return
    event.preventDefault()
    event.stopPropagation()
    if (by === Infinity) this.#view.live()
    else
      this.#view.hold(this.#passing[Math.min(Math.max(this.#selected() + by, 0), this.#passing.length - 1)]!)
  }
}

function lowerBound(sorted: readonly number[], n: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (sorted[middle]! < n) low = middle + 1
    else high = middle
  }
  return low
}
