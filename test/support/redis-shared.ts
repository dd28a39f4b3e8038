/**
 * One Redis for the whole run (test/support/global-setup.ts), for tests that need no server of their own. It is
 * started when the first of them asks. Each keeps to keys with a prefix of its own.
 */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { inject } from 'vitest'
import { findRedis, startRedis, type RedisServer } from './redis.ts'

/** Where it is. */
export interface SharedRedis {
  readonly host: '127.0.0.1'
  readonly port: number
  readonly url: string
}

/** @returns a reason, where there is none */
export async function sharedRedis(): Promise<SharedRedis | string> {
  return JSON.parse(await text(connect(inject('redisPort'), '127.0.0.1'))) as SharedRedis | string
}

export interface SharedRedisOffer extends AsyncDisposable {
  /** Who connects to it on 127.0.0.1 is told in JSON what `sharedRedis` returns. */
  readonly port: number
}

/** For the process that outlives the tests. */
export async function offerSharedRedis(): Promise<SharedRedisOffer> {
  let starting: Promise<RedisServer | string> | undefined
  const start = async () => {
    const binary = await findRedis()
    return typeof binary === 'string' ? binary : startRedis(binary)
  }
  const server = createServer((socket) => {
    socket.on('error', () => undefined).resume()
    void (starting ??= start().catch((error: unknown) => String(error))).then((redis) => {
      const told = typeof redis === 'string' ? redis : { host: redis.host, port: redis.port, url: redis.url }
      socket.end(JSON.stringify(told satisfies SharedRedis | string))
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close()
      const redis = await starting
      if (typeof redis === 'object') await redis[Symbol.asyncDispose]()
    },
  }
}
