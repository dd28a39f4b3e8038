/** The rig's handle on one child process. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Ended, Heard, RigTask, Told } from './child.ts'

export class RigProcess implements AsyncDisposable {
  readonly #child = fork(join(import.meta.dirname, 'child.ts'), { execArgv: ['--import', 'tsx'] })
  readonly #exited = once(this.#child, 'exit')
  readonly #ready: Promise<unknown>
  #ended: ((ended: Ended | 'killed') => void) | undefined
  /** What it has said since its run began, and who waits for more. */
  #said: readonly (Heard & { readonly atMs: number })[] = []
  readonly #listeners = new Set<() => void>()
  #hasBegun = false
  #mustStop = false
  isGone = false
  isRunning = false
  isFrozen = false

  constructor() {
    this.#ready = this.until('ready').catch(() => undefined)
    this.#child.on('message', (message) => {
      const heard = message as Heard
      if (heard.type === 'ended') this.#hasBegun = false
      if (heard.type === 'taken' || heard.type === 'waiting') {
        this.#hasBegun = true
        if (this.#mustStop) this.stopAlways(true)
      }
      this.#hear(heard)
      if (heard.type === 'ended') this.#ended?.(heard)
    })
    void this.#exited.then(() => {
      this.isGone = true
      for (const look of this.#listeners) look()
      this.#ended?.('killed')
    })
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** Resolves once this run has said so, at once if it has already; rejects when it ends without having said it. */
  until(type: Heard['type']): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const isSaid = this.#said.some((heard) => heard.type === type)
        if (!isSaid && !this.isGone && !this.#said.some((heard) => heard.type === 'ended')) return
        this.#listeners.delete(look)
        if (isSaid) resolve()
        else reject(new Error(`process ${this.pid} never said '${type}': ${JSON.stringify(this.#said)}`))
      }
      this.#listeners.add(look)
      look()
    })
  }

  /** One run, to its end. */
  async run(task: RigTask): Promise<Ended | 'killed'> {
    // nothing of the run before is of this one
    this.#said = []
    await Promise.race([this.#ready, this.#exited])
    if (this.isGone) return 'killed'
    this.isRunning = true
    return new Promise((resolve) => {
      this.#ended = (ended) => {
        this.isRunning = false
        resolve(ended)
      }
      this.#tell({ type: 'run', task })
    })
  }

  /** Stops the run that it has, and every later one as soon as it has the pipeline or waits for it. */
  stopAlways(isOn: boolean): void {
    this.#mustStop = isOn
    if (isOn && !this.isGone && this.#hasBegun) this.#tell({ type: 'stop' })
  }

  stop(): void {
    this.#tell({ type: 'stop' })
  }

  freeze(): void {
    this.isFrozen = true
    this.#child.kill('SIGSTOP')
  }

  thaw(): void {
    this.isFrozen = false
    this.#child.kill('SIGCONT')
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill()
  }

  #hear(heard: Heard): void {
    this.#said = [...this.#said, { ...heard, atMs: Math.round(performance.now()) }]
    for (const look of this.#listeners) look()
  }

  #tell(told: Told): void {
    this.#child.send(told)
  }
}
