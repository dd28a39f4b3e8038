/** What a span was about, in words. */
import { h } from './dom.ts'
import { field, numberOf } from './fold.ts'
import * as format from './format.ts'
import type { Happening, Span } from './lanes.ts'
import { doings } from './palette.ts'

export interface Told {
  readonly title: string
  readonly rows: readonly (readonly [string, string])[]
}

export function told(span: Span, lane: string, present: number): Told {
  const length = Math.min(span.to, present) - span.from
  const isOpen = span.to === Infinity
  const rows: [string, string][] = [
    ['from', format.moment(span.from)],
    ['takes', `${format.ms(length)}${isOpen ? ' so far' : ''}`],
  ]
  const { batch, group } = span
  if (batch !== undefined) {
    rows.push(['batch', `#${batch.index}, up to checkpoint ${format.count(batch.checkpoint)}`])
    rows.push(...numbers(batch.data, ['items', 'blocks', 'preloadMs', 'handleMs', 'stagedBytes']))
  }
  if (group !== undefined) {
    if (group.kind === 'commit')
      rows.push([
        'group',
        `${format.plural(group.batches, 'batch')}, ${format.count(group.from)} → ${format.count(group.upTo)}`,
      ])
    else rows.push(['back to', format.count(group.upTo)])
    rows.push(
      ...numbers(group.data, [
        'rows',
        'bytes',
        'encodeMs',
        'commitMs',
        'depth',
        'droppedBatches',
        'restoredRows',
        'ms',
      ]),
    )
  }
  return { title: `${lane}: ${doings[span.doing]}`, rows }
}

export function toldOf(happening: Happening): Told {
  return { title: happening.text, rows: [['at', format.moment(happening.t)]] }
}

export function drawTip(tip: HTMLElement, { title, rows }: Told): void {
  tip.replaceChildren(
    h('b', {}, title),
    h('dl', {}, ...rows.flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value)])),
  )
}

export function spoken({ title, rows }: Told): string {
  return `${title}; ${rows.map(([name, value]) => `${name} ${value}`).join('; ')}`
}

function numbers(data: unknown, names: readonly string[]): [string, string][] {
  return names.flatMap((name) => {
    const value = numberOf(field(data, name))
    if (value === undefined) return []
    const words = name
      .replace(/Ms$/, '')
      .replace('stagedBytes', 'staged')
      .replaceAll(/[A-Z]/g, (big) => ` ${big.toLowerCase()}`)
    if (name === 'ms' || name.endsWith('Ms')) return [[name === 'ms' ? 'took' : words, format.ms(value)]]
    return [[words, name.toLowerCase().endsWith('bytes') ? format.bytes(value) : format.count(value)]]
  })
}
