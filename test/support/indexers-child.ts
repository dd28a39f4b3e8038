/** Starts test/crash/child.ts, and hears it. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Said, Task } from '../crash/child.ts'

export interface Child extends AsyncDisposable {
  readonly pid: number
  begin(task: Task): Promise<void>
  until<T extends Said['type']>(type: T): Promise<Extract<Said, { type: T }>>
  stop(): void
  /** See `Task.fork.whenTold`. */
  fork(): void
  kill(): Promise<void>
  /** The signal it died of; null: it ended by itself. */
  readonly exited: Promise<NodeJS.Signals | null>
}

export function startChild(): Child {
  const child = fork(join(import.meta.dirname, '../crash/child.ts'), { execArgv: ['--import', 'tsx'] })
  const said: Said[] = []
  let changed: () => void = () => undefined
  let change = new Promise<void>((resolve) => (changed = resolve))
  let isGone = false
  const tell = () => {
    const told = changed
    change = new Promise<void>((resolve) => (changed = resolve))
    told()
  }
  child.on('message', (message) => {
    said.push(message as Said)
    tell()
  })
  const exited = once(child, 'exit').then(([, signal]) => {
    isGone = true
    tell()
    return signal as NodeJS.Signals | null
  })
  const until = async <T extends Said['type']>(type: T): Promise<Extract<Said, { type: T }>> => {
    for (;;) {
      const found = said.find((one) => one.type === type)
      if (found !== undefined) return found as Extract<Said, { type: T }>
      if (isGone) throw new Error(`the child has ended without '${type}'; it said ${JSON.stringify(said)}`)
      await change
    }
  }
  const kill = async () => {
    if (!isGone) child.kill('SIGKILL')
    await exited
  }
  return {
    pid: child.pid!,
    async begin(task) {
      await until('ready')
      child.send(task)
    },
    until,
    stop: () => void child.send('stop'),
    fork: () => void child.send('fork'),
    kill,
    exited,
    [Symbol.asyncDispose]: kill,
  }
}
