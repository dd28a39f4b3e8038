/**
 * pgbouncer with transaction pooling in front of the tests' Postgres: the one in PATH, or Debian's package, unpacked
 * beside (nothing is installed). Where neither can be had, whoever asks is told why.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { unpackDebian, withLibraries } from './debian-package.ts'

const run = promisify(execFile)

interface Binary {
  readonly file: string
  readonly libraries: string
}

/** @returns a reason, where there is none */
export async function findPgbouncer(): Promise<Binary | string> {
  const installed: Binary = { file: 'pgbouncer', libraries: '' }
  if (await works(installed)) return installed
  const unpacked = await unpackDebian('pgbouncer', ['pgbouncer', 'libevent-2.1-7', 'libc-ares2'])
  if (typeof unpacked === 'string') return `pgbouncer is not in PATH, and ${unpacked}`
  const { root, libraries } = unpacked
  const binary: Binary = { file: join(root, 'usr/sbin/pgbouncer'), libraries }
  return (await works(binary)) ? binary : 'the unpacked pgbouncer does not run here'
}

async function works({ file, libraries }: Binary): Promise<boolean> {
  return run(file, ['--version'], { env: withLibraries(libraries) }).then(
    () => true,
    () => false,
  )
}

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
    env: withLibraries(binary.libraries),
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
