/** Many writers of the same snapshots at once, each with a connection of its own. */
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { redisRegions } from '../../src/publish/redis.ts'
import { sharedRedis } from '../support/redis-shared.ts'
import { noSignal, notified, snapshot } from './snapshots.ts'

const redis = await sharedRedis()
if (typeof redis === 'string') console.log(`skipped: ${redis}`)

const writers = 50
const regions = Array.from({ length: 8 }, (_, number) => `region-${number}`)

test.skipIf(typeof redis === 'string')(
  'H50 H54 H58: 50 writers race on the same 8 snapshots: 8 are persisted, nobody is told twice',
  async () => {
    if (typeof redis === 'string') return
    const prefix = `test-${randomUUID()}`
    const publishers = Array.from({ length: writers }, () => redisRegions({ url: redis.url, prefix }))
    const client = new Redis(redis.port, redis.host)
    try {
      await Promise.all(publishers.map((publisher) => publisher.connect()))
      const deliveries = await Promise.all(
        publishers.flatMap((publisher, writer) =>
          regions.map((region, place) => {
            // all have the same content; half of them call it the same
            const id = writer % 2 === 0 ? 'same' : `of-${writer}`
            const commit = (writer * 31 + place * 7) % writers
            return publisher.persist(snapshot(region, commit, { region, of: 'all' }, { id }), noSignal)
          }),
        ),
      )
      const counts = { persisted: 0, replayed: 0, duplicate: 0, stale: 0 }
      for (const { status } of deliveries) counts[status]++
      expect(counts.persisted).toBe(regions.length)
      expect(counts.stale).toBe(0)
      expect(counts.replayed + counts.duplicate).toBe((writers - 1) * regions.length)
      expect(deliveries.filter(({ wasEmpty }) => wasEmpty)).toHaveLength(regions.length)
      const standing = await publishers[0]!.standing(regions)
      for (const region of regions) {
        expect(await notified(client, prefix, region)).toHaveLength(1)
        // the highest stamp stands, whoever came last
        expect(standing.get(region)?.stamp.commit).toBe(writers - 1)
      }
    } finally {
      client.disconnect()
      await Promise.all(publishers.map((publisher) => publisher.close()))
    }
  },
)
