/** A viewer of the tests: reads server-sent events as a browser does, and asks for what a browser would not. */
import { request, type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import { inspectableOf } from '../../src/inspect/inspectable.ts'
import type { Message } from '../../src/inspect/index.ts'
import type { Indexer } from '../../src/index.ts'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

function open(url: string, headers: OutgoingHttpHeaders, method = 'GET'): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    // no agent: a kept connection would outlive the test
    const asked = request(url, { method, headers, agent: false }, resolve)
    asked.on('error', reject)
    asked.end()
  })
}

export async function ask(url: string, headers: OutgoingHttpHeaders = {}, method = 'GET'): Promise<Answer> {
  const response = await open(url, headers, method)
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk as string
  return { status: response.statusCode!, headers: response.headers, text }
}

export interface Look {
  readonly status: number
  readonly messages: Message[]
  /** Names of events that are no messages. */
  readonly signals: string[]
  readonly lastId: string
  /** The first message, past or future, that is like that. */
  until(accept: (message: Message) => boolean): Promise<Message>
  signalled(name: string): Promise<void>
  pause(): void
  resume(): void
  /** Goes away without a word. */
  leave(): Promise<void>
  /** The server has ended it. */
  readonly ended: Promise<void>
}

/** @param headers `{ 'Last-Event-ID': … }` of one that was here before */
export async function look(url: string, headers: OutgoingHttpHeaders = {}): Promise<Look> {
  const response = await open(new URL('events', url).href, headers)
  const messages: Message[] = []
  const signals: string[] = []
  let lastId = ''
  let rest = ''
  let heard: () => void = () => undefined
  response.setEncoding('utf8').on('data', (text: string) => {
    const events = (rest + text).split('\n\n')
    rest = events.pop()!
    for (const event of events) {
      const fields = new Map(event.split('\n').map((line) => line.split(/: (.*)/s) as [string, string]))
      const data = fields.get('data')
      if (fields.has('event')) signals.push(fields.get('event')!)
      else if (data !== undefined) messages.push(JSON.parse(data) as Message)
      lastId = fields.get('id') ?? lastId
    }
    heard()
  })
  response.on('error', () => undefined)
  const ended = new Promise<void>((resolve) => response.once('close', resolve))
  const until = async <T>(find: () => T | undefined): Promise<T> => {
    for (let found = find(); ; found = find()) {
      if (found !== undefined) return found
      if (response.closed)
        throw new Error(`it ended before that; the last was ${JSON.stringify(messages.at(-1))}`)
      await Promise.race([new Promise<void>((resolve) => (heard = resolve)), ended])
    }
  }
  return {
    status: response.statusCode!,
    messages,
    signals,
    get lastId() {
      return lastId
    },
    until: (accept) => until(() => messages.find(accept)),
    signalled: async (name) => void (await until(() => (signals.includes(name) ? true : undefined))),
    pause: () => void response.pause(),
    resume: () => void response.resume(),
    async leave() {
      response.destroy()
      await ended
    },
    ended,
  }
}

export const isOutcome = ({ kind }: Message): boolean => kind === 'outcome'

export function ofKind<K extends Message['kind']>(
  messages: readonly Message[],
  kind: K,
): Extract<Message, { kind: K }>[] {
  return messages.filter((message) => message.kind === kind) as Extract<Message, { kind: K }>[]
}

export interface Attachments {
  readonly now: number
  /** So many recorders at once at some time. */
  readonly most: number
  /** Resolves once nothing is attached, after something was. */
  readonly left: Promise<void>
}

/** Counts who watches the runs of an indexer: a recorder does from its attaching on. */
export function attachmentsOf(indexer: Indexer): Attachments {
  const { runs } = inspectableOf(indexer)
  const watch = runs.watch.bind(runs)
  let now = 0
  let most = 0
  let tell: () => void = () => undefined
  const left = new Promise<void>((resolve) => (tell = resolve))
  runs.watch = (watcher) => {
    most = Math.max(most, ++now)
    const undo = watch(watcher)
    return () => {
      undo()
      if (--now === 0) tell()
    }
  }
  return {
    get now() {
      return now
    },
    get most() {
      return most
    },
    left,
  }
}
