/**
 * Regions in this process: the same rules as in Redis, without a server. For demonstrations and for tests; whoever wants
 * to read them asks this very publisher. `test/redis/memory-twin.test.ts` holds it against the script.
 */
import { FatalError, RetryableError } from '../errors.ts'
import { compareStamps } from '../stamp.ts'
import { pack, packNow, unpack, type Packed } from './envelope.ts'
import { checkRegion } from './keys.ts'
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
import { checkOptions, type CheckedOptions, type PublisherOptions } from './publisher-options.ts'
import { checkSnapshot, plannedKeys } from './outgoing.ts'

export interface MemoryRegionsOptions extends Omit<PublisherOptions, 'replicas'> {
  /** Milliseconds since 1970. Default: the system's clock. */
  readonly now?: (() => number) | undefined
}

export interface MemoryRegions extends RegionPublisher {
  /** Loses everything, as a server that came back empty, and tells whoever listens to `onReconnect`. For tests. */
  empty(): void
}

/**
 * @throws ConfigurationError `INVALID_OPTIONS`
 * @example
 * const regions = memoryRegions()
 * const { body } = (await readRegion(regions, 'mena'))!
 */
export function memoryRegions(options: MemoryRegionsOptions = {}): MemoryRegions {
  return new InProcess(checkOptions(options), options.now ?? Date.now)
}

interface Stored {
  readonly id: string
  readonly hash: string
  readonly packed: Packed
  readonly isTombstone: boolean
  readonly persistedAt: number
  stamp: Stamp
  confirmedAt: number
}

interface Region {
  readonly writer: string
  latest: Stored
  /** By id; without the one in `latest`. */
  readonly bodies: Map<string, Stored>
  /** Ids with the microsecond at which they became `latest`, oldest first. */
  readonly index: Map<string, number>
  expiresAt: number
}

class InProcess implements MemoryRegions {
  readonly address = 'this process'
  readonly isConnected = true
  readonly settings: PublisherSettings
  readonly #options: CheckedOptions
  readonly #now: () => number
  readonly #regions = new Map<string, Region>()
  readonly #events = new Map<string, RegionChange[]>()
  readonly #reconnectListeners = new Set<() => void>()
  /** Told after each change. */
  readonly #watchers = new Set<() => void>()
  #closed = new AbortController()
  #runs = 0
  #lastEntry = { milliseconds: 0, sequence: 0 }

  constructor(options: CheckedOptions, now: () => number) {
    this.#options = options
    this.settings = options.settings
    this.#now = now
  }

  connect(): Promise<void> {
    return Promise.resolve()
  }

  async persist(snapshot: Outgoing, signal: AbortSignal): Promise<Delivery> {
    checkSnapshot(snapshot)
    const packed = await pack(snapshot.region, snapshot.body, this.#options)
    if (signal.aborted) {
      throw new RetryableError(
        'REGION_ABORTED',
        `Did not deliver region '${snapshot.region}': its signal was aborted.`,
        { cause: signal.reason, phase: 'publish' },
      )
    }
    return this.#apply(snapshot, packed)
  }

  /** The script's rules, in the script's order. */
  #apply(snapshot: Outgoing, packed: Packed): Delivery {
    const { region: name, id, stamp, hash, writer } = snapshot
    const region = this.#region(name)
    if (region === undefined) {
      this.#becomeLatest(snapshot, packed, undefined)
      return { status: 'persisted', bytes: packed.bytes.length, wasEmpty: true }
    }
    if (region.writer !== writer) throw foreign(name, region.writer, writer)
    const { latest } = region
    const bytes = latest.packed.bytes.length
    const order = compareStamps(stamp, latest.stamp)
    if (latest.id === id) {
      if (order > 0) this.#advance(region, stamp)
      return { status: 'replayed', bytes, wasEmpty: false }
    }
    if (order <= 0) {
      if (region.index.has(id)) return { status: 'replayed', bytes, wasEmpty: false }
      if (latest.hash === hash) return { status: 'duplicate', bytes, wasEmpty: false }
      return { status: 'stale', bytes: 0, wasEmpty: false }
    }
    if (latest.hash === hash) {
      this.#advance(region, stamp)
      return { status: 'duplicate', bytes, wasEmpty: false }
    }
    this.#becomeLatest(snapshot, packed, region)
    return { status: 'persisted', bytes: packed.bytes.length, wasEmpty: false }
  }

  #advance(region: Region, stamp: Stamp): void {
    region.latest.stamp = stamp
    region.latest.confirmedAt = this.#now()
    region.expiresAt = this.#now() + this.#options.keep.ttlMs
  }

  #becomeLatest(snapshot: Outgoing, packed: Packed, before: Region | undefined): void {
    const { id, stamp, hash, writer, body } = snapshot
    const now = this.#now()
    const { count, ageMs, ttlMs } = this.#options.keep
    const isTombstone = body === null
    const latest: Stored = { id, stamp, hash, packed, isTombstone, persistedAt: now, confirmedAt: now }
    const region = before ?? { writer, latest, bodies: new Map(), index: new Map(), expiresAt: 0 }
    if (before !== undefined && count > 0 && !before.latest.isTombstone) {
      region.bodies.set(before.latest.id, before.latest)
    }
    region.latest = latest
    region.expiresAt = now + ttlMs
    this.#regions.set(snapshot.region, region)
    if (count > 0) {
      region.bodies.delete(id)
      const newest = [...region.index.values()].at(-1) ?? 0
      region.index.delete(id)
      region.index.set(id, Math.max(now * 1_000, newest + 1))
      const surplus = region.index.size - count - 1
      for (const [at, [old, score]] of [...region.index].entries()) {
        if (old === id || (at >= surplus && score >= (now - ageMs) * 1_000)) continue
        region.index.delete(old)
        region.bodies.delete(old)
      }
    }
    this.#tell({ region: snapshot.region, entry: this.#nextEntry(now), id, stamp, isTombstone })
  }

  #nextEntry(now: number): string {
    const { milliseconds, sequence } = this.#lastEntry
    this.#lastEntry =
      now > milliseconds ? { milliseconds: now, sequence: 0 } : { milliseconds, sequence: sequence + 1 }
    return `${this.#lastEntry.milliseconds}-${this.#lastEntry.sequence}`
  }

  #tell(change: RegionChange): void {
    const events = this.#events.get(change.region) ?? []
    events.push(change)
    if (events.length > this.#options.keep.streamLength) events.shift()
    this.#events.set(change.region, events)
    for (const watcher of this.#watchers) watcher()
  }

  /** The region, unless its time is up. */
  #region(name: string): Region | undefined {
    const region = this.#regions.get(name)
    if (region === undefined || region.expiresAt > this.#now()) return region
    this.#regions.delete(name)
    this.#events.delete(name)
    return undefined
  }

  standing(
    regions: readonly string[],
  ): Promise<ReadonlyMap<string, { readonly stamp: Stamp; readonly id: string }>> {
    const standing = regions.flatMap((name) => {
      checkRegion(name)
      const latest = this.#region(name)?.latest
      return latest === undefined ? [] : [[name, { stamp: latest.stamp, id: latest.id }] as const]
    })
    return Promise.resolve(new Map(standing))
  }

  nextRun(): Promise<number> {
    return Promise.resolve(++this.#runs)
  }

  async read(regions: readonly string[]): Promise<ReadonlyMap<string, RegionSnapshot>> {
    const found = new Map<string, RegionSnapshot>()
    for (const name of regions) {
      checkRegion(name)
      const latest = this.#region(name)?.latest
      if (latest !== undefined && !latest.isTombstone) found.set(name, await this.#shown(name, latest))
    }
    return found
  }

  async history(region: string, limit: number): Promise<readonly RegionSnapshot[]> {
    checkRegion(region)
    const found = this.#region(region)
    if (found === undefined) return []
    const former = [...found.index.keys()].reverse().flatMap((id) => found.bodies.get(id) ?? [])
    const all = found.latest.isTombstone ? former : [found.latest, ...former]
    return Promise.all(all.slice(0, limit).map((stored) => this.#shown(region, stored)))
  }

  async #shown(region: string, stored: Stored): Promise<RegionSnapshot> {
    const { id, stamp, hash, packed, persistedAt, confirmedAt } = stored
    return {
      region,
      id,
      body: await unpack(region, packed.bytes, packed.encoding),
      stamp,
      hash,
      schema: this.#options.schema,
      persistedAt: new Date(persistedAt),
      confirmedAt: new Date(confirmedAt),
      bytes: packed.bytes.length,
    }
  }

  watch(
    regions: readonly string[],
    options: { readonly signal: AbortSignal; readonly after?: Readonly<Record<string, string>> | undefined },
  ): AsyncIterable<RegionChange> {
    const from = new Map<string, string>()
    for (const name of regions) {
      checkRegion(name)
      from.set(name, options.after?.[name] ?? this.#events.get(name)?.at(-1)?.entry ?? '0-0')
    }
    const closed = this.#closed.signal
    return { [Symbol.asyncIterator]: () => this.#changes(from, [options.signal, closed]) }
  }

  async *#changes(
    from: Map<string, string>,
    signals: readonly AbortSignal[],
  ): AsyncGenerator<RegionChange, void> {
    let wake: () => void = () => undefined
    const woken = () => wake()
    this.#watchers.add(woken)
    for (const signal of signals) signal.addEventListener('abort', woken)
    const hasEnded = () => signals.some(({ aborted }) => aborted)
    try {
      while (!hasEnded()) {
        const next = [...from]
          .flatMap(
            ([name, entry]) => this.#events.get(name)?.find((event) => isAfter(event.entry, entry)) ?? [],
          )
          .sort((a, b) => (isAfter(a.entry, b.entry) ? 1 : -1))[0]
        if (next === undefined) await new Promise<void>((resolve) => (wake = resolve))
        else {
          from.set(next.region, next.entry)
          yield next
        }
      }
    } finally {
      this.#watchers.delete(woken)
      for (const signal of signals) signal.removeEventListener('abort', woken)
    }
  }

  plan(snapshot: Outgoing): readonly PlannedKey[] {
    checkSnapshot(snapshot)
    return plannedKeys(this.#options, snapshot, packNow(snapshot.region, snapshot.body, this.#options))
  }

  onReconnect(listener: () => void): () => void {
    const own = () => listener()
    this.#reconnectListeners.add(own)
    return () => void this.#reconnectListeners.delete(own)
  }

  empty(): void {
    this.#regions.clear()
    this.#events.clear()
    this.#runs = 0
    for (const listener of this.#reconnectListeners) listener()
  }

  /** Ends who watches; what is held stays, as in a server. */
  close(): Promise<void> {
    this.#closed.abort(new Error('the publisher was closed'))
    this.#closed = new AbortController()
    return Promise.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function isAfter(a: string, b: string): boolean {
  const [aMs = 0, aSequence = 0] = a.split('-').map(Number)
  const [bMs = 0, bSequence = 0] = b.split('-').map(Number)
  return aMs > bMs || (aMs === bMs && aSequence > bSequence)
}

function foreign(region: string, owner: string, writer: string): FatalError {
  const named = (name: string) => (name === '' ? 'publishRegions without an indexer' : `'${name}'`)
  return new FatalError(
    'REGION_FOREIGN',
    `Cannot deliver region '${region}': it belongs to ${named(owner)}, not to ${named(writer)}. Nothing was written. Give this region another id.`,
    { phase: 'publish' },
  )
}
