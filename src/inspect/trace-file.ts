/**
 * A trace as it lies on the disk, perhaps of a process that was killed in the middle of a line. It is read line by line
 * each time, however large it is.
 */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { messageOf } from '../errors.ts'
import { protocolVersion } from './protocol.ts'

/** A file that cannot be shown: the message says why, and what to do. */
export class TraceRefused extends Error {
  override readonly name = 'TraceRefused'
}

export interface TraceLine {
  readonly n: number
  readonly json: string
}

/** What a whole reading has found. */
export interface TraceSummary {
  readonly pipeline: string
  /** When the recording began, Unix milliseconds. */
  readonly at: number
  readonly runs: number
  readonly messages: number
  /** Its last line was cut off, or others are damaged: lines that are passed over. */
  readonly isTruncated: boolean
  readonly damaged: number
  /** How the last run ended; undefined: the trace ends before. */
  readonly outcome: string | undefined
}

interface Parsed {
  readonly n: number
  readonly kind: unknown
  readonly version?: unknown
  readonly run?: unknown
  readonly at?: unknown
  readonly pipeline?: unknown
  readonly outcome?: { readonly status?: unknown } | undefined
}

/** @throws TraceRefused for a file that is no trace, or one of another version */
export async function summaryOf(path: string): Promise<TraceSummary> {
  const summary = {
    pipeline: '',
    at: 0,
    runs: 0,
    messages: 0,
    isTruncated: false,
    damaged: 0,
    outcome: undefined as string | undefined,
  }
  let isFirst = true
  try {
    for await (const line of linesIn(path)) {
      if (summary.isTruncated) {
        // it was not the last one
        summary.damaged++
        summary.isTruncated = false
      }
      const message = parse(line)
      if (isFirst) {
        isFirst = false
        const { pipeline, at } = helloOf(path, message)
        Object.assign(summary, { pipeline, at })
      }
      if (message === undefined) {
        summary.isTruncated = true
        continue
      }
      summary.messages++
      if (message.kind === 'hello') {
        if (message.version !== protocolVersion) throw otherVersion(path, message.version)
        // a viewer may have come before the first run
        if (message.run !== 0) summary.runs++
        summary.outcome = undefined
      }
      if (message.kind === 'outcome') summary.outcome = String(message.outcome?.status)
    }
  } catch (error) {
    if (error instanceof TraceRefused) throw error
    throw new TraceRefused(`The trace '${path}' cannot be read: ${messageOf(error)}.`, { cause: error })
  }
  if (isFirst) {
    throw new TraceRefused(
      `'${path}' is empty: nothing has been recorded in it. A trace is what createIndexer({ record: '${path}' }) writes.`,
    )
  }
  return summary
}

/** Its messages, damaged lines left out. */
export async function* messagesIn(path: string): AsyncIterable<TraceLine> {
  for await (const json of linesIn(path)) {
    const message = parse(json)
    if (message !== undefined) yield { n: message.n, json }
  }
}

async function* linesIn(path: string): AsyncIterable<string> {
  const file = createReadStream(path, { encoding: 'utf8' })
  const lines = createInterface({ input: file, crlfDelay: Infinity })
  // readline does not pass it on
  let failure: Error | undefined
  file.on('error', (error) => {
    failure = error
    lines.close()
  })
  try {
    for await (const line of lines) if (line !== '') yield line
  } finally {
    lines.close()
    file.destroy()
  }
  if (failure !== undefined) throw failure
}

function parse(line: string): Parsed | undefined {
  try {
    const message = JSON.parse(line) as Parsed | null
    return typeof message === 'object' && Number.isSafeInteger(message?.n)
      ? (message ?? undefined)
      : undefined
  } catch {
    return undefined
  }
}

function helloOf(path: string, message: Parsed | undefined): Pick<TraceSummary, 'pipeline' | 'at'> {
  if (message?.kind !== 'hello') {
    throw new TraceRefused(
      `'${path}' is no trace: its first line is not a greeting of tailrace. Give a file that createIndexer({ record }) wrote, or that the inspector's page saved.`,
    )
  }
  if (message.version !== protocolVersion) throw otherVersion(path, message.version)
  return { pipeline: String(message.pipeline), at: Number(message.at) }
}

function otherVersion(path: string, version: unknown): TraceRefused {
  return new TraceRefused(
    `'${path}' is a trace of version ${String(version)}, this tailrace reads version ${protocolVersion}. Open it with the tailrace that recorded it.`,
  )
}
