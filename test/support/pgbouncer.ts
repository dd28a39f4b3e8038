/**
 * pgbouncer with transaction pooling in front of the tests' Postgres: the one in PATH, or Debian's package, unpacked
 * beside (nothing is installed). Where neither can be had, whoever asks is told why.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'

const run = promisify(execFile)

interface Binary {
  readonly file: string
  readonly libraries: string
}

const unpacked = join(tmpdir(), 'tailrace-pgbouncer')
const packages = ['pgbouncer', 'libevent-2.1-7', 'libc-ares2']

/** @returns a reason, where there is none */
export async function findPgbouncer(): Promise<Binary | string> {
  const candidates: Binary[] = [
    { file: 'pgbouncer', libraries: '' },
    { file: join(unpacked, 'usr/sbin/pgbouncer'), libraries: join(unpacked, 'usr/lib/x86_64-linux-gnu') },
  ]
  for (const candidate of candidates) if (await works(candidate)) return candidate
  try {
    await mkdir(unpacked, { recursive: true })
    await run('apt-get', ['download', ...packages], { cwd: unpacked, timeout: 60_000 })
    for (const file of await readdir(unpacked)) {
      if (file.endsWith('.deb')) await run('dpkg', ['-x', file, '.'], { cwd: unpacked })
    }
  } catch (error) {
    return `pgbouncer is not in PATH, and Debian's package cannot be had: ${String(error).slice(0, 200)}`
  }
  return (await works(candidates[1]!)) ? candidates[1]! : 'the unpacked pgbouncer does not run here'
}

async function works({ file, libraries }: Binary): Promise<boolean> {
  return run(file, ['--version'], { env: environment(libraries) }).then(
    () => true,
    () => false,
  )
}

const environment = (libraries: string) => ({ ...process.env, LD_LIBRARY_PATH: libraries })

export interface Pgbouncer extends AsyncDisposable {
  /** The same database, through the pooler. */
  through(connectionString: string): string
}

export async function startPgbouncer(binary: Binary, server: string): Promise<Pgbouncer> {
  const { hostname, port, username, password } = new URL(server)
  const folder = await mkdtemp(join(tmpdir(), 'tailrace-pooler-'))
  await chmod(folder, 0o755)
  const listenPort = await freePort()
  const users = join(folder, 'users.txt')
  const settings = join(folder, 'pgbouncer.ini')
  await writeFile(users, `"${decodeURIComponent(username)}" "${decodeURIComponent(password)}"\n`)
  await writeFile(
    settings,
    `[databases]
* = host=${hostname} port=${port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = transaction
default_pool_size = 20
server_tls_sslmode = disable
`,
  )
  const isRoot = process.getuid?.() === 0
  const child = spawn(binary.file, [...(isRoot ? ['-u', 'nobody'] : []), settings], {
    env: environment(binary.libraries),
    stdio: 'ignore',
  })
  const exited = once(child, 'exit')
  const through = (connectionString: string) => {
    const url = new URL(connectionString)
    url.hostname = '127.0.0.1'
    url.port = String(listenPort)
    return url.href
  }
  while (!(await answers(through(server)))) {
    if (child.exitCode !== null) throw new Error(`pgbouncer has ended (${child.exitCode})`)
  }
  return {
    through,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exited
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function answers(connectionString: string): Promise<boolean> {
  const client = new pg.Client({ connectionString })
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.query('SELECT 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
