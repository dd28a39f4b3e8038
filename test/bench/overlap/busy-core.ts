/** A process of its own that does nothing but keep a core busy. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'

export async function busyCore(): Promise<AsyncDisposable> {
  const child = spawn(process.execPath, ['--eval', 'process.stdout.write("spinning"); for (;;);'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const ended = once(child, 'exit')
  await once(child.stdout, 'data')
  return {
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
