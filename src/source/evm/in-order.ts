/** Reads a range in pieces, several at once, and gives them in order. Holds at most `concurrency` answers. */
import { setMaxListeners } from 'node:events'

export interface Piece {
  readonly from: number
  readonly to: number
}

interface Slot<P> extends Piece {
  readonly piece: Promise<P>
}

export interface Pieces<P extends Piece> {
  readonly from: number
  readonly to: number
  readonly concurrency: number
  /** Aborting it ends the reads in flight. */
  readonly signal: AbortSignal
  /** Size of the next piece. */
  span(): number
  /** Reads from `from` on, at most to `to`; the piece may end earlier, the rest is then read next. */
  read(from: number, to: number, signal: AbortSignal): Promise<P>
}

/** Ends, fails or is returned only after every read has settled: nothing is left behind (I16). */
export async function* inOrder<P extends Piece>(pieces: Pieces<P>): AsyncGenerator<P, void, undefined> {
  const controller = new AbortController()
  // Every request in flight listens; more than ten is no leak here.
  setMaxListeners(0, controller.signal)
  const relay = (): void => controller.abort(pieces.signal.reason)
  if (pieces.signal.aborted) relay()
  pieces.signal.addEventListener('abort', relay, { once: true })
  const slots: Slot<P>[] = []
  const start = (from: number, to: number): Slot<P> => {
    const piece = pieces.read(from, to, controller.signal)
    // Its failure is seen when its turn comes; until then it is not an unhandled one.
    piece.catch(() => {})
    return { from, to, piece }
  }
  let next = pieces.from
  try {
    for (;;) {
      while (slots.length < pieces.concurrency && next <= pieces.to) {
        const to = Math.min(pieces.to, next + pieces.span() - 1)
        slots.push(start(next, to))
        next = to + 1
      }
      const slot = slots[0]
      if (slot === undefined) return
      const piece = await slot.piece
      slots.shift()
      if (piece.to < slot.to) slots.unshift(start(piece.to + 1, slot.to))
      pieces.signal.throwIfAborted()
      yield piece
    }
  } finally {
    pieces.signal.removeEventListener('abort', relay)
    controller.abort()
    await Promise.allSettled(slots.map((slot) => slot.piece))
  }
}
