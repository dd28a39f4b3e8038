/** A publisher and what happens to it: lost requests and answers, outages, refusals, limits. */
import { Socket } from 'node:net'
import type { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { ConfigurationError, FatalError, RetryableError } from '../../src/errors.ts'
import { regionKeys } from '../../src/publish/keys.ts'
import type { RegionPublisher } from '../../src/publish/port.ts'
import { readRegion, regionHistory, watchRegions } from '../../src/publish/reading.ts'
import { redisRegions } from '../../src/publish/redis.ts'
import { handlesBefore } from '../support/leaks.ts'
import { findRedis, startRedis, type RedisServer } from '../support/redis.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { delivered } from './attempts.ts'
import { bodyOf, noSignal, notified, snapshot } from './snapshots.ts'

const binary = await findRedis()
if (typeof binary === 'string') console.log(`skipped: ${binary}`)
const check = typeof binary === 'string' ? test.skip : test

const region = 'mena'
const prefix = 'tailrace'
const { latest, events } = regionKeys(prefix, region)
const eight = Array.from({ length: 8 }, (_, number) => `region-${number}`)

let server: RedisServer
let proxy: TcpProxy
/** Of the server, through the proxy. */
let led: string
let client: Redis

beforeAll(async () => {
  if (typeof binary === 'string') return
  // a replica need not wait for others that might want a copy, too
  server = await startRedis(binary, { args: ['--repl-diskless-sync-delay', '0'] })
  proxy = await startTcpProxy({ target: server })
  led = proxy.through(server.url)
})

beforeEach(async () => {
  if (typeof binary === 'string') return
  client = await server.client()
  await client.flushall()
})

afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]()
  await server?.[Symbol.asyncDispose]()
})

const failed = (publisher: RegionPublisher, outgoing = snapshot(region, 1, 'A')) =>
  publisher.persist(outgoing, noSignal).then(
    () => expect.unreachable('it was delivered'),
    (error: unknown) => error as RetryableError,
  )

check('eight regions of one turn are one flight, and the first needs no handshake', async () => {
  await using publisher = redisRegions({ url: led })
  // so that what belongs to one flight is on its way before the first answer
  await proxy.delay({ up: 15, down: 15 })
  const before = (await proxy.counts()).flights
  const flown = async () => (await proxy.counts()).flights - before
  const all = (commit: number) =>
    Promise.all(
      eight.map((name) => publisher.persist(snapshot(name, commit, bodyOf(20_000, commit)), noSignal)),
    )
  expect((await all(1)).map(({ status }) => status)).toEqual(eight.map(() => 'persisted'))
  expect(await flown()).toBe(1)
  expect((await all(2)).map(({ status }) => status)).toEqual(eight.map(() => 'persisted'))
  expect(await flown()).toBe(2)
  expect((await publisher.read(eight)).size).toBe(8)
  expect(await flown()).toBe(3)
  await proxy.delay({ up: 0, down: 0 })
})

check('eight regions of one turn are one write', async () => {
  await using publisher = redisRegions({ url: server.url })
  await publisher.connect()
  const writes: number[] = []
  const { write } = Socket.prototype
  const spied = function (this: Socket, ...args: Parameters<typeof write>) {
    if (this.remotePort === server.port) writes.push(args[0].length)
    return write.apply(this, args)
  }
  Socket.prototype.write = spied as typeof write
  try {
    await Promise.all(eight.map((name) => publisher.persist(snapshot(name, 1, bodyOf(20_000)), noSignal)))
  } finally {
    Socket.prototype.write = write
  }
  expect(writes).toHaveLength(1)
  expect(writes[0]).toBeGreaterThan(160_000)
})

check('H50 H53: a lost request is an error that may pass, and the retry persists', async () => {
  await using publisher = redisRegions({ url: led })
  await publisher.connect()
  await proxy.watch({ pattern: latest, direction: 'up', action: 'kill' })
  const error = await failed(publisher)
  expect(error).toBeInstanceOf(RetryableError)
  expect(error).toMatchObject({ code: 'REDIS_CONNECTION_LOST', phase: 'publish', key: latest })
  expect(error.message).toContain(`Cannot deliver region 'mena' in Redis at 127.0.0.1:`)
  expect(await client.exists(latest)).toBe(0)
  expect((await delivered(publisher, snapshot(region, 1, 'A'))).delivery.status).toBe('persisted')
})

check('H51 H58 I14: a lost answer: the retry is replayed, and one entry is in the stream', async () => {
  await using publisher = redisRegions({ url: led })
  await publisher.connect()
  await proxy.watch({ pattern: 'persisted', direction: 'down', action: 'kill' })
  expect(await failed(publisher)).toMatchObject({ code: 'REDIS_CONNECTION_LOST' })
  expect((await delivered(publisher, snapshot(region, 1, 'A'))).delivery.status).toBe('replayed')
  expect(await notified(client, prefix, region)).toHaveLength(1)
})

check(
  'H51 H55: a server that does not answer costs an attempt, and what was late changes nothing',
  async () => {
    await using publisher = redisRegions({ url: led, attemptMs: 150 })
    await publisher.connect()
    let reconnected = 0
    publisher.onReconnect(() => reconnected++)
    await proxy.pause('down')
    const error = await failed(publisher)
    expect(error).toBeInstanceOf(RetryableError)
    expect(['REDIS_TIMED_OUT', 'REDIS_CONNECTION_LOST']).toContain(error.code)
    // the socket's own patience begins a little later than the attempt's: the answer may come before it is given up
    await proxy.kill()
    await proxy.resume('down')
    // on a busy machine an attempt more may have been too slow
    const newer = await delivered(publisher, snapshot(region, 2, 'B'))
    expect(['persisted', 'replayed']).toContain(newer.delivery.status)
    const late = await delivered(publisher, snapshot(region, 1, 'A'))
    expect(['replayed', 'stale']).toContain(late.delivery.status)
    expect((await readRegion(publisher, region))?.body).toBe('B')
    expect(reconnected).toBeGreaterThan(0)
  },
)

check('a signal that is aborted ends an attempt', async () => {
  await using publisher = redisRegions({ url: led })
  await publisher.connect()
  await proxy.pause('down')
  const ending = new AbortController()
  const attempt = publisher.persist(snapshot(region, 1, 'A'), ending.signal)
  ending.abort(new Error('enough'))
  await expect(attempt).rejects.toMatchObject({ name: 'RetryableError', code: 'REDIS_ABORTED' })
  await proxy.resume('down')
  // given up before its flight has left: it is not sent after all
  const soon = new AbortController()
  const early = publisher.persist(snapshot('latam', 1, 'A'), soon.signal)
  process.nextTick(() => soon.abort())
  await expect(early).rejects.toMatchObject({ code: 'REDIS_ABORTED' })
  expect((await publisher.persist(snapshot(region, 2, 'B'), noSignal)).status).toBe('persisted')
  expect(await client.exists(regionKeys(prefix, 'latam').latest)).toBe(0)
})

check('H61: scripts that were flushed are sent again, for every region of the flight', async () => {
  await using publisher = redisRegions({ url: server.url })
  await publisher.persist(snapshot(region, 1, 'A'), noSignal)
  await client.script('FLUSH')
  const deliveries = await Promise.all(
    eight.map((name) => publisher.persist(snapshot(name, 1, name), noSignal)),
  )
  expect(deliveries.map(({ status }) => status)).toEqual(eight.map(() => 'persisted'))
  await client.script('FLUSH')
  expect(await regionHistory(publisher, region)).toHaveLength(1)
})

check('H61 H52: out of memory nothing is left behind, and later it is delivered', async () => {
  await using publisher = redisRegions({ url: server.url })
  await publisher.persist(snapshot(region, 1, 'A'), noSignal)
  const before = await client.dumpBuffer(latest)
  await client.config('SET', 'maxmemory', '1')
  try {
    for (const [name, commit] of [
      ['latam', 1],
      [region, 2],
    ] as const) {
      const error = await failed(publisher, snapshot(name, commit, 'B'))
      expect(error).toBeInstanceOf(RetryableError)
      expect(error).toMatchObject({ code: 'REDIS_OUT_OF_MEMORY' })
    }
    expect(await client.exists(...(Object.values(regionKeys(prefix, 'latam')) as string[]))).toBe(0)
    expect(await client.dumpBuffer(latest)).toEqual(before)
    expect(await client.xlen(events)).toBe(1)
  } finally {
    await client.config('SET', 'maxmemory', '0')
  }
  expect((await publisher.persist(snapshot(region, 2, 'B'), noSignal)).status).toBe('persisted')
})

check('H61: a replica refuses; the connection is made anew until it is a master', async () => {
  await using publisher = redisRegions({ url: server.url, attemptMs: 500 })
  await publisher.persist(snapshot(region, 1, 'A'), noSignal)
  // of nobody
  await client.replicaof('127.0.0.1', 1)
  expect(await failed(publisher, snapshot(region, 2, 'B'))).toMatchObject({
    name: 'RetryableError',
    code: 'REDIS_READ_ONLY',
  })
  await client.replicaof('NO', 'ONE')
  const { failures } = await delivered(publisher, snapshot(region, 2, 'B'))
  expect(failures.filter((code) => code !== 'REDIS_CONNECTION_LOST')).toEqual([])
})

check('H52: one poisoned region of a flight fails, the others are delivered', async () => {
  await using publisher = redisRegions({ url: server.url, maxBytes: 50_000 })
  await client.set(regionKeys(prefix, eight[0]!).index, 'not ours')
  const results = await Promise.allSettled(
    eight.map((name, place) =>
      publisher.persist(snapshot(name, 1, bodyOf(place === 1 ? 60_000 : 100)), noSignal),
    ),
  )
  const codes = results.map((result) =>
    result.status === 'fulfilled' ? result.value.status : (result.reason as FatalError).code,
  )
  expect(codes).toEqual(['REGION_WRONG_TYPE', 'REGION_TOO_LARGE', ...eight.slice(2).map(() => 'persisted')])
})

check('who may not log in, may not write, or names no database is told what to do', async () => {
  const port = server.port
  await client.acl('SETUSER', 'reader', 'on', '>secret', '~tailrace:*', '+@read', '+@connection')
  await client.acl('SETUSER', 'other', 'on', '>secret', '~other:*', '+@all')
  const cases = [
    [`redis://reader:wrong@127.0.0.1:${port}`, 'REDIS_AUTHENTICATION', 'Check user and password'],
    [`redis://reader:secret@127.0.0.1:${port}`, 'REDIS_NOT_PERMITTED', 'Grant the user'],
    [`redis://other:secret@127.0.0.1:${port}`, 'REDIS_NOT_PERMITTED', 'Grant the user'],
    [`redis://127.0.0.1:${port}/77`, 'REDIS_DATABASE_MISSING', 'Correct the number'],
  ] as const
  for (const [url, code, advice] of cases) {
    await using publisher = redisRegions({ url })
    const error = await failed(publisher)
    expect(error).toBeInstanceOf(ConfigurationError)
    expect(error).toMatchObject({ code, message: expect.stringContaining(advice) as string })
    expect(JSON.stringify([error, error.cause, error.message])).not.toContain('secret')
    expect(JSON.stringify([error, error.cause, error.message])).not.toContain('wrong')
  }
  await using cluster = redisRegions({ cluster: { nodes: [server.url] } })
  await expect(cluster.connect()).rejects.toMatchObject({
    code: 'INVALID_OPTIONS',
    name: 'ConfigurationError',
  })
  await client.config('SET', 'requirepass', 'needed')
  try {
    await using publisher = redisRegions({ url: server.url })
    await expect(publisher.connect()).rejects.toMatchObject({ code: 'REDIS_AUTHENTICATION' })
    await using right = redisRegions({ url: `redis://:needed@127.0.0.1:${port}/3` })
    expect((await right.persist(snapshot(region, 1, 'A'), noSignal)).status).toBe('persisted')
  } finally {
    await client.config('SET', 'requirepass', '')
  }
})

check('compression: bytes as stored, a marker beside them, and small bodies as they are', async () => {
  const body = { words: 'the same again '.repeat(500) }
  for (const [place, compress] of (['gzip', 'brotli'] as const).entries()) {
    await using publisher = redisRegions({ url: server.url, compress, maxBytes: 1_000 })
    const { bytes } = await publisher.persist(snapshot(region, place, { ...body, place }), noSignal)
    expect(bytes).toBeLessThan(300)
    expect(await client.hstrlen(latest, 'body')).toBe(bytes)
    const read = await readRegion(publisher, region)
    expect(read).toMatchObject({ body: { ...body, place }, bytes })
  }
  await using plain = redisRegions({ url: server.url })
  await plain.persist(snapshot(region, 5, 'small'), noSignal)
  // each by its own marker, also once it is a former one
  expect((await regionHistory(plain, region)).map(({ body }) => body)).toEqual([
    'small',
    { ...body, place: 1 },
    { ...body, place: 0 },
  ])
  await client.hset(latest, 'encoding', 'zstd')
  await expect(readRegion(plain, region)).rejects.toMatchObject({ code: 'REGION_UNREADABLE' })
})

check('what is too large is refused before anything is sent, and a plan says what would be', async () => {
  await using publisher = redisRegions({ url: `redis://127.0.0.1:1`, maxBytes: 1_000, ttlMs: 7_000 })
  const large = snapshot(region, 1, bodyOf(2_000))
  await expect(publisher.persist(large, noSignal)).rejects.toMatchObject({
    name: 'FatalError',
    code: 'REGION_TOO_LARGE',
    message: expect.stringMatching(
      /has 2012 bytes, more than maxBytes \(1000\)\. Nothing was sent/,
    ) as string,
  })
  expect(() => publisher.plan(large)).toThrow(FatalError)
  const planned = publisher.plan(snapshot(region, 1, bodyOf(500)))
  expect(planned.map(({ type, ttlMs }) => `${type} ${ttlMs}`)).toEqual([
    'hash 7000',
    'zset 7000',
    'hash 7000',
    'stream 7000',
  ])
  expect(planned[0]).toMatchObject({ key: latest, bytes: 512 })
})

check('H61: a server that is not there is waited for, and then it is said where', async () => {
  await using publisher = redisRegions({ url: 'redis://user:secret@127.0.0.1:1', attemptMs: 100 })
  const error = await failed(publisher)
  expect(error).toBeInstanceOf(RetryableError)
  expect(error.code).toBe('REDIS_UNREACHABLE')
  expect(error.message).toMatch(/Redis at 127\.0\.0\.1:1: no connection within 100 ms: .*ECONNREFUSED/)
  await expect(publisher.connect()).rejects.toMatchObject({ code: 'REDIS_UNREACHABLE' })
})

check(
  'H77: after every new connection but the first, whoever listens is told; watching goes on',
  async () => {
    await using publisher = redisRegions({ url: led })
    const ending = new AbortController()
    const watching = watchRegions(publisher, [region], { signal: ending.signal, after: { [region]: '0-0' } })
    const changes = watching[Symbol.asyncIterator]()
    let tell: () => void = () => undefined
    let told = new Promise<void>((resolve) => (tell = resolve))
    const forget = publisher.onReconnect(() => tell())
    await publisher.persist(snapshot(region, 1, 'A'), noSignal)
    expect((await changes.next()).value).toMatchObject({ region, id: '1-"A"', isTombstone: false })
    for (const commit of [2, 3]) {
      await proxy.kill()
      await told
      told = new Promise((resolve) => (tell = resolve))
      await delivered(publisher, snapshot(region, commit, `after ${commit}`))
      expect((await changes.next()).value).toMatchObject({ id: `${commit}-"after ${commit}"` })
    }
    forget()
    const last = changes.next()
    ending.abort()
    expect(await last).toEqual({ value: undefined, done: true })
  },
)

check('H77: an emptied server takes everything as new', async () => {
  if (typeof binary === 'string') return
  await using own = await startRedis(binary)
  await using publisher = redisRegions({ url: own.url })
  await publisher.persist(snapshot(region, 1, 'A'), noSignal)
  const told = new Promise<void>((resolve) => void publisher.onReconnect(resolve))
  await own.restart({ empty: true })
  await told
  expect((await publisher.standing([region])).size).toBe(0)
  expect(await publisher.persist(snapshot(region, 1, 'A'), noSignal)).toMatchObject({
    status: 'persisted',
    wasEmpty: true,
  })
})

check('replicas: fewer than wanted is an error that may pass; with them the retry is replayed', async () => {
  if (typeof binary === 'string') return
  await using publisher = redisRegions({ url: server.url, replicas: 1, attemptMs: 400 })
  const error = await failed(publisher)
  expect(error).toMatchObject({ name: 'RetryableError', code: 'NOT_REPLICATED' })
  expect(error.message).toContain('of 1 replicas 0 had it within 100 ms')
  await using replica = await startRedis(binary, { args: ['--replicaof', '127.0.0.1', String(server.port)] })
  const { delivery, failures } = await delivered(publisher, snapshot(region, 1, 'A'))
  expect(delivery.status).toBe('replayed')
  expect(new Set(failures).size).toBeLessThanOrEqual(1)
  const copy = await replica.client()
  expect(await copy.hget(latest, 'id')).toBe('1-"A"')
  expect(await copy.xlen(events)).toBe(1)
  // a connection that has written nothing yet waits as well: what it finds there may be on no replica
  replica.freeze()
  expect(await failed(publisher, snapshot(region, 2, 'B'))).toMatchObject({ code: 'NOT_REPLICATED' })
  await using another = redisRegions({ url: server.url, replicas: 1, attemptMs: 400 })
  expect(await failed(another, snapshot(region, 2, 'B'))).toMatchObject({ code: 'NOT_REPLICATED' })
  replica.thaw()
  expect((await delivered(another, snapshot(region, 2, 'B'))).delivery.status).toBe('replayed')
  expect(await copy.xlen(events)).toBe(2)
})

check('I16: closing leaves nothing, whatever is under way, and it can be used again', async () => {
  const handles = handlesBefore()
  const publisher = redisRegions({ url: led, attemptMs: 60_000 })
  await publisher.persist(snapshot(region, 1, 'A'), noSignal)
  // watched by nobody; waiting for an answer; waiting for a connection
  publisher.watch([region], { signal: noSignal })
  await proxy.pause('down')
  const unanswered = failed(publisher, snapshot(region, 2, 'B'))
  const dead = redisRegions({ url: 'redis://127.0.0.1:1', attemptMs: 60_000 })
  const waiting = failed(dead)
  await new Promise((resolve) => setImmediate(resolve))
  await Promise.all([publisher.close(), dead.close()])
  expect((await unanswered).name).toBe('RetryableError')
  expect((await waiting).name).toBe('RetryableError')
  await proxy.resume('down')
  expect(await handles.left()).toEqual({})
  expect(publisher.isConnected).toBe(false)
  expect((await publisher.persist(snapshot(region, 3, 'C'), noSignal)).status).toBe('persisted')
  expect(publisher.isConnected).toBe(true)
  await Promise.all([publisher.close(), publisher.close()])
})

check('the number of a run is above every one before, whoever asks', async () => {
  await using a = redisRegions({ url: server.url })
  await using b = redisRegions({ url: server.url })
  const numbers = [await a.nextRun(), await b.nextRun(), ...(await Promise.all([a.nextRun(), a.nextRun()]))]
  expect(numbers).toEqual([1, 2, 3, 4])
  expect(await client.pttl('tailrace:v1:runs')).toBe(-1)
})
