/**
 * One Postgres for the whole run: the one at DATABASE_URL (a superuser's), or an embedded one in a temporary
 * folder that goes away with it. TAILRACE_TEST_FSYNC=off trades durability for speed where a test run is long.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { startEmbeddedServer } from '../../src/commit/embedded-server.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    postgresUrl: string
  }
}

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = process.env['DATABASE_URL']
  if (given !== undefined && given !== '') {
    project.provide('postgresUrl', given)
    return undefined
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'tailrace-test-'))
  try {
    const server = await startEmbeddedServer({
      dataDir,
      settings: { max_connections: '200', fsync: process.env['TAILRACE_TEST_FSYNC'] ?? 'on' },
    })
    project.provide('postgresUrl', server.connectionString)
    return async () => {
      await server.stop()
      await rm(dataDir, { recursive: true, force: true })
    }
  } catch (error) {
    await rm(dataDir, { recursive: true, force: true })
    throw error
  }
}
