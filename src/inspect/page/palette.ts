/** The theme's colours, for what is drawn on a canvas. */
import type { Doing } from './lanes.ts'

export interface Palette {
  readonly doings: Readonly<Record<Doing, string>>
  /** What waits is hatched: colour alone does not have to tell it. */
  readonly patterns: Partial<Record<Doing, CanvasPattern>>
  /** Words upon the doing's colour. */
  readonly inks: Readonly<Record<Doing, string>>
  readonly text: string
  readonly dim: string
  readonly line: string
  readonly idle: string
  readonly panel: string
  readonly accent: string
  readonly overlap: string
  readonly mono: string
  readonly sans: string
}

/** In the order of the legend. */
export const doings: Readonly<Record<Doing, string>> = {
  pull: 'pull',
  preload: 'preload',
  handle: 'handle',
  handOver: 'hand over',
  budget: 'budget wait',
  drain: 'drain',
  commit: 'commit',
  resolve: 'resolve',
  retry: 'retry, back off',
  rollback: 'rollback',
  publish: 'publish',
  quarantine: 'quarantined',
  opening: 'opening',
}

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement)
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim()
  const names = Object.keys(doings) as Doing[]
  const colours = Object.fromEntries(names.map((name) => [name, colour(name)])) as Record<Doing, string>
  return {
    doings: colours,
    patterns: {
      budget: hatched(colours.budget, colour('idle')),
      retry: hatched(colours.retry, colour('idle')),
    },
    inks: Object.fromEntries(names.map((name) => [name, inkOn(colours[name])])) as Record<Doing, string>,
    text: colour('text'),
    dim: colour('dim'),
    line: colour('line'),
    idle: colour('idle'),
    panel: colour('panel'),
    accent: colour('accent'),
    overlap: colour('overlap'),
    mono: colour('mono'),
    sans: colour('sans'),
  }
}

function inkOn(colour: string): string {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16))
  return red * 0.299 + green * 0.587 + blue * 0.114 > 120 ? '#0b1015' : '#ffffff'
}

function hatched(colour: string, ground: string): CanvasPattern {
  const tile = document.createElement('canvas')
  tile.width = tile.height = 8
  const context = tile.getContext('2d')!
  context.fillStyle = ground
  context.fillRect(0, 0, 8, 8)
  context.strokeStyle = colour
  context.lineWidth = 3.2
  context.beginPath()
  for (const shift of [-8, 0, 8]) {
    context.moveTo(shift - 2, 10)
    context.lineTo(shift + 10, -2)
  }
  context.stroke()
  return context.createPattern(tile, 'repeat')!
}
