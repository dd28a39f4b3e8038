/** The statements of one flight, in order, each with what it was for. */
import type { GrowingWriter } from '../staging/column/writer.ts'
import type { StatementNote } from './table-statements.ts'
import { Frames, type CopiedRows, type Parameter } from './wire/frames.ts'

export class Statements {
  readonly #frames: Frames
  /** One a statement; undefined: one of our own. */
  readonly #notes: (StatementNote | undefined)[] = []

  constructor(out: GrowingWriter) {
    this.#frames = new Frames(out)
  }

  add(sql: string, parameters: readonly Parameter[] = [], note?: StatementNote): void {
    this.#frames.statement(sql, parameters)
    this.#notes.push(note)
  }

  /** Rows that a statement takes as it runs: `COPY … FROM STDIN (FORMAT binary)`. */
  addCopy(sql: string, rows: CopiedRows, note: StatementNote): void {
    this.#frames.copy(sql, rows)
    this.#notes.push(note)
  }

  /** What the statement of that number was for; beyond the last one it is the commit itself. */
  noteOf(statement: number): StatementNote | undefined {
    return this.#notes[statement]
  }

  /** The bytes; nothing may be added after this. */
  end(): Buffer {
    this.#frames.sync()
    return this.#frames.view()
  }
}
