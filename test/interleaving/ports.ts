/**
 * The ports of a run, each call of one held up by the scheduler; what is on the wire meanwhile; and a run's end, which has
 * to come. Shared by the random worlds.
 */
import assert from 'node:assert/strict'
import type { Scheduler } from 'fast-check'
import { maxLostAttempts } from '../../machines/limits.ts'
import type { Indexer, Outcome, Store } from '../../src/index.ts'
import type { StoreSession, WriteEnd } from '../../src/commit/store.ts'
import type { Group } from '../../src/staging/batch.ts'
import { slicesOf } from '../support/change-log.ts'

export interface Delays {
  /** Calls of ports, one after the other: for so many turns of the scheduler each is held up. Then from the first again. */
  readonly delays: readonly number[]
  /** The same for answers of the database. */
  readonly loadDelays: readonly number[]
  /** The same for flights on their way and for their answers; left out: as any other. */
  readonly wireDelays?: readonly number[]
}

/** A call of a port: resolves when the scheduler lets it through. */
export type Port = (label: string) => Promise<void>

const flights: ReadonlySet<string> = new Set(['write', 'written', 'restore', 'restored'])

/** @param called before each call is held up */
export function scheduledPort(
  { delays, loadDelays, wireDelays = delays }: Delays,
  schedule: Scheduler,
  called: () => void,
): Port {
  let calls = 0
  return async (label) => {
    called()
    const among = label === 'loaded' ? loadDelays : flights.has(label) ? wireDelays : delays
    const turns = among[calls++ % among.length]!
    for (let turn = 0; turn < turns; turn++) await schedule.schedule(Promise.resolve(), label)
  }
}

/** What is on the wire of one run, and what must hold of it. */
export class Wire {
  group: Group | undefined
  isRestoring = false
  /** Sent, and its fate unknown: what is sent next is the same, unless a fork has cut it or it is split. */
  #unsure: { readonly upTo: number; readonly spelled: unknown } | undefined
  #lostInARow = 0
  readonly #differs: (error: unknown) => void

  constructor(differs: (error: unknown) => void) {
    this.#differs = differs
  }

  /** A group is thawed by a fork, and resent as what is left of it. */
  thawed(): void {
    this.#unsure = undefined
  }

  send(group: Group): void {
    this.#check(() => {
      assert.ok(this.group === undefined && !this.isRestoring, 'I1: two flights at once')
      const before = this.#unsure
      if (before === undefined || this.#lostInARow >= maxLostAttempts) return
      assert.equal(group.upTo, before.upTo, 'H73: a group that is sent again has grown or shrunk')
      assert.deepEqual(slicesOf(group), before.spelled, 'H73: a group that is sent again has changed')
    })
    this.group = group
  }

  answered(ended: WriteEnd): void {
    const { group } = this
    this.group = undefined
    this.#lostInARow = ended.end === 'lost' ? this.#lostInARow + 1 : 0
    const isSentAgain = ended.end === 'lost' || ended.end === 'deferred'
    this.#unsure = isSentAgain ? { upTo: group!.upTo, spelled: slicesOf(group!) } : undefined
  }

  sendRestore(): void {
    this.#check(() => {
      assert.ok(this.group === undefined && !this.isRestoring, 'I5: a rollback beside a flight')
    })
    this.isRestoring = true
  }

  restoreAnswered(): void {
    this.isRestoring = false
  }

  /** A commit in doubt turned out to have landed: nothing is sent again. */
  resolved(): void {
    this.#unsure = undefined
    this.#lostInARow = 0
  }

  #check(assertion: () => void): void {
    try {
      assertion()
    } catch (error) {
      this.#differs(error)
    }
  }
}

/** The same session, with some of its flights watched. */
export function watchedSession(
  session: StoreSession,
  over: Partial<Pick<StoreSession, 'write' | 'restore' | 'resolve' | 'regions' | 'close'>>,
): StoreSession {
  return {
    resume: session.resume,
    reader: session.reader,
    get restorableFrom() {
      return session.restorableFrom
    },
    write: (group, flushed) => session.write(group, flushed),
    restore: (target) => session.restore(target),
    regions: () => session.regions(),
    snapshots: (regions, deliver) => session.snapshots(regions, deliver),
    resolve: () => session.resolve(),
    confirm: () => session.confirm?.() ?? Promise.resolve(),
    destroyWriter: () => session.destroyWriter(),
    close: () => session.close(),
    ...over,
  }
}

/** The store behind scheduled ports. @param reading somebody is about to ask the database */
export function scheduledStore(store: Store, port: Port, wire: Wire, reading: () => void): Store {
  return {
    casing: store.casing,
    async open(request) {
      await port('open')
      const session = await store.open(request)
      const { reader } = session
      const read = async <T>(question: () => Promise<T>) => {
        reading()
        await port('load')
        const rows = await question()
        await port('loaded')
        return rows
      }
      return {
        resume: session.resume,
        reader: {
          byKeys: (model, keys) => read(() => reader.byKeys(model, keys)),
          find: (model, query) => read(() => reader.find(model, query)),
        },
        get restorableFrom() {
          return session.restorableFrom
        },
        async write(group, flushed) {
          wire.send(group)
          await port('write')
          const ended = await session.write(group, flushed)
          await port('written')
          wire.answered(ended)
          return ended
        },
        async restore(target) {
          wire.sendRestore()
          await port('restore')
          const ended = await session.restore(target)
          await port('restored')
          wire.restoreAnswered()
          return ended
        },
        regions: () => session.regions(),
        snapshots: (regions, deliver) => session.snapshots(regions, deliver),
        async resolve() {
          await port('resolve')
          const ended = await session.resolve()
          if (ended.end === 'landed') wire.resolved()
          return ended
        },
        destroyWriter: () => session.destroyWriter(),
        close: async () => (await port('close'), session.close()),
      }
    },
  }
}

/** A run that takes longer than this will never end. */
const patienceMs = 15_000

/** Runs to the end under the schedule. @throws when it does not end */
export async function runToItsEnd(indexer: Indexer, schedule: Scheduler): Promise<Outcome> {
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`did not end: ${JSON.stringify(indexer.status().lanes)}`))
    }, patienceMs)
  })
  try {
    return await Promise.race([schedule.waitFor(indexer.run()), tooLong])
  } finally {
    clearTimeout(timer)
  }
}
