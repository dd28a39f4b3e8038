/** bytea: a Buffer of its own, as node-postgres hands it back; `\x…` text is read, too. */
import { ValueError, type ColumnCodec } from './codec.ts'
import { show, wrongType } from './show.ts'
import { sizeOfBytes } from './size.ts'
import { binaryWire } from './wire.ts'

const hexText = /^\\x((?:[0-9a-f]{2})*)$/i

export function bytesCodec(): ColumnCodec {
  return {
    pgType: 'bytea',
    wire: binaryWire('bytea', (value, out) => out.bytes(value as Uint8Array)),
    canonical(value) {
      // A copy: the caller's bytes may change, and bytes cannot be frozen.
      if (value instanceof Uint8Array) return Buffer.from(value)
      if (typeof value === 'string') return decode(value)
      throw new ValueError(wrongType('a Uint8Array or a Buffer', value))
    },
    decode,
    print: (value) => `\\x${hex(value as Uint8Array)}`,
    compare: (a, b) => Buffer.compare(a as Uint8Array, b as Uint8Array),
    keyable: true,
    identity: (value) => hex(value as Uint8Array),
    byteSize: (value) => sizeOfBytes(value as Uint8Array),
    copy: (value) => Buffer.from(value as Uint8Array),
  }
}

function decode(text: string): Buffer {
  const match = hexText.exec(text)
  if (match === null) throw new ValueError(`${show(text)} is not bytea in hex form: \\x and pairs of digits`)
  return Buffer.from(match[1] ?? '', 'hex')
}

function hex(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')
}
