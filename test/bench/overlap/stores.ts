/** Stores that leave something out, so that each term of the figure can be measured alone. */
import type { OpenStore, Store, StoreSession } from '../../../src/commit/store.ts'
import type { Group } from '../../../src/staging/batch.ts'

/**
 * Reads are real; a write is done at once, without being encoded.
 * @param written told of every group that would have been sent
 */
export function nullStore(
  store: Store,
  opened: (request: OpenStore) => void = () => undefined,
  written: (group: Group) => void = () => undefined,
): Store {
  return {
    casing: store.casing,
    async open(request) {
      opened(request)
      const session = await store.open(request)
      return nullSession(session, written)
    },
  }
}

function nullSession(session: StoreSession, written: (group: Group) => void): StoreSession {
  return {
    resume: session.resume,
    reader: session.reader,
    get restorableFrom() {
      return session.restorableFrom
    },
    write(group, flushed) {
      written(group)
      flushed()
      return Promise.resolve({ end: 'landed' })
    },
    restore: (target) => session.restore(target),
    regions: () => session.regions(),
    snapshots: (regions, deliver) => session.snapshots(regions, deliver),
    resolve: () => session.resolve(),
    destroyWriter: () => session.destroyWriter(),
    close: () => session.close(),
  }
}
