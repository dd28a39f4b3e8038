/**
 * The double's other half: the store port, as one process sees the simulated server over the network. What is asked again,
 * what counts as lost, and what is believed follows src/commit/{postgres,session,release}.ts.
 */
import { jitteredMs } from '../../src/commit/jitter.ts'
import { beatsUntilStale, Watch } from '../../src/commit/liveness.ts'
import type {
  OpenStore,
  RegionRow,
  ResolveEnd,
  RestoreEnd,
  Resume,
  Store,
  StoredSnapshot,
  StoreSession,
  WriteEnd,
} from '../../src/commit/store.ts'
import { FatalError, messageOf, RetryableError } from '../../src/errors.ts'
import type { Group } from '../../src/staging/batch.ts'
import type { Reader } from '../../src/staging/reader.ts'
import type { Deliver } from '../../src/staging/snapshots.ts'
import { settlesWithin } from '../../src/within.ts'
import type { Pace, Span } from './cases.ts'
import { untilAborted, type Network } from './network.ts'
import type { SimulatedServer, Taken } from './server.ts'
import type { Process, VirtualTime } from './time.ts'

export interface StoreParts {
  readonly time: VirtualTime
  readonly network: Network
  readonly server: SimulatedServer
  readonly process: Process
  readonly pid: number
  readonly pace: Pace
  /** A handler's read is on its way. */
  reading(): void
}

const lookAgainMs = 1_000
const longestPauseMs = 5_000
const defaultReadDeadlineMs = 300_000
const releaseDeadlineMs = 1_000
const confirmDeadlineMs = 1_000

export function simulatedStore(parts: StoreParts): Store {
  return {
    casing: undefined,
    open: (request) => open(parts, request),
  }
}

async function open(parts: StoreParts, request: OpenStore): Promise<StoreSession> {
  const { time, server, process } = parts
  const { signal, readDeadlineMs = defaultReadDeadlineMs } = request
  const opening = new Opening(parts, request)
  const given = new Error('opening was given up')
  let isReached = false
  let failedAt: number | undefined
  for (let attempt = 1; ; attempt++) {
    try {
      await untilAborted(
        opening.ask('opening', () => undefined),
        signal,
        given,
      )
      isReached = true
      server.database.declare(request.models)
      const taken = await untilAborted(opening.take(), signal, given)
      return new SimulatedSession(parts, request, taken)
    } catch (error) {
      failedAt ??= time.now
      const isOver = time.now - failedAt >= readDeadlineMs
      if (error instanceof RetryableError || signal.aborted || !isReached || isOver) {
        if (isReached) await release(parts)
        signal.throwIfAborted()
        throw error instanceof RetryableError ? error : unreachable(error)
      }
      await untilAborted(time.sleep(process, 0, longestPauseMs / 2), signal, given)
    }
  }
}

/** Taking the row: the loop of src/commit/ownership.ts. */
class Opening {
  readonly #parts: StoreParts
  readonly #request: OpenStore

  constructor(parts: StoreParts, request: OpenStore) {
    this.#parts = parts
    this.#request = request
  }

  ask<T>(kind: string, execute: () => T): Promise<T> {
    const { network, process, server, pace } = this.#parts
    return network.ask(process, server, { kind, span: pace.read, execute })
  }

  /** @throws RetryableError `PIPELINE_HELD` */
  async take(): Promise<Taken> {
    const { time, server, process, pid } = this.#parts
    const { ownershipTimeoutMs, staleMs, waiting, signal } = this.#request
    const token = process.name
    const watch = new Watch(staleMs)
    const started = time.now
    let told = false
    for (;;) {
      signal.throwIfAborted()
      const look = await this.ask('owner', () => server.look())
      const verdict = look.token === token ? 'ours' : watch.judge(look)
      if (verdict === 'ours' || verdict === 'free' || verdict === 'dead') {
        const taken = await this.ask('opening', () =>
          verdict === 'ours' ? server.retake(token) : server.take(token, pid, look),
        )
        if (taken !== undefined) return taken
        continue
      }
      const holder = { host: look.host!, pid: look.pid!, epoch: look.epoch }
      if (verdict === 'alive' && time.now - started >= ownershipTimeoutMs) {
        throw new RetryableError('PIPELINE_HELD', `held by ${holder.pid}`, { phase: 'opening' })
      }
      if (!told) waiting?.(holder)
      told = true
      await time.sleep(process, lookAgainMs)
    }
  }
}

type NotLanded = Exclude<WriteEnd, { end: 'landed' }>

interface Standing {
  readonly commitNumber: number
  readonly restorableFrom: number
}

class SimulatedSession implements StoreSession {
  readonly resume: Resume
  readonly reader: Reader
  readonly #parts: StoreParts
  readonly #request: OpenStore
  readonly #deliver: Deliver
  #epoch: number
  #standing: Standing
  /** What it will be once the latest flight has landed. */
  #inFlight: Standing | undefined
  #writer = new AbortController()
  /** Between a lost connection and the next resolution nothing is written. */
  #isConnected = true
  readonly #closed = new AbortController()
  #isTold = false

  constructor(parts: StoreParts, request: OpenStore, { epoch, commitNumber, resume }: Taken) {
    this.#parts = parts
    this.#request = request
    this.#deliver = request.deliver ?? 'newest'
    this.#epoch = epoch
    this.#standing = { commitNumber, restorableFrom: resume.restorableFrom }
    this.resume = resume
    const { reader } = parts.server.database
    this.reader = {
      byKeys: (model, keys) => this.#handlerReads(() => reader.byKeys(model, keys)),
      find: (model, query) => this.#handlerReads(() => reader.find(model, query)),
    }
    this.#beat()
  }

  get restorableFrom(): number {
    return this.#standing.restorableFrom
  }

  // ── flights ───────────────────────────────────────────────────────────────────────────────────────────────

  write(group: Group, flushed: () => void): Promise<WriteEnd> {
    const { server, process, pace, time } = this.#parts
    const { commitNumber, restorableFrom } = this.#standing
    const { upTo, safe = upTo, batches } = group
    const reaches = batches.length === 0 ? 0 : Math.min(safe, upTo)
    this.#inFlight = {
      commitNumber: commitNumber + 1,
      restorableFrom: Math.max(restorableFrom, reaches),
    }
    const epoch = this.#epoch
    void time.sleep(process, 0, 2).then(flushed)
    return this.#fly('write', pace.wire, () =>
      server.write(process.name, epoch, commitNumber, group, this.#deliver),
    )
  }

  restore(target: number): Promise<RestoreEnd> {
    const { server, process, pace } = this.#parts
    const { commitNumber, restorableFrom } = this.#standing
    this.#inFlight = { commitNumber: commitNumber + 1, restorableFrom }
    const epoch = this.#epoch
    return this.#fly('rollback', pace.wire, () => server.restore(process.name, epoch, commitNumber, target))
  }

  async #fly<End extends WriteEnd | RestoreEnd>(
    kind: string,
    span: Span,
    execute: () => End | NotLanded,
  ): Promise<End | NotLanded> {
    const { network, process, server } = this.#parts
    if (!this.#isConnected) return { end: 'lost', error: new Error('the writer is not connected') }
    try {
      const ended = await network.ask<End | NotLanded>(
        process,
        server,
        {
          kind,
          span,
          execute,
          refuse: (trouble) => ({
            end: trouble,
            error: new FatalError('COMMIT_REFUSED', `${kind} ${trouble}`, { phase: 'commit' }),
          }),
        },
        this.#writer.signal,
      )
      if (ended.end === 'landed') this.#standing = this.#inFlight!
      return ended
    } catch (error) {
      this.destroyWriter()
      return { end: 'lost', error }
    }
  }

  async resolve(): Promise<ResolveEnd> {
    const { network, process, server, pace } = this.#parts
    const cut = this.#writer.signal
    try {
      const { taken, holder } = await network.ask(
        process,
        server,
        {
          kind: 'resolve',
          span: pace.read,
          execute: () => ({ taken: server.retake(process.name), holder: server.holder }),
        },
        cut,
      )
      if (taken === undefined) return { end: 'superseded', owner: holder }
      this.#epoch = taken.epoch
      this.#isConnected = true
      const expected = this.#standing.commitNumber
      if (taken.commitNumber === expected) return { end: 'notLanded' }
      if (taken.commitNumber === expected + 1 && this.#inFlight?.commitNumber === expected + 1) {
        this.#standing = this.#inFlight
        return { end: 'landed' }
      }
      const error = new FatalError('DATABASE_WENT_BACK', `${taken.commitNumber} is not ${expected}`)
      return { end: 'reverted', error }
    } catch (error) {
      this.destroyWriter()
      return { end: 'lost', error }
    }
  }

  destroyWriter(): void {
    const { server, process } = this.#parts
    const before = this.#writer
    this.#isConnected = false
    this.#writer = new AbortController()
    before.abort()
    server.gone(process.name)
  }

  // ── reads ─────────────────────────────────────────────────────────────────────────────────────────────────

  regions(): Promise<readonly RegionRow[]> {
    return this.#read(() => this.#parts.server.database.regions.current())
  }

  snapshots(regions: readonly string[], deliver: Deliver): Promise<readonly StoredSnapshot[]> {
    return this.#read(() => this.#parts.server.database.regions.read(regions, deliver))
  }

  #handlerReads<T>(execute: () => Promise<T>): Promise<T> {
    this.#parts.reading()
    return this.#read(execute)
  }

  /** Tried again while the server is away (H34). */
  async #read<T>(execute: () => T | Promise<T>): Promise<T> {
    const { network, process, server, pace, time } = this.#parts
    const { readDeadlineMs = defaultReadDeadlineMs, readRetrying, readRecovered } = this.#request
    let failedAt: number | undefined
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await network.ask(process, server, { kind: 'read', span: pace.read, execute })
        if (failedAt !== undefined) readRecovered?.()
        return answer
      } catch (error) {
        failedAt ??= time.now
        if (this.#closed.signal.aborted || time.now - failedAt >= readDeadlineMs) throw error
        const inMs = jitteredMs(attempt, longestPauseMs)
        readRetrying?.(error, attempt, inMs)
        await time.sleep(process, inMs)
      }
    }
  }

  // ── ownership ─────────────────────────────────────────────────────────────────────────────────────────────

  /** From a thread and a connection of its own: until the session is closed, or the process ends. */
  #beat(): void {
    const { time, network, process, server, pace } = this.#parts
    const { staleMs } = this.#request
    const say = async () => {
      await time.sleep(process, staleMs / beatsUntilStale)
      if (this.#closed.signal.aborted) return
      const isOurs = await network
        .ask(process, server, { kind: 'beat', span: pace.read, execute: () => server.beat(process.name) })
        .catch(() => undefined)
      if (isOurs === false) return this.#tellSuperseded()
      if (!this.#closed.signal.aborted) void say()
    }
    void say()
  }

  #tellSuperseded(): void {
    if (this.#isTold || this.#closed.signal.aborted) return
    this.#isTold = true
    this.#request.superseded?.(this.#parts.server.holder)
  }

  async confirm(): Promise<void> {
    const { network, process, server, pace } = this.#parts
    const execute = () => server.isHeldBy(process.name)
    const asking = network
      .ask(process, server, { kind: 'confirm', span: pace.read, execute }, this.#closed.signal)
      .then((isOurs) => {
        if (!isOurs) this.#tellSuperseded()
      })
      .catch(() => undefined)
    await settlesWithin(asking, confirmDeadlineMs)
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return
    this.#closed.abort()
    await release(this.#parts)
    this.#parts.server.gone(this.#parts.process.name)
  }
}

/** Best effort, within a second. */
async function release({ network, process, server, pace, time }: StoreParts): Promise<void> {
  const began = time.now
  while (time.now - began < releaseDeadlineMs) {
    try {
      await network.ask(process, server, {
        kind: 'release',
        span: pace.read,
        execute: () => server.release(process.name),
      })
      return
    } catch {
      await time.sleep(process, 20)
    }
  }
}

function unreachable(error: unknown): RetryableError {
  return new RetryableError('DATABASE_UNREACHABLE', messageOf(error), { cause: error, phase: 'opening' })
}
