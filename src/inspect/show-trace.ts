/** The page on a recorded run. */
import type { Logger } from '../log.ts'
import { viewerTimes } from './inspect.ts'
import { InspectorServer } from './server.ts'
import { summaryOf, type TraceSummary } from './trace-file.ts'
import { TraceFeed } from './trace-feed.ts'

export interface ShownTrace {
  readonly url: string
  readonly summary: TraceSummary
  close(): Promise<void>
}

/** Keeps the process alive until it is closed. @throws TraceRefused, ConfigurationError `INSPECTOR_ADDRESS` */
export async function showTrace(
  path: string,
  { host, port, log }: { readonly host: string; readonly port: number; readonly log: Logger },
): Promise<ShownTrace> {
  const summary = await summaryOf(path)
  const server = await InspectorServer.listen(new TraceFeed(path, summary, log), {
    host,
    port,
    log,
    maxViewers: 16,
    keepsAlive: true,
    ...viewerTimes,
  })
  return { url: server.url, summary, close: () => server.close() }
}
