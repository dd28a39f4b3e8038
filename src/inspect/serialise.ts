/**
 * Turns anything at all into plain JSON of a bounded size, and never throws: what it is given comes from handlers,
 * drivers and other people's errors. What was left out leaves a mark that can be seen, and always begins with `…`.
 */
import { errorKeys, readOfError } from './serialise-error.ts'
import { withoutCredentials, isSecret, type Redact } from './redact.ts'

export interface Bounds {
  readonly depth: number
  /** Entries of one object or array. */
  readonly entries: number
  /** Values in all. */
  readonly values: number
  /** Characters of one text, and of all of them. */
  readonly text: number
  readonly texts: number
  /** Bytes of one binary value that are shown. */
  readonly binary: number
}

export const defaultBounds: Bounds = {
  depth: 10,
  entries: 200,
  values: 4_000,
  text: 8_000,
  texts: 64_000,
  binary: 64,
}

export interface SerialiseOptions {
  readonly redact?: Redact | undefined
  readonly bounds?: Bounds | undefined
  /** Errors with their stacks. Default: true. */
  readonly stacks?: boolean | undefined
  /** Properties of the value itself that are left out. */
  readonly omit?: readonly string[] | undefined
}

/**
 * bigint: its decimal digits. Map and Set: `{ $map: [[key, value], …] }`, `{ $set: […] }`. Date: ISO 8601. Error:
 * `{ name, message, code?, …facts, stack?, cause? }`. Binary: `0x…`. NaN, infinities, symbols, functions: their names.
 */
export function serialise(value: unknown, options: SerialiseOptions = {}): unknown {
  return new Walk(options).value(value, 0)
}

class Walk {
  readonly #redact: Redact | undefined
  readonly #bounds: Bounds
  readonly #stacks: boolean
  readonly #omit: readonly string[] | undefined
  /** Ancestors of what is being looked at. */
  readonly #above = new Set<object>()
  #values = 0
  #characters = 0

  constructor({ redact, bounds = defaultBounds, stacks = true, omit }: SerialiseOptions) {
    this.#omit = omit
    this.#redact = redact
    this.#bounds = bounds
    this.#stacks = stacks
  }

  value(value: unknown, depth: number): unknown {
    this.#values++
    switch (typeof value) {
      case 'string':
        return this.#text(value)
      case 'number':
        return Number.isFinite(value) ? value : String(value)
      case 'boolean':
      case 'undefined':
        return value
      case 'bigint':
        return this.#text(value.toString())
      case 'symbol':
        return this.#text(value.toString())
      case 'function':
        return '…function'
      case 'object':
        return value === null ? null : this.#object(value, depth)
      default:
        return undefined
    }
  }

  #object(value: object, depth: number): unknown {
    if (this.#above.has(value)) return '…circular'
    if (depth >= this.#bounds.depth) return '…deeper'
    if (this.#values > this.#bounds.values) return '…too much'
    this.#above.add(value)
    try {
      return this.#contents(value, depth)
    } catch {
      // a proxy, or a class that is not what it says it is
      return '…unreadable'
    } finally {
      this.#above.delete(value)
    }
  }

  #contents(value: object, depth: number): unknown {
    if (value instanceof Error) {
      return this.#fields(value, errorKeys(value, this.#stacks), depth, readOfError)
    }
    if (Array.isArray(value)) return this.#list(value, value.length, depth, true)
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString()
    if (value instanceof Uint8Array) return this.#binary(value)
    if (value instanceof ArrayBuffer) return this.#binary(new Uint8Array(value))
    if (value instanceof Map) return { $map: this.#pairs(value, depth) }
    if (value instanceof Set) return { $set: this.#list(value, value.size, depth, false) }
    const keys = Object.keys(value)
    const omit = this.#omit
    return this.#fields(
      value,
      depth > 0 || omit === undefined ? keys : keys.filter((key) => !omit.includes(key)),
      depth,
    )
  }

  #fields(value: object, keys: readonly string[], depth: number, read: Read = readPlain): object {
    const fields: Record<string, unknown> = {}
    let count = 0
    let left = 0
    for (const key of keys) {
      if (count >= this.#bounds.entries || this.#isFull) {
        left++
        continue
      }
      const shown = this.#property(key, value, read, depth)
      if (shown === undefined) continue
      count++
      if (key !== '__proto__') fields[this.#text(key)] = shown
      // a property like any other, where it is one
      else Object.defineProperty(fields, key, { value: shown, enumerable: true })
    }
    if (left > 0) fields['…'] = `${left} more`
    return fields
  }

  #list(values: Iterable<unknown>, length: number, depth: number, hasKeys: boolean): unknown[] {
    const list: unknown[] = []
    for (const value of values) {
      if (list.length >= this.#bounds.entries || this.#isFull) {
        list.push(`…${length - list.length} more`)
        break
      }
      list.push(this.#property(hasKeys ? String(list.length) : '', value, itself, depth) ?? null)
    }
    return list
  }

  #pairs(map: ReadonlyMap<unknown, unknown>, depth: number): unknown[] {
    const pairs: unknown[] = []
    for (const [key, value] of map) {
      if (pairs.length >= this.#bounds.entries || this.#isFull) {
        pairs.push([`…${map.size - pairs.length} more`, null])
        break
      }
      const name = typeof key === 'string' ? key : ''
      pairs.push([this.value(key, depth + 1) ?? null, this.#property(name, value, itself, depth) ?? null])
    }
    return pairs
  }

  #property(key: string, from: unknown, read: Read, depth: number): unknown {
    let value: unknown
    try {
      value = read(from as object, key)
    } catch {
      return '…threw'
    }
    if (isSecret(key)) return value === undefined ? undefined : '…redacted'
    if (this.#redact !== undefined) {
      try {
        value = this.#redact(key, value)
      } catch {
        return '…redact() threw'
      }
    }
    return this.value(value, depth + 1)
  }

  #text(text: string): string {
    const { text: longest, texts } = this.#bounds
    const room = Math.max(0, Math.min(longest, texts - this.#characters))
    if (text.length <= room) {
      this.#characters += text.length
      return withoutCredentials(text)
    }
    // a password must not lose the `@` behind it to the cut
    const clean = withoutCredentials(text.slice(0, room + 1_000)).slice(0, room)
    this.#characters += clean.length
    return `${clean}…${text.length - room} more characters`
  }

  #binary(bytes: Uint8Array): string {
    const shown = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, this.#bounds.binary))
    const more = bytes.length - shown.length
    return `0x${shown.toString('hex')}${more > 0 ? `…${more} more bytes` : ''}`
  }

  get #isFull(): boolean {
    return this.#values > this.#bounds.values || this.#characters >= this.#bounds.texts
  }
}

type Read = (from: object, key: string) => unknown

const readPlain: Read = (from, key) => (from as Readonly<Record<string, unknown>>)[key]
const itself: Read = (from) => from
