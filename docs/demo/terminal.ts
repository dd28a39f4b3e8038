/** Colour, numbers and one line that is drawn again and again; plain lines where there is no terminal. */
import { clearLine, cursorTo } from 'node:readline'
import { styleText } from 'node:util'

type Paint = (text: string) => string

export const bold: Paint = (text) => styleText('bold', text)
export const dim: Paint = (text) => styleText('dim', text)
export const green: Paint = (text) => styleText('green', text)
export const yellow: Paint = (text) => styleText('yellow', text)
export const cyan: Paint = (text) => styleText('cyan', text)
export const red: Paint = (text) => styleText('red', text)

export const count = (value: number): string => Math.round(value).toLocaleString('en-US')
export const seconds = (milliseconds: number): string => `${(milliseconds / 1_000).toFixed(2)} s`
export const percent = (ratio: number): string => `${Math.round(ratio * 100)} %`
export const bytes = (value: number): string =>
  value < 1_000_000 ? `${Math.round(value / 1_000)} kB` : `${(value / 1_000_000).toFixed(1)} MB`

export function say(line = ''): void {
  process.stdout.write(`${line}\n`)
}

/** A label and what belongs to it, one under the other. */
export function fact(label: string, text: string): void {
  say(`  ${dim(label.padEnd(10))}${text}`)
}

const drawEveryMs = 80
const lineEveryMs = 2_000

/**
 * Shows what `draw` returns until it is ended: redrawn in place on a terminal, otherwise a line now and then.
 * At the end the last picture stays, or goes away.
 */
export function liveLine(draw: () => string): { end(then: 'keep' | 'erase'): void } {
  const { stdout } = process
  const isLive = stdout.isTTY
  const redraw = () => {
    cursorTo(stdout, 0)
    // what a narrow window has no room for is cut, not wrapped
    stdout.write(`\x1b[?7l${draw()}\x1b[?7h`)
    clearLine(stdout, 1)
  }
  const timer = setInterval(isLive ? redraw : () => say(draw()), isLive ? drawEveryMs : lineEveryMs)
  return {
    end(then) {
      clearInterval(timer)
      if (then === 'keep' && isLive) redraw()
      if (then === 'keep') say(isLive ? '' : draw())
      else if (isLive) {
        cursorTo(stdout, 0)
        clearLine(stdout, 0)
      }
    },
  }
}

/** Up to three parts of one bar, each with its own colour; `of` is its whole length. */
export function bar(parts: readonly { readonly value: number; readonly paint: Paint }[], of: number): string {
  const width = Math.max(6, Math.min(24, (process.stdout.columns ?? 120) - 97))
  let drawn = ''
  let used = 0
  let sum = 0
  for (const { value, paint } of parts) {
    sum += value
    const upTo = of === 0 ? 0 : Math.min(width, Math.round((sum / of) * width))
    drawn += paint('━'.repeat(Math.max(0, upTo - used)))
    used = Math.max(used, upTo)
  }
  return drawn + dim('─'.repeat(width - used))
}
