/** Numbers as a person reads them. Widths stay much the same, so that what changes does not jump about. */

export function ms(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size < 0.95) return `${value.toFixed(2)} ms`
  if (size < 9.95) return `${value.toFixed(1)} ms`
  if (size < 999.5) return `${Math.round(value)} ms`
  if (size < 59_950) return `${(value / 1000).toFixed(size < 9_995 ? 2 : 1)} s`
  const minutes = Math.floor(value / 60_000)
  if (minutes < 60) return `${minutes} min ${Math.floor((value % 60_000) / 1000)} s`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** A moment of the recording: `12.345 s`, `1:02:03.450`. */
export function moment(t: number): string {
  const rest = (t % 60_000) / 1000
  const minutes = Math.floor(t / 60_000)
  if (minutes === 0) return `${rest.toFixed(3)} s`
  const seconds = rest.toFixed(3).padStart(6, '0')
  return minutes < 60
    ? `${minutes}:${seconds}`
    : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}:${seconds}`
}

const units = ['B', 'kB', 'MB', 'GB', 'TB']

export function bytes(value: number): string {
  if (!Number.isFinite(value)) return '∞'
  let rest = value
  let unit = 0
  while (rest >= 999.5 && unit < units.length - 1) {
    rest /= 1000
    unit++
  }
  return `${unit === 0 || rest >= 99.5 ? Math.round(rest) : rest.toFixed(1)} ${units[unit]}`
}

export function count(value: number): string {
  return Number.isFinite(value) ? Math.round(value).toLocaleString('en-US') : '–'
}

/** `1,234`, `12.3 k`, `4.56 M`. */
export function rate(value: number): string {
  if (value < 9_999.5) return count(value)
  return value < 999_500 ? `${(value / 1000).toFixed(1)} k` : `${(value / 1e6).toFixed(2)} M`
}

export function percent(share: number): string {
  return Number.isFinite(share) ? `${Math.round(share * 100)} %` : '–'
}

export function plural(value: number, one: string, many = `${one}s`): string {
  if (Math.abs(value) === 1) return `1 ${one}`
  return `${count(value)} ${many === 'batchs' ? 'batches' : many}`
}

/** Any value in one short line. */
export function short(value: unknown, longest = 60): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value))
  return text.length <= longest ? text : `${text.slice(0, longest - 1)}…`
}
