/**
 * The double of Redis: the rules of the real one (`memoryRegions`, held against the script by
 * test/redis/memory-twin.test.ts), and over the network what one process sees of it.
 */
import { FatalError, RetryableError } from '../../src/errors.ts'
import type { MemoryRegions } from '../../src/publish/memory.ts'
import type { Delivery, Outgoing, RegionPublisher } from '../../src/publish/port.ts'
import type { Pace } from './cases.ts'
import { untilAborted, type Network } from './network.ts'
import { Process, type VirtualTime } from './time.ts'

export class SimulatedRedis {
  readonly process = new Process('redis')
  readonly held: MemoryRegions
  readonly #time: VirtualTime
  readonly #listeners = new Set<{ readonly process: Process; tell(): void }>()
  #upAt = 0
  life = 0

  constructor(time: VirtualTime, held: MemoryRegions) {
    this.#time = time
    this.held = held
  }

  get isUp(): boolean {
    return this.#time.now >= this.#upAt
  }

  /** Everybody connects again once it is back. */
  goAway(downMs: number): void {
    this.life++
    this.#upAt = this.#time.now + downMs
    this.#time.at(this.process, downMs, () => this.reconnect())
  }

  /** Tells whoever is connected that it is so anew. */
  reconnect(): void {
    for (const { tell } of this.#listeners) tell()
  }

  /** Told in a step of the process's own. @returns what ends it */
  onReconnect(process: Process, listener: () => void): () => void {
    const own = { process, tell: () => void this.#time.at(process, 0, listener) }
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  listenersOf(process: Process): number {
    return [...this.#listeners].filter((listener) => listener.process === process).length
  }
}

export interface PublisherParts {
  readonly network: Network
  readonly redis: SimulatedRedis
  readonly process: Process
  readonly pace: Pace
  /** A delivery begins. */
  begins(region: string): void
  /** It is at the server; nobody has heard of it yet. */
  arrived(outgoing: Outgoing): Promise<Delivery>
  /** What readers see could not be asked. */
  lookFailed(): void
}

const facts = { phase: 'publish' } as const

export function simulatedPublisher(parts: PublisherParts): RegionPublisher {
  const { network, redis, process, pace, begins, arrived, lookFailed } = parts
  const { held } = redis
  return {
    address: held.address,
    settings: held.settings,
    isConnected: true,
    connect: () => held.connect(),
    async persist(outgoing, signal) {
      begins(outgoing.region)
      const answer = network.ask<Delivery>(process, redis, {
        kind: 'persist',
        span: pace.regions,
        execute: () => arrived(outgoing),
        refuse: () => Promise.reject(new FatalError('REFUSED', 'refused', facts)),
      })
      try {
        return await untilAborted(answer, signal, new Error('nobody waits any more'))
      } catch (error) {
        throw error instanceof FatalError
          ? error
          : new RetryableError('REDIS_UNREACHABLE', String(error), facts)
      }
    },
    async standing(regions) {
      try {
        return await network.ask(process, redis, {
          kind: 'look',
          span: pace.regions,
          execute: () => held.standing(regions),
        })
      } catch (error) {
        lookFailed()
        throw new RetryableError('REDIS_UNREACHABLE', String(error), facts)
      }
    },
    nextRun: () => held.nextRun(),
    read: (regions) => held.read(regions),
    history: (region, limit) => held.history(region, limit),
    watch: (regions, options) => held.watch(regions, options),
    plan: (outgoing) => held.plan(outgoing),
    onReconnect: (listener) => redis.onReconnect(process, listener),
    close: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
