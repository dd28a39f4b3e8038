/** A Postgres of the rig's own, which may be crashed. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { startEmbeddedServer } from '../../../src/commit/embedded-server.ts'
import type { RigServer } from './round.ts'

export interface OwnServer extends RigServer, AsyncDisposable {
  readonly connectionString: string
  /** Ends it at once, as a crash would. */
  crash(): Promise<void>
  start(): Promise<void>
}

export async function ownServer(): Promise<OwnServer> {
  const dataDir = await mkdtemp(join(tmpdir(), 'tailrace-rig-'))
  const settings = { max_connections: '200', fsync: 'off' }
  let server = await startEmbeddedServer({ dataDir, settings })
  const { connectionString, port } = server
  let count = 0

  const ask = async (sql: string) => {
    const client = new pg.Client({ connectionString })
    client.on('error', () => undefined)
    await client.connect()
    try {
      await client.query(sql)
    } finally {
      await client.end()
    }
  }
  const crash = async () => {
    // immediate shutdown: nothing is finished, the next start recovers
    process.kill(server.pid, 'SIGQUIT')
    await server.stop()
  }
  const start = async () => {
    server = await startEmbeddedServer({ dataDir, port, settings })
  }
  return {
    connectionString,
    crash,
    start,
    async restart() {
      await crash()
      await start()
    },
    async createDatabase() {
      const name = `rig_${++count}`
      await ask(`CREATE DATABASE ${name}`)
      const url = new URL(connectionString)
      url.pathname = `/${name}`
      return { connectionString: url.href, drop: () => ask(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) }
    },
    async [Symbol.asyncDispose]() {
      await server.stop()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}
