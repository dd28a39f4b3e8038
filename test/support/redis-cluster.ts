/**
 * A Redis Cluster of one's own, on 127.0.0.1. Put together by hand: `redis-cli --cluster create` sleeps for seconds
 * between its steps. What remains are two seconds in which a new master refuses to serve.
 */
import {
  disposeAll,
  freePort,
  startAll,
  startRedis,
  until,
  type RedisBinary,
  type RedisServer,
} from './redis.ts'

export interface RedisClusterOptions {
  /** Default 3. */
  readonly masters?: number | undefined
  /** With one, the loss of a master promotes it, after about two seconds and a half. Default 0. */
  readonly replicasEach?: 0 | 1 | undefined
  /** For every node. */
  readonly args?: readonly string[] | undefined
}

export interface RedisCluster extends AsyncDisposable {
  readonly urls: readonly string[]
  /** Masters first, as they were at the start, each one's replica as far behind them. */
  readonly servers: readonly RedisServer[]
  /** Whose slot the key is in, as the first node sees it that runs: after a loss this changes once they agree. */
  masterOf(key: string): Promise<RedisServer>
}

const slots = 16_384
/** After which a node is missed. Less, and a busy machine loses nodes that are there. */
const nodeTimeoutMs = 1_500

/** Starts it and waits until every node serves, knows all others and has its copy. */
export async function startCluster(
  binary: RedisBinary,
  options: RedisClusterOptions = {},
): Promise<RedisCluster> {
  const masters = options.masters ?? 3
  const nodes = masters * (1 + (options.replicasEach ?? 0))
  const args = [
    '--cluster-enabled',
    'yes',
    '--cluster-node-timeout',
    String(nodeTimeoutMs),
    '--cluster-replica-validity-factor',
    '0',
    '--repl-diskless-sync-delay',
    '0',
    // an empty replica is not listed before its master's first ping
    '--repl-ping-replica-period',
    '1',
    ...(options.args ?? []),
  ]
  const ports = await freePorts(nodes)
  const servers = await startAll(ports.map((port) => startRedis(binary, { port, args })))
  try {
    await join(servers, masters)
  } catch (error) {
    await disposeAll(servers)
    throw error
  }
  return {
    urls: servers.map(({ url }) => url),
    servers,
    masterOf: (key) => masterOf(servers, key),
    [Symbol.asyncDispose]: () => disposeAll(servers),
  }
}

async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) ports.add(await freePort())
  return [...ports]
}

async function join(servers: readonly RedisServer[], masters: number): Promise<void> {
  const clients = await Promise.all(servers.map((server) => server.client()))
  await Promise.all(
    clients.map(async (client, index) => {
      await client.cluster('SET-CONFIG-EPOCH', index + 1)
      if (index < masters) await client.cluster('ADDSLOTS', ...slotsOf(index, masters))
      // each to each: hearsay takes longer
      for (const { host, port } of servers.slice(0, index)) await client.cluster('MEET', host, port)
    }),
  )
  const ids = await Promise.all(clients.slice(0, masters).map((client) => client.cluster('MYID')))
  await Promise.all(
    clients.slice(masters).map(async (client, index) => {
      const master = ids[index % masters] as string
      await until('a replica knows its master', async () => {
        const known = String(await client.cluster('NODES'))
        return known.includes(`${master} 127.0.0.1`)
      })
      await client.cluster('REPLICATE', master)
    }),
  )
  await Promise.all(
    clients.map((client, index) =>
      until('every node of the cluster serves', async () => {
        const state = await client.cluster('INFO')
        if (!state.includes('cluster_state:ok') || !state.includes(`cluster_slots_ok:${slots}`)) return false
        const ranges = await client.cluster('SLOTS')
        const seen = ranges.reduce((sum, [, , ...holders]) => sum + holders.length, 0)
        if (seen < servers.length) return false
        return index < masters || (await client.info('replication')).includes('master_link_status:up')
      }),
    ),
  )
}

function slotsOf(index: number, masters: number): number[] {
  const [from, to] = [index, index + 1].map((border) => Math.floor((slots * border) / masters))
  return Array.from({ length: to! - from! }, (_, offset) => from! + offset)
}

async function masterOf(servers: readonly RedisServer[], key: string): Promise<RedisServer> {
  const asked = servers.find((server) => server.isRunning)
  if (asked === undefined) throw new Error('no node of the cluster runs')
  const client = await asked.client()
  const slot = await client.cluster('KEYSLOT', key)
  const ranges = await client.cluster('SLOTS')
  // the master stands before its replicas
  const [, , holder] = ranges.find(([first, last]) => first <= slot && slot <= last) ?? []
  const server = servers.find(({ port }) => port === holder?.[1])
  if (server === undefined) throw new Error(`no node has slot ${slot}`)
  return server
}
