/** Looks at a part of a chart: pointer, wheel, buttons. What is looked at is the drawing's viewBox. */
import type { Box } from './charts.ts'

export class ChartZoom {
  readonly #svg: SVGSVGElement
  readonly #size: { readonly width: number; readonly height: number }
  #box: { x: number; y: number; width: number; height: number }
  #drag: { id: number; x: number; y: number; boxX: number; boxY: number } | undefined
  #hasMoved = false

  constructor(svg: SVGSVGElement, size: { readonly width: number; readonly height: number }) {
    this.#svg = svg
    this.#size = size
    this.#box = { x: 0, y: 0, ...size }
    svg.addEventListener('wheel', (event) => this.#wheel(event), { passive: false })
    svg.addEventListener('pointerdown', (event) => this.#pressed(event))
    svg.addEventListener('pointermove', (event) => this.#moved(event))
    svg.addEventListener('pointerup', () => this.#released())
    svg.addEventListener('pointercancel', () => this.#released())
    this.#apply()
  }

  /** The click at the end of a drag is none. */
  get hasMoved(): boolean {
    return this.#hasMoved
  }

  whole(): void {
    this.to({ x: 0, y: 0, ...this.#size }, 6)
  }

  to({ x, y, width, height }: Box, margin = 14): void {
    this.#box = { x: x - margin, y: y - margin, width: width + margin * 2, height: height + margin * 2 }
    this.fitted()
  }

  /** The box gets the shape of the place it is shown in. */
  fitted(): void {
    const { clientWidth, clientHeight } = this.#svg
    const box = this.#box
    if (clientWidth === 0 || clientHeight === 0) return
    const scale = Math.min(clientWidth / box.width, clientHeight / box.height, 1.4)
    const [width, height] = [clientWidth / scale, clientHeight / scale]
    this.#box = { x: box.x - (width - box.width) / 2, y: box.y - (height - box.height) / 2, width, height }
    this.#apply()
  }

  by(factor: number, x = 0.5, y = 0.5): void {
    const box = this.#box
    const least = this.#svg.clientWidth / 3
    const most = Math.max(this.#size.width, this.#size.height) * 2.5
    const width = Math.min(Math.max(box.width / factor, least), most)
    const height = (box.height * width) / box.width
    this.#box = { x: box.x + (box.width - width) * x, y: box.y + (box.height - height) * y, width, height }
    this.#apply()
  }

  /** Moves as little as it takes. @param covered pixels at its right that something else covers */
  show({ x, y, width, height }: Box, covered = 0): void {
    const box = this.#box
    const hidden = (covered * box.width) / Math.max(1, this.#svg.clientWidth)
    const margin = 20
    const right = box.x + box.width - hidden
    if (width < box.width - hidden && (x < box.x || x + width > right)) {
      box.x = x < box.x ? x - margin : x + width + margin - box.width + hidden
    }
    if (height < box.height && (y < box.y || y + height > box.y + box.height)) {
      box.y = y < box.y ? y - margin : y + height + margin - box.height
    }
    this.#apply()
  }

  #apply(): void {
    const { x, y, width, height } = this.#box
    this.#svg.setAttribute('viewBox', `${x} ${y} ${width} ${height}`)
  }

  #wheel(event: WheelEvent): void {
    if (!event.ctrlKey && !event.metaKey) return
    event.preventDefault()
    const { left, top, width, height } = this.#svg.getBoundingClientRect()
    this.by(Math.exp(-event.deltaY * 0.004), (event.clientX - left) / width, (event.clientY - top) / height)
  }

  #pressed(event: PointerEvent): void {
    this.#hasMoved = false
    if (event.button !== 0) return
    this.#drag = {
      id: event.pointerId,
      x: event.clientX,
      y: event.clientY,
      boxX: this.#box.x,
      boxY: this.#box.y,
    }
  }

  #moved(event: PointerEvent): void {
    const drag = this.#drag
    if (drag === undefined || drag.id !== event.pointerId) return
    const scale = this.#box.width / Math.max(1, this.#svg.clientWidth)
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y]
    if (!this.#hasMoved && Math.hypot(dx, dy) < 4) return
    if (!this.#hasMoved) {
      // from here on every move is its own; before, a click goes to the state under it
      this.#svg.setPointerCapture(drag.id)
      this.#svg.classList.add('dragging')
    }
    this.#hasMoved = true
    this.#box.x = drag.boxX - dx * scale
    this.#box.y = drag.boxY - dy * scale
    this.#apply()
  }

  #released(): void {
    this.#drag = undefined
    this.#svg.classList.remove('dragging')
  }
}
