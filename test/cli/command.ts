/** Runs the `tailrace` command as its users do: a process of its own, or one at a terminal of its own. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

type Env = Readonly<Record<string, string>>

const main = join(import.meta.dirname, '../../src/cli/main.ts')
const command = [process.execPath, '--import', 'tsx', main]

/**
 * Whatever this process has of colours, CI or databases, the command has only what a test gives: `CI`, `TMUX` and a dozen
 * others all change what Node thinks of a terminal.
 */
function environment(given: Env): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR, NODE_OPTIONS } = process.env
  return { PATH, HOME, TMPDIR, NODE_OPTIONS, TERM: 'xterm-256color', ...given }
}

/** With nobody at the keyboard. */
export async function tailrace(args: readonly string[], env: Env = {}): Promise<Ran> {
  const [node = '', ...before] = command
  const child = spawn(node, [...before, ...args], {
    env: environment(env),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, ...said }
}

/** util-linux has a `script` that lends a program a terminal. */
export const hasTerminal =
  spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout?.includes('util-linux') ?? false

/** At a terminal. @param answers to be typed once what they answer has been asked */
export async function atTerminal(
  args: readonly string[],
  env: Env = {},
  answers: readonly { readonly to: string; readonly type: string }[] = [],
): Promise<{ readonly code: number | null; readonly screen: string }> {
  const line = [...command, ...args].map((word) => `'${word}'`).join(' ')
  const child = spawn('script', ['-qec', line, '/dev/null'], { env: environment(env) })
  let screen = ''
  const left = [...answers]
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += text
    const next = left[0]
    if (next === undefined || !screen.includes(next.to)) return
    left.shift()
    child.stdin.write(next.type)
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, screen }
}
