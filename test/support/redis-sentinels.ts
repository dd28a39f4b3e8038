/**
 * A master, its replica and three Sentinels of one's own, on 127.0.0.1. They know each other from the start (their
 * settings say so): to find each other by themselves takes seconds.
 */
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  disposeAll,
  freePort,
  startAll,
  startRedis,
  startServer,
  until,
  type RedisBinary,
  type RedisServer,
} from './redis.ts'

export interface RedisSentinels extends AsyncDisposable {
  /** For a client's options, with `name`. */
  readonly sentinels: readonly { readonly host: string; readonly port: number }[]
  readonly name: string
  /** As they were at the start. */
  readonly master: RedisServer
  readonly replica: RedisServer
  /** The processes behind `sentinels`, in their order. */
  readonly sentinelServers: readonly RedisServer[]
  /** Whom the first Sentinel that runs calls master. After a loss this changes in two to four seconds. */
  masterNow(): Promise<RedisServer>
  /** Makes the replica master without a loss, and waits until every Sentinel that runs agrees. */
  failover(): Promise<void>
}

const name = 'tailrace'
const downAfterMs = 1_000
/** Before the next may be tried, this passes twice. */
const failoverTimeoutMs = 2_000

/** Starts all and waits until the replica has its copy and the Sentinels see each other and both servers. */
export async function startSentinels(
  binary: RedisBinary,
  options: { readonly args?: readonly string[] | undefined } = {},
): Promise<RedisSentinels> {
  const held: RedisServer[] = []
  try {
    // else the replica would wait for others that might want a copy, too
    const args = ['--repl-diskless-sync-delay', '0', ...(options.args ?? [])]
    const master = await startRedis(binary, { args })
    held.push(master)
    const replicaOf = ['--replicaof', master.host, String(master.port)]
    const replica = await startRedis(binary, { args: [...args, ...replicaOf] })
    held.push(replica)
    const looking = await replica.client()
    await until('the replica has its copy', async () =>
      (await looking.info('replication')).includes('master_link_status:up'),
    )
    const sentinelServers = await startThree(binary, master, replica)
    held.push(...sentinelServers)
    await Promise.all(sentinelServers.map(isReady))
    return {
      sentinels: sentinelServers.map(({ host, port }) => ({ host, port })),
      name,
      master,
      replica,
      sentinelServers,
      masterNow: () => masterNow(sentinelServers, [master, replica]),
      failover: () => failover(sentinelServers, [master, replica]),
      [Symbol.asyncDispose]: () => disposeAll(held),
    }
  } catch (error) {
    await disposeAll(held)
    throw error
  }
}

async function startThree(
  binary: RedisBinary,
  master: RedisServer,
  replica: RedisServer,
): Promise<RedisServer[]> {
  const ports = new Set<number>()
  while (ports.size < 3) ports.add(await freePort())
  const peers = [...ports].map((port) => ({ port, id: randomBytes(20).toString('hex') }))
  return startAll(
    peers.map((self) =>
      startServer(binary, self.port, async (folder) => {
        const file = join(folder, 'sentinel.conf')
        const known = peers.filter((peer) => peer !== self)
        await writeFile(
          file,
          `sentinel myid ${self.id}
sentinel monitor ${name} 127.0.0.1 ${master.port} 2
sentinel down-after-milliseconds ${name} ${downAfterMs}
sentinel failover-timeout ${name} ${failoverTimeoutMs}
sentinel known-replica ${name} 127.0.0.1 ${replica.port}
${known.map(({ port, id }) => `sentinel known-sentinel ${name} 127.0.0.1 ${port} ${id}\n`).join('')}`,
        )
        return [file, '--sentinel']
      }),
    ),
  )
}

/** It could lead a failover at once. */
async function isReady(sentinel: RedisServer): Promise<void> {
  const client = await sentinel.client()
  await until('a Sentinel sees all others', async () => {
    const quorum = client.call('SENTINEL', 'CKQUORUM', name)
    const isOk = await quorum.then(
      (said) => String(said).startsWith('OK 3'),
      () => false,
    )
    const replicas = (await client.call('SENTINEL', 'REPLICAS', name)) as readonly unknown[]
    return isOk && replicas.length === 1 && JSON.stringify(replicas).includes('"master-link-status","ok"')
  })
}

async function masterSeenBy(sentinel: RedisServer): Promise<number> {
  const client = await sentinel.client()
  const [, port] = (await client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)) as readonly string[]
  return Number(port)
}

async function masterNow(
  sentinels: readonly RedisServer[],
  servers: readonly RedisServer[],
): Promise<RedisServer> {
  const asked = sentinels.find((sentinel) => sentinel.isRunning)
  if (asked === undefined) throw new Error('no Sentinel runs')
  const port = await masterSeenBy(asked)
  return servers.find((server) => server.port === port)!
}

async function failover(sentinels: readonly RedisServer[], servers: readonly RedisServer[]): Promise<void> {
  const running = sentinels.filter((sentinel) => sentinel.isRunning)
  const before = await masterNow(running, servers)
  const next = servers.find((server) => server !== before)!
  await (await running[0]!.client()).call('SENTINEL', 'FAILOVER', name)
  await until('every Sentinel has the new master', async () => {
    const seen = await Promise.all(running.map(masterSeenBy))
    return seen.every((port) => port === next.port)
  })
}
