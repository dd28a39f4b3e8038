/** Several processes and one pipeline: who owns it, and what becomes of an owner that was thought dead. */
import assert from 'node:assert/strict'
import pg from 'pg'
import { expected, rowsOf } from '../../support/indexers.ts'
import { survivors, type ChainPlan } from './chain.ts'
import type { Ended, RigTask } from './child.ts'
import { nameOf, type Place } from './exchanges.ts'
import type { RigProcess } from './process.ts'
import type { Processes, RigServer } from './round.ts'
import { Traps, WireProxy } from './wire-proxy.ts'

export const name = 'shared'

/** The shortest that there is. */
export const staleMs = 500

/** A chain that stays at its head. */
export const headChain: ChainPlan = {
  blocks: 12,
  itemsPerBlock: 4,
  seed: 7,
  every: 6,
  depth: 2,
  stays: true,
}

export interface Member {
  readonly process: RigProcess
  /** What its run ends with. */
  readonly ended: Promise<Ended | 'killed'>
}

export interface Lock extends AsyncDisposable {
  /** Resolves once somebody waits for it, and has for so long. */
  isWaitedFor(milliseconds: number): Promise<void>
  release(): Promise<void>
}

/** One pipeline in a database of its own. */
export class Scene implements AsyncDisposable {
  readonly connectionString: string
  readonly #processes: Processes
  readonly #used: RigProcess[] = []
  readonly #pool: pg.Pool

  constructor(connectionString: string, processes: Processes) {
    this.connectionString = connectionString
    this.#processes = processes
    this.#pool = new pg.Pool({ connectionString, max: 2 })
    this.#pool.on('error', () => undefined)
  }

  /** Its run has begun; whether it has the pipeline is to be waited for. */
  begin(task: Partial<RigTask> = {}): Member {
    const process = this.#processes.take()
    this.#used.push(process)
    const { connectionString } = this
    const ended = process.run({
      connectionString,
      name,
      chain: headChain,
      batchItems: 8,
      staleMs,
      standby: true,
      ...task,
    })
    return { process, ended }
  }

  /** An owner that stands at its head. */
  async owner(task: Partial<RigTask> = {}): Promise<Member> {
    const member = this.begin(task)
    await member.process.until('idle')
    return member
  }

  async standby(task: Partial<RigTask> = {}): Promise<Member> {
    const member = this.begin({ standby: true, ...task })
    await member.process.until('waiting')
    return member
  }

  async query(sql: string): Promise<Record<string, unknown>[]> {
    return (await this.#pool.query<Record<string, unknown>>(sql)).rows
  }

  async row(): Promise<{ readonly epoch: number; readonly pid: number; readonly token: string | null }> {
    const [row] = await this.query(
      `SELECT epoch::int, pid, token::text FROM tailrace.pipelines WHERE name = '${name}'`,
    )
    return row as { epoch: number; pid: number; token: string | null }
  }

  /** Against writes. */
  async lock(table: string): Promise<Lock> {
    const client = new pg.Client({ connectionString: this.connectionString })
    await client.connect()
    await client.query(`BEGIN; LOCK TABLE "${table}" IN SHARE MODE`)
    let isHeld = true
    const release = async () => {
      if (!isHeld) return
      isHeld = false
      await client.query('ROLLBACK')
      await client.end()
    }
    return {
      release,
      isWaitedFor: async (milliseconds) => {
        const waiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
          AND clock_timestamp() - query_start >= interval '${milliseconds} ms'`
        while ((await this.query(waiting)).length === 0);
      },
      [Symbol.asyncDispose]: release,
    }
  }

  async isAtHead(): Promise<boolean> {
    const [row] = await this.query(
      `SELECT FROM tailrace.cursors WHERE pipeline = '${name}' AND hash = 'final-${headChain.blocks}'`,
    )
    return row !== undefined
  }

  async checkTables(chain: ChainPlan = headChain): Promise<void> {
    assert.deepEqual(await rowsOf(this.#pool), await expected(survivors(chain)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end()
    // one that has not come to its end is of no more use
    for (const process of this.#used) if (process.isRunning) await process.kill()
    for (const process of this.#used) this.#processes.give(process)
  }
}

export function endedWell(ended: Ended | 'killed', status: Ended['status']): Ended {
  assert.notEqual(ended, 'killed')
  assert.ok(typeof ended === 'object')
  assert.deepEqual(ended.left, [], 'something of the run is left')
  assert.equal(ended.status, status, JSON.stringify(ended))
  assert.equal(ended.exitCode, { finished: 0, stopped: 0, failed: 1, superseded: 75 }[status])
  return ended
}

/**
 * I9, H39: the owner is frozen past its staleness, at a named point or idle at its head; another takes over; the first
 * thaws, ends superseded, and the other keeps the pipeline.
 */
export async function freezeRound(
  place: Place | undefined,
  server: Pick<RigServer, 'createDatabase'>,
  processes: Processes,
): Promise<void> {
  const database = await server.createDatabase()
  const traps = new Traps()
  try {
    await using proxy = await new WireProxy(database.connectionString, traps).listen()
    await using scene = new Scene(database.connectionString, processes)
    const task = { connectionString: proxy.through(database.connectionString) }
    const catching = place === undefined ? undefined : traps.arm(place)
    const frozen = place === undefined ? await scene.owner(task) : scene.begin(task)
    const caught = await catching
    frozen.process.freeze()
    const { epoch } = await scene.row()
    const successor = scene.begin()
    await successor.process.until('taken')
    // what it had on the wire arrives, and it wakes up
    caught?.letGo()
    frozen.process.thaw()
    const { owner } = endedWell(await frozen.ended, 'superseded')
    const at = place === undefined ? 'idle' : nameOf(place)
    assert.match(owner ?? '', new RegExp(`^${successor.process.pid} on `), at)
    const after = await scene.row()
    assert.deepEqual(
      { epoch: after.epoch, pid: after.pid },
      { epoch: epoch + 1, pid: successor.process.pid },
      at,
    )
    // it goes on to the end of the chain, and stays there
    while (!(await scene.isAtHead()));
    successor.process.stop()
    endedWell(await successor.ended, 'stopped')
    await scene.checkTables()
  } finally {
    await database.drop()
  }
}
