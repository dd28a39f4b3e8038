/** A store with a gate in front of each of its ports. What is behind it is real. */
import type { RestoreEnd, Store, StoreSession, WriteEnd } from '../commit/store.ts'
import { Gate } from './gate.ts'

export interface StoreGates {
  /** Before the store is opened. */
  readonly open: Gate
  /** Before `get` and `find` ask the database. */
  readonly load: Gate
  /** Before a group is sent. Failing it: the connection was lost, and nothing was sent. */
  readonly write: Gate
  /** After the database has answered, before the answer is heard. Failing it: the answer was lost. */
  readonly written: Gate
  /** Before a rollback is sent. Failing it: the connection was lost, and nothing was sent. */
  readonly restore: Gate
  /** After the database has answered a rollback, before the answer is heard. Failing it: the answer was lost. */
  readonly restored: Gate
  /** Before the pipeline's row is taken again. Failing it: that could not be asked. */
  readonly resolve: Gate
  readonly close: Gate
}

/**
 * @example
 * ```ts
 * const { store, gates } = gatedStore(postgres({ connectionString }))
 * gates.write.hold()
 * const running = createIndexer({ ...options, store }).run()
 * await gates.write.arrived()   // the first commit is about to be sent; the next batch is being handled
 * gates.write.release()
 * ```
 */
export function gatedStore(store: Store): { readonly store: Store; readonly gates: StoreGates } {
  const gates: StoreGates = {
    open: new Gate('open'),
    load: new Gate('load'),
    write: new Gate('write'),
    written: new Gate('written'),
    restore: new Gate('restore'),
    restored: new Gate('restored'),
    resolve: new Gate('resolve'),
    close: new Gate('close'),
  }
  return {
    gates,
    store: {
      casing: store.casing,
      async open(request) {
        await gates.open.enter(request.signal)
        return gated(await store.open(request), gates)
      },
    },
  }
}

function gated(session: StoreSession, gates: StoreGates): StoreSession {
  const { reader } = session
  /** The session heard that a write landed, and the run did not: for the run it is still to be resolved. */
  let landedUnheard = false
  const heard = async <End extends WriteEnd | RestoreEnd>(gate: Gate, ended: End) => {
    try {
      await gate.enter()
    } catch (error) {
      landedUnheard = ended.end === 'landed'
      session.destroyWriter()
      return { end: 'lost' as const, error }
    }
    return ended
  }
  return {
    resume: session.resume,
    reader: {
      async byKeys(model, keys) {
        await gates.load.enter()
        return reader.byKeys(model, keys)
      },
      async find(model, query) {
        await gates.load.enter()
        return reader.find(model, query)
      },
    },
    get restorableFrom() {
      return session.restorableFrom
    },
    async write(group, flushed): Promise<WriteEnd> {
      try {
        await gates.write.enter()
      } catch (error) {
        flushed()
        return { end: 'lost', error }
      }
      return heard(gates.written, await session.write(group, flushed))
    },
    async restore(target): Promise<RestoreEnd> {
      try {
        await gates.restore.enter()
      } catch (error) {
        return { end: 'lost', error }
      }
      return heard(gates.restored, await session.restore(target))
    },
    async resolve() {
      try {
        await gates.resolve.enter()
      } catch (error) {
        return { end: 'lost', error }
      }
      const resolved = await session.resolve()
      if (resolved.end !== 'notLanded' || !landedUnheard) return resolved
      landedUnheard = false
      return { end: 'landed' }
    },
    regions: () => session.regions(),
    snapshots: (regions, deliver) => session.snapshots(regions, deliver),
    confirm: () => session.confirm?.() ?? Promise.resolve(),
    destroyWriter: () => session.destroyWriter(),
    async close() {
      await gates.close.enter()
      await session.close()
    },
  }
}
