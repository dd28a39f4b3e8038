/**
 * Where Redis is: a server, a Cluster or what Sentinels call master; and clients for it. A client lives as long as its
 * connection: `connection.ts` makes a new one after a loss, so that nothing of the old one is ever sent again. What
 * ioredis would do by itself to that end (queues, resending, retries) is off: a command that was given up must not run
 * later (H51), and none may wait for ever.
 */
import { Cluster, Redis, type NatMap, type RedisOptions } from 'ioredis'
import { ConfigurationError } from '../errors.ts'
import { masterOf, type ClientOptions, type Sentinel } from './sentinels.ts'

export type Client = Redis | Cluster

export interface RedisAddress {
  /** `redis://user:password@host:port/db`, or `rediss://` for TLS. */
  readonly url?: string | undefined
  /** Some of the nodes; the others are found. `natMap`: for nodes that call themselves by names unknown here. */
  readonly cluster?: { readonly nodes: readonly string[]; readonly natMap?: NatMap | undefined } | undefined
  /** Sentinels that know the master called `name`. */
  readonly sentinels?: readonly Sentinel[] | undefined
  readonly name?: string | undefined
  /** More options of ioredis, for each connection: `tls`, `username`, `sentinelPassword`, `family`, … */
  readonly redis?: RedisOptions | undefined
}

export interface Target {
  /** Without a password, for messages. */
  readonly address: string
  readonly isCluster: boolean
  /** Not connected yet, without listeners. What had to be asked for it is over. */
  make(): Promise<Client>
}

/** A Sentinel or a node that does not answer must not use the whole attempt up: there are others. */
const otherNodeMs = 1_000

/** @throws ConfigurationError `INVALID_OPTIONS` */
export function redisTarget(options: RedisAddress, attemptMs: number): Target {
  const { url, cluster, sentinels, name } = options
  const given = [url, cluster, sentinels].filter((one) => one !== undefined)
  if (given.length !== 1) {
    throw invalid(
      `Of url, cluster and sentinels ${given.length === 0 ? 'none was' : 'several were'} given. Give one of them, e.g. url: 'redis://localhost:6379'`,
    )
  }
  if (cluster !== undefined) return clusterTarget(cluster, options.redis, attemptMs)
  if (sentinels !== undefined) return sentinelTarget(sentinels, name, options.redis, attemptMs)
  const server = parseUrl(url!)
  const { host, port, db } = server
  return {
    address: `${hostAndPort(host, port)}${db === undefined ? '' : `/${db}`}`,
    isCluster: false,
    make: () => Promise.resolve(new Redis({ ...server, ...common(options.redis, attemptMs, server.tls) })),
  }
}

function sentinelTarget(
  sentinels: readonly Sentinel[],
  name: string | undefined,
  more: RedisOptions | undefined,
  attemptMs: number,
): Target {
  if (sentinels.length === 0) throw invalid('The list of sentinels is empty. Give at least one')
  if (name === undefined || name === '') {
    throw invalid('The Sentinels were given without the name of their master. Give name, as in sentinel.conf')
  }
  const { sentinelUsername, sentinelPassword, sentinelTLS, ...own } = more ?? {}
  const asking = {
    ...common(undefined, Math.min(attemptMs, otherNodeMs), sentinelTLS),
    ...(sentinelUsername === undefined ? {} : { username: sentinelUsername }),
    ...(sentinelPassword === undefined ? {} : { password: sentinelPassword }),
  }
  return {
    address: `${sentinels.map(({ host, port }) => hostAndPort(host, port)).join(',')} (${name})`,
    isCluster: false,
    make: async () => {
      const { host, port } = await masterOf(sentinels, name, asking, own.natMap)
      return new Redis({ ...common(own, attemptMs, undefined), host, port })
    },
  }
}

function clusterTarget(
  { nodes, natMap }: NonNullable<RedisAddress['cluster']>,
  more: RedisOptions | undefined,
  attemptMs: number,
): Target {
  if (nodes.length === 0) throw invalid('The list of cluster nodes is empty. Give at least one')
  const servers = nodes.map((node) => parseUrl(node.includes('://') ? node : `redis://${node}`))
  if (servers.some(({ db }) => db !== undefined && db !== 0)) {
    throw invalid('A Redis Cluster has no databases but 0. Leave the number out of the URLs of its nodes')
  }
  const { host: _host, port: _port, db: _db, tls, ...user } = servers[0]!
  return {
    address: `the cluster of ${servers.map(({ host, port }) => hostAndPort(host, port)).join(',')}`,
    isCluster: true,
    make: () =>
      Promise.resolve(
        new Cluster(
          servers.map(({ host, port }) => ({ host, port })),
          {
            lazyConnect: true,
            redisOptions: { ...user, ...common(more, attemptMs, tls) },
            ...(natMap === undefined ? {} : { natMap }),
            // a node that is frozen must not decide whether the others serve
            enableReadyCheck: false,
            slotsRefreshTimeout: Math.min(attemptMs, otherNodeMs),
            clusterRetryStrategy: () => null,
            maxRedirections: 4,
            retryDelayOnFailover: 0,
            retryDelayOnClusterDown: 0,
          },
        ),
      ),
  }
}

/** For every connection. What follows `more` is not the user's to change. */
function common(more: RedisOptions | undefined, attemptMs: number, tls: object | undefined): ClientOptions {
  return {
    connectTimeout: attemptMs,
    ...(tls === undefined ? {} : { tls }),
    ...more,
    keyPrefix: '',
    lazyConnect: true,
    // nothing is asked before the first command, so a cold process delivers in two round trips (one more with a password)
    protocol: 2,
    replyMapping: 'legacy',
    enableReadyCheck: false,
    disableClientInfo: true,
    enableOfflineQueue: false,
    enableAutoPipelining: false,
    retryStrategy: null,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 1,
    // a connection on which nothing comes back is given up: its server may be gone without a word
    socketTimeout: attemptMs,
    disconnectTimeout: 100,
    // a master that became a replica: ask again who is
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
  }
}

interface Server {
  readonly host: string
  readonly port: number
  readonly username?: string
  readonly password?: string
  readonly db?: number
  readonly tls?: object
}

/** @throws ConfigurationError that does not repeat the URL: a password may be in it */
function parseUrl(text: string): Server {
  const example = "'redis://user:password@host:6379/0', or rediss:// for TLS"
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || url.hostname === '' || !['redis:', 'rediss:'].includes(url.protocol)) {
    throw invalid(`The URL of Redis cannot be read. Give one like ${example}`)
  }
  const path = url.pathname.replace(/^\//, '')
  if (!/^\d*$/.test(path)) {
    throw invalid(
      `The URL of Redis names the database '${path}', which is no number. Give one like ${example}`,
    )
  }
  try {
    return {
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port === '' ? 6379 : Number(url.port),
      ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
      ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
      ...(path === '' ? {} : { db: Number(path) }),
      ...(url.protocol === 'rediss:' ? { tls: {} } : {}),
    }
  } catch {
    throw invalid(
      'User or password in the URL of Redis are not encoded right. Write % as %25, @ as %40, / as %2F',
    )
  }
}

function hostAndPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function invalid(message: string): ConfigurationError {
  return new ConfigurationError('INVALID_OPTIONS', `${message}.`, { phase: 'options' })
}
