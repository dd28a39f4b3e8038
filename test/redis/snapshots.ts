/** Snapshots for the tests of publishers, and what stands in Redis after them. */
import type { Redis } from 'ioredis'
import { contentHash, serialise } from '../../src/publish/envelope.ts'
import { regionKeys } from '../../src/publish/keys.ts'
import type { Outgoing } from '../../src/publish/port.ts'

/** Never aborted. */
export const noSignal = new AbortController().signal

/** Its id tells content and commit, unless it is given; `body: null` is a tombstone. */
export function snapshot(
  region: string,
  commit: number,
  body: unknown,
  more: Partial<Outgoing> = {},
): Outgoing {
  const text = body === null ? null : serialise(body)
  return {
    region,
    id: `${commit}-${text ?? 'none'}`.slice(0, 60),
    stamp: { incarnation: 1_700_000_000_000, epoch: 1, commit, ordinal: 0 },
    body: text,
    hash: text === null ? '' : contentHash(text),
    writer: 'pipeline',
    ...more,
  }
}

/** A body of about that size which no compression makes much smaller. */
export function bodyOf(bytes: number, seed = 1): { readonly noise: string } {
  let state = seed
  let noise = ''
  while (noise.length < bytes) {
    state = (state * 48_271) % 2_147_483_647
    noise += state.toString(36)
  }
  return { noise: noise.slice(0, bytes) }
}

/** Everything that a region holds, to see that nothing has changed. */
export async function dumpOf(client: Redis, prefix: string, region: string): Promise<readonly string[]> {
  const keys = Object.values(regionKeys(prefix, region)) as string[]
  return Promise.all(keys.map(async (key) => (await client.dumpBuffer(key))?.toString('base64') ?? ''))
}

/** Ids of its notifications, oldest first. */
export async function notified(client: Redis, prefix: string, region: string): Promise<readonly string[]> {
  const entries = await client.xrange(regionKeys(prefix, region).events, '-', '+')
  return entries.map(([, fields]) => fields[fields.indexOf('id') + 1]!)
}
