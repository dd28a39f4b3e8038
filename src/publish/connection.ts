/**
 * The connection to Redis: made when somebody needs it or says so, and made again, with a new client, when it is lost.
 * Whatever was under way on a lost one is rejected with it, never sent again (H51). Whoever has to look whether the server
 * is another one, or empty now, is told after every new connection but the first (H77).
 */
import { ConfigurationError, type TailraceError } from '../errors.ts'
import { settlesWithin } from '../within.ts'
import { superviseCluster, type Supervision } from './cluster-nodes.ts'
import { pause, retryMs, unlessAborted } from './deadline.ts'
import { redisFailure } from './failures.ts'
import type { Client, Target } from './redis-target.ts'

/** How long the sockets of a client may take to close. */
const endDeadlineMs = 1_000

export class Connection {
  readonly #target: Target
  readonly #allMasters: boolean
  readonly #random: () => number
  readonly #listeners = new Set<() => void>()
  /** Ready to be written to. */
  #client: Client | undefined
  /** Goes on until there is one, or until no retry helps. */
  #opening: Promise<Client> | undefined
  #supervision: Supervision | undefined
  #closed = new AbortController()
  #closing: Promise<void> | undefined
  #wasConnected = false
  #lastFailure: TailraceError | undefined

  /** @param options `allMasters`: of a Cluster, not only those that are needed */
  constructor(
    target: Target,
    options: { readonly allMasters?: boolean | undefined; readonly random?: (() => number) | undefined } = {},
  ) {
    this.#target = target
    this.#allMasters = options.allMasters ?? true
    this.#random = options.random ?? Math.random
  }

  get isConnected(): boolean {
    return this.#client !== undefined
  }

  /** Why there is no connection, as far as it is known. */
  get lastFailure(): TailraceError | undefined {
    return this.#lastFailure
  }

  /**
   * A client that can be written to; makes the connection where there is none, and waits as long as the signal lets it.
   * @throws the signal's reason; ConfigurationError where no retry helps
   */
  async ready(signal: AbortSignal): Promise<Client> {
    signal.throwIfAborted()
    return this.#client ?? unlessAborted(this.#open(), signal)
  }

  onReconnect(listener: () => void): () => void {
    const own = () => listener()
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  /** Ends all of it: sockets, timers, attempts under way. Used again, it connects again. */
  close(): Promise<void> {
    this.#closing ??= this.#end().finally(() => {
      this.#closing = undefined
    })
    return this.#closing
  }

  async #end(): Promise<void> {
    this.#closed.abort(new Error('the connection was closed'))
    const opening = this.#opening
    const client = this.#client
    this.#client = undefined
    this.#supervision?.stop()
    if (client !== undefined) await endClient(client)
    await opening?.catch(() => undefined)
    this.#closed = new AbortController()
    this.#wasConnected = false
    this.#lastFailure = undefined
  }

  #open(): Promise<Client> {
    if (this.#opening === undefined) {
      const opening = this.#connectUntil(this.#closed.signal).finally(() => {
        this.#opening = undefined
      })
      // those who wait are told; nobody may wait
      opening.catch(() => undefined)
      this.#opening = opening
    }
    return this.#opening
  }

  async #connectUntil(closed: AbortSignal): Promise<Client> {
    for (let attempt = 0; ; attempt++) {
      closed.throwIfAborted()
      try {
        const client = await this.#connectOnce(closed)
        // in between it may have been closed or lost; from here on that is noticed
        if (closed.aborted) await endClient(client)
        closed.throwIfAborted()
        if (client.status === 'close' || client.status === 'end') throw new Error('the connection was lost')
        this.#install(client)
        return client
      } catch (error) {
        closed.throwIfAborted()
        const failure = redisFailure(error, { address: this.#target.address, what: 'connect to regions' })
        this.#lastFailure = failure
        if (failure instanceof ConfigurationError) throw failure
      }
      await pause(retryMs(attempt, this.#random), closed)
    }
  }

  async #connectOnce(closed: AbortSignal): Promise<Client> {
    const client = await this.#target.make()
    let reason: Error | undefined
    // without a listener an error would be printed; why a connection failed is told by this event only
    client.on('error', (error: Error) => void (reason = error))
    const abort = () => client.disconnect()
    closed.addEventListener('abort', abort, { once: true })
    try {
      closed.throwIfAborted()
      await client.connect()
      closed.throwIfAborted()
      // an unknown database is reported and otherwise ignored: the client would go on with database 0
      if (reason !== undefined) throw reason
      if (this.#allMasters) await connectMasters(client)
      closed.throwIfAborted()
      return client
    } catch (error) {
      await endClient(client)
      throw reason ?? error
    } finally {
      closed.removeEventListener('abort', abort)
    }
  }

  #install(client: Client): void {
    this.#client = client
    this.#lastFailure = undefined
    this.#supervision =
      client.isCluster && this.#allMasters
        ? superviseCluster(client, () => this.#reconnected(), this.#random)
        : undefined
    client.once('end', () => {
      this.#supervision?.stop()
      if (this.#client !== client) return
      this.#client = undefined
      void this.#open().catch(() => undefined)
    })
    if (this.#wasConnected) this.#reconnected()
    this.#wasConnected = true
  }

  #reconnected(): void {
    for (const listener of this.#listeners) listener()
  }
}

/** So that the first delivery needs no handshake; one that cannot be reached must not hold up the others. */
async function connectMasters(cluster: Client): Promise<void> {
  const nodes = 'nodes' in cluster ? cluster.nodes('master') : []
  const connected = nodes.map((node) => (node.status === 'wait' ? node.connect() : Promise.resolve()))
  await settlesWithin(Promise.allSettled(connected), endDeadlineMs)
}

/** Ends a client, without waiting for what is under way, and waits until its sockets are closed. Never rejects. */
async function endClient(client: Client): Promise<void> {
  const parts = [...('nodes' in client ? client.nodes() : []), client]
  const open = parts.filter(({ status }) => status !== 'end')
  const ended = open.map((part) => new Promise<void>((resolve) => void part.once('end', resolve)))
  if (client.status !== 'end') client.disconnect()
  // a goodbye that a frozen server does not answer would hold us up
  for (const part of open) if ('stream' in part) part.stream?.destroy()
  if ('refreshSlotsCache' in client) {
    // a question after the slots has a connection of its own
    ended.push(new Promise((resolve) => client.refreshSlotsCache(() => resolve())))
  }
  await settlesWithin(Promise.all(ended), endDeadlineMs)
}
