/**
 * A store under a gated one: what it opened is kept back, each flight (a group, a rollback) waits to be executed, and its
 * fate can be chosen: executed, refused, deferred, lost. Whatever is executed, the real store executes.
 */
import type { ResolveEnd, RestoreEnd, Store, StoreSession, WriteEnd } from '../../src/commit/store.ts'
import type { Group } from '../../src/staging/batch.ts'
import { FatalError, RetryableError } from '../../src/errors.ts'
import { Gate } from '../../src/testing/index.ts'

export type Fate = 'executed' | 'refused' | 'deferred' | 'lost'

export class HeldStore {
  /** The store is open; the answer is held back. Failing it: it could not be opened. */
  readonly opened = new Gate('opened')
  /** A group or a rollback is in the kernel, and not executed yet. */
  readonly executing = new Gate('executing')
  readonly store: Store
  /** What becomes of a group that passes. */
  fate: (group: Group) => Fate | Promise<Fate> = () => 'executed'
  /** What becomes of a rollback that passes. */
  restoreFate: () => Fate | Promise<Fate> = () => 'executed'
  /** What a question about the last flight is answered, instead of the truth. */
  resolution: ResolveEnd | undefined
  /** Last checkpoint in the database. */
  executedUpTo = 0
  sessions = 0
  /** The owner's own heart finds that another has the pipeline. */
  lose: () => void = () => undefined
  #flushed: () => void = () => undefined

  constructor(store: Store) {
    this.opened.hold()
    this.executing.hold()
    this.store = {
      casing: store.casing,
      open: async (request) => {
        const session = await store.open(request)
        this.lose = () => request.superseded?.(null)
        this.sessions++
        this.executedUpTo = session.resume.committed
        try {
          await this.opened.enter()
        } catch (error) {
          this.sessions--
          await session.close()
          throw error
        }
        return this.#held(session)
      },
    }
  }

  /** The frames of the latest write are in the kernel. */
  flush(): void {
    this.#flushed()
  }

  #held(session: StoreSession): StoreSession {
    const isDestroyed = { is: false }
    return {
      resume: session.resume,
      reader: session.reader,
      get restorableFrom() {
        return session.restorableFrom
      },
      write: async (group, flushed) => {
        this.#flushed = flushed
        isDestroyed.is = false
        const unexecuted = await this.#unexecuted(() => this.fate(group), isDestroyed)
        if (unexecuted !== undefined) return unexecuted
        const ended = await session.write(group, () => undefined)
        if (ended.end === 'landed') this.executedUpTo = group.upTo
        return ended
      },
      restore: async (target): Promise<RestoreEnd> => {
        isDestroyed.is = false
        const unexecuted = await this.#unexecuted(() => this.restoreFate(), isDestroyed)
        if (unexecuted !== undefined) return unexecuted
        const ended = await session.restore(target)
        if (ended.end === 'landed') this.executedUpTo = target
        return ended
      },
      regions: () => session.regions(),
      snapshots: (regions, deliver) => session.snapshots(regions, deliver),
      resolve: () => (this.resolution === undefined ? session.resolve() : Promise.resolve(this.resolution)),
      destroyWriter: () => {
        isDestroyed.is = true
        session.destroyWriter()
      },
      close: async () => {
        this.sessions--
        await session.close()
      },
    }
  }

  /** @returns how a flight ended that the database never saw; undefined: it is to be executed */
  async #unexecuted(
    fateOf: () => Fate | Promise<Fate>,
    isDestroyed: { readonly is: boolean },
  ): Promise<Exclude<WriteEnd, { end: 'landed' }> | undefined> {
    await this.executing.enter()
    if (isDestroyed.is) return { end: 'lost', error: new Error('the socket was destroyed') }
    const fate = await fateOf()
    switch (fate) {
      case 'refused':
        return { end: 'refused', error: new FatalError('REPLAY_REFUSED', 'refused') }
      case 'deferred':
        return { end: 'deferred', error: new RetryableError('REPLAY_DEFERRED', 'deferred') }
      case 'lost':
        return { end: 'lost', error: new Error('the connection was lost') }
      case 'executed':
        return undefined
      default:
        throw new Error(`unreachable: ${String(fate satisfies never)}`)
    }
  }
}
