/** Regions in a Redis Cluster of three masters with a replica each. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { regionKeys } from '../../src/publish/keys.ts'
import type { RegionPublisher } from '../../src/publish/port.ts'
import { readRegions } from '../../src/publish/reading.ts'
import { redisRegions } from '../../src/publish/redis.ts'
import { handlesBefore } from '../support/leaks.ts'
import { startCluster, type RedisCluster } from '../support/redis-cluster.ts'
import { findRedis, until, type RedisServer } from '../support/redis.ts'
import { delivered } from './attempts.ts'
import { noSignal, notified, snapshot } from './snapshots.ts'

const binary = await findRedis()
if (typeof binary === 'string') console.log(`skipped: ${binary}`)
const check = typeof binary === 'string' ? test.skip : test

/** Some on each master. */
const regions = ['mena', 'east-asia', 'europe', 'latam', 'south-asia', 'global', 'africa', 'oceania']
const prefix = 'tailrace'
const keysOf = (region: string) => regionKeys(prefix, region)

let cluster: RedisCluster

beforeAll(async () => {
  if (typeof binary !== 'string') cluster = await startCluster(binary, { replicasEach: 1 })
})

afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
})

const publisherOf = (attemptMs: number, replicas = 0): RegionPublisher =>
  redisRegions({ cluster: { nodes: cluster.urls.slice(0, 2) }, attemptMs, replicas })

async function byMaster(): Promise<Map<RedisServer, string[]>> {
  const found = new Map<RedisServer, string[]>()
  for (const region of regions) {
    const master = await cluster.masterOf(keysOf(region).latest)
    found.set(master, [...(found.get(master) ?? []), region])
  }
  return found
}

check('H60: all keys of a region are in one slot, and regions are on every master', async () => {
  const client = await cluster.servers[0]!.client()
  for (const region of regions) {
    const keys = Object.values(keysOf(region)) as string[]
    const slots = await Promise.all(keys.map((key) => client.cluster('KEYSLOT', key)))
    expect(new Set(slots).size).toBe(1)
  }
  expect((await byMaster()).size).toBe(3)
})

check('regions of all masters are delivered, read and watched; closing leaves nothing', async () => {
  const handles = handlesBefore()
  const publisher = publisherOf(5_000)
  const end = new AbortController()
  const after = Object.fromEntries(regions.map((region) => [region, '0-0']))
  const watching = publisher.watch(regions, { signal: end.signal, after })
  const deliveries = await Promise.all(
    regions.map((region) => publisher.persist(snapshot(region, 1, `of ${region}`), noSignal)),
  )
  expect(deliveries.map(({ status }) => status)).toEqual(regions.map(() => 'persisted'))
  const read = await readRegions(publisher, regions)
  expect(regions.map((region) => read[region]?.body)).toEqual(regions.map((region) => `of ${region}`))
  const heard = new Set<string>()
  for await (const { region } of watching) if (heard.add(region).size === regions.length) break
  expect([...heard].sort()).toEqual([...regions].sort())
  await publisher.close()
  expect(await handles.left()).toEqual({})
})

check('H55 I13: a frozen master costs the regions of the others nothing', async () => {
  await using publisher = publisherOf(900)
  await publisher.connect()
  const frozen = await cluster.masterOf(keysOf(regions[0]!).latest)
  const stuck = (await byMaster()).get(frozen)!
  frozen.freeze()
  try {
    const settled: string[] = []
    const deliveries = regions.map(async (region) => {
      const { status } = await publisher.persist(snapshot(region, 2, `second of ${region}`), noSignal)
      settled.push(region)
      return status
    })
    const free = deliveries.filter((_, place) => !stuck.includes(regions[place]!))
    // the frozen one's still wait for their own deadline
    const held = Promise.allSettled(deliveries.filter((_, place) => stuck.includes(regions[place]!)))
    expect(await Promise.all(free)).toEqual(free.map(() => 'persisted'))
    expect(settled.filter((region) => stuck.includes(region))).toEqual([])
    frozen.thaw()
    for (const one of await held) expect(one.status).toBe('fulfilled')
  } finally {
    frozen.thaw()
  }
})

check(
  'H61: a replica becomes master: the delivery follows it within its attempt, and it is told',
  async () => {
    await using publisher = publisherOf(5_000, 1)
    await publisher.connect()
    const told = new Promise<void>((resolve) => void publisher.onReconnect(resolve))
    const { latest } = keysOf(regions[0]!)
    const before = await cluster.masterOf(latest)
    await publisher.persist(snapshot(regions[0]!, 3, 'before'), noSignal)
    const replica = cluster.servers[cluster.servers.indexOf(before) + 3]!
    await (await replica.client()).cluster('FAILOVER')
    await until('it is master', async () => (await cluster.masterOf(latest)) === replica)
    const { status } = await publisher.persist(snapshot(regions[0]!, 4, 'after'), noSignal)
    expect(status).toBe('persisted')
    await told
  },
)

check(
  'H51 H58 I14: a master is lost: what was reported delivered with a replica is there, once, and the rest arrives',
  async () => {
    await using publisher = publisherOf(1_000, 1)
    let reconnected = 0
    publisher.onReconnect(() => reconnected++)
    await using idle = publisherOf(1_000)
    const toldWithoutTraffic = new Promise<void>((resolve) => void idle.onReconnect(resolve))
    await Promise.all([publisher.connect(), idle.connect()])
    const lost = await cluster.masterOf(keysOf(regions[0]!).latest)
    const rounds = 12
    const reported = new Map<string, string[]>(regions.map((region) => [region, []]))
    let wakeUp: () => void = () => undefined
    const promoted = new Promise<void>((resolve) => (wakeUp = resolve))
    const publishing = regions.map(async (region) => {
      for (let round = 1; round <= rounds; round++) {
        const outgoing = snapshot(region, 10 + round, `round ${round}`)
        if (round === 4) await promoted
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
      await until('its replica is master', async () => {
        const now = await cluster.masterOf(keysOf(regions[0]!).latest).catch(() => lost)
        return now !== lost
      })
      // without a replica nothing more is reported there: it comes back as one
      await lost.restart({ empty: true })
    })()
    await Promise.all([...publishing, killing])
    expect(reconnected).toBeGreaterThan(0)
    await toldWithoutTraffic
    for (const region of regions) {
      const master = await cluster.masterOf(keysOf(region).latest)
      const told = (await notified(await master.client(), prefix, region)).filter((id) =>
        id.includes('round'),
      )
      expect(told).toEqual(reported.get(region))
      expect(told).toHaveLength(rounds)
    }
  },
)
