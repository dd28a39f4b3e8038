/**
 * Shows a running indexer. It records from the first viewer on until the last has gone, and then forgets the recording;
 * who comes while it goes on gets all of it that is kept. Viewers read from the ring at their own pace.
 */
import type { Feed } from './feed.ts'
import type { Inspectable } from './inspectable.ts'
import { Recorder, type Recorded } from './recorder.ts'
import type { Redact } from './redact.ts'
import { Ring, type RingBounds } from './ring.ts'
import type { Viewer } from './viewer.ts'

/** Messages are sent together for so long: one write for many, and nobody's eye is faster. */
const gatherMs = 30
/** Sent in one write. */
const chunkLength = 64 * 1_024

export class LiveFeed implements Feed {
  readonly name: string
  readonly #recorder: Recorder
  readonly #bounds: RingBounds
  #ring: Ring
  /** With the last message that each was sent. */
  readonly #viewers = new Map<Viewer, number>()
  #flush: NodeJS.Timeout | undefined

  constructor(subject: Inspectable, bounds: RingBounds, redact: Redact | undefined) {
    this.name = subject.name
    this.#bounds = bounds
    this.#ring = new Ring(bounds)
    this.#recorder = new Recorder(subject, { redact, tell: (recorded) => this.#record(recorded) })
  }

  serve(viewer: Viewer): void {
    this.#join()
    const { position } = viewer
    const isKnown = position !== undefined && position.at === this.#recorder.at
    this.#viewers.set(viewer, isKnown ? Math.min(position.n, this.#ring.last) : 0)
    viewer.on(
      () => this.#pump(viewer),
      () => this.#leave(viewer),
    )
    this.#pump(viewer)
  }

  /** With nobody there it shows where everything stands at this moment. */
  *lines(): Iterable<string> {
    this.#join()
    const recorded = [...this.#ring.catchUp(0), ...this.#ring.after(0)]
    this.#leaveIfAlone()
    for (const { json } of recorded) yield json
  }

  close(): void {
    for (const viewer of this.#viewers.keys()) viewer.close()
    this.#leaveIfAlone()
  }

  #join(): void {
    if (this.#recorder.isAttached) return
    this.#ring = new Ring(this.#bounds)
    this.#recorder.attach()
  }

  #leave(viewer: Viewer): void {
    this.#viewers.delete(viewer)
    this.#leaveIfAlone()
  }

  #leaveIfAlone(): void {
    if (this.#viewers.size > 0) return
    clearTimeout(this.#flush)
    this.#flush = undefined
    this.#recorder.detach()
    this.#ring = new Ring(this.#bounds)
  }

  #record(recorded: Recorded): void {
    this.#ring.add(recorded)
    // the process may end with the run
    if (recorded.kind === 'outcome') this.#pumpAll()
    else this.#flush ??= setTimeout(() => this.#pumpAll(), gatherMs).unref()
  }

  #pumpAll(): void {
    clearTimeout(this.#flush)
    this.#flush = undefined
    for (const viewer of this.#viewers.keys()) this.#pump(viewer)
  }

  /** As much as it takes; the rest waits in the ring, and may be dropped there. */
  #pump(viewer: Viewer): void {
    let sent = this.#viewers.get(viewer)
    while (sent !== undefined && sent < this.#ring.last && viewer.isReady) {
      const chunk = this.#ring.catchUp(sent, sent === 0 ? 'bound' : 'slow')
      let length = 0
      for (const recorded of this.#ring.after(sent)) {
        chunk.push(recorded)
        length += recorded.json.length
        if (length > chunkLength) break
      }
      sent = chunk.at(-1)!.n
      this.#viewers.set(viewer, sent)
      viewer.send(this.#recorder.at, chunk)
    }
  }
}
