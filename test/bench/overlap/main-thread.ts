/**
 * What the main thread did: on a processor, or ready and waiting for one. Not
 * `process.cpuUsage()`, which counts V8's and libuv's helper threads as well: they run beside the handlers, not
 * instead of them. Where /proc is missing it stands in, and the figure is then an upper bound.
 */
import { readFileSync } from 'node:fs'

export interface ThreadTime {
  readonly onProcessorMs: number
  readonly waitingMs: number
}

/** @returns what has been added since, each time it is called */
export function mainThread(): () => ThreadTime {
  const began = read()
  return () => {
    const now = read()
    return {
      onProcessorMs: now.onProcessorMs - began.onProcessorMs,
      waitingMs: now.waitingMs - began.waitingMs,
    }
  }
}

function read(): ThreadTime {
  try {
    // nanoseconds on a processor and waiting for one; the main thread's id is the process's
    const [onProcessor, waiting] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(
      ' ',
    )
    return { onProcessorMs: Number(onProcessor) / 1e6, waitingMs: Number(waiting) / 1e6 }
  } catch {
    const { user, system } = process.cpuUsage()
    return { onProcessorMs: (user + system) / 1e3, waitingMs: 0 }
  }
}
