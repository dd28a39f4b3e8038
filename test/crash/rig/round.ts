/**
 * One pipeline from its first block to its last, with faults at named points of its exchanges with the database, in
 * processes that are cut off, frozen, killed and started again; and what has to hold afterwards.
 */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { dice } from '../../support/dice.ts'
import { expected, rowsOf } from '../../support/indexers.ts'
import { survivors, type ChainPlan } from './chain.ts'
import type { Ended, RigTask } from './child.ts'
import { hasSync, nameOf, type Place } from './exchanges.ts'
import { RigProcess } from './process.ts'
import { Traps, WireProxy, type Caught } from './wire-proxy.ts'

export const actions = [
  'let go',
  'stall',
  'reset',
  'hang up',
  'late',
  'terminate',
  'kill',
  'freeze',
  'restart',
] as const
export type Action = (typeof actions)[number]

export interface Fault extends Place {
  readonly action: Action
}

export interface RoundPlan {
  readonly chain: ChainPlan
  readonly batchItems: number
  readonly seed: number
  readonly faults: readonly Fault[]
  /** Processes that wait for the pipeline from the beginning. */
  readonly standbys: number
}

export interface RigServer {
  /** Of an empty database. */
  createDatabase(): Promise<{ readonly connectionString: string; drop(): Promise<void> }>
  /** Ends it at once, as a crash would, and starts it again. */
  restart(): Promise<void>
}

/** Processes are what takes time: those that have come through are used again. */
export class Processes implements AsyncDisposable {
  readonly #idle: RigProcess[] = []
  readonly #all = new Set<RigProcess>()

  /** Starts so many ahead. */
  warm(count: number): void {
    while (this.#idle.length < count) this.#idle.push(this.#started())
  }

  take(): RigProcess {
    return this.#idle.shift() ?? this.#started()
  }

  give(process: RigProcess): void {
    if (!process.isGone) this.#idle.push(process)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#all].map((process) => process.kill()))
  }

  #started(): RigProcess {
    const process = new RigProcess()
    this.#all.add(process)
    return process
  }
}

/** What happened, over all rounds. */
export class Tally {
  readonly hits = new Map<string, number>()
  readonly actions = new Map<Action, number>()
  readonly ends = new Map<string, number>()
  /** Commits that were cut, by what the next owner or the resolution found: before the Sync and after it. */
  readonly cuts = { landed: 0, notLanded: 0, withoutSync: { landed: 0, notLanded: 0 } }

  count<Key>(map: Map<Key, number>, key: Key): void {
    map.set(key, (map.get(key) ?? 0) + 1)
  }
}

/** The shortest there is, where somebody is to be thought dead; a heartbeat costs a thread. */
const shortStaleMs = 500
const longStaleMs = 15_000
const name = 'rig'
const patienceMs = 30_000
/** Ends that a fault may lead to; after any other the round has failed. */
const expectedFailures: ReadonlySet<string> = new Set(['DATABASE_UNREACHABLE', 'DATABASE_BUSY'])

export async function playRound(
  plan: RoundPlan,
  server: RigServer,
  processes: Processes,
  tally: Tally,
): Promise<void> {
  const database = await server.createDatabase()
  const round = new Round(plan, server, database.connectionString, processes, tally)
  try {
    await round.play()
  } finally {
    await round.end()
    await database.drop()
  }
}

class Round {
  readonly #plan: RoundPlan
  readonly #server: RigServer
  readonly #connectionString: string
  readonly #processes: Processes
  readonly #tally: Tally
  readonly #traps = new Traps()
  readonly #pool: pg.Pool
  readonly #random: () => number
  readonly #members = new Map<WireProxy, RigProcess>()
  readonly #driven: Promise<void>[] = []
  readonly #log: string[] = []
  #left = 0
  #isOver = false
  #giveUp: (error: unknown) => void = () => undefined
  /** A commit was cut: its number, and whether the server had all of it. */
  #doubt: { readonly commitNumber: number; readonly hasSync: boolean } | undefined

  constructor(
    plan: RoundPlan,
    server: RigServer,
    connectionString: string,
    processes: Processes,
    tally: Tally,
  ) {
    this.#plan = plan
    this.#server = server
    this.#connectionString = connectionString
    this.#processes = processes
    this.#tally = tally
    this.#random = dice(plan.seed)
    this.#pool = new pg.Pool({ connectionString, max: 2 })
    this.#pool.on('error', () => undefined)
    this.#traps.answered = () => this.#settleDoubt()
  }

  async play(): Promise<void> {
    const failed = new Promise<never>((_resolve, reject) => (this.#giveUp = reject))
    failed.catch(() => undefined)
    const watchdog = setTimeout(() => this.#giveUp(new Error('the round does not end')), patienceMs)
    try {
      const [first, ...rest] = this.#plan.faults
      // the first take has to find its trap
      const armed = first === undefined ? undefined : this.#arm(first)
      await this.#join(false)
      for (let standby = 0; standby < this.#plan.standbys; standby++) await this.#join(true)
      if (first !== undefined) {
        await Promise.race([this.#bring(first, armed!), failed])
        for (const fault of rest) {
          if (this.#left === 0) break
          await Promise.race([this.#bring(fault, this.#arm(fault)), failed])
        }
      }
      this.#traps.disarm()
      await Promise.race([this.#whenDone(), failed])
      // a release that was cut off leaves the pipeline to whoever comes next: at once, for its process lives no more
      if ((await this.#pipeline())['token'] !== null) {
        await this.#join(false)
        await Promise.race([this.#whenDone(), failed])
      }
      await this.#check()
    } catch (error) {
      throw new Error(`${String(error)}\n${this.#log.join('\n')}`, {
        cause: error,
      })
    } finally {
      clearTimeout(watchdog)
    }
  }

  async end(): Promise<void> {
    this.#isOver = true
    this.#traps.disarm()
    for (const [proxy, process] of this.#members) {
      if (this.#left > 0 || process.isFrozen) await process.kill()
      this.#processes.give(process)
      await proxy[Symbol.asyncDispose]()
    }
    await this.#pool.end()
  }

  // ── processes ─────────────────────────────────────────────────────────────────────────────────────────────

  async #join(standby: boolean): Promise<RigProcess> {
    const process = this.#processes.take()
    const proxy = await new WireProxy(this.#connectionString, this.#traps).listen()
    this.#members.set(proxy, process)
    const task: RigTask = {
      connectionString: proxy.through(this.#connectionString),
      name,
      chain: this.#plan.chain,
      batchItems: this.#plan.batchItems,
      staleMs: this.#plan.faults.some(({ action }) => action === 'freeze') ? shortStaleMs : longStaleMs,
      standby,
    }
    this.#left++
    this.#driven.push(this.#drive(process, task).catch((error: unknown) => this.#giveUp(error)))
    return process
  }

  /** Runs it until everything is done, or it is killed. */
  async #drive(process: RigProcess, task: RigTask): Promise<void> {
    try {
      for (let goesOn = false; !this.#isOver; goesOn = true) {
        const ended = await process.run({ ...task, goesOn })
        if (ended === 'killed') return
        this.#heard(process, ended)
        if (ended.status === 'finished') return
        // as a supervisor would: not at once
        if (ended.status !== 'stopped') await pause(20)
      }
    } finally {
      this.#left--
    }
  }

  #heard(process: RigProcess, ended: Ended): void {
    const { status, code } = ended
    this.#say(`${process.pid} ended ${JSON.stringify(ended)}`)
    this.#tally.count(this.#tally.ends, code === undefined ? status : `${status} ${code}`)
    assert.deepEqual(ended.left, [], 'something of the run is left')
    assert.equal(ended.exitCode, status === 'superseded' ? 75 : status === 'failed' ? 1 : 0)
    if (status === 'failed' && !expectedFailures.has(code!)) throw new Error(`${code}: ${ended.message}`)
  }

  #whenDone(): Promise<unknown> {
    // others may join while these are awaited
    return Promise.all(this.#driven).then(() => (this.#left > 0 ? this.#whenDone() : undefined))
  }

  #say(what: string): void {
    this.#log.push(`${performance.now().toFixed(0)} ${what}`)
  }

  // ── faults ────────────────────────────────────────────────────────────────────────────────────────────────

  #arm(fault: Fault): Promise<Caught> {
    return this.#traps.arm(fault, async () => {
      const isDoubtful = fault.kind === 'commit' && fault.action !== 'let go' && fault.action !== 'stall'
      if (!isDoubtful) return
      this.#doubt = { commitNumber: await this.#commitNumber(), hasSync: hasSync(fault.point) }
    })
  }

  /** Brings the fault about; returns when it has, or when everything is done without it. */
  async #bring(fault: Fault, catching: Promise<Caught>): Promise<void> {
    this.#say(`armed ${nameOf(fault)}, ${fault.action}`)
    const done = this.#whenDone().then(() => undefined)
    if (fault.kind === 'resolve') {
      const cut = this.#traps.arm({ kind: 'commit', point: 'between fence and Sync' })
      // unless something is asked already
      const lost = await Promise.race([cut, catching.then(() => undefined), done])
      lost?.cut('reset')
      this.#traps.disarm('commit')
    }
    if (fault.kind === 'release' || (fault.kind === 'take' && this.#log.length > 1)) {
      this.#stopAlways(true)
    }
    const caught = await Promise.race([catching, done])
    this.#stopAlways(false)
    if (caught === undefined) return
    this.#say(`caught by ${this.#members.get(caught.proxy)!.pid}`)
    this.#tally.count(this.#tally.hits, nameOf(fault))
    this.#tally.count(this.#tally.actions, fault.action)
    await this.#act(fault, caught)
  }

  #stopAlways(isOn: boolean): void {
    for (const process of this.#members.values()) process.stopAlways(isOn)
  }

  async #act({ action }: Fault, caught: Caught): Promise<void> {
    const process = this.#members.get(caught.proxy)!
    switch (action) {
      case 'let go':
        return caught.letGo()
      case 'stall':
        await pause(20 + 150 * this.#random())
        return caught.letGo()
      case 'reset':
        return caught.cut('reset')
      case 'hang up':
        return caught.cut('end')
      case 'late':
        caught.cutClient()
        await pause(100 * this.#random())
        return caught.letGo()
      case 'terminate':
        await this.#query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name LIKE 'tailrace %'`)
        return caught.letGo()
      case 'kill': {
        await process.kill()
        const isHeld = this.#random() < 0.5
        // what it has sent is under way, and may arrive when another has the pipeline
        const next = await this.#join(false)
        if (isHeld) await this.#hasTaken(next, 1_000)
        return caught.letGo()
      }
      case 'freeze': {
        process.freeze()
        const next = await this.#join(true)
        await this.#hasTaken(next, 3_000)
        caught.letGo()
        process.thaw()
        return
      }
      case 'restart':
        await this.#server.restart()
        return caught.letGo()
      default:
        throw new Error(`unreachable: ${String(action satisfies never)}`)
    }
  }

  /** Or was too late for it, or takes too long. */
  async #hasTaken(process: RigProcess, waitMs: number): Promise<void> {
    await Promise.race([process.until('taken').catch(() => undefined), pause(waitMs)])
  }

  async #settleDoubt(): Promise<void> {
    const doubt = this.#doubt
    if (doubt === undefined) return
    this.#doubt = undefined
    const found = (await this.#commitNumber()) > doubt.commitNumber ? 'landed' : 'notLanded'
    this.#tally.cuts[found]++
    if (!doubt.hasSync) this.#tally.cuts.withoutSync[found]++
  }

  // ── the database ──────────────────────────────────────────────────────────────────────────────────────────

  async #query(sql: string): Promise<Record<string, unknown>[]> {
    return (await this.#pool.query<Record<string, unknown>>(sql)).rows
  }

  async #commitNumber(): Promise<number> {
    return (await this.#pipeline())['commit_number'] as number
  }

  async #check(): Promise<void> {
    const rows = await rowsOf(this.#pool)
    assert.deepEqual(rows, await referenceOf(this.#plan.chain))
    const row = await this.#pipeline()
    assert.equal(row['token'], null)
    assert.equal(row['number'], this.#plan.chain.blocks)
    assert.ok((row['counter'] as number) >= (row['committed'] as number))
  }

  async #pipeline(): Promise<Record<string, unknown>> {
    const [row] = await this.#query(`SELECT token, committed::int, counter::int, commit_number::int, (
        SELECT number::int FROM tailrace.cursors WHERE pipeline = name AND source = 'm') AS number
      FROM tailrace.pipelines WHERE name = '${name}'`)
    return row!
  }
}

const references = new Map<string, ReturnType<typeof expected>>()

function referenceOf(chain: ChainPlan): ReturnType<typeof expected> {
  const key = JSON.stringify(chain)
  const known = references.get(key) ?? expected(survivors(chain))
  references.set(key, known)
  return known
}
