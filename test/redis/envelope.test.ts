/** Bodies, names and options, as far as no server is needed to see what is wrong with them. */
import { expect, test } from 'vitest'
import { ConfigurationError, FatalError, RetryableError, type TailraceError } from '../../src/errors.ts'
import { contentHash, serialise } from '../../src/publish/envelope.ts'
import { regionKeys } from '../../src/publish/keys.ts'
import { redisFailure } from '../../src/publish/failures.ts'
import { memoryRegions } from '../../src/publish/memory.ts'
import { redisRegions, type RedisRegionsOptions } from '../../src/publish/redis.ts'
import { noSignal, snapshot } from './snapshots.ts'

test('a body becomes JSON: bigints, bytes and dates have a form of their own', () => {
  const body = {
    total: 2n ** 70n,
    hash: new Uint8Array([1, 254]),
    raw: Buffer.from('ab'),
    at: new Date(0),
    none: undefined,
    list: [null, true, { deep: -1n }],
    own: { toJSON: () => ({ big: 1n }) },
  }
  expect(JSON.parse(serialise(body))).toEqual({
    total: '1180591620717411303424',
    hash: '0x01fe',
    raw: '0x6162',
    at: '1970-01-01T00:00:00.000Z',
    list: [null, true, { deep: '-1' }],
    own: { big: '1' },
  })
  const shared = { a: 1 }
  expect(serialise([shared, shared])).toBe('[{"a":1},{"a":1}]')
  expect(serialise(JSON.parse('{"__proto__":{"a":1}}'))).toBe('{"__proto__":{"a":1}}')
})

test('what JSON has no word for is refused, and it is said where it is', () => {
  const circle: Record<string, unknown> = {}
  circle['self'] = { again: [circle] }
  const cases: readonly [unknown, string][] = [
    [undefined, 'The body itself is undefined'],
    [() => 1, 'The body itself is a function'],
    [{ rows: [1, { by: new Map() }] }, "The body's rows[1].by is a Map"],
    [{ seen: new Set() }, "The body's seen is a Set"],
    [[Symbol('s')], "The body's [0] is a symbol"],
    [{ ratio: 0 / 0 }, "The body's ratio is NaN"],
    [{ at: new Date(NaN) }, "The body's at is an invalid Date"],
    [[1, undefined], "The body's [1] is undefined"],
    [circle, "The body's self.again[0] is an object that holds it"],
  ]
  for (const [body, message] of cases) {
    expect(() => serialise(body)).toThrow(ConfigurationError)
    expect(() => serialise(body)).toThrow(message)
  }
})

test('content is compared without the order of keys, and by what the user says counts', () => {
  expect(contentHash('{"a":1,"b":[1,2]}')).toBe(contentHash('{"b":[1,2],"a":1}'))
  expect(contentHash('{"a":1,"b":[2,1]}')).not.toBe(contentHash('{"a":1,"b":[1,2]}'))
  expect(contentHash('{"a":"1"}')).not.toBe(contentHash('{"a":1}'))
  const rows = (body: unknown) => (body as { rows: unknown }).rows
  expect(contentHash('{"rows":[1],"at":1}', rows)).toBe(contentHash('{"rows":[1],"at":2}', rows))
  expect(() => contentHash('{"at":1}', rows)).toThrow('The body itself is undefined')
})

test('H60: names of keys share a tag, and names that would break it are refused', async () => {
  expect(regionKeys('p', 'mena')).toEqual({
    latest: 'p:v1:{mena}:latest',
    index: 'p:v1:{mena}:index',
    bodies: 'p:v1:{mena}:bodies',
    events: 'p:v1:{mena}:events',
  })
  const publisher = memoryRegions()
  for (const region of ['', 'a{b', 'a}b', 'a\nb', 'x'.repeat(129), 'ä'.repeat(65), '\ud800']) {
    await expect(publisher.persist(snapshot(region, 1, 'A'), noSignal)).rejects.toMatchObject({
      name: 'ConfigurationError',
      code: 'INVALID_REGION',
    })
  }
  expect(await publisher.persist(snapshot('ost asien/日本', 1, 'A'), noSignal)).toMatchObject({ bytes: 3 })
})

test('a stamp, an id or a hash that cannot be is refused before anything is sent', async () => {
  const publisher = redisRegions({ url: 'redis://127.0.0.1:1' })
  const sound = snapshot('mena', 1, 'A')
  for (const wrong of [
    { id: '' },
    { hash: '' },
    { body: null },
    { stamp: { ...sound.stamp, commit: 1.5 } },
    { stamp: { ...sound.stamp, epoch: -1 } },
    { stamp: { ...sound.stamp, ordinal: 2 ** 60 } },
  ]) {
    await expect(publisher.persist({ ...sound, ...wrong }, noSignal)).rejects.toMatchObject({
      code: 'INVALID_SNAPSHOT',
    })
  }
})

test('options are validated before anything is connected, and it is said what to do', () => {
  const url = 'redis://localhost'
  const cases: readonly [object, RegExp][] = [
    [{}, /none was given\. Give one of them/],
    [{ url, cluster: { nodes: [url] } }, /several were given/],
    [{ url: 'localhost:6379' }, /cannot be read\. Give one like/],
    [{ url: 'http://localhost' }, /cannot be read/],
    [{ url: 'redis://localhost/zero' }, /names the database 'zero'/],
    [{ url: 'redis://a:%@localhost' }, /not encoded right|cannot be read/],
    [{ cluster: { nodes: [] } }, /cluster nodes is empty/],
    [{ cluster: { nodes: ['localhost:7000', 'redis://localhost:7001/2'] } }, /no databases but 0/],
    [{ sentinels: [] }, /list of sentinels is empty/],
    [{ sentinels: [{ host: 'a', port: 1 }] }, /without the name of their master/],
    [{ url, prefix: '{x}' }, /contains a brace/],
    [{ url, history: { count: -1 } }, /history\.count must be a whole number from 0/],
    [{ url, history: { ageMs: 0.5 } }, /history\.ageMs/],
    [{ url, ttlMs: 0 }, /ttlMs/],
    [{ url, streamLength: 0 }, /streamLength/],
    [{ url, maxBytes: '5' }, /maxBytes/],
    [{ url, compress: 'zip' }, /compress must be 'gzip' or 'brotli'/],
    [{ url, schema: '1\n2' }, /schema must be/],
    [{ url, replicas: 0.5 }, /replicas/],
    [{ url, deliver: 'all' }, /deliver must be/],
    [{ url, attempts: 0 }, /attempts/],
    [{ url, attemptMs: Infinity }, /attemptMs/],
    [{ url, backoffMs: 100, maxBackoffMs: 10 }, /maxBackoffMs must be a whole number from 100/],
    [{ url, probeMs: NaN }, /probeMs/],
    [{ url, staleAfterMs: 0 }, /staleAfterMs/],
    [{ url, contentOf: 'rows' }, /contentOf must be a function/],
  ]
  for (const [options, message] of cases) {
    expect(() => redisRegions(options as RedisRegionsOptions)).toThrow(ConfigurationError)
    expect(() => redisRegions(options as RedisRegionsOptions)).toThrow(message)
  }
  const { settings, address } = redisRegions({ url: 'rediss://user:secret@[::1]:7000/3' })
  expect(address).toBe('[::1]:7000/3')
  expect(settings).toEqual({
    deliver: 'newest',
    attempts: 5,
    attemptMs: 5_000,
    backoffMs: 100,
    maxBackoffMs: 5_000,
    probeMs: 30_000,
    staleAfterMs: Infinity,
    contentOf: undefined,
  })
})

test('H53 H61: what Redis says is an error of the kind that helps, with region, address and advice', () => {
  const cases: readonly [string, new (...given: never[]) => TailraceError, string][] = [
    ['LOADING Redis is loading the dataset in memory', RetryableError, 'REDIS_BUSY'],
    ['CLUSTERDOWN The cluster is down', RetryableError, 'REDIS_BUSY'],
    ['TRYAGAIN Multiple keys request during rehashing of slot', RetryableError, 'REDIS_BUSY'],
    ['MASTERDOWN Link with MASTER is down', RetryableError, 'REDIS_BUSY'],
    ['BUSY Redis is busy running a script', RetryableError, 'REDIS_BUSY'],
    ['ERR max number of clients reached', RetryableError, 'REDIS_BUSY'],
    ['NOREPLICAS Not enough good replicas to write.', RetryableError, 'REDIS_NO_REPLICAS'],
    ['MISCONF Redis is configured to save RDB snapshots', RetryableError, 'REDIS_CANNOT_SAVE'],
    ["READONLY You can't write against a read only replica.", RetryableError, 'REDIS_READ_ONLY'],
    ["OOM command not allowed when used memory > 'maxmemory'.", RetryableError, 'REDIS_OUT_OF_MEMORY'],
    ['NOAUTH Authentication required.', ConfigurationError, 'REDIS_AUTHENTICATION'],
    ["CROSSSLOT Keys in request don't hash to the same slot", FatalError, 'REDIS_REFUSED'],
    ["ERR unknown command 'EVALSHA'", FatalError, 'REDIS_REFUSED'],
  ]
  for (const [said, kind, code] of cases) {
    const reply = Object.assign(new Error(said), {
      name: 'ReplyError',
      command: { name: 'auth', args: ['secret'] },
    })
    const error = redisFailure(reply, { address: 'host:6379', what: "deliver region 'mena'", keys: ['k'] })
    expect(error).toBeInstanceOf(kind)
    expect(error).toMatchObject({ code, cause: reply, phase: 'publish', key: 'k' })
    expect(error.message).toContain(`Cannot deliver region 'mena' in Redis at host:6379: `)
    expect(JSON.stringify(reply)).not.toContain('secret')
  }
})
