/** Requests of one process to a server, and what becomes of them on the way. */
import type { Span } from './cases.ts'
import type { Trouble } from './faults.ts'
import type { Process, VirtualTime } from './time.ts'

/** Whoever answers. No connection survives the end of one of its lives. */
export interface Answering {
  readonly process: Process
  readonly isUp: boolean
  readonly life: number
}

export interface Request<Answer> {
  readonly kind: string
  readonly span: Span
  /** At the server, all at once. */
  execute(): Answer | Promise<Answer>
  /** What the server says instead, where it can refuse; without it what is deferred or refused is lost. */
  refuse?(trouble: 'deferred' | 'refused'): Answer | Promise<Answer>
}

/** Between a request that nobody waits for any more and its arrival; milliseconds. */
export const latest = 900
const late: Span = [5, latest]
const slowly = 40

export interface NetworkParts {
  readonly time: VirtualTime
  readonly random: () => number
  /** Told of every request; what becomes of it. */
  called(process: Process, kind: string): Trouble | undefined
  /** A request was executed although whoever sent it had been told that it was lost. */
  arrivedLate(kind: string): void
}

export class Network {
  readonly #parts: NetworkParts

  constructor(parts: NetworkParts) {
    this.#parts = parts
  }

  /**
   * @param cut aborted: the connection ends, and the answer with it; what was sent may still arrive
   * @throws Error the connection was lost
   */
  async ask<Answer>(
    from: Process,
    to: Answering,
    request: Request<Answer>,
    cut?: AbortSignal,
  ): Promise<Answer> {
    const answer = this.#send(from, to, request)
    if (cut === undefined) return answer
    const end = new Error(`${request.kind}: its connection was destroyed`)
    return untilAborted(answer, cut, end)
  }

  #send<Answer>(from: Process, to: Answering, request: Request<Answer>): Promise<Answer> {
    const { time, called, arrivedLate } = this.#parts
    return new Promise((resolve, reject) => {
      if (from.isDead) return
      const trouble = called(from, request.kind)
      // the process may have ended over it
      if (from.isDead) return
      const { life } = to
      const factor = trouble === 'slow' ? slowly : 1
      /** Without anybody who waits for it. */
      const executed = () => {
        if (!to.isUp || to.life !== life) return
        const answer = request.execute()
        if (answer instanceof Promise) answer.catch(() => undefined)
      }
      const lose = (inMs: number, why: string) =>
        time.at(from, inMs, () => reject(new Error(`${request.kind}: ${why}`)))
      if (trouble === 'lost' || trouble === 'fails') {
        return void lose(this.#draw(request.span), 'the connection was lost')
      }
      if (trouble === 'hangs') {
        if (this.#parts.random() < 0.5) time.at(to.process, this.#draw(request.span), executed)
        return
      }
      if (trouble === 'late') {
        lose(this.#draw(request.span), 'the connection was lost')
        time.at(to.process, this.#draw(late), () => {
          if (to.isUp && to.life === life) arrivedLate(request.kind)
          executed()
        })
        return
      }
      time.at(to.process, factor * this.#draw(request.span), () => {
        if (!to.isUp || to.life !== life) return void lose(this.#draw(request.span), 'the server is away')
        const refused =
          trouble === 'deferred' || trouble === 'refused' ? request.refuse?.(trouble) : undefined
        const answer = refused ?? request.execute()
        // nobody may be left to hear that it was refused
        if (answer instanceof Promise) answer.catch(() => undefined)
        const back = factor * this.#draw(request.span)
        if (trouble === 'answer lost') return void lose(back, 'the answer was lost')
        time.at(from, back, () => {
          if (to.life === life) resolve(answer)
          else reject(new Error(`${request.kind}: the server went away`))
        })
      })
    })
  }

  #draw([least, most]: Span): number {
    return least + this.#parts.random() * (most - least)
  }
}

/** The answer, unless the signal is aborted before. */
export async function untilAborted<T>(answer: Promise<T>, signal: AbortSignal, reason: Error): Promise<T> {
  let leave: () => void = () => undefined
  const aborted = new Promise<never>((_, reject) => {
    leave = () => reject(reason)
  })
  if (signal.aborted) leave()
  signal.addEventListener('abort', leave, { once: true })
  try {
    return await Promise.race([answer, aborted])
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
