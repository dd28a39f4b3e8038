/** How many heap bytes a block holds, roughly: for the read-ahead and the batch size. Counts, never serialises. */

const maxDepth = 6

export function estimateBytes(value: unknown, depth = 0): number {
  switch (typeof value) {
    case 'string':
      return 16 + value.length
    case 'bigint':
      return 24
    case 'object':
      break
    default:
      return 8
  }
  if (value === null) return 8
  if (ArrayBuffer.isView(value)) return 64 + value.byteLength
  if (depth >= maxDepth) return 64
  let bytes = 32
  if (Array.isArray(value)) {
    for (const element of value) bytes += 8 + estimateBytes(element, depth + 1)
    return bytes
  }
  for (const key in value) bytes += 8 + estimateBytes((value as Record<string, unknown>)[key], depth + 1)
  return bytes
}
