/**
 * The byte buffer that encoders write into. One per table and column set, reset and reused for every commit; whoever
 * owns it resets it only after the socket has taken (or lost) the bytes of the last `view()`.
 */
import type { ByteWriter } from './codec.ts'

/** Above this length a string goes through Buffer's own encoder; below it a loop is faster. */
const shortString = 48

export class GrowingWriter implements ByteWriter {
  #bytes: Buffer
  #view: DataView
  #length = 0

  constructor(initialBytes = 16_384) {
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(initialBytes, 64))
    this.#view = new DataView(this.#bytes.buffer)
  }

  /** Bytes written since the last `reset()`. */
  get length(): number {
    return this.#length
  }

  /** Bytes the buffer holds on to. */
  get capacity(): number {
    return this.#bytes.length
  }

  /** Forgets what was written and keeps the buffer. Views handed out before are overwritten from now on. */
  reset(): void {
    this.#length = 0
  }

  /** What was written, without a copy: valid until `reset()`. */
  view(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Leaves room for an int32 that is known later (a length, a count); returns where it goes. */
  reserveInt32(): number {
    this.#ensure(4)
    const at = this.#length
    this.#length = at + 4
    return at
  }

  /** Fills in what `reserveInt32` left open. */
  patchInt32(at: number, value: number): void {
    this.#view.setInt32(at, value)
  }

  uint8(value: number): void {
    this.#ensure(1)
    this.#bytes[this.#length++] = value
  }

  int16(value: number): void {
    this.#ensure(2)
    this.#bytes[this.#length++] = value >> 8
    this.#bytes[this.#length++] = value
  }

  int32(value: number): void {
    this.#ensure(4)
    this.#view.setInt32(this.#length, value)
    this.#length += 4
  }

  int64(value: bigint): void {
    this.#ensure(8)
    this.#view.setBigInt64(this.#length, value)
    this.#length += 8
  }

  float32(value: number): void {
    this.#ensure(4)
    this.#view.setFloat32(this.#length, value)
    this.#length += 4
  }

  float64(value: number): void {
    this.#ensure(8)
    this.#view.setFloat64(this.#length, value)
    this.#length += 8
  }

  bytes(value: Uint8Array): void {
    this.#ensure(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
  }

  utf8(value: string): void {
    const size = value.length
    this.#ensure(size * 3)
    const bytes = this.#bytes
    const start = this.#length
    if (size <= shortString) {
      let index = 0
      for (; index < size; index++) {
        const unit = value.charCodeAt(index)
        if (unit > 0x7f) break
        bytes[start + index] = unit
      }
      if (index === size) {
        this.#length = start + size
        return
      }
    }
    this.#length = start + bytes.write(value, start, 'utf8')
  }

  #ensure(more: number): void {
    const needed = this.#length + more
    if (needed <= this.#bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2))
    this.#bytes.copy(grown, 0, 0, this.#length)
    this.#bytes = grown
    this.#view = new DataView(grown.buffer)
  }
}
