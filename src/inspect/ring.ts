/**
 * The last messages of a recording, bounded by count and by bytes. Of what it had to drop it keeps what the rest cannot
 * be understood without: the latest greeting, and where each actor stood. So a recording can be read from its
 * bound on, and whoever has read a part of it can go on behind that part.
 */
import type { DroppedMessage } from './protocol.ts'
import type { Recorded } from './recorder.ts'

export interface RingBounds {
  readonly messages: number
  readonly bytes: number
}

/** What a kept message costs beside its text. */
const overheadBytes = 100

export class Ring {
  readonly #bounds: RingBounds
  /** Without gaps; those before `#from` are gone. */
  #kept: (Recorded | undefined)[] = []
  #from = 0
  #bytes = 0
  #last = 0
  #hello: Recorded | undefined
  readonly #standing = new Map<string, Recorded>()

  constructor(bounds: RingBounds) {
    this.#bounds = bounds
  }

  /** `n` of the newest message; 0: there is none. */
  get last(): number {
    return this.#last
  }

  get length(): number {
    return this.#kept.length - this.#from
  }

  /** What is kept, the texts of dropped messages that are still needed aside. */
  get bytes(): number {
    return this.#bytes
  }

  add(recorded: Recorded): void {
    this.#kept.push(recorded)
    this.#last = recorded.n
    this.#bytes += bytesOf(recorded)
    while (this.length > 1 && (this.length > this.#bounds.messages || this.#bytes > this.#bounds.bytes)) {
      this.#drop()
    }
  }

  /**
   * What somebody who has read up to `n` has missed and cannot be given: the states that lead to what is kept, and how
   * many are not there. Empty unless the ring has dropped something behind `n`.
   */
  catchUp(n: number, why: DroppedMessage['why'] = 'bound'): Recorded[] {
    const first = this.#first()
    if (first === undefined || first.n <= n + 1) return []
    const told = [...(this.#hello === undefined ? [] : [this.#hello]), ...this.#standing.values()]
      .filter((recorded) => recorded.n > n)
      .toSorted((a, b) => a.n - b.n)
    const count = first.n - 1 - n - told.length
    if (count === 0) return told
    let gap = first.n - 1
    // the newest that is really missing: no two messages have the same number
    for (let index = told.length - 1; index >= 0 && told[index]!.n === gap; index--) gap--
    const dropped = droppedMessage(gap, first.t, count, why)
    return [...told, dropped].toSorted((a, b) => a.n - b.n)
  }

  /** Kept messages behind `n`, oldest first. */
  *after(n: number): Iterable<Recorded> {
    const first = this.#first()
    if (first === undefined) return
    for (let index = this.#from + Math.max(0, n + 1 - first.n); index < this.#kept.length; index++) {
      yield this.#kept[index]!
    }
  }

  #first(): Recorded | undefined {
    return this.#kept[this.#from]
  }

  #drop(): void {
    const gone = this.#kept[this.#from]!
    this.#kept[this.#from] = undefined
    this.#from++
    this.#bytes -= bytesOf(gone)
    if (gone.kind === 'hello') {
      this.#hello = gone
      this.#standing.clear()
    }
    // also of one that has ended: somebody may know it as living. Their paths are few
    if (gone.actor !== undefined) this.#standing.set(gone.actor, gone)
    if (this.#from > 1_024 && this.#from > this.#kept.length / 2) {
      this.#kept = this.#kept.slice(this.#from)
      this.#from = 0
    }
  }
}

export function droppedMessage(n: number, t: number, count: number, why: DroppedMessage['why']): Recorded {
  return { n, t, kind: 'dropped', json: JSON.stringify({ n, t, kind: 'dropped', count, why }) }
}

function bytesOf({ json }: Recorded): number {
  return json.length + overheadBytes
}
