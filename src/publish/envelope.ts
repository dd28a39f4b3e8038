/**
 * A body on its way into a region and out of it: JSON, the hash of what counts as its content, compression with a marker
 * beside it, and the limit of its size, which is checked before anything is sent.
 */
import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { ConfigurationError, FatalError, messageOf } from '../errors.ts'

/** How a stored body is to be read; stored beside it. */
export type Encoding = 'json' | 'gzip' | 'br' | 'none'
export type Compression = 'gzip' | 'brotli'

export interface Packed {
  readonly bytes: Buffer
  readonly encoding: Encoding
}

export interface PackSettings {
  readonly compress: Compression | undefined
  readonly maxBytes: number
}

/** A body shorter than that gains nothing. */
const worthBytes = 1_024

/** The strongest levels take ten times as long for a few percent. */
const brotliOptions: zlib.BrotliOptions = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } }

const gzip = promisify<zlib.InputType, Buffer>(zlib.gzip)
const brotli = promisify<zlib.InputType, zlib.BrotliOptions, Buffer>(zlib.brotliCompress)
const gunzip = promisify<zlib.InputType, Buffer>(zlib.gunzip)
const unbrotli = promisify<zlib.InputType, Buffer>(zlib.brotliDecompress)

/**
 * JSON of a body: bigints as decimal strings, bytes as `'0x…'`, dates in ISO form; whatever else JSON has no word for is
 * refused, since a reader would find something else than was published.
 * @throws ConfigurationError `BODY_NOT_SERIALISABLE` that names the path
 */
export function serialise(body: unknown): string {
  if (body === undefined) throw notSerialisable('', 'undefined')
  return JSON.stringify(plain(body, '', []))
}

/** Value and holders as plain JSON. `above`: the objects that hold it, to find circles. */
function plain(value: unknown, path: string, above: readonly object[]): unknown {
  switch (typeof value) {
    case 'bigint':
      return value.toString()
    case 'number':
      if (!Number.isFinite(value)) throw notSerialisable(path, String(value))
      return value
    case 'function':
    case 'symbol':
      throw notSerialisable(path, `a ${typeof value}`)
    case 'object':
      return value === null ? null : plainObject(value, path, above)
    default:
      return value
  }
}

function plainObject(value: object, path: string, above: readonly object[]): unknown {
  if (value instanceof Uint8Array) return `0x${Buffer.from(value).toString('hex')}`
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw notSerialisable(path, 'an invalid Date')
    return value.toISOString()
  }
  if (value instanceof Map || value instanceof WeakMap) throw notSerialisable(path, 'a Map')
  if (value instanceof Set || value instanceof WeakSet) throw notSerialisable(path, 'a Set')
  if (above.includes(value)) throw notSerialisable(path, 'an object that holds it')
  const holders = [...above, value]
  if (Array.isArray(value)) {
    return value.map((item: unknown, index) => {
      if (item === undefined) throw notSerialisable(`${path}[${index}]`, 'undefined')
      return plain(item, `${path}[${index}]`, holders)
    })
  }
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    return plain((value as { toJSON(): unknown }).toJSON(), path, holders)
  }
  const entries: [string, unknown][] = []
  for (const [name, member] of Object.entries(value)) {
    // a member that is undefined counts as one that is not there, as everywhere in JSON
    if (member !== undefined) {
      entries.push([name, plain(member, path === '' ? name : `${path}.${name}`, holders)])
    }
  }
  return Object.fromEntries(entries)
}

function notSerialisable(path: string, what: string): ConfigurationError {
  const where = path === '' ? 'The body itself' : `The body's ${path}`
  return new ConfigurationError(
    'BODY_NOT_SERIALISABLE',
    `${where} is ${what}, for which JSON has no word. Publish plain objects, arrays, strings, numbers, booleans, null, bigints, bytes and dates; turn a Map into an object and a Set into an array.`,
    { phase: 'publish' },
  )
}

/**
 * What a body is compared by: SHA-256 over its content as JSON with sorted keys, so that the order of keys is no
 * difference.
 * @param text as `serialise` made it
 * @param contentOf what of the body counts; default: all of it
 */
export function contentHash(text: string, contentOf?: (body: unknown) => unknown): string {
  const body: unknown = JSON.parse(text)
  const content = contentOf === undefined ? body : (JSON.parse(serialise(contentOf(body))) as unknown)
  return createHash('sha256').update(canonical(content)).digest('hex')
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`
}

/** Is there anything to wait for? What need not be compressed must not leave the turn of its event loop. */
function isWorth(raw: Buffer, compress: Compression | undefined): compress is Compression {
  return compress !== undefined && raw.length >= worthBytes
}

/**
 * @param text JSON; null: a tombstone, which has no bytes
 * @throws FatalError `REGION_TOO_LARGE`
 */
export async function pack(region: string, text: string | null, settings: PackSettings): Promise<Packed> {
  const raw = Buffer.from(text ?? '')
  if (!isWorth(raw, settings.compress)) return checked(region, raw, undefined, text, settings)
  const smaller = settings.compress === 'gzip' ? await gzip(raw) : await brotli(raw, brotliOptions)
  return checked(region, raw, smaller, text, settings)
}

/** The same at once, for a plan that nothing waits for. */
export function packNow(region: string, text: string | null, settings: PackSettings): Packed {
  const raw = Buffer.from(text ?? '')
  if (!isWorth(raw, settings.compress)) return checked(region, raw, undefined, text, settings)
  const smaller =
    settings.compress === 'gzip' ? zlib.gzipSync(raw) : zlib.brotliCompressSync(raw, brotliOptions)
  return checked(region, raw, smaller, text, settings)
}

function checked(
  region: string,
  raw: Buffer,
  smaller: Buffer | undefined,
  text: string | null,
  { compress, maxBytes }: PackSettings,
): Packed {
  const isSmaller = smaller !== undefined && smaller.length < raw.length
  const bytes = isSmaller ? smaller : raw
  if (bytes.length > maxBytes) {
    const size =
      bytes === raw ? `${raw.length} bytes` : `${bytes.length} bytes after compression (${raw.length} before)`
    const advice = compress === undefined ? "set compress: 'brotli', publish less" : 'publish less'
    throw new FatalError(
      'REGION_TOO_LARGE',
      `The snapshot of region '${region}' has ${size}, more than maxBytes (${maxBytes}). Nothing was sent. Split the region, ${advice}, or raise maxBytes; Redis serves nobody else while it stores a large one.`,
      { phase: 'publish' },
    )
  }
  if (text === null) return { bytes, encoding: 'none' }
  return { bytes, encoding: !isSmaller ? 'json' : compress === 'gzip' ? 'gzip' : 'br' }
}

/**
 * A stored body, parsed.
 * @throws FatalError `REGION_UNREADABLE`
 */
export async function unpack(region: string, bytes: Buffer, encoding: string): Promise<unknown> {
  try {
    switch (encoding) {
      case 'json':
        return JSON.parse(bytes.toString()) as unknown
      case 'gzip':
        return JSON.parse((await gunzip(bytes)).toString()) as unknown
      case 'br':
        return JSON.parse((await unbrotli(bytes)).toString()) as unknown
      default:
        throw new Error(`its encoding '${encoding}' is not known to this version`)
    }
  } catch (error) {
    throw new FatalError(
      'REGION_UNREADABLE',
      `The snapshot of region '${region}' cannot be read: ${messageOf(error)}. Was it written by a newer tailrace, or by something else? Update, or publish the region again.`,
      { phase: 'publish', cause: error },
    )
  }
}
