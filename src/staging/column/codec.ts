/**
 * A column codec knows one Postgres type: which value the database would hand back for a given one, how to
 * write it in binary, how to read it from text, and how Postgres compares two of them.
 *
 * What must hold: `decode(text Postgres prints for v) ≡ canonical(v)`, so that a row read before its commit
 * equals the same row read after it (H66).
 */

/** Grows as needed; what encoders write into. Big-endian, as the Postgres wire protocol has it. */
export interface ByteWriter {
  int16(value: number): void
  int32(value: number): void
  int64(value: bigint): void
  float32(value: number): void
  float64(value: number): void
  /** Copies the bytes. */
  bytes(value: Uint8Array): void
  /** UTF-8 without a length or a terminator. */
  utf8(value: string): void
  uint8(value: number): void
}

/** How values of a column travel to Postgres: as one binary array parameter per column, unnested there. */
export interface ColumnWire {
  /** OID of one element and of its array, e.g. 25 and 1009 for text. */
  readonly elementOid: number
  readonly arrayOid: number
  /** Name of the parameter's element type, e.g. `text`, `int8`. */
  readonly elementType: string
  /** Cast applied to the unnested element, e.g. `jsonb` for a column that travels as text; `null`: none. */
  readonly cast: string | null
  /** Writes the value's bytes, without the length in front. Needs no `this`. */
  readonly encode: (value: unknown, out: ByteWriter) => void
}

/** `canonical(canonical(v))` equals `canonical(v)`; every other method expects a canonical value. */
export interface ColumnCodec {
  /** As `format_type()` prints it, e.g. `numeric(10,2)`, `timestamp(3) with time zone`. */
  readonly pgType: string
  readonly wire: ColumnWire
  /**
   * The value the database would hand back for this one, in the shape drizzle gives it (its modes applied).
   * The input is never null or undefined. Result is frozen where it is an object of plain data.
   * @throws ValueError when Postgres could not store it, or not store it exactly enough to be read back.
   */
  canonical(value: unknown): unknown
  /**
   * Postgres' text output → the canonical value. Expects a session with `DateStyle ISO`, `TimeZone UTC`,
   * `bytea_output hex` and `extra_float_digits` ≥ 1.
   * @throws ValueError when the stored value does not fit the column's JavaScript type exactly.
   */
  decode(text: string): unknown
  /** The canonical value → text that Postgres reads as the same value; the inverse of `decode`. */
  print(value: unknown): string
  /** Sign as Postgres orders two non-null values (text by code point); `undefined`: not on the closed list. */
  readonly compare: ((a: unknown, b: unknown) => number) | undefined
  /** May this type be a key? Then `identity` is injective on canonical values. */
  readonly keyable: boolean
  /** Primitive that stands for the canonical value in a Map. */
  identity(value: unknown): string | number | bigint | boolean
  /** Heap bytes a canonical value holds, roughly; for the byte budget. */
  byteSize(value: unknown): number
  /**
   * An equal value that its reader may change, for values that cannot be frozen (I17); `undefined`: canonical values
   * cannot be changed.
   */
  readonly copy?: ((value: unknown) => unknown) | undefined
}

/** Why a value cannot be stored. The caller adds table, column and key. */
export class ValueError extends Error {
  override readonly name = 'ValueError'
}
