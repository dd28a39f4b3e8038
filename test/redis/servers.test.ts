/** What the tests of Redis stand on: servers that start, fail over and go away, and the proxy before them. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { Cluster, Redis } from 'ioredis'
import { beforeAll, expect, test, vi, type TestContext } from 'vitest'
import { startCluster } from '../support/redis-cluster.ts'
import { startSentinels } from '../support/redis-sentinels.ts'
import { sharedRedis } from '../support/redis-shared.ts'
import { findRedis, startRedis, type RedisBinary, type RedisServer } from '../support/redis.ts'
import { startTcpProxy, type ProxyAction, type TcpProxy } from '../support/tcp-proxy.ts'

let found: RedisBinary | string

beforeAll(async () => {
  found = await findRedis()
}, 150_000)

function needed({ skip }: TestContext): RedisBinary {
  if (typeof found === 'string') skip(found)
  return found as RedisBinary
}

const soon = { timeout: 10_000, interval: 10 }

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** To be called while they run; what it returns tells what has been left of them. */
function remains(servers: readonly RedisServer[]): () => readonly (string | number)[] {
  const held = servers.map(({ pid = 0, folder }) => ({ pid, folder }))
  expect(held.every(({ pid, folder }) => isThere(pid) && existsSync(folder))).toBe(true)
  return () => [
    ...held.flatMap(({ pid }) => (isThere(pid) ? [pid] : [])),
    ...held.flatMap(({ folder }) => (existsSync(folder) ? [folder] : [])),
  ]
}

/** Errors or not: `once` would reject at the first. */
function closed(connection: Redis | Socket): Promise<void> {
  return new Promise((resolve) => connection.once('close', () => resolve()))
}

/** Without second tries. */
function clientOf(port: number): Redis {
  const client = new Redis({
    port,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
  })
  return client.on('error', () => undefined)
}

test('a server keeps what it holds over a restart, loses it in a crash, and leaves nothing', async (context) => {
  const server = await startRedis(needed(context))
  const client = await server.client()
  await client.set('key', 'value')
  await server.restart()
  expect(await client.get('key')).toBe('value')
  await server.kill()
  expect(server.isRunning).toBe(false)
  await server.restart()
  expect(await client.get('key')).toBeNull()
  await client.set('key', 'value')
  await server.restart({ empty: true })
  expect(await client.dbsize()).toBe(0)
  const left = remains([server])
  await server[Symbol.asyncDispose]()
  expect(left()).toEqual([])
})

test('one that appends to a file keeps what it holds over a crash', async (context) => {
  await using server = await startRedis(needed(context), { args: ['--appendonly', 'yes'] })
  const client = await server.client()
  await client.set('key', 'value')
  await server.kill()
  await server.restart()
  expect(await client.get('key')).toBe('value')
  await server.restart({ empty: true })
  expect(await client.get('key')).toBeNull()
})

test('a frozen server answers when it is thawed', async (context) => {
  await using server = await startRedis(needed(context))
  const client = await server.client()
  server.freeze()
  const silent = clientOf(server.port)
  const said: string[] = []
  const answer = client.ping().then(() => said.push('pong'))
  // the system takes the connection for it
  await once(silent, 'connect')
  expect(said).toEqual([])
  server.thaw()
  await answer
  expect(said).toEqual(['pong'])
  silent.disconnect()
})

test('a server that does not start says why and leaves nothing', async (context) => {
  const binary = needed(context)
  await using server = await startRedis(binary)
  await expect(startRedis(binary, { port: server.port })).rejects.toThrow('Address already in use')
  await expect(startRedis({ ...binary, file: 'no-such-program' })).rejects.toThrow('Redis has ended')
  expect(await (await server.client()).ping()).toBe('PONG')
})

test('one server is shared by all who ask', async (context) => {
  needed(context)
  const [first, second] = await Promise.all([sharedRedis(), sharedRedis()])
  expect(first).toEqual(second)
  if (typeof first === 'string') throw new Error(first)
  const client = clientOf(first.port)
  expect(await client.ping()).toBe('PONG')
  client.disconnect()
})

test.concurrent('a server goes with the process that started it', async (context) => {
  needed(context)
  const holder = fork(join(import.meta.dirname, 'holder-process.ts'), { execArgv: ['--import', 'tsx'] })
  const [{ pid, folder }] = (await once(holder, 'message')) as [{ pid: number; folder: string }]
  expect(isThere(pid)).toBe(true)
  holder.kill('SIGKILL')
  await vi.waitUntil(() => !isThere(pid) && !existsSync(folder), soon)
})

test.concurrent('a cluster promotes the replica of a master that is lost', async (context) => {
  const cluster = await startCluster(needed(context), { replicasEach: 1 })
  try {
    expect(cluster.servers).toHaveLength(6)
    const keys = Array.from({ length: 32 }, (_, index) => `key ${index}`)
    const masters = await Promise.all(keys.map((key) => cluster.masterOf(key)))
    expect(new Set(masters)).toEqual(new Set(cluster.servers.slice(0, 3)))
    const client = new Cluster(cluster.servers.map(({ host, port }) => ({ host, port })))
    client.on('error', () => undefined)
    await client.set('key', 'before')
    expect(await client.wait(1, 5_000)).toBe(1)
    const lost = await cluster.masterOf('key')
    const left = remains(cluster.servers)
    await lost.kill()
    const next = await vi.waitUntil(async () => {
      const master = await cluster.masterOf('key')
      return master === lost ? undefined : master
    }, soon)
    expect(cluster.servers.indexOf(next)).toBe(cluster.servers.indexOf(lost) + 3)
    expect(await client.get('key')).toBe('before')
    await client.set('key', 'after')
    expect(await (await next.client()).get('key')).toBe('after')
    client.disconnect()
    await cluster[Symbol.asyncDispose]()
    expect(left()).toEqual([])
  } finally {
    await cluster[Symbol.asyncDispose]()
  }
})

test.concurrent('Sentinels promote the replica of a master that is lost', async (context) => {
  const watched = await startSentinels(needed(context))
  try {
    const { sentinels, name, master, replica, sentinelServers } = watched
    expect(await watched.masterNow()).toBe(master)
    const client = new Redis({ sentinels: [...sentinels], name })
    client.on('error', () => undefined)
    await client.set('key', 'before')
    expect(await client.wait(1, 5_000)).toBe(1)
    const left = remains([master, replica, ...sentinelServers])
    await master.kill()
    await vi.waitUntil(async () => (await watched.masterNow()) === replica, soon)
    expect(await client.get('key')).toBe('before')
    expect(await client.role()).toContain('master')
    client.disconnect()
    await watched[Symbol.asyncDispose]()
    expect(left()).toEqual([])
  } finally {
    await watched[Symbol.asyncDispose]()
  }
})

test.concurrent('Sentinels change the master when they are asked to', async (context) => {
  await using watched = await startSentinels(needed(context))
  await watched.failover()
  expect(await watched.masterNow()).toBe(watched.replica)
  expect(await (await watched.replica.client()).role()).toContain('master')
})

test('the proxy delays each way and counts flights', async (context) => {
  await using server = await startRedis(needed(context))
  await using proxy = await startTcpProxy({ target: server, delayMs: { up: 50, down: 50 } })
  const client = clientOf(proxy.port)
  await once(client, 'ready')
  const before = await proxy.counts()
  const tookMs: number[] = []
  for (let index = 0; index < 3; index++) {
    const started = performance.now()
    await client.set('key', index)
    tookMs.push(performance.now() - started)
  }
  // the fastest: the machine may be busy
  expect(Math.min(...tookMs)).toBeGreaterThanOrEqual(100)
  expect(Math.min(...tookMs)).toBeLessThan(110)
  const between = await proxy.counts()
  expect(between.flights - before.flights).toBe(3)
  expect(between.writes - before.writes).toBe(3)
  await Promise.all(Array.from({ length: 8 }, (_, index) => client.set('key', index)))
  const after = await proxy.counts()
  expect(after.flights - between.flights).toBe(1)
  expect(after.bytes).toBeGreaterThan(between.bytes)
  expect(after.connections).toBe(1)
  client.disconnect()
})

/** One command through the proxy, whose key is the pattern going up, or whose answer is, going down. */
async function whenSeen(proxy: TcpProxy, server: RedisServer, action: ProxyAction, direction: 'up' | 'down') {
  const pattern = `${action} ${direction}`
  const client = clientOf(proxy.port)
  await once(client, 'ready')
  const key = `key of ${pattern}`
  const watch = await proxy.watch({ pattern, action, direction })
  const outcome = client.set(key, pattern, 'GET').then(
    async () => client.get(key),
    () => 'rejected' as const,
  )
  if (direction === 'down') void client.echo(pattern).catch(() => undefined)
  await watch.seen
  const looking = await server.client()
  const stored = await looking.get(key)
  return { client, watch, outcome, stored, looking, key }
}

test('the proxy acts when a pattern passes', async (context) => {
  await using server = await startRedis(needed(context))
  await using proxy = await startTcpProxy({ target: server })

  const passed = await whenSeen(proxy, server, 'pass', 'up')
  expect(await passed.outcome).toBe('pass up')
  passed.client.disconnect()

  const killed = await whenSeen(proxy, server, 'kill', 'up')
  expect(await killed.outcome).toBe('rejected')
  expect(killed.stored).toBeNull()

  const unanswered = await whenSeen(proxy, server, 'kill-answer', 'up')
  expect(await unanswered.outcome).toBe('rejected')
  expect(await unanswered.looking.get(unanswered.key)).toBe('kill-answer up')

  const dropped = await whenSeen(proxy, server, 'drop', 'up')
  await vi.waitUntil(async () => (await dropped.looking.get(dropped.key)) !== null, soon)
  const [fate] = await Promise.all([
    dropped.outcome,
    // open still: only the end of the connection tells the client
    closed(dropped.client),
    proxy.kill(),
  ])
  expect(fate).toBe('rejected')

  const held = await whenSeen(proxy, server, 'hang', 'up')
  expect(held.stored).toBeNull()
  await held.watch.release()
  expect(await held.outcome).toBe('hang up')
  held.client.disconnect()

  const heldBack = await whenSeen(proxy, server, 'hang', 'down')
  expect(heldBack.stored).toBe('hang down')
  await heldBack.watch.release()
  expect(await heldBack.outcome).toBe('hang down')
  heldBack.client.disconnect()
})

test('the proxy knows a pattern in pieces, once or every time', async (context) => {
  await using server = await startRedis(needed(context))
  await using proxy = await startTcpProxy({ target: server })
  const every = await proxy.watch({ pattern: 'PONG', action: 'kill', isRepeated: true })
  for (let round = 0; round < 2; round++) {
    const socket = connect(proxy.port, '127.0.0.1').on('error', () => undefined)
    socket.write('PING\r\n')
    await closed(socket)
  }
  await every.seen
  await every.release()

  const { writes } = await proxy.counts()
  const watch = await proxy.watch({ pattern: 'a pattern', action: 'kill', direction: 'up' })
  const socket = connect(proxy.port, '127.0.0.1').on('error', () => undefined)
  const isClosed = closed(socket)
  for (const [index, piece] of ['ECHO "a', ' pat', 'tern"\r\n'].entries()) {
    socket.write(piece)
    await vi.waitUntil(async () => (await proxy.counts()).writes === writes + index + 1, soon)
  }
  await watch.seen
  await isClosed

  const other = clientOf(proxy.port)
  expect(await other.echo('a pattern')).toBe('a pattern')
  other.disconnect()
})
