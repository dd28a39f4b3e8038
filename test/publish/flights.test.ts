/** B1, B3, B5: how many round trips a publish is, counted between publisher and server. */
import { expect, test } from 'vitest'
import { publishRegions } from '../../src/publish/publish-regions.ts'
import { readRegions } from '../../src/publish/reading.ts'
import { redisRegions } from '../../src/publish/redis.ts'
import { sharedRedis } from '../support/redis-shared.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

const regions = Array.from({ length: 8 }, (_, at) => `r${at}`)

const snapshots = (tag: string) =>
  regions.map((region) => ({
    region,
    id: `${region}-${tag}`,
    body: { region, tag, text: 'x'.repeat(20_000) },
  }))

test('B1, B3, B5: eight regions are one flight once connected, and at most three with the connection; read in one', async (context) => {
  const server = await sharedRedis()
  if (typeof server === 'string') return context.skip(server)
  // so that what belongs together is counted together
  await using proxy = await startTcpProxy({ target: server, delayMs: { up: 20, down: 20 } })
  const flightsOf = async (work: () => Promise<unknown>) => {
    const before = (await proxy.counts()).flights
    await work()
    return (await proxy.counts()).flights - before
  }
  const options = { url: `redis://127.0.0.1:${proxy.port}`, prefix: 'flights' }
  await using publisher = redisRegions(options)
  await publisher.connect()
  for (const tag of ['first', 'second']) {
    expect(
      await flightsOf(async () => {
        const { summary } = await publishRegions(publisher, snapshots(tag))
        expect(summary).toMatchObject({ persisted: 8, exitCode: 0 })
      }),
    ).toBe(1)
  }
  expect(await flightsOf(() => readRegions(publisher, regions))).toBe(1)
  const cold = await flightsOf(async () => {
    await using fresh = redisRegions({ ...options, prefix: 'cold' })
    expect((await publishRegions(fresh, snapshots('cold'))).summary.persisted).toBe(8)
  })
  expect(cold).toBeLessThanOrEqual(3)
})
