/**
 * Programs out of Debian's packages, unpacked into a cache below node_modules: nothing is installed, nobody has to be
 * root. Whoever comes first fetches them; a folder that is there under its name is whole. Where they cannot be had,
 * whoever asks is told why.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Unpacked {
  readonly root: string
  /** Every folder below it that holds shared libraries, as LD_LIBRARY_PATH wants them. */
  readonly libraries: string
}

const cache = join(import.meta.dirname, '../../node_modules/.cache/tailrace-tests')
const timeoutMs = 60_000
/** As root apt fetches as a user of its own, who may not write here. Away from the net, it is soon given up. */
const settings = ['APT::Sandbox::User=root', 'Acquire::Retries=0', 'Acquire::http::Timeout=10']

/**
 * @param name of the folder in the cache
 * @returns a reason, where they cannot be had
 */
export async function unpackDebian(name: string, packages: readonly string[]): Promise<Unpacked | string> {
  const root = join(cache, name)
  try {
    if (!existsSync(root)) await fetchInto(root, packages)
    return { root, libraries: await librariesIn(root) }
  } catch (error) {
    return `Debian's package ${name} cannot be had: ${lastLines(error)}`
  }
}

/** The environment of a program out of it; an empty text changes nothing. */
export function withLibraries(libraries: string): NodeJS.ProcessEnv {
  return libraries === '' ? process.env : { ...process.env, LD_LIBRARY_PATH: libraries }
}

async function fetchInto(root: string, packages: readonly string[]): Promise<void> {
  await mkdir(cache, { recursive: true })
  const work = await mkdtemp(`${root}.`)
  try {
    await download(work, packages)
    const unpacked = join(work, 'root')
    for (const file of await readdir(work)) {
      if (file.endsWith('.deb')) await run('dpkg', ['-x', join(work, file), unpacked])
    }
    await rename(unpacked, root).catch((error: unknown) => {
      // another process has been faster
      if (!existsSync(root)) throw error
    })
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** With the lists of packages that the machine has; where it has none, as a fresh image, with lists of our own. */
async function download(work: string, packages: readonly string[]): Promise<void> {
  const apt = (options: readonly string[], ...command: readonly string[]) =>
    run('apt-get', [...options.flatMap((option) => ['-o', option]), ...command], {
      cwd: work,
      timeout: timeoutMs,
    })
  try {
    await apt(settings, 'download', ...packages)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw error
    const state = join(work, 'state')
    await mkdir(join(state, 'lists/partial'), { recursive: true })
    await mkdir(join(state, 'cache/archives/partial'), { recursive: true })
    const own = [
      ...settings,
      `Dir::State=${state}`,
      `Dir::State::lists=${join(state, 'lists')}`,
      `Dir::Cache=${join(state, 'cache')}`,
    ]
    await apt([...own, 'APT::Update::Error-Mode=any', 'Acquire::Languages=none'], 'update')
    await apt(own, 'download', ...packages)
  }
}

async function librariesIn(root: string): Promise<string> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  const folders = entries.filter(({ name }) => /\.so(\.|$)/.test(name)).map(({ parentPath }) => parentPath)
  return [...new Set(folders)].join(':')
}

/** What a program said last is why it failed. */
function lastLines(error: unknown): string {
  const said = (error as { stderr?: string }).stderr?.trim()
  return (said === undefined || said === '' ? String(error) : said).slice(-200)
}
