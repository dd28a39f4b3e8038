/**
 * One Postgres for the whole run: the one at DATABASE_URL (a superuser's), or an embedded one in a temporary
 * folder that goes away with it. TAILRACE_TEST_FSYNC=off trades durability for speed where a test run is long.
 * And one Redis, for those who ask for it.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { startEmbeddedServer } from '../../src/commit/embedded-server.ts'
import { offerSharedRedis } from './redis-shared.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    postgresUrl: string
    /** Where `sharedRedis` asks. */
    redisPort: number
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const redis = await offerSharedRedis()
  project.provide('redisPort', redis.port)
  try {
    const { url, stop } = await startPostgres()
    project.provide('postgresUrl', url)
    return async () => {
      await redis[Symbol.asyncDispose]()
      await stop()
    }
  } catch (error) {
    await redis[Symbol.asyncDispose]()
    throw error
  }
}

async function startPostgres(): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const given = process.env['DATABASE_URL']
  if (given !== undefined && given !== '') return { url: given, stop: () => Promise.resolve() }
  const dataDir = await mkdtemp(join(tmpdir(), 'tailrace-test-'))
  try {
    const server = await startEmbeddedServer({
      dataDir,
      settings: { max_connections: '200', fsync: process.env['TAILRACE_TEST_FSYNC'] ?? 'on' },
    })
    return {
      url: server.connectionString,
      stop: async () => {
        await server.stop()
        await rm(dataDir, { recursive: true, force: true })
      },
    }
  } catch (error) {
    await rm(dataDir, { recursive: true, force: true })
    throw error
  }
}
