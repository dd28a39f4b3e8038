/** uuid: lower case and hyphenated, whatever way it was written. */
import { ValueError, type ByteWriter, type ColumnCodec } from './codec.ts'
import { show } from './show.ts'
import { sizeOfString } from './size.ts'
import { binaryWire } from './wire.ts'

const printed = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const accepted = /^(?:(?:[0-9a-f]{4}-?){7}[0-9a-f]{4}|\{(?:[0-9a-f]{4}-?){7}[0-9a-f]{4}\})$/i

const same = (value: unknown): string => value as string

export function uuidCodec(): ColumnCodec {
  return {
    pgType: 'uuid',
    wire: binaryWire('uuid', encode),
    canonical,
    decode: same,
    print: same,
    compare: (a, b) => (a === b ? 0 : (a as string) < (b as string) ? -1 : 1),
    keyable: true,
    identity: same,
    byteSize: (value) => sizeOfString(value as string),
  }
}

function canonical(value: unknown): string {
  if (typeof value === 'string') {
    if (printed.test(value)) return value
    if (accepted.test(value)) {
      const hex = value.replace(/[{}-]/g, '').toLowerCase()
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
    }
  }
  throw new ValueError(`${show(value)} is not a uuid`)
}

function encode(value: unknown, out: ByteWriter): void {
  const text = value as string
  for (let index = 0; index < 36; index += 2) {
    if (text.charCodeAt(index) === 0x2d) index++
    out.uint8((nibble(text.charCodeAt(index)) << 4) | nibble(text.charCodeAt(index + 1)))
  }
}

/** Of a lower-case hexadecimal digit. */
function nibble(unit: number): number {
  return unit < 0x3a ? unit - 0x30 : unit - 0x57
}
