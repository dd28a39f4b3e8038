/**
 * The store of one run: every call is held up, an answer is lost when that is planned, and what lands is told to the
 * ledger before anybody else hears of it.
 */
import type { RestoreEnd, Store, StoreSession, WriteEnd } from '../commit/store.ts'
import { unlessAborted } from '../publish/deadline.ts'
import type { Group } from '../staging/batch.ts'
import { gatedStore } from './gated-store.ts'
import type { Turns } from './turns.ts'

/** Told right at the database, before the run hears of it; `lost` when the run does. */
export interface StoreWatch {
  landed(group: Group): void
  restored(target: number, rows: number): void
  lost(what: 'commit' | 'rollback', landed: boolean): void
}

/** What may go wrong with the next flight. */
export type Loss = 'answer lost' | 'connection lost'

export class DisturbedStore {
  readonly store: Store
  /** Sent by the run, and held up before the database has it. */
  flight: (() => Promise<unknown>) | undefined
  /** The database has it, and the run does not know. */
  isLanded = false
  /** Of the next flight, once. */
  loss: Loss | undefined
  /** A flight did not land, and goes again after a pause of the chart's own. */
  isToRetry = false
  readonly #turns: Turns
  readonly #gates: ReturnType<typeof gatedStore>['gates']
  readonly #watch: StoreWatch

  constructor(store: Store, turns: Turns, watch: StoreWatch) {
    const gated = gatedStore(
      watched(store, {
        landed: (group) => {
          this.isLanded = true
          watch.landed(group)
        },
        restored: (target, rows) => {
          this.isLanded = true
          watch.restored(target, rows)
        },
      }),
    )
    this.#turns = turns
    this.#gates = gated.gates
    this.#watch = watch
    this.store = {
      casing: store.casing,
      open: async (request) => {
        await turns.call('open')
        return this.#session(await gated.store.open(request))
      },
    }
  }

  #session(session: StoreSession): StoreSession {
    const turns = this.#turns
    const { reader } = session
    const read = async <T>(question: () => Promise<T>) => {
      await turns.call('load')
      const rows = await question()
      await turns.call('load')
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
      write: (group, flushed) => {
        // in the kernel at once: how long it is on its way is another matter
        flushed()
        const fly = () => session.write(group, () => undefined)
        return this.#fly('commit', fly)
      },
      restore: (target) => this.#fly('rollback', () => session.restore(target)),
      resolve: async () => {
        await turns.call('flight')
        const ended = await session.resolve()
        this.isToRetry = ended.end === 'notLanded'
        return ended
      },
      regions: () => session.regions(),
      snapshots: (regions, deliver) => session.snapshots(regions, deliver),
      destroyWriter: () => session.destroyWriter(),
      close: async () => {
        // who is dead, or dies of it, closes nothing and is not waited for
        await unlessAborted(Promise.resolve(turns.call('close')), turns.death).catch(() => undefined)
        if (!turns.isDead) await session.close()
      },
    }
  }

  async #fly<End extends WriteEnd | RestoreEnd>(
    what: 'commit' | 'rollback',
    fly: () => Promise<End>,
  ): Promise<End> {
    this.isToRetry = false
    this.flight = fly
    await this.#turns.call('flight')
    this.flight = undefined
    this.#lose(what)
    const ended = await fly()
    if (ended.end === 'lost') this.#watch.lost(what, this.isLanded)
    await this.#turns.call('flight')
    this.isLanded = false
    return ended
  }

  #lose(what: 'commit' | 'rollback'): void {
    const { loss } = this
    this.loss = undefined
    if (loss === undefined) return
    const { write, written, restore, restored } = this.#gates
    const [before, behind] = what === 'commit' ? [write, written] : [restore, restored]
    const gate = loss === 'connection lost' ? before : behind
    gate.fail(new Error(`the ${loss.replace(' lost', '')} was lost, by the test`))
  }
}

/** Right at the database. */
function watched(store: Store, watch: Pick<StoreWatch, 'landed' | 'restored'>): Store {
  return {
    casing: store.casing,
    async open(request) {
      const session = await store.open(request)
      return {
        resume: session.resume,
        reader: session.reader,
        get restorableFrom() {
          return session.restorableFrom
        },
        async write(group, flushed) {
          const ended = await session.write(group, flushed)
          if (ended.end === 'landed') watch.landed(group)
          return ended
        },
        async restore(target) {
          const ended = await session.restore(target)
          if (ended.end === 'landed') watch.restored(target, ended.rows)
          return ended
        },
        resolve: () => session.resolve(),
        regions: () => session.regions(),
        snapshots: (regions, deliver) => session.snapshots(regions, deliver),
        destroyWriter: () => session.destroyWriter(),
        close: () => session.close(),
      }
    },
  }
}
