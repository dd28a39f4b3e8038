/**
 * What the server tells: server-sent events, read from the response itself. The browser's own EventSource takes eight
 * times as long for a long recording. They are taken in slices, so that nothing is blocked, and no faster than they are
 * read: the server waits.
 */
import type { Message } from '../protocol.ts'
import type { Connection, View } from './view.ts'

const sliceMs = 8
const retryMs = 1_000

interface Told {
  readonly event: string
  readonly data: string
  readonly id: string
}

/** For as long as the page is there. */
export async function listen(view: View, url = 'events'): Promise<void> {
  let lastId = ''
  const connection = (state: Connection): void => {
    if (view.connection === state) return
    view.connection = state
    view.changed('choice')
  }
  for (;;) {
    try {
      const headers: Record<string, string> = lastId === '' ? {} : { 'Last-Event-ID': lastId }
      const response = await fetch(url, { headers, cache: 'no-store' })
      if (!response.ok || response.body === null) throw new Error(`${response.status}`)
      connection('open')
      let since = performance.now()
      for await (const told of eventsOf(response.body)) {
        lastId = told.id
        if (told.event === 'end') connection(endOf(told.data))
        else {
          const message = read(told.data)
          if (message !== undefined) view.recording.add(message)
        }
        view.heard()
        if (performance.now() - since < sliceMs) continue
        await otherTasks()
        since = performance.now()
      }
    } catch {
      // what the server said in place of events is of no use here: it is asked again
    }
    if (view.connection !== 'ended' && view.connection !== 'truncated') connection('lost')
    await new Promise((resolve) => setTimeout(resolve, retryMs))
  }
}

/** As the standard reads them; of each event the last `data` line, for the server writes one. */
async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncIterable<Told> {
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader()
  let rest = ''
  let [event, data, id] = ['', '', '']
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    const lines = (rest + value).split('\n')
    rest = lines.pop()!
    for (const line of lines) {
      if (line === '') {
        if (data !== '') yield { event, data, id }
        event = data = ''
      } else if (line.startsWith('data: ')) data = line.slice(6)
      else if (line.startsWith('id: ')) id = line.slice(4)
      else if (line.startsWith('event: ')) event = line.slice(7)
    }
  }
}

/** Lets what else waits have its turn: clicks, painting. */
function otherTasks(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    const done = (): void => {
      port1.close()
      resolve()
    }
    port1.addEventListener('message', done, { once: true })
    port1.start()
    port2.postMessage(undefined)
  })
}

/** A recording has been told to its end; without an outcome the run went on, or was killed. */
function endOf(data: string): Connection {
  const { isTruncated, hasOutcome } = JSON.parse(data) as { isTruncated: boolean; hasOutcome: boolean }
  return isTruncated || !hasOutcome ? 'truncated' : 'ended'
}

/** @returns undefined: of another version, or none at all */
function read(text: string): Message | undefined {
  try {
    const message = JSON.parse(text) as Partial<Message> | null
    const isWhole =
      typeof message?.n === 'number' && typeof message.t === 'number' && typeof message.kind === 'string'
    return isWhole ? (message as Message) : undefined
  } catch {
    return undefined
  }
}
