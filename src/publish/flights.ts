/**
 * Commands on their way. Those of one turn of the event loop share a flight: one pipeline, one write, one round trip. In a
 * Cluster each key's commands go by themselves, at the same time, so that a node that does not answer delays nobody else's.
 *
 * Scripts are sent by their hash once the server knows them, and in full when it says that it has forgotten (H61).
 */
import type { ChainableCommander, Cluster } from 'ioredis'
import { isReply } from './failures.ts'
import type { Client } from './redis-target.ts'
import type { Script } from './script.ts'

export type Argument = string | number | Buffer

export type Command = {
  /** Whose slot it goes to. */
  readonly key: string
  readonly args: readonly Argument[]
} & (
  | { readonly name: string; readonly script?: undefined }
  | { readonly script: Script; readonly keys: readonly string[] }
)

export interface Answer {
  /** Texts as Buffers. */
  readonly reply: unknown
  /** How many replicas had everything of this connection, where that was asked for. */
  readonly replicas: number
}

interface Sent {
  readonly command: Command
  readonly signal: AbortSignal
  readonly wait: boolean
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
  /** Once: the script in full. */
  isInFull: boolean
  /** How often it went to where the slot had moved. */
  redirections: number
}

export interface Replication {
  readonly replicas: number
  readonly timeoutMs: number
}

/** While a replica becomes master its neighbours learn of it one after the other. */
const maxRedirections = 8
const redirectionPauseMs = 20

export class Flights {
  readonly #replication: Replication
  readonly #waiting = new Map<Client, Sent[]>()
  /** Hashes, and in a Cluster keys with them, that a client's server has been told. */
  readonly #known = new WeakMap<Client, Set<string>>()

  constructor(replication: Replication) {
    this.#replication = replication
  }

  /** @param wait for replicas; within the same flight */
  send(client: Client, command: Command, signal: AbortSignal, wait: boolean): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const sent: Sent = {
        command,
        signal,
        wait: wait && this.#replication.replicas > 0,
        resolve,
        reject,
        isInFull: false,
        redirections: 0,
      }
      this.#enqueue(client, sent)
    })
  }

  #enqueue(client: Client, sent: Sent): void {
    const waiting = this.#waiting.get(client)
    if (waiting !== undefined) return void waiting.push(sent)
    this.#waiting.set(client, [sent])
    setImmediate(() => this.#depart(client))
  }

  #depart(client: Client): void {
    const waiting = this.#waiting.get(client) ?? []
    this.#waiting.delete(client)
    // who has given up must not be sent after all
    const wanted = waiting.filter(({ signal }) => !signal.aborted)
    if (wanted.length === 0) return
    if (!client.isCluster) return void this.#fly(client, wanted)
    for (const sent of wanted) void this.#fly(client, [sent])
  }

  async #fly(client: Client, sent: readonly Sent[]): Promise<void> {
    try {
      const pipeline = client.pipeline()
      const inFull = new Set<string>()
      for (const one of sent) this.#add(client, pipeline, one, inFull)
      const isWaiting = sent.some(({ wait }) => wait)
      // the write's own connection: whatever was written on it before is waited for
      if (isWaiting) pipeline.call('WAIT', this.#replication.replicas, this.#replication.timeoutMs)
      const rows = (await pipeline.exec()) ?? []
      const [waitError, replicas] = (isWaiting ? rows[sent.length] : undefined) ?? [null, 0]
      for (const [at, one] of sent.entries()) {
        const [error, reply] = rows[at] ?? [new Error('the flight has ended without an answer'), undefined]
        if (error !== null) this.#failed(client, one, error)
        else {
          if (one.command.script !== undefined) this.#knownTo(client).add(token(client, one.command))
          if (one.wait && waitError !== null) one.reject(waitError)
          else one.resolve({ reply, replicas: Number(replicas) })
        }
      }
    } catch (error) {
      for (const one of sent) one.reject(error)
    }
  }

  #add(client: Client, pipeline: ChainableCommander, sent: Sent, inFull: Set<string>): void {
    const { command } = sent
    if (command.script === undefined) return void pipeline.callBuffer(command.name, ...command.args)
    const { script, keys, args } = command
    const known = token(client, command)
    const isKnown = !sent.isInFull && (inFull.has(known) || this.#knownTo(client).has(known))
    // the first of a flight brings it for those behind
    inFull.add(known)
    if (isKnown) pipeline.callBuffer('EVALSHA', script.sha, keys.length, ...keys, ...args)
    else pipeline.callBuffer('EVAL', script.lua, keys.length, ...keys, ...args)
  }

  #failed(client: Client, sent: Sent, error: Error): void {
    if (isReply(error) && !sent.signal.aborted) {
      if (error.message.startsWith('NOSCRIPT') && !sent.isInFull) {
        sent.isInFull = true
        return this.#enqueue(client, sent)
      }
      if (error.message.startsWith('MOVED') && sent.redirections < maxRedirections && client.isCluster) {
        // whoever is asked for the slots may not have heard of it yet: a little later it has
        const inMs = redirectionPauseMs * sent.redirections++
        const follow = () => (client as Cluster).refreshSlotsCache(() => this.#enqueue(client, sent))
        return void setTimeout(follow, inMs)
      }
    }
    sent.reject(error)
  }

  #knownTo(client: Client): Set<string> {
    let known = this.#known.get(client)
    if (known === undefined) this.#known.set(client, (known = new Set()))
    return known
  }
}

/** In a Cluster, which of its nodes has the slot is not known here. */
function token(client: Client, command: Extract<Command, { readonly script: Script }>): string {
  return client.isCluster ? `${command.script.sha} ${command.key}` : command.script.sha
}
