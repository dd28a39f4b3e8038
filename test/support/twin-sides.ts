/** The two stores of the twin test, looked at in the same way: the real Postgres, and the simulated one. */
import { postgres } from '../../src/commit/postgres.ts'
import type { OpenStore, RegionRow, Store, StoreSession } from '../../src/commit/store.ts'
import { silentLog } from '../../src/log.ts'
import type { Deliver } from '../../src/staging/snapshots.ts'
import type { TableModel } from '../../src/staging/table.ts'
import { Network } from '../simulation/network.ts'
import { SimulatedServer } from '../simulation/server.ts'
import { simulatedStore } from '../simulation/store.ts'
import { Process, VirtualTime } from '../simulation/time.ts'
import { dice } from './dice.ts'
import type { World } from './indexers.ts'

export interface Side {
  open(): Promise<StoreSession>
  /** The row is free, whoever holds it. */
  takeAway(): Promise<void>
  /** Waits for what the side does, however its time passes. */
  during<T>(work: Promise<T>): Promise<T>
}

export interface Asked {
  readonly models: readonly TableModel[]
  readonly deliver: Deliver
  readonly forks: boolean
}

function requestOf({ models, deliver, forks }: Asked): OpenStore {
  const historyDepth = forks ? 1_000 : 0
  return {
    pipeline: 'twin',
    models,
    deliver,
    sources: ['a', 'b'].map((id) => ({ id, historyDepth })),
    ownershipTimeoutMs: 0,
    staleMs: 15_000,
    signal: new AbortController().signal,
    log: silentLog,
  }
}

export function realSide(world: World, asked: Asked): Side {
  const store = postgres({
    connectionString: world.connectionString,
    createTables: true,
    readConnections: 1,
  })
  return {
    open: () => store.open(requestOf(asked)),
    takeAway: async () => void (await world.query('UPDATE tailrace.pipelines SET token = NULL')),
    during: (work) => work,
  }
}

export function simulatedSide(asked: Asked): Side {
  const time = new VirtualTime(dice(1))
  const nobody = { taken() {}, landed() {}, restored() {}, lost() {} }
  const server = new SimulatedServer(time, nobody)
  const network = new Network({
    time,
    random: dice(2),
    called: () => undefined,
    arrivedLate: () => undefined,
  })
  const quick = [0, 1] as const
  const pace = { handler: quick, source: quick, read: quick, wire: quick, regions: quick, chain: quick }
  let owner: Process
  let opened = 0
  return {
    open() {
      owner = new Process(`owner ${++opened}`)
      const parts = { time, network, server, process: owner, pid: opened, pace, reading: () => undefined }
      return this.during((simulatedStore(parts) satisfies Store).open(requestOf(asked)))
    },
    takeAway: () => Promise.resolve(server.release(owner.name)),
    async during(work) {
      let isSettled = false
      const settle = () => (isSettled = true)
      work.then(settle, settle)
      await time.runUntil(() => isSettled)
      return work
    },
  }
}

/** Without what two servers cannot have in common: clocks, and the instant at which a pipeline's row was made. */
export function comparable({ committedAt: _at, id, stamp, ...row }: RegionRow): unknown {
  const { incarnation: _incarnation, ...rest } = stamp
  return { ...row, id: id.replace(/^\d+-/, ''), stamp: rest }
}
