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
  | { readonly end: 'landed' }
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
  /** Statements that have completed; an error belongs to the next one, or to the commit itself. */
  #completed = 0

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

  handleCommandComplete(): void {
    this.#completed++
  }

  handleEmptyQuery(): void {
    this.#completed++
  }

  handleReadyForQuery(): void {
    this.#end({ end: 'landed' })
  }

  handleError(error: unknown): void {
    if (error instanceof pg.DatabaseError && !endsConnection(error)) {
      this.#end({ end: 'refused', error, statement: this.#completed })
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
