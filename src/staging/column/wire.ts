/** How the types travel: object ids of elements and arrays, and the text element that is cast on arrival. */
import type { ByteWriter, ColumnWire } from './codec.ts'

type Encode = (value: unknown, out: ByteWriter) => void

const oids = {
  bool: [16, 1000],
  bytea: [17, 1001],
  int8: [20, 1016],
  int2: [21, 1005],
  int4: [23, 1007],
  text: [25, 1009],
  float4: [700, 1021],
  float8: [701, 1022],
  date: [1082, 1182],
  timestamp: [1114, 1115],
  timestamptz: [1184, 1185],
  numeric: [1700, 1231],
  uuid: [2950, 2951],
} as const

/** The element travels in the type's own binary form. */
export function binaryWire(elementType: keyof typeof oids, encode: Encode): ColumnWire {
  const [elementOid, arrayOid] = oids[elementType]
  return { elementOid, arrayOid, elementType, cast: null, encode }
}

/** The element travels as text; `cast` names the type that makes a value of it, `null` when text will do. */
export function textWire(cast: string | null, print: (value: unknown) => string): ColumnWire {
  const [elementOid, arrayOid] = oids.text
  const encode: Encode = (value, out) => out.utf8(print(value))
  return { elementOid, arrayOid, elementType: 'text', cast, encode }
}
