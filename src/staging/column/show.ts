/** How a value is named in a message: short, with its type when that is what is wrong. */

const longest = 60

/** `"abc"`, `12n`, `\x00ff`, `[object]` … at most some sixty characters. */
export function show(value: unknown): string {
  if (typeof value === 'string') return shorten(JSON.stringify(value))
  if (typeof value === 'bigint') return shorten(`${value}n`)
  if (Object.is(value, -0)) return '-0'
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'an invalid Date' : value.toISOString()
  if (value instanceof Uint8Array)
    return shorten(`\\x${Buffer.from(value.subarray(0, longest)).toString('hex')}`)
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null)
    return `an object (${value.constructor?.name ?? 'no prototype'})`
  return String(value)
}

/** `a string, got 5 (number)` for "expected …". */
export function wrongType(expected: string, value: unknown): string {
  const primitive = typeof value !== 'object' && typeof value !== 'function'
  return `expected ${expected}, got ${show(value)}${primitive ? ` (${typeof value})` : ''}`
}

function shorten(text: string): string {
  return text.length <= longest ? text : `${text.slice(0, longest)}…`
}
