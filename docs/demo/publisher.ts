/**
 * Where the regions go: REDIS_URL; or a Redis or Valkey server of this machine, started for the demo; or nowhere but this
 * process, under the same rules.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { RegionPublisher } from 'tailrace'
import { memoryRegions, redisRegions } from 'tailrace/redis'
import { startRedis, type RedisBinary } from '../../test/support/redis.ts'
import { contentOf } from './desks.ts'

export interface Publishing extends AsyncDisposable {
  readonly publisher: RegionPublisher
  readonly description: string
  /** What is left behind, and where; `undefined`: nothing. */
  readonly remains: string | undefined
}

const prefix = 'tailrace-demo'
/** Long enough to look at, where it stays. */
const ttlMs = 3_600_000
const options = { prefix, contentOf, ttlMs }

export async function givenRedis(url: string): Promise<Publishing> {
  const publisher = redisRegions({ ...options, url })
  const { address } = publisher
  // a wrong address shall be told now, and not by eight regions in quarantine
  await publisher.connect().catch(async (error: unknown) => {
    await publisher.close()
    throw error
  })
  return {
    publisher,
    description: `Redis at ${address}`,
    remains: `The regions are in Redis at ${address}, keys ${prefix}:*, for an hour.`,
    [Symbol.asyncDispose]: () => publisher.close(),
  }
}

/** The server in PATH, on a free port and in a temporary folder; without one, no server at all. */
export async function ownRedis(): Promise<Publishing> {
  const binary = (await inspect('redis-server')) ?? (await inspect('valkey-server'))
  if (binary === undefined) {
    const publisher = memoryRegions(options)
    return {
      publisher,
      description:
        'this process, under the same rules: no REDIS_URL, no redis-server or valkey-server in PATH',
      remains: undefined,
      [Symbol.asyncDispose]: () => publisher.close(),
    }
  }
  const server = await startRedis(binary)
  const publisher = redisRegions({ ...options, url: server.url })
  return {
    publisher,
    description: `${binary.isValkey ? 'Valkey' : 'Redis'} ${binary.version}, started from PATH on port ${server.port}`,
    remains: undefined,
    async [Symbol.asyncDispose]() {
      await publisher.close()
      await server[Symbol.asyncDispose]()
    },
  }
}

async function inspect(file: string): Promise<RedisBinary | undefined> {
  try {
    const { stdout } = await promisify(execFile)(file, ['--version'])
    const version = /\bv=(\d[\w.]*)/.exec(stdout)?.[1]
    return version === undefined
      ? undefined
      : { file, libraries: '', version, isValkey: file.startsWith('valkey') }
  } catch {
    return undefined
  }
}
