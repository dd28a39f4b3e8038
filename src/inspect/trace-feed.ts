/** Shows a trace: each viewer reads the file from its own place, as fast as it takes it. */
import type { Logger } from '../log.ts'
import { messageOf } from '../errors.ts'
import type { Feed } from './feed.ts'
import { messagesIn, type TraceLine, type TraceSummary } from './trace-file.ts'
import type { Viewer } from './viewer.ts'

/** Sent in one write. */
const chunkLength = 64 * 1_024

export class TraceFeed implements Feed {
  readonly name: string
  readonly #path: string
  readonly #summary: TraceSummary
  readonly #log: Logger
  readonly #viewers = new Set<Viewer>()

  constructor(path: string, summary: TraceSummary, log: Logger) {
    this.name = summary.pipeline
    this.#path = path
    this.#summary = summary
    this.#log = log
  }

  serve(viewer: Viewer): void {
    this.#viewers.add(viewer)
    this.#send(viewer).catch((error: unknown) => {
      this.#log.error('the trace could not be read', { file: this.#path, error: messageOf(error) })
      viewer.destroy()
    })
  }

  async *lines(): AsyncIterable<string> {
    for await (const { json } of messagesIn(this.#path)) yield json
  }

  close(): void {
    for (const viewer of this.#viewers) viewer.close()
  }

  async #send(viewer: Viewer): Promise<void> {
    const { at, isTruncated, outcome } = this.#summary
    const { position } = viewer
    const read = position?.at === at ? position.n : 0
    let heard: () => void = () => undefined
    viewer.on(
      () => heard(),
      () => {
        this.#viewers.delete(viewer)
        heard()
      },
    )
    const send = async (chunk: readonly TraceLine[]) => {
      viewer.send(at, chunk)
      while (!viewer.isReady && !viewer.isGone) await new Promise<void>((resolve) => (heard = resolve))
    }
    let chunk: TraceLine[] = []
    let length = 0
    for await (const line of messagesIn(this.#path)) {
      if (viewer.isGone) return
      if (line.n <= read) continue
      chunk.push(line)
      length += line.json.length
      if (length < chunkLength) continue
      await send(chunk)
      chunk = []
      length = 0
    }
    await send(chunk)
    // that nothing more will come is no message: a recording does not know it
    viewer.signal('end', { isTruncated, hasOutcome: outcome !== undefined })
  }
}
