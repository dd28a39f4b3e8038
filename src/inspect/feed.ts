/** What a server shows: a running indexer, or a trace. */
import type { Viewer } from './viewer.ts'

export interface Feed {
  /** Of the pipeline: the name of the file to save. */
  readonly name: string
  /** Sends it what there is, and what will be, until it leaves. */
  serve(viewer: Viewer): void
  /** The recording as it is now, a message a line. */
  lines(): Iterable<string> | AsyncIterable<string>
  /** Nothing more is sent. */
  close(): void
}
