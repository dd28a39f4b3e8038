/** What goes wrong, when, and what it is counted as. */
import type { Process } from './time.ts'

export const whats = [
  // to the process that owns, or waits
  'stop',
  'abort',
  'handler fails',
  'source fails',
  'crash',
  'crash',
  'freeze',
  // to its chain
  'fork',
  'fork',
  // to what it asks the database: it never arrives, or arrives when nobody waits, or its answer is lost
  'write lost',
  'write late',
  'write answer lost',
  'write deferred',
  'write refused',
  // it may have arrived, and nothing comes back
  'write hangs',
  'rollback lost',
  'rollback late',
  'rollback answer lost',
  'resolve lost',
  'resolve answer lost',
  'read lost',
  'opening lost',
  'opening answer lost',
  'release lost',
  'database slow',
  'database restarts',
  'database away',
  // to what it publishes
  'persist fails',
  'persist refused',
  'persist answer lost',
  'persist late',
  'persist hangs',
  'look fails',
  'redis emptied',
  'redis away',
] as const

export type What = (typeof whats)[number]

export interface Fault {
  readonly what: What
  /** It happens so many calls of a port after the fault before it. */
  readonly after: number
}

/** Of a request, what becomes of it. */
export type Trouble = 'lost' | 'late' | 'answer lost' | 'deferred' | 'refused' | 'slow' | 'hangs' | 'fails'

const slow: ReadonlySet<string> = new Set(['write', 'rollback', 'resolve', 'read', 'opening'])

export class Faults {
  readonly #coming: Fault[]
  #calls = 0
  /** Those that wait for a request of their kind. */
  readonly #waiting: string[] = []
  readonly #happens: (what: What, process: Process) => boolean

  /** @param happens does it now, to whoever called; false: it waits for the next request of its kind */
  constructor(faults: readonly Fault[], happens: (what: What, process: Process) => boolean) {
    this.#coming = [...faults]
    this.#happens = happens
  }

  /** No fault that waits is going to meet its request any more. */
  end(): void {
    this.#coming.length = 0
    this.#waiting.length = 0
  }

  /** A port was called. */
  called(process: Process): void {
    const [next] = this.#coming
    if (next === undefined || this.#calls++ < next.after) return
    this.#calls = 0
    this.#coming.shift()
    if (!this.#happens(next.what, process)) this.#waiting.push(next.what)
  }

  /** What becomes of a request of this kind; undefined: it is answered. */
  troubleOf(kind: string): Trouble | undefined {
    const isSlow = slow.has(kind)
    const at = this.#waiting.findIndex(
      (what) => what.startsWith(`${kind} `) || (isSlow && what === 'database slow'),
    )
    if (at === -1) return undefined
    const [what] = this.#waiting.splice(at, 1)
    return (what === 'database slow' ? 'slow' : what!.slice(kind.length + 1)) as Trouble
  }
}
