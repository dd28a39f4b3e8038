/**
 * A store in memory that outlives its runs, for tests that need many of them. A group or a rollback lands under the
 * epoch and commit number of the session; a new session takes the pipeline over, and what the old one sends lands no
 * more (I9).
 */
import type {
  OpenStore,
  RegionRow,
  ResolveEnd,
  Resume,
  RestoreEnd,
  Store,
  StoredSnapshot,
  StoreSession,
  WriteEnd,
} from '../commit/store.ts'
import { SupersededError } from '../errors.ts'
import type { Group } from '../staging/batch.ts'
import type { Reader } from '../staging/reader.ts'
import type { Deliver } from '../staging/snapshots.ts'
import type { Casing } from '../staging/table-model.ts'
import type { Row } from '../staging/table.ts'
import { MemoryDatabase } from './memory-database.ts'

export interface MemoryStore extends Store {
  /** Rows of a table in key order, as committed. */
  rows(table: string): Row[]
  readonly committed: number
  /** Commits and rollbacks so far. */
  readonly commits: number
}

export function memoryStore(options: { readonly casing?: Casing | undefined } = {}): MemoryStore {
  const database = new MemoryDatabase()
  return {
    casing: options.casing,
    open: ({ signal, models, deliver = 'newest' }: OpenStore) => {
      signal.throwIfAborted()
      database.declare(models)
      database.epoch++
      return Promise.resolve(new MemorySession(database, deliver))
    },
    rows: (table) => database.rows(table),
    get committed() {
      return database.committed
    },
    get commits() {
      return database.commitNumber
    },
  }
}

class MemorySession implements StoreSession {
  readonly resume: Resume
  readonly reader: Reader
  readonly #database: MemoryDatabase
  readonly #deliver: Deliver
  readonly #epoch: number
  #commitNumber: number

  constructor(database: MemoryDatabase, deliver: Deliver) {
    this.#database = database
    this.#deliver = deliver
    this.resume = database.resume
    this.reader = database.reader
    this.#epoch = database.epoch
    this.#commitNumber = database.commitNumber
  }

  get restorableFrom(): number {
    return this.#database.restorableFrom
  }

  write(group: Group, flushed: () => void): Promise<WriteEnd> {
    flushed()
    return this.#fly('commit', () => {
      this.#database.apply(group, this.#deliver)
      return { end: 'landed' }
    })
  }

  restore(target: number): Promise<RestoreEnd> {
    return this.#fly('rollback', () => ({ end: 'landed', rows: this.#database.restore(target) }))
  }

  #fly<Landed>(
    phase: 'commit' | 'rollback',
    flight: () => Landed,
  ): Promise<Landed | Extract<WriteEnd, { end: 'refused' }>> {
    const { epoch, commitNumber } = this.#database
    if (epoch !== this.#epoch || commitNumber !== this.#commitNumber) {
      const error = new SupersededError('SUPERSEDED', 'Another session has the pipeline.', { phase })
      return Promise.resolve({ end: 'refused', error })
    }
    try {
      const landed = flight()
      this.#commitNumber++
      return Promise.resolve(landed)
    } catch (error) {
      return Promise.resolve({ end: 'refused', error })
    }
  }

  regions(): Promise<readonly RegionRow[]> {
    return Promise.resolve(this.#database.regions.current())
  }

  snapshots(regions: readonly string[], deliver: Deliver): Promise<readonly StoredSnapshot[]> {
    return Promise.resolve(this.#database.regions.read(regions, deliver))
  }

  resolve(): Promise<ResolveEnd> {
    const { epoch, commitNumber } = this.#database
    if (epoch !== this.#epoch) return Promise.resolve({ end: 'superseded', owner: null })
    if (commitNumber === this.#commitNumber) return Promise.resolve({ end: 'notLanded' })
    this.#commitNumber = commitNumber
    return Promise.resolve({ end: 'landed' })
  }

  destroyWriter(): void {}

  close(): Promise<void> {
    return Promise.resolve()
  }
}
