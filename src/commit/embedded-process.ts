/**
 * The Postgres process: launched, recognised by its pid, ended. What must hold: nothing that is not a Postgres
 * gets a signal, and ending is over only when the process is gone.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { open, readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { basename } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { FatalError, messageOf } from '../errors.ts'
import type { PostgresBinaries } from './embedded-binaries.ts'
import type { ServerFolder } from './embedded-folder.ts'

/** How the end of a process is noticed that is not our child, and readiness that nobody announces. */
export const retryMs = 10

export interface Launched {
  readonly child: ChildProcess
  /** Why the child is gone, with what it printed; `undefined` while it runs. Never rejects. */
  readonly trouble: () => Promise<string | undefined>
  /** Settles when the child is gone, or could not be run at all. */
  readonly ended: Promise<void>
}

/** Postgres in a session of its own, so that neither Ctrl-C nor our death reaches it; its output goes to a file. */
export async function launch(
  folder: ServerFolder,
  binaries: PostgresBinaries,
  port: number,
  settings: Readonly<Record<string, string>>,
): Promise<Launched> {
  const all = { listen_addresses: '127.0.0.1', unix_socket_directories: '', ...settings, port: String(port) }
  const args = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const logHandle = await open(folder.logFile, 'a', 0o600)
  try {
    const logStart = (await logHandle.stat()).size
    const child = spawn(binaries.postgres, ['-D', folder.cluster, ...args], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', logHandle.fd, logHandle.fd],
      env: { ...process.env, LC_ALL: 'C' },
      ...folder.runAs,
    })
    let reason: string | undefined
    const ended = new Promise<void>((settle) => {
      child.on('error', (error) => settle(void (reason = messageOf(error))))
      child.on('exit', (code, signal) => settle(void (reason = `it ended with ${code ?? signal}`)))
    })
    return {
      child,
      ended,
      trouble: async () => {
        if (reason === undefined) return undefined
        const output = await readFile(folder.logFile).catch(() => Buffer.alloc(0))
        return `${reason}\n${output.subarray(logStart).toString().trim().slice(-2000)}`.trim()
      },
    }
  } finally {
    await logHandle.close()
  }
}

/** A port that was free a moment ago; who loses it in between tries another. */
export async function freePort(): Promise<number> {
  const probe = createServer()
  return new Promise((settle, reject) => {
    probe.on('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => settle(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/**
 * Alive, and not somebody else who got the number after a reboot or in a new container, nor a zombie that
 * nobody reaps (its command line is empty). Where /proc does not tell, alive is enough.
 */
export async function isPostgres(pid: number): Promise<boolean> {
  if (!isAlive(pid)) return false
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined)
  // no such file: a system without them, or a process that has gone since
  if (command === undefined) return isAlive(pid)
  return basename(command.split('\0')[0] ?? '').startsWith('postgres')
}

/** SIGINT is Postgres' fast shutdown; after half a minute SIGQUIT, which costs a recovery at the next start. */
export async function endPostgres(pid: number): Promise<void> {
  const steps: readonly (readonly [NodeJS.Signals, number])[] = [
    ['SIGINT', 30_000],
    ['SIGQUIT', 5_000],
  ]
  for (const [signal, patienceMs] of steps) {
    if (!(await isPostgres(pid))) return
    try {
      process.kill(pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return
      throw new FatalError('EMBEDDED_STOP', `could not stop Postgres, pid ${pid}: ${messageOf(error)}`, {
        cause: error,
      })
    }
    const deadline = performance.now() + patienceMs
    while (performance.now() < deadline) {
      if (!(await isPostgres(pid))) return
      await delay(retryMs)
    }
  }
  throw new FatalError('EMBEDDED_STOP', `Postgres, pid ${pid}, is still there after SIGQUIT`)
}
