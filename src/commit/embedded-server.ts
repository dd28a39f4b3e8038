/**
 * A real Postgres from npm, for hosts without one of their own: started, adopted and stopped here. What must
 * hold: one server per folder whoever starts it (H65), and it runs as long as somebody holds it; the last
 * holder, in whichever process, stops it. A host that is killed leaves it running for the next start to adopt.
 */
import type { ChildProcess } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { ConfigurationError, FatalError, messageOf } from '../errors.ts'
import { postgresBinaries } from './embedded-binaries.ts'
import type { ResolvePackage } from './embedded-binaries.ts'
import { ensureCluster, readPassword, runningServer, serverFolder } from './embedded-folder.ts'
import type { ServerFolder } from './embedded-folder.ts'
import { holdServer, isPermanent } from './embedded-holder.ts'
import type { Holder } from './embedded-holder.ts'
import { endPostgres, freePort, isPostgres, launch, retryMs } from './embedded-process.ts'
import type { Launched } from './embedded-process.ts'

export interface EmbeddedServerOptions {
  /**
   * Folder that holds the cluster, its password and its log; created on first use. Default:
   * `<working directory>/.tailrace/postgres`. As root, Postgres runs as uid 65534: when that user cannot reach
   * the default, `/var/lib/tailrace/<project>-<hash>` is taken; an explicit folder is refused instead.
   */
  readonly dataDir?: string | undefined
  /** On 127.0.0.1. Default: a free one. Ignored when a running server is adopted. */
  readonly port?: number | undefined
  /** Server settings given at its start, e.g. `{ max_connections: '200' }`. Ignored when one is adopted. */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /** How long a start may take, crash recovery included. Default: 60,000. */
  readonly startTimeoutMs?: number | undefined
  /** Called with one line for each thing done. What Postgres prints is in `<dataDir>/server.log`. */
  readonly log?: ((line: string) => void) | undefined
}

export interface EmbeddedServer extends AsyncDisposable {
  /** For `postgres({ connectionString })`; contains the random password of the superuser `postgres`. */
  readonly connectionString: string
  readonly dataDir: string
  readonly port: number
  readonly pid: number
  /** True when the server was running already. */
  readonly adopted: boolean
  /**
   * Lets go of the server; the last holder, in whichever process, stops it (fast: open transactions are rolled
   * back) and waits until it is gone. Close your pools first. Safe to call twice.
   */
  stop(): Promise<'stopped' | 'left running'>
}

/**
 * Starts the server of a folder, or adopts the one that is running there. Linux and macOS.
 *
 * The server listens on 127.0.0.1 only, with a random password (scram) that lies, readable by its owner only,
 * inside the cluster. It is in a process group of its own: Ctrl-C reaches the host, which drains and then calls
 * `stop()`. A host that ends without `stop()` leaves it running; the next start adopts it, and its stop ends it.
 *
 * @throws ConfigurationError `EMBEDDED_MISSING`, `EMBEDDED_FOLDER`, `EMBEDDED_VERSION`, `EMBEDDED_UNREADABLE`
 * @throws FatalError `EMBEDDED_START` with the end of the server's log
 * @example
 * const server = await startEmbeddedServer({ dataDir: './data/postgres' })
 * const pool = new pg.Pool({ connectionString: server.connectionString })
 * // …
 * await pool.end()
 * await server.stop()
 */
export async function startEmbeddedServer(
  options: EmbeddedServerOptions = {},
  resolve?: ResolvePackage,
): Promise<EmbeddedServer> {
  const log = options.log ?? (() => undefined)
  const timeoutMs = options.startTimeoutMs ?? 60_000
  const deadline = performance.now() + timeoutMs
  const folder = await serverFolder(options.dataDir, log)
  const binaries = await postgresBinaries(folder.runAs, resolve)
  await ensureCluster(folder, binaries)
  const password = await readPassword(folder)
  let trouble = 'nothing answered'

  while (performance.now() < deadline) {
    const running = await runningServer(folder)
    if (running !== undefined) {
      try {
        const holder = await holdServer(folder, running.port, password)
        log(`adopted the Postgres that runs in ${folder.dataDir} (pid ${running.pid}, port ${running.port})`)
        return handle({ folder, password, holder, ...running, child: undefined, log })
      } catch (error) {
        if (isPermanent(error)) throw refusal(folder, running.pid, error)
        // Starting up, shutting down or not listening yet: all of them pass.
        trouble = messageOf(error)
        await delay(retryMs)
        continue
      }
    }
    const port = options.port ?? (await freePort())
    const launched = await launch(folder, binaries, port, options.settings ?? {})
    const held = await holdLaunched(launched, folder, port, password, deadline)
    if (typeof held !== 'string') {
      const { child } = launched
      const pid = child.pid ?? 0
      log(`started Postgres ${binaries.major} in ${folder.dataDir} (pid ${pid}, port ${port})`)
      return handle({ folder, password, holder: held, pid, port, child, log })
    }
    trouble = held
    // Lost a race for the folder or for the free port: look again. Anything else would only repeat itself.
    const folderTaken = trouble.includes('lock file "postmaster.pid" already exists')
    const portTaken = options.port === undefined && /could not (bind|create any TCP)/.test(trouble)
    if (portTaken || (folderTaken && (await runningServer(folder)) !== undefined)) continue
    if (folderTaken) trouble += `\nIf no Postgres uses that folder, remove ${folder.cluster}/postmaster.pid.`
    break
  }
  throw new FatalError('EMBEDDED_START', `Postgres did not start in ${folder.dataDir}: ${trouble}`, {
    phase: 'opening',
  })
}

/** Tries to hold the new server until that succeeds (the result), or it cannot any more (the reason). */
async function holdLaunched(
  launched: Launched,
  folder: ServerFolder,
  port: number,
  password: string,
  deadline: number,
): Promise<Holder | string> {
  for (;;) {
    try {
      return await holdServer(folder, port, password)
    } catch (error) {
      const trouble = await launched.trouble()
      if (trouble !== undefined) return trouble
      if (isPermanent(error) || performance.now() >= deadline) {
        launched.child.kill('SIGINT')
        await launched.ended
        return `${messageOf(error)}. See ${folder.logFile}`
      }
      await Promise.race([launched.ended, delay(retryMs)])
    }
  }
}

function refusal(folder: ServerFolder, pid: number, error: unknown): ConfigurationError {
  return new ConfigurationError(
    'EMBEDDED_FOLDER',
    `process ${pid} claims ${folder.cluster} in its postmaster.pid, but it is not the server that was made there: ` +
      `${messageOf(error)}. If no Postgres uses that folder, remove its postmaster.pid.`,
    { phase: 'opening', cause: error },
  )
}

interface Held {
  readonly folder: ServerFolder
  readonly password: string
  readonly holder: Holder
  readonly pid: number
  readonly port: number
  /** Only where this process started it. */
  readonly child: ChildProcess | undefined
  readonly log: (line: string) => void
}

function handle(held: Held): EmbeddedServer {
  let stopping: Promise<'stopped' | 'left running'> | undefined
  const stop = () => (stopping ??= release(held))
  held.holder.keepNodeAlive(false)
  held.child?.unref()
  return {
    connectionString: `postgres://postgres:${held.password}@127.0.0.1:${held.port}/postgres`,
    dataDir: held.folder.dataDir,
    port: held.port,
    pid: held.pid,
    adopted: held.child === undefined,
    stop,
    async [Symbol.asyncDispose]() {
      await stop()
    },
  }
}

async function release({
  folder,
  password,
  holder,
  pid,
  port,
  child,
  log,
}: Held): Promise<'stopped' | 'left running'> {
  holder.keepNodeAlive(true)
  child?.ref()
  let current = holder
  try {
    // A server that crashed and came back by itself has dropped our hold.
    if (holder.isLost() && (await isPostgres(pid))) current = await holdServer(folder, port, password)
    if (!current.isLost() && !(await current.becomeLast())) {
      log(`left the Postgres in ${folder.dataDir} running: another process holds it`)
      return 'left running'
    }
    await endPostgres(pid)
  } catch (error) {
    // Gone, or going down: somebody else stopped it. Beyond answering: ours to end only if we started it.
    if (error instanceof FatalError) throw error
    if (child !== undefined && child.exitCode === null && child.signalCode === null) await endPostgres(pid)
    else if (await isPostgres(pid)) return 'left running'
  } finally {
    await current.close()
    child?.unref()
  }
  log(`stopped the Postgres in ${folder.dataDir}`)
  return 'stopped'
}
