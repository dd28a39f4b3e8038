/** Regions in a master that Sentinels watch, through a fail-over while they are published. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RegionPublisher } from '../../src/publish/port.ts'
import { redisRegions } from '../../src/publish/redis.ts'
import { handlesBefore } from '../support/leaks.ts'
import { startSentinels, type RedisSentinels } from '../support/redis-sentinels.ts'
import { findRedis, until, type RedisServer } from '../support/redis.ts'
import { delivered } from './attempts.ts'
import { noSignal, notified, snapshot } from './snapshots.ts'

const binary = await findRedis()
if (typeof binary === 'string') console.log(`skipped: ${binary}`)
const check = typeof binary === 'string' ? test.skip : test

const regions = ['mena', 'east-asia', 'europe']
const prefix = 'tailrace'

let servers: RedisSentinels

beforeAll(async () => {
  if (typeof binary !== 'string') servers = await startSentinels(binary)
})

afterAll(async () => {
  await servers?.[Symbol.asyncDispose]()
})

function publisherOf(attemptMs: number): RegionPublisher {
  const { sentinels, name } = servers
  return redisRegions({ sentinels, name, attemptMs, replicas: 1 })
}

check(
  'the master is found, a Sentinel that does not answer costs little, and closing leaves nothing',
  async () => {
    const handles = handlesBefore()
    const [first] = servers.sentinelServers
    first!.freeze()
    try {
      const publisher = publisherOf(5_000)
      const { status } = await publisher.persist(snapshot('mena', 1, 'A'), noSignal)
      expect(status).toBe('persisted')
      await publisher.close()
      expect(await handles.left()).toEqual({})
    } finally {
      first!.thaw()
    }
  },
)

check(
  'H51 H58 H61 I14: the master is lost: what was reported delivered with a replica is there, once, and the rest arrives',
  async () => {
    await using publisher = publisherOf(1_000)
    let reconnected = 0
    publisher.onReconnect(() => reconnected++)
    await publisher.connect()
    const lost = await servers.masterNow()
    const rounds = 10
    const reported = new Map<string, string[]>(regions.map((region) => [region, []]))
    let wakeUp: () => void = () => undefined
    const killed = new Promise<void>((resolve) => (wakeUp = resolve))
    const publishing = regions.map(async (region) => {
      for (let round = 1; round <= rounds; round++) {
        if (round === 4) await killed
        const outgoing = snapshot(region, 10 + round, `round ${round}`)
        const { delivery } = await delivered(publisher, outgoing)
        expect(['persisted', 'replayed']).toContain(delivery.status)
        reported.get(region)!.push(outgoing.id)
      }
    })
    const killing = (async () => {
      await until('something was reported', () =>
        Promise.resolve([...reported.values()].every((ids) => ids.length >= 2)),
      )
      await lost.kill()
      wakeUp()
      await until('another is master', async () => (await servers.masterNow()) !== lost)
      // without a replica nothing more is reported: it comes back as one, sooner than the Sentinels would make it
      await lost.restart({ empty: true })
      const { host, port } = await servers.masterNow()
      await (await lost.client()).replicaof(host, port)
    })()
    await Promise.all([...publishing, killing])
    expect(reconnected).toBeGreaterThan(0)
    await toldOnce(await servers.masterNow(), reported)
  },
)

/** Each that was reported is in the stream, in order, and nothing else. */
async function toldOnce(
  server: RedisServer,
  reported: ReadonlyMap<string, readonly string[]>,
): Promise<void> {
  const client = await server.client()
  for (const [region, ids] of reported) {
    const told = await notified(client, prefix, region)
    expect(told.filter((id) => id.includes('round'))).toEqual(ids)
  }
}
