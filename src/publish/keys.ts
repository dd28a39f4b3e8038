/**
 * Names of a region's keys. All of a region share the hash tag `{region}`: one slot, so that one script may write them in
 * Redis Cluster (H60). `v1` is the version of this layout; another layout gets another, and neither reads the other's.
 *
 * - `latest` (hash): what readers see, with its body
 * - `index` (sorted set): ids by the time they were persisted; the newest is the one in `latest`
 * - `bodies` (hash): former snapshots by id; each body is stored once, here or in `latest`
 * - `events` (stream): one entry for each snapshot that became `latest`
 */
import { ConfigurationError } from '../errors.ts'

export interface RegionKeys {
  readonly latest: string
  readonly index: string
  readonly bodies: string
  readonly events: string
}

export const layoutVersion = 'v1'

export function regionKeys(prefix: string, region: string): RegionKeys {
  const key = (kind: string) => `${prefix}:${layoutVersion}:{${region}}:${kind}`
  return { latest: key('latest'), index: key('index'), bodies: key('bodies'), events: key('events') }
}

/** The counter of runs; it is nobody's region, and it must never go back: no TTL. */
export function runsKey(prefix: string): string {
  return `${prefix}:${layoutVersion}:runs`
}

const longestBytes = 128

/** What keeps a text from being part of a key; undefined: nothing. */
function unfit(text: unknown): string | undefined {
  if (typeof text !== 'string') return 'is not a string'
  if (text === '') return 'is empty'
  const bytes = Buffer.byteLength(text)
  if (bytes > longestBytes) return `has ${bytes} bytes, more than ${longestBytes}`
  if (/[{}]/.test(text)) return 'contains a brace, which would change the slot of its keys'
  if (/\p{Cc}/u.test(text)) return 'contains a control character'
  if (Buffer.from(text).toString() !== text) return 'is not well-formed Unicode'
  return undefined
}

/** @throws ConfigurationError `INVALID_REGION` */
export function checkRegion(region: string): void {
  const reason = unfit(region)
  if (reason === undefined) return
  throw new ConfigurationError(
    'INVALID_REGION',
    `The region id ${JSON.stringify(region)} ${reason}. Give an id of 1 to ${longestBytes} bytes without braces and control characters, such as 'east-asia'.`,
    { phase: 'publish' },
  )
}

/** @throws ConfigurationError `INVALID_OPTIONS` */
export function checkPrefix(prefix: string): void {
  const reason = unfit(prefix)
  if (reason === undefined) return
  throw new ConfigurationError(
    'INVALID_OPTIONS',
    `The prefix ${JSON.stringify(prefix)} of the regions ${reason}. Give 1 to ${longestBytes} bytes without braces and control characters, such as 'tailrace'.`,
    { phase: 'options' },
  )
}
