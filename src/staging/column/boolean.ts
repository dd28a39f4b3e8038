/** boolean: false before true. */
import { ValueError, type ColumnCodec } from './codec.ts'
import { wrongType } from './show.ts'
import { binaryWire } from './wire.ts'

export function booleanCodec(): ColumnCodec {
  return {
    pgType: 'boolean',
    wire: binaryWire('bool', (value, out) => out.uint8(value === true ? 1 : 0)),
    canonical(value) {
      if (typeof value !== 'boolean') throw new ValueError(wrongType('a boolean', value))
      return value
    },
    decode: (text) => text === 't',
    print: (value) => (value === true ? 't' : 'f'),
    compare: (a, b) => Number(a) - Number(b),
    keyable: true,
    identity: (value) => value as boolean,
    byteSize: () => 4,
  }
}
