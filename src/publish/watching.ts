/**
 * Changes of regions, from their streams. A watcher has a connection of its own, since the server keeps it waiting; in a
 * Cluster one for each region, since one command cannot wait in two slots. After an outage it goes on where it was.
 */
import { ConfigurationError, FatalError, type TailraceError } from '../errors.ts'
import { Connection } from './connection.ts'
import { deadline, pause, retryMs } from './deadline.ts'
import { redisFailure, type Doing } from './failures.ts'
import { Flights, type Command } from './flights.ts'
import { regionKeys } from './keys.ts'
import type { RegionChange } from './port.ts'
import type { Target } from './redis-target.ts'
import { parseStamp } from './script.ts'

export interface Watching {
  readonly target: Target
  readonly prefix: string
  readonly regions: readonly string[]
  readonly after: Readonly<Record<string, string>>
  readonly attemptMs: number
  /** Any of them ends it. */
  readonly signals: readonly AbortSignal[]
  /** Connections that are being ended, for who waits until nothing is left. */
  readonly closing: Set<Promise<void>>
}

/** The server answers at the latest after that; then it is asked again. */
const longestWaitMs = 5_000

/** What is there already is none of it: where each stream ends is asked at once, not with the first `next()`. */
export function watchStreams(watching: Watching): AsyncIterable<RegionChange> {
  const ended = new AbortController()
  const end = () => ended.abort(new Error('the watch has ended'))
  for (const signal of watching.signals) {
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true, signal: ended.signal })
  }
  const groups = watching.target.isCluster ? watching.regions.map((region) => [region]) : [watching.regions]
  const lines = groups.map((regions) => new Line(watching, regions, ended.signal))
  return { [Symbol.asyncIterator]: () => merged(lines, ended) }
}

/** Everything that the lines hear, as it comes. */
async function* merged(lines: readonly Line[], ended: AbortController): AsyncGenerator<RegionChange, void> {
  const heard: RegionChange[] = []
  let failure: Error | undefined
  let wake: () => void = () => undefined
  const woken = () => wake()
  ended.signal.addEventListener('abort', woken)
  const listening = lines.map(async (line) => {
    try {
      for (;;) {
        const changes = await line.next()
        if (changes === undefined) return
        heard.push(...changes)
        woken()
      }
    } catch (error) {
      failure ??= error as Error
      woken()
    }
  })
  try {
    for (;;) {
      while (heard.length > 0 && !ended.signal.aborted) yield heard.shift()!
      if (failure !== undefined) throw failure
      if (ended.signal.aborted) return
      await new Promise<void>((resolve) => (wake = resolve))
    }
  } finally {
    ended.abort(new Error('the watch has ended'))
    await Promise.all(listening)
    await Promise.all(lines.map((line) => line.close()))
    ended.signal.removeEventListener('abort', woken)
  }
}

/** One connection that waits for the streams of some regions. */
class Line {
  readonly #watching: Watching
  readonly #regions: ReadonlyMap<string, string>
  readonly #ended: AbortSignal
  readonly #connection: Connection
  readonly #flights = new Flights({ replicas: 0, timeoutMs: 0 })
  readonly #from: Promise<Map<string, string> | undefined>

  constructor(watching: Watching, regions: readonly string[], ended: AbortSignal) {
    this.#watching = watching
    this.#regions = new Map(regions.map((region) => [regionKeys(watching.prefix, region).events, region]))
    this.#ended = ended
    this.#connection = new Connection(watching.target, { allMasters: false })
    this.#from = this.#positions()
    this.#from.catch(() => undefined)
    // nobody may ever listen
    ended.addEventListener('abort', () => void this.close(), { once: true })
  }

  close(): Promise<void> {
    const { closing } = this.#watching
    const closed = this.#connection.close().finally(() => closing.delete(closed))
    closing.add(closed)
    return closed
  }

  /** Changes that are there, or the next ones; undefined when it has ended. */
  async next(): Promise<readonly RegionChange[] | undefined> {
    const from = await this.#from
    if (from === undefined) return undefined
    const keys = [...from.keys()]
    for (;;) {
      const block = Math.max(1, Math.floor(Math.min(longestWaitMs, this.#watching.attemptMs / 2)))
      const args = ['COUNT', 100, 'BLOCK', block, 'STREAMS', ...keys, ...from.values()]
      const replies = await this.#ask([{ key: keys[0]!, name: 'XREAD', args }])
      if (replies === undefined) return undefined
      const streams = (replies[0] ?? []) as readonly [Buffer, readonly [Buffer, readonly Buffer[]][]][]
      const changes = streams.flatMap(([key, entries]) =>
        entries.map(([entry, fields]) => this.#change(key.toString(), entry.toString(), fields)),
      )
      for (const [key, entries] of streams) from.set(key.toString(), entries.at(-1)![0].toString())
      if (changes.length > 0) return changes
    }
  }

  #change(key: string, entry: string, fields: readonly Buffer[]): RegionChange {
    const facts = new Map<string, string>()
    for (let at = 0; at + 1 < fields.length; at += 2) {
      facts.set(fields[at]!.toString(), fields[at + 1]!.toString())
    }
    return {
      region: this.#regions.get(key)!,
      entry,
      id: facts.get('id') ?? '',
      stamp: parseStamp(facts.get('stamp') ?? ''),
      isTombstone: facts.get('tombstone') === '1',
    }
  }

  /** After which entry of each stream it begins. */
  async #positions(): Promise<Map<string, string> | undefined> {
    const { after } = this.#watching
    const from = new Map<string, string>()
    const open: string[] = []
    for (const [key, region] of this.#regions) {
      const given = after[region]
      from.set(key, given ?? '0-0')
      if (given === undefined) open.push(key)
    }
    const commands = open.map((key) => ({ key, name: 'XREVRANGE', args: [key, '+', '-', 'COUNT', 1] }))
    const replies = await this.#ask(commands)
    if (replies === undefined) return undefined
    for (const [at, key] of open.entries()) {
      const [last] = replies[at] as readonly [Buffer, unknown][]
      if (last !== undefined) from.set(key, last[0].toString())
    }
    return from
  }

  /** Asks until it is answered; undefined when the watch has ended. @throws where no retry helps */
  async #ask(commands: readonly Command[]): Promise<readonly unknown[] | undefined> {
    for (let attempt = 0; !this.#ended.aborted; attempt++) {
      try {
        using time = deadline(this.#watching.attemptMs, this.#ended)
        const client = await this.#connection.ready(time.signal)
        const sent = commands.map((command) => this.#flights.send(client, command, time.signal, false))
        const answers = await time.race(Promise.all(sent))
        return answers.map(({ reply }) => reply)
      } catch (error) {
        if (this.#ended.aborted) return undefined
        const failure = this.#failure(error)
        if (failure instanceof ConfigurationError || failure instanceof FatalError) throw failure
      }
      await pause(retryMs(attempt, Math.random), this.#ended)
    }
    return undefined
  }

  #failure(error: unknown): TailraceError {
    const names = [...this.#regions.values()].map((region) => `'${region}'`).join(', ')
    const doing: Doing = {
      address: this.#watching.target.address,
      what: `watch ${this.#regions.size === 1 ? 'region' : 'regions'} ${names}`,
      keys: [...this.#regions.keys()],
    }
    return redisFailure(error, doing)
  }
}
