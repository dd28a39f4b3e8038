/** When each state of each actor was entered and left: for its panel, at any moment. */
import type { Message } from '../protocol.ts'
import type { Moment } from './fold.ts'

export interface Visits {
  /** Up to that moment, those that are forgotten included. */
  readonly entered: number
  /** Milliseconds of the latest ones, newest last; the one that goes on is not among them. */
  readonly durations: readonly number[]
  readonly totalMs: number
  /** Of the visit that goes on; undefined: it is not there. */
  readonly since: number | undefined
  /** Number of the message that entered it last. */
  readonly enteredAt: number | undefined
}

interface Visit {
  readonly n: number
  readonly from: number
  to: number
  /** Sum of all that ended before this one. */
  readonly before: number
}

interface Log {
  visits: Visit[]
  forgotten: number
}

const shown = 24

export class History {
  readonly #logs = new Map<string, Map<string, Log>>()
  readonly #active = new Map<string, ReadonlySet<string>>()

  add(message: Message, now: Readonly<Moment>): void {
    if (message.kind !== 'state') return
    const actor = now.actors.get(message.actor)!
    const was = this.#active.get(message.actor) ?? new Set()
    const logs = this.#logs.get(message.actor) ?? new Map<string, Log>()
    this.#logs.set(message.actor, logs)
    const again = new Set(actor.transitions.flatMap(({ targets }) => targets))
    for (const id of was) {
      if (!actor.active.has(id) || again.has(id)) end(logs.get(id), message.t)
    }
    for (const id of actor.active) {
      if (!was.has(id) || again.has(id)) begin(logs, id, message)
    }
    this.#active.set(message.actor, actor.active)
  }

  of(actor: string, state: string, at: { readonly n: number; readonly t: number }): Visits {
    const log = this.#logs.get(actor)?.get(state)
    if (log === undefined) {
      return { entered: 0, durations: [], totalMs: 0, since: undefined, enteredAt: undefined }
    }
    let count = log.visits.length
    while (count > 0 && log.visits[count - 1]!.n > at.n) count = halfway(log.visits, count, at.n)
    const latest = log.visits[count - 1]
    const isThere = latest !== undefined && latest.to > at.t
    const ended = log.visits.slice(Math.max(0, count - shown - 1), isThere ? count - 1 : count)
    const current = latest === undefined ? 0 : Math.min(latest.to, at.t) - latest.from
    return {
      entered: log.forgotten + count,
      durations: ended.slice(-shown).map(({ from, to }) => to - from),
      totalMs: latest === undefined ? 0 : latest.before + current,
      since: isThere ? latest.from : undefined,
      enteredAt: latest?.n,
    }
  }

  forgetBefore(t: number): void {
    for (const logs of this.#logs.values()) {
      for (const log of logs.values()) {
        const kept = log.visits.filter(({ to }) => to >= t)
        log.forgotten += log.visits.length - kept.length
        log.visits = kept
      }
    }
  }
}

function begin(logs: Map<string, Log>, id: string, { n, t }: Message): void {
  const log = logs.get(id) ?? { visits: [], forgotten: 0 }
  logs.set(id, log)
  const last = log.visits.at(-1)
  const before = last === undefined ? 0 : last.before + (Math.min(last.to, t) - last.from)
  log.visits.push({ n, from: t, to: Infinity, before })
}

function end(log: Log | undefined, t: number): void {
  const last = log?.visits.at(-1)
  if (last !== undefined) last.to = t
}

/** Number of visits that began at or before that message. */
function halfway(visits: readonly Visit[], high: number, n: number): number {
  let low = 0
  let top = high
  while (low < top) {
    const middle = (low + top) >> 1
    if (visits[middle]!.n <= n) low = middle + 1
    else top = middle
  }
  return low
}
