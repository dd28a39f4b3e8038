/** Threads of our own, whether this is the built package or its sources. */
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'

/**
 * @param from `import.meta.url` of who starts it  @param name of the module beside it, without its extension
 * @param workerData is cloned
 */
export function startThread(from: string, name: string, workerData: unknown): Worker {
  const isSource = from.endsWith('.ts')
  const file = new URL(`./${name}.${isSource ? 'ts' : 'js'}`, from)
  // what the host preloads (`--import instrumentation.js`) is not to run a second time
  if (!isSource) return new Worker(file, { workerData, execArgv: [] })
  // run from source, as in this repository's tests, the thread needs a loader of its own
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json'))
  const loader = new URL('./dist/esm/api/index.mjs', tsx)
  const load = `import('${loader.href}').then(({ register }) => { register(); return import('${file.href}') })`
  return new Worker(load, { eval: true, workerData, execArgv: [] })
}
