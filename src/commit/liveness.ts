/**
 * Does a pipeline's owner live? Judged by the database's clock alone, and by two kinds of signs: its heartbeat, and the
 * connection it took the pipeline with. A long commit, a long synchronous handler or a slow network silences neither;
 * a restart of the server ends every connection, and says nothing about anybody.
 */
import { hostname } from 'node:os'

/** What one look at the pipeline's row tells. */
export interface Look {
  readonly epoch: number
  /** Null: nobody owns it. */
  readonly token: string | null
  readonly host: string | null
  readonly pid: number | null
  /** Its last heartbeat, as Postgres prints it. */
  readonly beat: string | null
  /** It has a backend of its own, not one that a pooler lends it. */
  readonly direct: boolean
  /** Milliseconds of the database's clock; since the last heartbeat, or since the server came up. */
  readonly nowMs: number
  readonly silentMs: number
  /** Its connection ended while the server ran on. */
  readonly backendGone: boolean
}

/** `silent`: perhaps dead; the next looks will tell. */
export type Verdict = 'free' | 'dead' | 'silent' | 'alive'

/** So many heartbeats must be missed before an owner counts as dead. */
export const beatsUntilStale = 5

/** Fewer, once its connection is gone as well; but an owner with nothing to commit does not reconnect. */
const beatsUntilGone = 1.5

/**
 * Whoever judges must have heard nothing for so long himself: after an outage everybody was silent, and an owner that
 * lives speaks up as soon as the database does.
 */
export const leastWatchMs = 1_000

/** Tokens of the runs in this process. A pid alone would not do: in a container it is often 1, before a restart and after. */
const ownTokens = new Set<string>()

/** The run is one of this process until the function it returns is called. */
export function registerHere(token: string): () => void {
  ownTokens.add(token)
  return () => void ownTokens.delete(token)
}

export function runsHere({ token }: Pick<Look, 'token'>): boolean {
  return token !== null && ownTokens.has(token)
}

/** Watches one owner over several looks. */
export class Watch {
  readonly #staleMs: number
  /** What was heard last, and since when nothing else. */
  #heard: { readonly epoch: number; readonly beat: string | null; readonly sinceMs: number } | undefined

  /** @param staleMs an owner that is silent for so long counts as dead */
  constructor(staleMs: number) {
    this.#staleMs = staleMs
  }

  judge(look: Look): Verdict {
    if (look.token === null) return 'free'
    if (runsHere(look)) return 'alive'
    const { epoch, beat, nowMs, silentMs, backendGone, direct } = look
    if (this.#heard?.epoch !== epoch || this.#heard.beat !== beat) {
      this.#heard = { epoch, beat, sinceMs: nowMs }
    }
    if ((backendGone || !direct) && isDeadHere(look)) return 'dead'
    const toleratedMs = backendGone ? (beatsUntilGone * this.#staleMs) / beatsUntilStale : this.#staleMs
    if (silentMs < toleratedMs) return 'alive'
    return nowMs - this.#heard.sinceMs >= leastWatchMs ? 'dead' : 'silent'
  }
}

/** Its process was on this host, and is no more. */
function isDeadHere({ host, pid }: Look): boolean {
  if (host !== hostname() || pid === null) return false
  // not one of ours: a process of another life
  if (pid === process.pid) return true
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}
