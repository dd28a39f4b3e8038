/**
 * Everything the page has been told, bounded: messages by their number, a keyframe every so often, and what is read off
 * them once, as they come (spans, entries, series). A moment is the keyframe before it and what follows.
 */
import type { Message } from '../protocol.ts'
import { copied, emptyMoment, fold, type Moment } from './fold.ts'
import { History } from './history.ts'
import { Lanes } from './lanes.ts'
import { Series } from './series.ts'

const keyframeEvery = 256
/** The oldest go, a tenth at a time. */
const defaultBound = 150_000

export class Recording {
  readonly #bound: number
  #messages: Message[] = []
  #keyframes: Moment[] = []
  #now = emptyMoment()
  /** Of the moment that was asked for last: stepping forward goes on from it. */
  #cached: Moment | undefined
  #forgotten = 0
  lanes = new Lanes()
  history = new History()
  series = new Series()

  constructor(bound = defaultBound) {
    this.#bound = bound
  }

  get size(): number {
    return this.#messages.length
  }

  get first(): number {
    return this.#messages[0]?.n ?? 0
  }

  get last(): number {
    return this.#messages.at(-1)?.n ?? -1
  }

  /** The newest moment; it changes with the next message. */
  get now(): Readonly<Moment> {
    return this.#now
  }

  /** Messages that this page has let go of. */
  get forgotten(): number {
    return this.#forgotten
  }

  /** @returns false: it is known already */
  add(message: Message): boolean {
    if (message.kind === 'hello' && isAnother(this.#now.hello, message)) this.#reset()
    else if (message.n <= this.last) return false
    this.#messages.push(message)
    fold(this.#now, message)
    if (this.#messages.length % keyframeEvery === 1) this.#keyframes.push(copied(this.#now))
    this.lanes.add(message, this.#now)
    this.history.add(message, this.#now)
    this.series.add(message)
    if (this.#messages.length > this.#bound) this.#forget()
    return true
  }

  /** Everything up to that message; out of reach: as near as there is. */
  at(n: number): Readonly<Moment> {
    if (n >= this.last) return this.#now
    let moment = this.#cached
    if (moment === undefined || moment.n > n || n - moment.n > keyframeEvery) {
      const keyframe = this.#keyframes[Math.max(0, lowerBound(this.#keyframes, n + 1) - 1)]
      moment = keyframe === undefined ? emptyMoment() : copied(keyframe)
    } else {
      moment = copied(moment)
    }
    for (let index = this.indexOf(moment.n + 1); index < this.#messages.length; index++) {
      const message = this.#messages[index]!
      if (message.n > n) break
      fold(moment, message)
    }
    this.#cached = moment
    return moment
  }

  /** By position, oldest first. */
  message(index: number): Message | undefined {
    return this.#messages[index]
  }

  /** Position of the first message with that number or a later one. */
  indexOf(n: number): number {
    return lowerBound(this.#messages, n)
  }

  /** Number of the last message at or before that time. */
  numberAt(t: number): number {
    let low = 0
    let high = this.#messages.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#messages[middle]!.t <= t) low = middle + 1
      else high = middle
    }
    return this.#messages[Math.max(0, low - 1)]?.n ?? 0
  }

  #forget(): void {
    const gone = Math.floor(this.#bound / 10)
    this.#messages = this.#messages.slice(gone)
    this.#forgotten += gone
    const { first } = this
    // the keyframe before the first message left is kept: moments from there on need it
    const kept = Math.max(0, lowerBound(this.#keyframes, first + 1) - 1)
    this.#keyframes = this.#keyframes.slice(kept)
    this.#cached = undefined
    const since = this.#messages[0]!.t
    this.lanes.forgetBefore(since)
    this.history.forgetBefore(since)
    this.series.forgetBefore(since)
  }

  #reset(): void {
    this.#messages = []
    this.#keyframes = []
    this.#now = emptyMoment()
    this.#cached = undefined
    this.#forgotten = 0
    this.lanes = new Lanes()
    this.history = new History()
    this.series = new Series()
  }
}

/** Every viewer's stream begins with a hello, and so does every run; only one of another recording starts anew. */
function isAnother(known: Moment['hello'], hello: NonNullable<Moment['hello']>): boolean {
  return known !== undefined && (known.at !== hello.at || known.process.pid !== hello.process.pid)
}

function lowerBound(sorted: readonly { readonly n: number }[], n: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (sorted[middle]!.n < n) low = middle + 1
    else high = middle
  }
  return low
}
