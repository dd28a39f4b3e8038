/**
 * Eight regions over a line with a round trip of 100 ms: a script that writes them one after the other in two steps, the
 * same two steps in parallel, and `publishRegions`; then a connection that has to be made first, and three regions that
 * fail beside five that do not. Round trips are told in those of a PING in the same run. Method and figures:
 * docs/performance.md.
 */
import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { publishRegions, type RegionPublication } from '../../src/publish/publish-regions.ts'
import { redisRegions, type RedisRegionsOptions } from '../../src/publish/redis.ts'
import { findRedis, startRedis, type RedisBinary } from '../support/redis.ts'
import { startCluster } from '../support/redis-cluster.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { columns, median, spread } from './overlap/statistics.ts'

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 5)
const oneWayMs = 50
const bodyBytes = 20_000
const names = ['mena', 'east-asia', 'europe', 'north-america', 'south-asia', 'latam', 'africa', 'global']

const bounds = { warm: 1.15, cold: 4, five: 1.2 }

let made = 0

function snapshotsOf(regions: readonly string[], bytes = bodyBytes): RegionPublication[] {
  made++
  const body = () => ({ at: made, rows: randomBytes(bytes / 2 - 20).toString('hex') })
  return regions.map((region) => ({ region, id: `${region}-${made}`, body: body() }))
}

/** As the script did that this library takes the place of: a mark if there is none, and then everything else. */
async function twoSteps(client: Redis, { region, id, body }: RegionPublication): Promise<void> {
  const key = `old:${region}`
  if ((await client.set(`${key}:dedup:${id}`, id, 'EX', 900, 'NX')) === null) return
  const text = JSON.stringify(body)
  await client
    .pipeline()
    .set(`${key}:${id}`, text, 'EX', 86_400)
    .set(`old:by-id:${id}`, text, 'EX', 86_400)
    .set(`${key}:latest`, id, 'EX', 86_400)
    .zadd(`${key}:index`, made, id)
    .exec()
}

interface Figure {
  readonly name: string
  readonly trips: number[]
  readonly flights: number[]
  readonly writes: number[]
  readonly kB: number[]
}

const figure = (name: string): Figure => ({ name, trips: [], flights: [], writes: [], kB: [] })

async function measure(proxy: TcpProxy, into: Figure, tripMs: number, run: () => Promise<void>) {
  const before = await proxy.counts()
  const began = performance.now()
  await run()
  into.trips.push((performance.now() - began) / tripMs)
  const after = await proxy.counts()
  into.flights.push(after.flights - before.flights)
  into.writes.push(after.writes - before.writes)
  into.kB.push((after.bytes - before.bytes) / 1_000)
}

function mustBeDelivered({ summary }: Awaited<ReturnType<typeof publishRegions>>): void {
  if (summary.persisted !== names.length) throw new Error(`not delivered: ${JSON.stringify(summary)}`)
}

async function overTheLine(binary: RedisBinary): Promise<void> {
  await using server = await startRedis(binary)
  await using proxy = await startTcpProxy({ target: server, delayMs: { up: oneWayMs, down: oneWayMs } })
  const client = new Redis({ host: '127.0.0.1', port: proxy.port })
  await using publisher = redisRegions({ url: `redis://127.0.0.1:${proxy.port}` })
  const figures = {
    sequential: figure('one after the other, two steps each'),
    parallel: figure('in parallel, two steps each'),
    warm: figure('publishRegions'),
    cold: figure('publishRegions, from no connection'),
  }
  const pings: number[] = []
  try {
    await client.ping()
    await publisher.connect()
    mustBeDelivered(await publishRegions(publisher, snapshotsOf(names)))
    for (let round = 0; round < rounds; round++) {
      for (let ping = 0; ping < 3; ping++) {
        const began = performance.now()
        await client.ping()
        pings.push(performance.now() - began)
      }
      const tripMs = median(pings)
      const snapshots = snapshotsOf(names)
      await measure(proxy, figures.sequential, tripMs, async () => {
        for (const snapshot of snapshots) await twoSteps(client, snapshot)
      })
      await measure(proxy, figures.parallel, tripMs, async () => {
        const others = snapshotsOf(names)
        await Promise.all(others.map((snapshot) => twoSteps(client, snapshot)))
      })
      const warm = snapshotsOf(names)
      await measure(proxy, figures.warm, tripMs, async () =>
        mustBeDelivered(await publishRegions(publisher, warm)),
      )
      const cold = snapshotsOf(names)
      await measure(proxy, figures.cold, tripMs, async () => {
        // with keys of its own: it is a later run than the one beside it
        await using fresh = redisRegions({ url: `redis://127.0.0.1:${proxy.port}`, prefix: 'cold' })
        mustBeDelivered(await publishRegions(fresh, cold))
      })
    }
  } finally {
    client.disconnect()
  }
  console.log(
    `8 regions of ${bodyBytes / 1_000} kB, a round trip of ${median(pings).toFixed(1)} ms (${spread(pings)}), ${rounds} rounds\n`,
  )
  console.log(
    columns([
      ['', 'round trips', 'spread', 'flights', 'writes', 'kB sent'],
      ...Object.values(figures).map(({ name, trips, flights, writes, kB }) => [
        name,
        median(trips).toFixed(2),
        spread(trips),
        median(flights).toFixed(0),
        median(writes).toFixed(0),
        median(kB).toFixed(0),
      ]),
    ]),
  )
  const warm = median(figures.warm.trips)
  const oneFlight = figures.warm.flights.every((flights) => flights === 1)
  // a proxy on this machine takes a connection at once; over a real line that is a round trip more
  const cold = median(figures.cold.trips) + 1
  console.log(
    `\nconnected: ${warm.toFixed(2)} round trips, bound ${bounds.warm}: ${verdict(warm <= bounds.warm)}`,
  )
  console.log(`exactly one flight in every round: ${verdict(oneFlight)}`)
  console.log(
    `from nothing: ${cold.toFixed(2)} round trips with that of TCP, bound ${bounds.cold}: ${verdict(cold <= bounds.cold)}`,
  )
}

/**
 * Regions of a Cluster of three masters over the same line, one of which is frozen: one that hangs, and seven on the
 * others.
 */
async function besideOthers(binary: RedisBinary): Promise<void> {
  await using cluster = await startCluster(binary, {
    masters: 3,
    args: ['--cluster-require-full-coverage', 'no'],
  })
  const delayMs = { up: oneWayMs, down: oneWayMs }
  const proxies = await Promise.all(cluster.servers.map((target) => startTcpProxy({ target, delayMs })))
  await using _lines = {
    [Symbol.asyncDispose]: async () => void (await Promise.all(proxies.map((one) => one.close()))),
  }
  const natMap = Object.fromEntries(
    cluster.servers.map(({ port }, at) => [
      `127.0.0.1:${port}`,
      { host: '127.0.0.1', port: proxies[at]!.port },
    ]),
  )
  const options = {
    cluster: { nodes: proxies.map(({ port }) => `redis://127.0.0.1:${port}`), natMap },
    attempts: 1,
    attemptMs: 1_000,
    maxBytes: 100_000,
  } satisfies RedisRegionsOptions
  const frozen = cluster.servers[2]!
  const [hung, ...sound] = await regionsBy(cluster, frozen.port)
  const [poisoned = '', tooLarge = '', ...five] = sound.slice(0, 7)
  const looking = await (await cluster.masterOf(`tailrace:v1:{${poisoned}}:latest`)).client()
  await looking.set(`tailrace:v1:{${poisoned}}:latest`, 'a string where a hash belongs')
  await using publisher = redisRegions(options)
  await publisher.connect()
  await publishRegions(publisher, snapshotsOf([...five, hung!]))
  const alone: number[] = []
  const beside: number[] = []
  const lastOfFive = async (others: readonly RegionPublication[]) => {
    let last = 0
    const { results } = await publishRegions(publisher, [...others, ...snapshotsOf(five)], {
      settled: (region, { ms }) => {
        if (five.includes(region)) last = ms
      },
    })
    const failed = five.filter((region) => results[region]!.status !== 'persisted')
    if (failed.length > 0)
      throw new Error(`not delivered: ${failed.map((region) => String(results[region]!.error)).join('; ')}`)
    return last
  }
  for (let round = 0; round < 2; round++) await lastOfFive([])
  frozen.freeze()
  try {
    for (let round = 0; round < rounds; round++) {
      alone.push(await lastOfFive([]))
      const bad = [...snapshotsOf([hung!, poisoned]), ...snapshotsOf([tooLarge], 200_000)]
      beside.push(await lastOfFive(bad))
    }
  } finally {
    frozen.thaw()
  }
  const ratio = median(beside) / median(alone)
  console.log(
    `\nthe last of five regions, alone ${median(alone).toFixed(1)} ms (${spread(alone)}), beside one that hangs, one of a wrong type and one too large ${median(beside).toFixed(1)} ms (${spread(beside)}): ${ratio.toFixed(2)} x, bound ${bounds.five}: ${verdict(ratio <= bounds.five)}`,
  )
}

/** Region names, the first on the node with this port, the others elsewhere. */
async function regionsBy(
  cluster: Awaited<ReturnType<typeof startCluster>>,
  port: number,
): Promise<readonly string[]> {
  const here: string[] = []
  const elsewhere: string[] = []
  for (let at = 0; here.length < 1 || elsewhere.length < 7; at++) {
    const region = `region-${at}`
    const master = await cluster.masterOf(`tailrace:v1:{${region}}:latest`)
    ;(master.port === port ? here : elsewhere).push(region)
  }
  return [here[0]!, ...elsewhere]
}

const verdict = (isHeld: boolean) => (isHeld ? 'held' : 'NOT HELD')

export async function regions(): Promise<void> {
  const binary = await findRedis()
  if (typeof binary === 'string') throw new Error(`no Redis to measure with: ${binary}`)
  await overTheLine(binary)
  await besideOthers(binary)
}
