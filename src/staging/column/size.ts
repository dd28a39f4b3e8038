/** Rough heap sizes in bytes, for the byte budget. */

export const sizeOfNumber = 16

const int64Limit = 1n << 63n
const int256Limit = 1n << 256n

export function sizeOfString(value: string): number {
  return 24 + value.length
}

export function sizeOfBigint(value: bigint): number {
  const magnitude = value < 0n ? -value : value
  if (magnitude < int64Limit) return 24
  if (magnitude < int256Limit) return 48
  return 24 + (magnitude.toString(16).length >> 1)
}

export const sizeOfDate = 96

export function sizeOfBytes(value: Uint8Array): number {
  return 96 + value.length
}

/** Of a plain value whose type is not known beforehand. */
export function sizeOfAny(value: unknown): number {
  if (typeof value === 'string') return sizeOfString(value)
  if (typeof value === 'bigint') return sizeOfBigint(value)
  if (typeof value !== 'object' || value === null) return sizeOfNumber
  if (value instanceof Date) return sizeOfDate
  if (value instanceof Uint8Array) return sizeOfBytes(value)
  let bytes = 32
  for (const [key, inner] of Object.entries(value)) bytes += key.length + 8 + sizeOfAny(inner)
  return bytes
}
