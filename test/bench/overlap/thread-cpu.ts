/**
 * Milliseconds for which this thread was on a processor. Not `process.cpuUsage()`, which counts V8's and libuv's
 * helper threads as well: they run beside the handlers, not instead of them. Where /proc is missing it stands in,
 * and the figure is then an upper bound.
 */
import { readFileSync } from 'node:fs'

export function mainThreadMs(): number {
  try {
    // nanoseconds on the processor, waiting for one, number of times; the main thread's id is the process's
    const [onProcessor] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')
    return Number(onProcessor) / 1e6
  } catch {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1e3
  }
}
