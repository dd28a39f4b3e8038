/** Frontiers, rates, bytes against the budget, and where the milliseconds went. */
import { byId, h, say, toggle } from './dom.ts'
import { field, numberOf, type Moment } from './fold.ts'
import * as format from './format.ts'
import { doings } from './palette.ts'
import type { Part, View } from './view.ts'

interface Tile {
  readonly value: HTMLElement
  readonly note: HTMLElement
}

export class MetersView implements Part {
  readonly #view: View
  readonly #tiles: Readonly<
    Record<'processed' | 'committed' | 'published' | 'items' | 'staged' | 'overlap', Tile>
  >
  readonly #gauge = h('div')
  readonly #stalls = new Map<string, StackedBar>()

  constructor(view: View) {
    this.#view = view
    const tile = (name: string): Tile => {
      const [value, note] = [h('div', { class: 'value' }, '–'), h('div', { class: 'note' }, '\u00a0')]
      byId('tiles').append(h('div', { class: 'tile' }, h('div', { class: 'name' }, name), value, note))
      return { value, note }
    }
    this.#tiles = {
      processed: tile('processed'),
      committed: tile('committed'),
      published: tile('published'),
      items: tile('items / s'),
      staged: tile('staged of the budget'),
      overlap: tile('overlap ratio'),
    }
    this.#tiles.staged.note.before(h('div', { class: 'gauge' }, this.#gauge))
    for (const lane of ['compute', 'commit']) {
      const bar = new StackedBar(lane)
      byId('stalls').append(bar.element)
      this.#stalls.set(lane, bar)
    }
  }

  draw(): void {
    const { moment, recording, t } = this.#view
    const { meter } = moment
    const facts = moment.actors.get('indexer')?.facts
    const processed = numberOf(facts?.['processed']) ?? numberOf(meter?.processed)
    const committed = numberOf(facts?.['committed']) ?? numberOf(meter?.committed)
    const { processed: p, committed: c, published, items, staged, overlap } = this.#tiles
    show(p, processed === undefined ? '–' : format.count(processed), stagedNote(facts))
    const behind = processed === undefined || committed === undefined ? undefined : processed - committed
    show(
      c,
      committed === undefined ? '–' : format.count(committed),
      behind === undefined ? '' : behind <= 0 ? 'nothing behind' : `${format.count(behind)} behind`,
    )
    const frontier = publishedFrontier(moment, committed)
    show(published, frontier.value, frontier.note)
    const total = recording.series.items.length === 0 ? numberOf(meter?.items) : undefined
    show(
      items,
      format.rate(recording.series.itemsPerSecond(t)),
      `${format.count(total ?? itemsAt(this.#view))} in all`,
    )
    const bytes = numberOf(facts?.['stagedBytes']) ?? meter?.stagedBytes ?? 0
    const budget = numberOf(moment.hello?.limits?.['stagedBytes'])
    show(
      staged,
      format.bytes(bytes),
      budget === undefined
        ? ''
        : `of ${format.bytes(budget)}, ahead ${format.bytes(meter?.readAheadBytes ?? 0)}`,
    )
    const share = budget === undefined || budget === 0 ? 0 : bytes / budget
    this.#gauge.style.width = `${Math.min(100, share * 100)}%`
    toggle(this.#gauge.parentElement!, 'full', share >= 1)
    const ratio = numberOf(field(meter?.stalls, 'overlapRatio'))
    show(overlap, ratio === undefined ? '–' : ratio.toFixed(2), 'of the shorter lane hidden')
    const wall = numberOf(field(meter?.stalls, 'wallMs')) ?? 0
    say(byId('stalls-note'), wall === 0 ? '' : `${format.ms(wall)} of the run, every millisecond once`)
    for (const [lane, bar] of this.#stalls) bar.draw(field(meter?.stalls, lane), wall)
  }
}

function show({ value, note }: Tile, text: string, more: string): void {
  say(value, text)
  say(note, more === '' ? '\u00a0' : more)
  note.title = more
}

function itemsAt({ recording, t }: View): number {
  const { items } = recording.series
  return items.findLast((point) => point.t <= t)?.value ?? 0
}

function stagedNote(facts: Readonly<Record<string, unknown>> | undefined): string {
  const staged = numberOf(facts?.['stagedBatches'])
  const flight = numberOf(facts?.['flightBatches'])
  if (staged === undefined || flight === undefined) return ''
  return `${format.count(staged)} staged, ${format.count(flight)} on the wire`
}

/** What readers see at least, of every region that can be delivered. */
function publishedFrontier(
  { meter }: Readonly<Moment>,
  committed: number | undefined,
): { value: string; note: string } {
  const regions = Object.values(meter?.regions ?? {})
  if (regions.length === 0) return { value: '–', note: 'no regions' }
  const healthy = regions.filter((region) => field(region, 'health') === 'ok')
  const waiting = healthy.filter((region) => (numberOf(field(region, 'undelivered')) ?? 0) > 0)
  const ill = regions.filter((region) => ['quarantined', 'stale'].includes(field(region, 'health') as string))
  const lowest = Math.min(
    committed ?? 0,
    ...waiting.map((region) => numberOf(field(region, 'delivered')) ?? 0),
  )
  return {
    value: healthy.length === 0 ? '–' : format.count(lowest),
    note:
      ill.length > 0
        ? `${ill.length} of ${regions.length} regions not well`
        : waiting.length > 0
          ? `${waiting.length} of ${regions.length} on their way`
          : `all ${regions.length} up to date`,
  }
}

class StackedBar {
  readonly element: HTMLElement
  readonly #stack = h('div', { class: 'stack', 'aria-hidden': 'true' })
  readonly #shares = h('ul', { class: 'shares' })
  readonly #parts = new Map<
    string,
    { readonly bar: HTMLElement; readonly text: HTMLElement; readonly item: HTMLElement }
  >()

  constructor(lane: string) {
    this.element = h(
      'div',
      { class: 'stall' },
      h('span', { class: 'quiet' }, lane),
      this.#stack,
      this.#shares,
    )
  }

  draw(columns: unknown, wallMs: number): void {
    if (typeof columns !== 'object' || columns === null) return
    for (const [doing, value] of Object.entries(columns)) {
      const ms = numberOf(value) ?? 0
      const { bar, text, item } = this.#parts.get(doing) ?? this.#add(doing)
      bar.style.flexGrow = String(ms)
      say(text, `${format.percent(ms / Math.max(1, wallMs))} · ${format.ms(ms)}`)
      item.hidden = ms < 0.0005 * wallMs || ms === 0
    }
  }

  #add(doing: string) {
    const text = h('b')
    const name = (doings as Readonly<Record<string, string>>)[doing] ?? doing
    const known = Object.hasOwn(doings, doing) || doing === 'idle' ? doing : 'idle'
    const bar = h('div', { class: `share-${known}` })
    const item = h('li', {}, h('span', { class: `swatch ${known}` }), `${name} `, text)
    this.#stack.append(bar)
    this.#shares.append(item)
    const part = { bar, text, item }
    this.#parts.set(doing, part)
    return part
  }
}
