/** A snapshot before it goes out: whether it can, and what it would write. */
import { ConfigurationError } from '../errors.ts'
import type { Packed } from './envelope.ts'
import { checkRegion, regionKeys } from './keys.ts'
import type { Outgoing, PlannedKey } from './port.ts'
import type { CheckedOptions } from './publisher-options.ts'
import { stampText } from './script.ts'

/** What the script would refuse anyway, said before anything is sent. */
export function checkSnapshot({ region, id, stamp, body, hash }: Outgoing): void {
  checkRegion(region)
  const numbers = [stamp.incarnation, stamp.epoch, stamp.commit, stamp.ordinal]
  const isStamp = numbers.every((number) => Number.isSafeInteger(number) && number >= 0)
  if (isStamp && id !== '' && (body === null) === (hash === '')) return
  const what = !isStamp
    ? 'its stamp has something else than whole numbers from 0'
    : id === ''
      ? 'its id is empty'
      : 'only a tombstone has an empty hash'
  throw new ConfigurationError(
    'INVALID_SNAPSHOT',
    `The snapshot of region '${region}' cannot be delivered: ${what}. Give an id, a stamp of four numbers, and the hash that contentHash makes of the body.`,
    { phase: 'publish' },
  )
}

/** Bytes that are sent; a former body moves inside the server. */
export function plannedKeys(
  options: CheckedOptions,
  snapshot: Outgoing,
  packed: Packed,
): readonly PlannedKey[] {
  const { latest, index, bodies, events } = regionKeys(options.prefix, snapshot.region)
  const { ttlMs, count } = options.keep
  const idBytes = Buffer.byteLength(snapshot.id)
  const stampBytes = stampText(snapshot.stamp).length
  return [
    { key: latest, type: 'hash', ttlMs, bytes: packed.bytes.length },
    ...(count === 0
      ? []
      : ([
          { key: index, type: 'zset', ttlMs, bytes: idBytes },
          { key: bodies, type: 'hash', ttlMs, bytes: 0 },
        ] as const)),
    { key: events, type: 'stream', ttlMs, bytes: idBytes + stampBytes + 1 },
  ]
}
