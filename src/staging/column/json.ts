/**
 * json and jsonb: a frozen tree of plain data, as parsing what Postgres hands back would give it (jsonb with its keys in
 * jsonb's order). Whatever JSON would drop or change in silence is refused with its path.
 */
import { compareText, refuseUnstorable } from './characters.ts'
import { ValueError, type ColumnCodec } from './codec.ts'
import { messageOf } from '../../errors.ts'
import { show } from './show.ts'
import { sizeOfAny, sizeOfString } from './size.ts'
import { textWire } from './wire.ts'

const deepest = 1000

export function jsonCodec(pgType: 'json' | 'jsonb'): ColumnCodec {
  // Canonical trees that are still in use: staged again as they are, without another walk.
  const sizes = new WeakMap<object, number>()
  const remember = (tree: unknown): unknown => {
    if (typeof tree === 'object' && tree !== null) sizes.set(tree, sizeOfAny(tree))
    return tree
  }
  return {
    pgType,
    wire: textWire(pgType, JSON.stringify),
    canonical(value) {
      if (typeof value === 'object' && value !== null && sizes.has(value)) return value
      return remember(canonicalTree(value, '', 0, pgType === 'jsonb'))
    },
    decode: (text) => remember(deepFreeze(JSON.parse(text))),
    print: (value) => JSON.stringify(value),
    compare: undefined,
    keyable: false,
    identity: (value) => JSON.stringify(value),
    byteSize(value) {
      if (typeof value === 'string') return sizeOfString(value)
      return sizes.get(value as object) ?? sizeOfAny(value)
    },
  }
}

/** JSON text → value, for customTypes that hand the driver text. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ValueError(`${show(text)} is not JSON: ${messageOf(error)}`)
  }
}

/** Freezes arrays and plain objects all the way down; anything else stays as it is. */
export function deepFreeze(tree: unknown): unknown {
  if (typeof tree !== 'object' || tree === null || !(Array.isArray(tree) || isPlain(tree))) return tree
  for (const inner of Object.values(tree)) deepFreeze(inner)
  return Object.freeze(tree)
}

function canonicalTree(value: unknown, path: string, depth: number, sorted: boolean): unknown {
  if (typeof value === 'string') {
    refuseAt(path, value)
    return value
  }
  if (typeof value === 'boolean' || value === null) return value
  if (typeof value === 'number') {
    if (Number.isFinite(value)) return value === 0 ? 0 : value
    throw new ValueError(`JSON cannot hold ${value}${at(path)}`)
  }
  if (typeof value !== 'object') {
    const remedy = value === undefined ? 'leave the property out or use null' : 'convert it first'
    throw new ValueError(`JSON cannot hold ${show(value)}${at(path)}: ${remedy}`)
  }
  if (depth > deepest) throw new ValueError(`JSON nested more than ${deepest} deep (or in a circle)`)
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    return canonicalTree(value.toJSON(path), path, depth + 1, sorted)
  }
  if (Array.isArray(value)) {
    const copy: unknown[] = []
    for (let index = 0; index < value.length; index++) {
      copy.push(canonicalTree(value[index], `${path}[${index}]`, depth + 1, sorted))
    }
    return Object.freeze(copy)
  }
  if (!isPlain(value))
    throw new ValueError(`JSON cannot hold ${show(value)}${at(path)}: convert it to plain data`)
  const copy: Record<string, unknown> = {}
  const keys = Object.keys(value)
  if (sorted && keys.length > 1) keys.sort(compareKeys)
  for (const key of keys) {
    const inner = `${path}.${key}`
    refuseAt(inner, key)
    const canonical = canonicalTree((value as Record<string, unknown>)[key], inner, depth + 1, sorted)
    if (key === '__proto__') Object.defineProperty(copy, key, { value: canonical, enumerable: true })
    else copy[key] = canonical
  }
  return Object.freeze(copy)
}

/** jsonb sorts keys by their length in bytes, then by their bytes. */
function compareKeys(a: string, b: string): number {
  return Buffer.byteLength(a) - Buffer.byteLength(b) || compareText(a, b)
}

/** An object literal, also one of another realm or without a prototype. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function refuseAt(path: string, text: string): void {
  try {
    refuseUnstorable(text)
  } catch (error) {
    throw new ValueError(`${messageOf(error)}${at(path)}`)
  }
}

function at(path: string): string {
  return path === '' ? '' : ` (at ${path.replace(/^\./, '')})`
}
