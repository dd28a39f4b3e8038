/**
 * Frontend messages of the extended query protocol (v3), written into one buffer: Parse, Bind, Execute, Sync.
 * Unnamed statements and portals only, so that a transaction-pooling proxy may stand in between.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { GrowingWriter } from '../../staging/column/writer.ts'

const [parse, bind, execute, sync, copyData, copyDone] = [0x50, 0x42, 0x45, 0x53, 0x64, 0x63] as const

/** https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": signature, flags, no extension. */
const copyHeader = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')

/** Where a row's number of columns would stand. */
const endOfRows = -1

/** Bytes of one CopyData, roughly: the server inserts what has come while the rest is on its way. */
const copyBytes = 64 * 1024

/** One parameter: its type, and its bytes in binary format; null: NULL. */
export interface Parameter {
  readonly oid: number
  write(out: GrowingWriter): void
}

/** Rows in COPY's binary format. */
export interface CopiedRows {
  readonly count: number
  readonly columns: number
  /** Writes the columns of one row as `writeElement` does. */
  write(row: number, out: GrowingWriter): void
}

export class Frames {
  readonly #out: GrowingWriter
  #statements = 0

  constructor(out: GrowingWriter) {
    this.#out = out
  }

  get statements(): number {
    return this.#statements
  }

  get length(): number {
    return this.#out.length
  }

  view(): Buffer {
    return this.#out.view()
  }

  /** Parse, Bind and Execute of one statement; results are not described and are read as they come. */
  statement(sql: string, parameters: readonly Parameter[]): void {
    const out = this.#out
    this.#message(parse, () => {
      out.uint8(0)
      out.utf8(sql)
      out.uint8(0)
      out.int16(parameters.length)
      for (const { oid } of parameters) out.int32(oid)
    })
    this.#message(bind, () => {
      out.uint8(0)
      out.uint8(0)
      // one format code for all parameters: binary
      out.int16(1)
      out.int16(1)
      out.int16(parameters.length)
      for (const parameter of parameters) {
        const at = out.reserveInt32()
        parameter.write(out)
        out.patchInt32(at, out.length - at - 4)
      }
      out.int16(0)
    })
    this.#message(execute, () => {
      out.uint8(0)
      out.int32(0)
    })
    this.#statements++
  }

  /**
   * The statement and its rows at once, without waiting for CopyInResponse: where the statement, or one before it, is
   * refused, the server leaves them out as everything else up to the Sync.
   * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
   */
  copy(sql: string, { count, columns, write }: CopiedRows): void {
    this.statement(sql, [])
    const out = this.#out
    this.#message(copyData, () => out.bytes(copyHeader))
    for (let row = 0; row < count;) {
      this.#message(copyData, () => {
        const began = out.length
        for (; row < count && out.length - began < copyBytes; row++) {
          out.int16(columns)
          write(row, out)
        }
      })
    }
    this.#message(copyData, () => out.int16(endOfRows))
    this.#message(copyDone, () => undefined)
  }

  /** Ends the implicit transaction: everything since the last Sync commits, or none of it. */
  sync(): void {
    this.#message(sync, () => undefined)
  }

  #message(type: number, body: () => void): void {
    const out = this.#out
    out.uint8(type)
    const at = out.reserveInt32()
    body()
    // the length counts itself and the body, not the type byte
    out.patchInt32(at, out.length - at)
  }
}

// ── parameters ──────────────────────────────────────────────────────────────────────────────────────────────

export function textParameter(value: string): Parameter {
  return { oid: 25, write: (out) => out.utf8(value) }
}

export function int8Parameter(value: number): Parameter {
  return { oid: 20, write: (out) => out.int64(BigInt(value)) }
}

/** A one-dimensional array: dimensions, has-null flag, element type, length, lower bound, elements. */
export function arrayParameter(
  arrayOid: number,
  elementOid: number,
  length: number,
  element: (index: number, out: GrowingWriter) => void,
): Parameter {
  return {
    oid: arrayOid,
    write(out) {
      out.int32(length === 0 ? 0 : 1)
      out.int32(1)
      out.int32(elementOid)
      if (length === 0) return
      out.int32(length)
      out.int32(1)
      for (let index = 0; index < length; index++) element(index, out)
    },
  }
}

/** One array element: its length, or −1 for NULL, and its bytes. */
export function writeElement(
  out: GrowingWriter,
  value: unknown,
  encode: (value: unknown, out: GrowingWriter) => void,
): void {
  if (value === null || value === undefined) {
    out.int32(-1)
    return
  }
  const at = out.reserveInt32()
  encode(value, out)
  out.patchInt32(at, out.length - at - 4)
}

const encodeText = (value: unknown, out: GrowingWriter) => out.utf8(value as string)
const encodeInt8 = (value: unknown, out: GrowingWriter) => out.int64(BigInt(value as number))

export function textArrayParameter(values: readonly (string | null)[]): Parameter {
  return arrayParameter(1009, 25, values.length, (index, out) => writeElement(out, values[index], encodeText))
}

export function int8ArrayParameter(values: readonly (number | null)[]): Parameter {
  return arrayParameter(1016, 20, values.length, (index, out) => writeElement(out, values[index], encodeInt8))
}

/** The parameter's bytes by themselves, for a statement that `pg` sends. */
export function bytesOf(parameter: Parameter): Buffer {
  const out = new GrowingWriter(256)
  parameter.write(out)
  return out.view()
}
