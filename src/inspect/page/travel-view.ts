/** Through time: live or held, step by step, along the scrubber, by a link. */
import { attribute, byId, say } from './dom.ts'
import * as format from './format.ts'
import type { Part, View } from './view.ts'

export class TravelView implements Part {
  readonly #view: View
  readonly #live = byId<HTMLButtonElement>('live')
  readonly #scrubber = byId<HTMLInputElement>('scrubber')
  readonly #where = byId('where')
  #hash: ReturnType<typeof setTimeout> | undefined

  constructor(view: View) {
    this.#view = view
    this.#live.addEventListener('click', () => this.#pause())
    byId('step-back').addEventListener('click', () => view.step(-1))
    byId('step-forth').addEventListener('click', () => view.step(1))
    byId('batch-back').addEventListener('click', () => view.stepBatch(-1))
    byId('batch-forth').addEventListener('click', () => view.stepBatch(1))
    this.#scrubber.addEventListener('input', () => {
      const message = view.recording.message(Number(this.#scrubber.value))
      if (message !== undefined) view.hold(message.n)
    })
    byId('link').addEventListener('click', () => void this.#copy())
    addEventListener('hashchange', () => this.#followLink())
    document.addEventListener('keydown', (event) => this.#key(event))
    this.#followLink()
  }

  draw(): void {
    const { recording, held, n, t, awaited } = this.#view
    const last = Math.max(0, recording.size - 1)
    attribute(this.#scrubber, 'max', String(last))
    const index = held === undefined ? last : recording.indexOf(n)
    if (this.#scrubber.valueAsNumber !== index) this.#scrubber.value = String(index)
    const words = `${format.moment(t)} · n ${n < 0 ? '–' : format.count(n)}`
    attribute(this.#scrubber, 'aria-valuetext', words)
    say(this.#where, awaited === undefined ? words : `waiting for n ${format.count(awaited)}`)
    attribute(this.#live, 'aria-pressed', String(held === undefined))
    say(this.#live, held === undefined ? 'live' : 'paused')
    this.#keepLink()
  }

  #pause(): void {
    if (this.#view.held === undefined) this.#view.hold(this.#view.n)
    else this.#view.live()
  }

  // ── the link ──────────────────────────────────────────────────────────────────────────────────────────────

  #followLink(): void {
    const n = /^#n=(\d{1,15})$/.exec(location.hash)?.[1]
    if (n === undefined) return
    if (this.#view.recording.last >= Number(n)) this.#view.hold(Number(n))
    else {
      this.#view.awaited = Number(n)
      this.#view.changed('moment')
    }
  }

  /** The address is the link. Written a little later: scrubbing is many moments, and browsers count. */
  #keepLink(): void {
    clearTimeout(this.#hash)
    this.#hash = setTimeout(() => {
      const { held, awaited } = this.#view
      if (awaited !== undefined) return
      const hash = held === undefined ? '' : `#n=${held}`
      if (location.hash !== hash)
        history.replaceState(null, '', `${location.pathname}${location.search}${hash}`)
    }, 150)
  }

  async #copy(): Promise<void> {
    if (this.#view.held === undefined) this.#view.hold(this.#view.n)
    const url = new URL(location.href)
    url.hash = `n=${this.#view.n}`
    const button = byId('link')
    try {
      await navigator.clipboard.writeText(url.href)
      say(button, 'copied')
    } catch {
      say(button, 'in the address')
    }
    setTimeout(() => say(button, 'copy link'), 1_500)
  }

  // ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────

  #key(event: KeyboardEvent): void {
    const target = event.target as HTMLElement
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return
    if (target.closest('dialog[open], input[type="search"], select') !== null) return
    const { key } = event
    const isScrubber = target === this.#scrubber
    if (key === '?') byId<HTMLDialogElement>('help').showModal()
    else if (key === '/') byId('log-filter').focus()
    else if (key === ' ' && target.closest('button, summary, a, .node') === null) this.#pause()
    else if (key === 'ArrowLeft' || key === 'ArrowRight') {
      const by = key === 'ArrowLeft' ? -1 : 1
      if (event.shiftKey) this.#view.stepBatch(by)
      else this.#view.step(by)
    } else if (key === 'Home') this.#view.hold(this.#view.recording.first)
    else if (key === 'End') this.#view.live()
    else if (isScrubber && (key === 'ArrowUp' || key === 'ArrowDown'))
      this.#view.step(key === 'ArrowUp' ? 1 : -1)
    else return
    event.preventDefault()
  }
}
