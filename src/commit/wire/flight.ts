/**
 * One pipelined write on a `pg` connection: every frame, then one Sync, nothing awaited in between. While handlers
 * run, the event loop does not turn; a commit of several awaited round trips would not overlap at all (H64).
 *
 * Success is ReadyForQuery without an ErrorResponse, nothing earlier: deferred constraints fail last. Anything that
 * ends the connection first leaves the fate open (`lost`).
 */
import type { Submittable } from 'pg'
import pg from 'pg'

export type FlightEnd =
  /** `counts`: rows changed, by statement. */
  | { readonly end: 'landed'; readonly counts: readonly number[] }
  /** ErrorResponse: nothing of the flight is in the database. */
  | { readonly end: 'refused'; readonly error: pg.DatabaseError; readonly statement: number }
  /** No answer: it may have landed, or may still land. */
  | { readonly end: 'lost'; readonly error: unknown }

interface RawConnection {
  readonly stream: NodeJS.WritableStream
}

export class Flight implements Submittable {
  /** Settles once the server has answered or can answer no more. Never rejects. */
  readonly ended: Promise<FlightEnd>
  readonly #frames: Buffer
  readonly #flushed: () => void
  #end!: (end: FlightEnd) => void
  /** Rows changed by each statement that has completed; an error belongs to the next one, or to the commit itself. */
  readonly #counts: number[] = []

  /** @param flushed called once the frames are in the kernel, or will never be */
  constructor(frames: Buffer, flushed: () => void) {
    this.#frames = frames
    this.#flushed = flushed
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  submit(connection: unknown): void {
    const { stream } = connection as RawConnection
    stream.write(this.#frames, () => this.#flushed())
  }

  /** @param message its tag ends with a count: `UPDATE 3`, `INSERT 0 3` */
  handleCommandComplete(message: { readonly text: string }): void {
    this.#counts.push(Number(/\d+$/.exec(message.text)?.[0] ?? 0))
  }

  handleEmptyQuery(): void {
    this.#counts.push(0)
  }

  handleReadyForQuery(): void {
    this.#end({ end: 'landed', counts: this.#counts })
  }

  handleError(error: unknown): void {
    if (error instanceof pg.DatabaseError && !endsConnection(error)) {
      this.#end({ end: 'refused', error, statement: this.#counts.length })
    } else {
      this.#end({ end: 'lost', error })
    }
  }

  // frames ask for no descriptions, so rows come bare; the functions' results carry nothing
  handleRowDescription(): void {}
  handleDataRow(): void {}
  handlePortalSuspended(): void {}
  handleCopyInResponse(): void {}
  handleCopyData(): void {}
}

/** FATAL and PANIC end the backend; class 57P0x and 08 say that it, or the connection, is going. */
export function endsConnection(error: pg.DatabaseError): boolean {
  return (
    error.severity === 'FATAL' ||
    error.severity === 'PANIC' ||
    error.code?.startsWith('57P') === true ||
    error.code?.startsWith('08') === true
  )
}
