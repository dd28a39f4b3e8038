/**
 * A hold on an embedded server: one idle connection with a shared advisory lock. The kernel closes it when the
 * process dies, so that a hold never outlives its holder. What must hold: whoever has the lock alone is the
 * last one, and while it has it nobody can join.
 */
import { realpath } from 'node:fs/promises'
import pg from 'pg'
import type { ServerFolder } from './embedded-folder.ts'

/** Any number that nobody else uses for an advisory lock in the database `postgres`: "tailrace" in ASCII. */
const holdersLock = '8386654079328609125'

export interface Holder {
  /** True once the connection is gone, e.g. after a crash of the server. */
  readonly isLost: () => boolean
  /** Gives the shared lock up and asks for it alone: true for the last holder, who must now end the server. */
  readonly becomeLast: () => Promise<boolean>
  /** An idle hold must not keep a host alive that has nothing left to do; a stop in progress must. */
  readonly keepNodeAlive: (alive: boolean) => void
  readonly close: () => Promise<void>
}

/**
 * Connects, makes sure that it is the server of this folder, and takes the shared lock.
 * Throws while the server starts or stops; `isPermanent` tells that from errors which stay.
 */
export async function holdServer(folder: ServerFolder, port: number, password: string): Promise<Holder> {
  // The port reaches postmaster.pid a moment after the pid.
  if (port === 0) throw new Error('the server is starting')
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: 'postgres',
    password,
    database: 'postgres',
    ssl: false,
    application_name: 'tailrace embedded',
    connectionTimeoutMillis: 5_000,
    options: '-c idle_session_timeout=0 -c statement_timeout=0',
  })
  let lost = false
  client.on('error', () => (lost = true))
  client.on('end', () => (lost = true))
  try {
    await client.connect()
    const { rows } = await client.query<{ folder: string; held: boolean }>(
      `SELECT current_setting('data_directory') AS folder, pg_try_advisory_lock_shared(${holdersLock}) AS held`,
    )
    if ((await realpath(rows[0]?.folder ?? '')) !== (await realpath(folder.cluster))) {
      throw Object.assign(new Error(`port ${port} belongs to another Postgres`), { code: 'ELSEWHERE' })
    }
    if (rows[0]?.held !== true) throw new Error('the server is being stopped')
  } catch (error) {
    await client.end().catch(() => undefined)
    throw error
  }
  return {
    isLost: () => lost,
    async becomeLast() {
      await client.query(`SELECT pg_advisory_unlock_shared(${holdersLock})`)
      const { rows } = await client.query<{ alone: boolean }>(
        `SELECT pg_try_advisory_lock(${holdersLock}) AS alone`,
      )
      return rows[0]?.alone === true
    },
    keepNodeAlive(alive) {
      // Not in pg's typings.
      const socket = client as pg.Client & { ref(): void; unref(): void }
      if (alive) socket.ref()
      else socket.unref()
    },
    async close() {
      await client.end().catch(() => undefined)
    },
  }
}

/** Authentication and identity do not mend themselves. */
export function isPermanent(error: unknown): boolean {
  const code = (error as { code?: unknown }).code
  return code === 'ELSEWHERE' || (typeof code === 'string' && code.startsWith('28'))
}
