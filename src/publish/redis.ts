/**
 * Regions in Redis: one script for each snapshot, all of a turn in one flight. The rules are the script's (`script.ts`);
 * here they meet the connection, deadlines and replicas.
 */
import { ConfigurationError } from '../errors.ts'
import { Connection } from './connection.ts'
import { deadline, type Deadline } from './deadline.ts'
import { pack, packNow, unpack } from './envelope.ts'
import { givenUp, notReplicated, redisFailure, unanswered, unreachable, type Doing } from './failures.ts'
import { Flights, type Answer, type Command } from './flights.ts'
import { checkRegion, regionKeys, runsKey } from './keys.ts'
import type {
  Delivery,
  Outgoing,
  PlannedKey,
  PublisherSettings,
  RegionChange,
  RegionPublisher,
  RegionSnapshot,
  Stamp,
} from './port.ts'
import { checkSnapshot, plannedKeys } from './outgoing.ts'
import { checkOptions, type CheckedOptions, type PublisherOptions } from './publisher-options.ts'
import { redisTarget, type RedisAddress, type Target } from './redis-target.ts'
import {
  entryFields,
  entryOf,
  historyScript,
  parseDelivery,
  parseEntry,
  parseStamp,
  persistArguments,
  persistScript,
  type Entry,
} from './script.ts'
import { watchStreams } from './watching.ts'

/** Where Redis is (`url`, or `cluster`, or `sentinels` and `name`), what it keeps, and how it is used. */
export type RedisRegionsOptions = RedisAddress & PublisherOptions

/**
 * Regions in Redis 6.2 or later, or Valkey: a server, a Cluster or one that Sentinels watch. Connects when it is first
 * used, or by `connect()`.
 * @throws ConfigurationError `INVALID_OPTIONS`
 * @example
 * const regions = redisRegions({ url: 'redis://localhost:6379', compress: 'brotli' })
 * @example
 * redisRegions({ cluster: { nodes: ['redis://10.0.0.1:7000', 'redis://10.0.0.2:7000'] }, replicas: 1 })
 * @example
 * redisRegions({ sentinels: [{ host: '10.0.0.1', port: 26379 }], name: 'mymaster' })
 */
export function redisRegions(options: RedisRegionsOptions): RegionPublisher {
  const checked = checkOptions(options)
  return new RedisRegions(redisTarget(options, checked.settings.attemptMs), checked)
}

/** For how much of an attempt the server may wait for its replicas; whatever comes behind on the connection waits, too. */
const replicasShare = 0.25

class RedisRegions implements RegionPublisher {
  readonly address: string
  readonly settings: PublisherSettings
  readonly #target: Target
  readonly #options: CheckedOptions
  readonly #connection: Connection
  readonly #flights: Flights
  readonly #replicasMs: number
  /** The number of the next run: asked for while connecting. */
  #run: Promise<number> | undefined
  /** Watchers end with us. */
  #closed = new AbortController()
  readonly #closing = new Set<Promise<void>>()

  constructor(target: Target, options: CheckedOptions) {
    this.address = target.address
    this.settings = options.settings
    this.#target = target
    this.#options = options
    this.#connection = new Connection(target)
    this.#replicasMs = Math.max(1, Math.floor(options.settings.attemptMs * replicasShare))
    this.#flights = new Flights({ replicas: options.replicas, timeoutMs: this.#replicasMs })
  }

  get isConnected(): boolean {
    return this.#connection.isConnected
  }

  async connect(): Promise<void> {
    const key = runsKey(this.#options.prefix)
    // The first answer tells whether the server takes us. A Cluster has answered already, and whichever node is asked now
    // may be the one that does not answer.
    const commands = this.#target.isCluster ? [] : [{ key, name: 'EXISTS', args: [key] }]
    const asked = this.#ask(commands, { address: this.address, what: 'connect to regions', keys: [key] })
    // in the same flight, so that the first publish is one; whoever may only read does without
    if (this.#run === undefined) {
      this.#run = this.#increment()
      this.#run.catch(() => {
        this.#run = undefined
      })
    }
    await asked
    if (!this.#target.isCluster) await this.#run.catch(() => undefined)
  }

  async persist(snapshot: Outgoing, signal: AbortSignal): Promise<Delivery> {
    checkSnapshot(snapshot)
    const { prefix, keep, schema, replicas } = this.#options
    const names = regionKeys(prefix, snapshot.region)
    const packed = await pack(snapshot.region, snapshot.body, this.#options)
    const isWaitedFor = replicas > 0
    const { keys, args } = persistArguments(names, snapshot, packed, { keep, schema, isWaitedFor })
    const doing: Doing = {
      address: this.address,
      what: `deliver region '${snapshot.region}'`,
      keys,
      writer: snapshot.writer,
    }
    const command = { key: names.latest, script: persistScript, keys, args }
    const [answer] = await this.#ask([command], doing, signal, true)
    const delivery = parseDelivery(answer!.reply)
    if (delivery.status !== 'stale' && answer!.replicas < replicas) {
      throw notReplicated(doing, replicas, answer!.replicas, this.#replicasMs)
    }
    return delivery
  }

  async standing(
    regions: readonly string[],
  ): Promise<ReadonlyMap<string, { readonly stamp: Stamp; readonly id: string }>> {
    const standing = new Map<string, { readonly stamp: Stamp; readonly id: string }>()
    const rows = await this.#fields(regions, 'look up regions', ['id', 'stamp'])
    for (const [at, region] of regions.entries()) {
      const [id, stamp] = rows[at]!
      if (id && stamp) standing.set(region, { stamp: parseStamp(stamp.toString()), id: id.toString() })
    }
    return standing
  }

  nextRun(): Promise<number> {
    const run = this.#run ?? this.#increment()
    this.#run = undefined
    return run
  }

  async #increment(): Promise<number> {
    const key = runsKey(this.#options.prefix)
    const doing: Doing = { address: this.address, what: 'get the number of a run', keys: [key] }
    const [answer] = await this.#ask([{ key, name: 'INCR', args: [key] }], doing, undefined, true)
    const { replicas } = this.#options
    // a number that only a lost server had would be given out again
    if (answer!.replicas < replicas) throw notReplicated(doing, replicas, answer!.replicas, this.#replicasMs)
    return Number(answer!.reply)
  }

  async read(regions: readonly string[]): Promise<ReadonlyMap<string, RegionSnapshot>> {
    const fields = ['id', 'tombstone', ...entryFields, 'body']
    const rows = await this.#fields(regions, 'read regions', fields)
    const found = await Promise.all(
      regions.map(async (region, at) => {
        const [id, tombstone, ...fields] = rows[at]!
        const body = fields.pop()
        if (!id || !body || tombstone?.toString() !== '0') return []
        const entry = entryOf(
          fields.map((field) => field?.toString() ?? ''),
          body,
        )
        return [[region, await snapshotOf(region, id.toString(), entry)] as const]
      }),
    )
    return new Map(found.flat())
  }

  async history(region: string, limit: number): Promise<readonly RegionSnapshot[]> {
    checkRegion(region)
    const { latest, index, bodies } = regionKeys(this.#options.prefix, region)
    const keys = [latest, index, bodies]
    const doing: Doing = { address: this.address, what: `read the history of region '${region}'`, keys }
    const [answer] = await this.#ask([{ key: latest, script: historyScript, keys, args: [limit] }], doing)
    const texts = answer!.reply as readonly Buffer[]
    const entries = Array.from({ length: texts.length / 2 }, (_, at) => ({
      id: texts[2 * at]!.toString(),
      entry: parseEntry(texts[2 * at + 1]!),
    }))
    return Promise.all(entries.map(({ id, entry }) => snapshotOf(region, id, entry)))
  }

  watch(
    regions: readonly string[],
    options: { readonly signal: AbortSignal; readonly after?: Readonly<Record<string, string>> | undefined },
  ): AsyncIterable<RegionChange> {
    for (const region of regions) checkRegion(region)
    return watchStreams({
      target: this.#target,
      prefix: this.#options.prefix,
      regions,
      after: options.after ?? {},
      attemptMs: this.settings.attemptMs,
      signals: [options.signal, this.#closed.signal],
      closing: this.#closing,
    })
  }

  plan(snapshot: Outgoing): readonly PlannedKey[] {
    checkSnapshot(snapshot)
    const packed = packNow(snapshot.region, snapshot.body, this.#options)
    return plannedKeys(this.#options, snapshot, packed)
  }

  onReconnect(listener: () => void): () => void {
    return this.#connection.onReconnect(listener)
  }

  async close(): Promise<void> {
    this.#closed.abort(new Error('the publisher was closed'))
    this.#run = undefined
    this.#closed = new AbortController()
    await Promise.all([this.#connection.close(), ...this.#closing])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Fields of several regions' `latest`. */
  async #fields(
    regions: readonly string[],
    what: string,
    fields: readonly string[],
  ): Promise<readonly (readonly (Buffer | null)[])[]> {
    for (const region of regions) checkRegion(region)
    const keys = regions.map((region) => regionKeys(this.#options.prefix, region).latest)
    const commands = keys.map((key) => ({ key, name: 'HMGET', args: [key, ...fields] }))
    const answers = await this.#ask(commands, { address: this.address, what, keys })
    return answers.map(({ reply }) => reply as readonly (Buffer | null)[])
  }

  /** Sends commands in one flight, once there is a connection. One deadline for both. */
  async #ask(
    commands: readonly Command[],
    doing: Doing,
    callers?: AbortSignal,
    isWrite = false,
  ): Promise<readonly Answer[]> {
    using time = deadline(this.settings.attemptMs, callers)
    let isSent = false
    try {
      const client = await this.#connection.ready(time.signal)
      isSent = true
      const { signal } = time
      return await time.race(
        Promise.all(commands.map((command) => this.#flights.send(client, command, signal, isWrite))),
      )
    } catch (error) {
      throw this.#failure(error, doing, time, isSent)
    }
  }

  #failure(error: unknown, doing: Doing, time: Deadline, isSent: boolean): Error {
    if (!time.signal.aborted || error instanceof ConfigurationError) return redisFailure(error, doing)
    if (!time.isOver) return givenUp(doing, time.signal.reason)
    const { attemptMs } = this.settings
    return isSent
      ? unanswered(doing, attemptMs)
      : unreachable(doing, attemptMs, this.#connection.lastFailure?.cause)
  }
}

async function snapshotOf(region: string, id: string, entry: Entry): Promise<RegionSnapshot> {
  return {
    region,
    id,
    body: await unpack(region, entry.body, entry.encoding),
    stamp: entry.stamp,
    hash: entry.hash,
    schema: entry.schema,
    persistedAt: new Date(entry.persistedAt / 1_000),
    confirmedAt: new Date(entry.confirmedAt / 1_000),
    bytes: entry.body.length,
  }
}
