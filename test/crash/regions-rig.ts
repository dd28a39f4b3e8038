/**
 * Lives of a pipeline that shows regions in Redis: process after process is killed between a commit and its delivery, until
 * the chain is through; and what has to hold after each of them.
 */
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import pg from 'pg'
import { postgres } from '../../src/commit/postgres.ts'
import { regionKeys } from '../../src/publish/keys.ts'
import { redisRegions } from '../../src/publish/redis.ts'
import { parseStamp } from '../../src/publish/script.ts'
import { compareStamps } from '../../src/stamp.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { dice } from '../support/dice.ts'
import { expected, rowsOf, tables } from '../support/indexers.ts'
import {
  auditTable,
  pipeline,
  shownBy,
  type Ended,
  type Point,
  type RegionsTask,
  type Said,
} from './regions-child.ts'
import { survivors } from './rig/chain.ts'

export interface LifePlan {
  readonly seed: number
  readonly deliver: 'newest' | 'every'
  /** A round each: there its process dies. */
  readonly points: readonly Point[]
}

export interface LifeServers {
  /** Of an empty database. */
  readonly connectionString: string
  readonly redisUrl: string
  /** Of keys that nobody else has. */
  readonly prefix: string
}

/** What happened, over all lives. */
export class RegionsTally {
  readonly kills = new Map<Point, number>()
  rounds = 0
  /** Runs that ended well, and were compared. */
  compared = 0
  notifications = 0
}

// ── processes ───────────────────────────────────────────────────────────────────────────────────────────────

class Child {
  readonly wrong: string[] = []
  readonly #child = fork(join(import.meta.dirname, 'regions-child.ts'), { execArgv: ['--import', 'tsx'] })
  readonly #exited = once(this.#child, 'exit')
  readonly #ready = this.#hear('ready')

  constructor() {
    this.#child.on('message', (said: Said) => {
      if (said.type === 'wrong') this.wrong.push(said.what)
    })
  }

  async run(task: RegionsTask): Promise<Ended | 'killed'> {
    if ((await this.#ready) === 'killed') return 'killed'
    const ended = this.#hear('ended')
    this.#child.send(task)
    return ended
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  #hear<Type extends Said['type']>(type: Type): Promise<Extract<Said, { type: Type }> | 'killed'> {
    return new Promise((resolve) => {
      this.#child.on('message', (said: Said) => {
        if (said.type === type) resolve(said as Extract<Said, { type: Type }>)
      })
      void this.#exited.then(() => resolve('killed'))
    })
  }
}

/** Processes are what takes time: the next one starts while this one works. */
export class Children implements AsyncDisposable {
  readonly #all = new Set<Child>()
  #next = this.#start()

  take(): Child {
    const child = this.#next
    this.#next = this.#start()
    return child
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#all].map((child) => child.kill()))
  }

  #start(): Child {
    const child = new Child()
    this.#all.add(child)
    return child
  }
}

// ── a life ──────────────────────────────────────────────────────────────────────────────────────────────────

const itemsPerBlock = 3
/** A life ends with its chain: so many blocks are enough for a round and for the end. */
const blocksPerRound = 18

/** @throws with what differed */
export async function playLife(
  plan: LifePlan,
  servers: LifeServers,
  children: Children,
  tally: RegionsTally,
): Promise<void> {
  const life = await Life.begin(plan, servers, children, tally)
  try {
    await life.play()
  } catch (error) {
    throw new Error(`${String(error)}\n${life.log.join('\n')}`, { cause: error })
  } finally {
    await life.end()
  }
}

interface Entry {
  readonly id: string
  readonly stamp: string
}

class Life {
  readonly log: string[] = []
  readonly #plan: LifePlan
  readonly #children: Children
  readonly #tally: RegionsTally
  readonly #task: RegionsTask
  readonly #random: () => number
  readonly #pool: pg.Pool
  readonly #redis: Redis
  /** Notifications of each region, as they were last seen. */
  readonly #told = new Map<string, readonly Entry[]>()

  static async begin(
    plan: LifePlan,
    servers: LifeServers,
    children: Children,
    tally: RegionsTally,
  ): Promise<Life> {
    const { connectionString } = servers
    // the bookkeeping has to be there before what watches over it
    const session = await postgres({ connectionString, createTables: true }).open({
      pipeline: 'installed',
      models: Object.entries(tables).map(([name, table]) => tableModelOf(name, table)),
      sources: [],
      staleMs: 15_000,
      ownershipTimeoutMs: 0,
      signal: new AbortController().signal,
      log: { debug() {}, info() {}, warn() {}, error() {} },
    })
    await session.close()
    const life = new Life(plan, servers, children, tally)
    await life.#query(`
      CREATE TABLE ${auditTable} (region text, id text, epoch bigint, commit_number bigint, ordinal integer, body text);
      CREATE FUNCTION ${auditTable}_keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.${auditTable} SELECT NEW.region, NEW.id, NEW.epoch, NEW.commit_number, NEW.ordinal, NEW.body;
        RETURN NULL;
      END $$;
      CREATE TRIGGER ${auditTable} AFTER INSERT OR UPDATE OF commit_number ON tailrace.regions
        FOR EACH ROW EXECUTE FUNCTION ${auditTable}_keep()`)
    return life
  }

  private constructor(plan: LifePlan, servers: LifeServers, children: Children, tally: RegionsTally) {
    this.#plan = plan
    this.#children = children
    this.#tally = tally
    const { seed, deliver, points } = plan
    this.#random = dice(seed)
    this.#task = {
      ...servers,
      deliver,
      keep: this.#below(3) === 0 ? 0 : 10_000,
      chain: { blocks: blocksPerRound * (1 + points.length), itemsPerBlock, seed, every: 6, depth: 2 },
      batchItems: itemsPerBlock * (1 + this.#below(2)),
      groupLatencyMs: 5,
      seed,
    }
    this.#pool = new pg.Pool({ connectionString: servers.connectionString, max: 2 })
    this.#pool.on('error', () => undefined)
    this.#redis = new Redis(servers.redisUrl)
  }

  async play(): Promise<void> {
    const { points } = this.#plan
    for (const point of points) {
      const child = this.#children.take()
      await this.#run(child, { stopAfter: 1 + this.#below(3) })
      const die = {
        at: point,
        nth: 1 + this.#below(/rollback|exit/.test(point) ? 1 : 4),
        turns: this.#below(4),
      }
      await this.#run(child, {
        die,
        // several snapshots of a region are delivered behind one commit, and none of them is marked yet
        ...(point.includes('exit') ? { stopAfter: 1 + this.#below(2), groupLatencyMs: 1_000 } : {}),
      })
      await child.kill()
      this.#tally.rounds++
    }
    const child = this.#children.take()
    const ended = await this.#run(child, {})
    await child.kill()
    assert.equal(ended, 'finished')
    assert.deepEqual(await rowsOf(this.#pool), await expected(survivors(this.#task.chain)))
    if (this.#plan.deliver === 'every') await this.#compareEvery()
    for (const told of this.#told.values()) this.#tally.notifications += told.length
  }

  async end(): Promise<void> {
    this.#redis.disconnect()
    await this.#pool.end()
  }

  async #run(child: Child, more: Partial<RegionsTask>): Promise<Ended['status'] | 'killed'> {
    const task = { ...this.#task, ...more, seed: this.#below(2 ** 31) }
    const ended = await child.run(task)
    this.log.push(`${JSON.stringify({ ...more, seed: task.seed })}: ${JSON.stringify(ended)}`)
    await this.#checkStreams()
    assert.deepEqual(child.wrong, [], 'I13: what was sent')
    if (ended === 'killed') {
      assert.ok(task.die !== undefined, 'it died, and was not to')
      const { at } = task.die
      this.#tally.kills.set(at, (this.#tally.kills.get(at) ?? 0) + 1)
      return ended
    }
    assert.ok(ended.status === 'finished' || ended.status === 'stopped', `${ended.status}: ${ended.message}`)
    assert.deepEqual(ended.undelivered, [], 'what a run that ended well left undelivered')
    await this.#compareShown()
    this.#tally.compared++
    return ended.status
  }

  // ── what must hold ────────────────────────────────────────────────────────────────────────────────────────

  /** Whoever was killed, and whenever: nothing uncommitted was told, nothing twice, nothing behind what came before. */
  async #checkStreams(): Promise<void> {
    for (const region of this.#regions) {
      const keys = regionKeys(this.#task.prefix, region)
      const found = await this.#redis.xrange(keys.events, '-', '+')
      const entries = found.map(([, fields]): Entry => {
        const field = (name: string) => fields[fields.indexOf(name) + 1]!
        return { id: field('id'), stamp: field('stamp') }
      })
      const before = this.#told.get(region) ?? []
      assert.deepEqual(
        entries.slice(0, before.length),
        before,
        `what ${region} was told before is told no more`,
      )
      this.#told.set(region, entries)
      for (const [at, { id, stamp }] of entries.entries()) {
        const last = entries[at - 1]
        const isForward = last === undefined || compareStamps(parseStamp(last.stamp), parseStamp(stamp)) < 0
        assert.ok(isForward, `H51: ${region} went from ${last?.id} (${last?.stamp}) to ${id} (${stamp})`)
      }
      const latest = await this.#redis.hget(keys.latest, 'stamp')
      const newest = entries.at(-1)?.stamp
      const isAhead = newest === undefined || compareStamps(parseStamp(newest), parseStamp(latest!)) <= 0
      assert.ok(isAhead, `H51: ${region} shows ${latest}, and ${newest} was told`)
      if (this.#task.keep > 0) {
        const persisted = await this.#redis.zrange(keys.index, '0', '-1')
        const told = [...new Set(entries.map(({ id }) => id))]
        assert.deepEqual(
          told.toSorted(),
          persisted.toSorted(),
          `H58: what ${region} has and what was told of it`,
        )
      }
      const committed = await this.#query(
        `SELECT id, epoch || ' ' || commit_number || ' ' || ordinal AS stamp FROM ${auditTable} WHERE region = $1`,
        [region],
      )
      const known = new Set(committed.map(({ id, stamp }) => `${String(id)} ${String(stamp)}`))
      for (const { id, stamp } of entries) {
        const own = stamp.slice(stamp.indexOf(' ') + 1)
        assert.ok(known.has(`${id} ${own}`), `H59: ${region} was told of ${id} (${stamp}), never committed`)
      }
    }
  }

  /** After a run that ended well: readers see what the rows say at the committed frontier, and it is marked. */
  async #compareShown(): Promise<void> {
    const accounts = await this.#query('SELECT id, balance::text FROM account ORDER BY id')
    const [head] = await this.#query('SELECT number::int, hash FROM tailrace.cursors WHERE pipeline = $1', [
      pipeline,
    ])
    const shown = shownBy(accounts as never, head as never)
    const { redisUrl: url, prefix } = this.#task
    await using reader = redisRegions({ url, prefix })
    const latest = await reader.read(this.#regions)
    for (const [region, body] of shown) {
      assert.deepEqual(latest.get(region)?.body, body, `H75: what ${region} shows at ${JSON.stringify(head)}`)
    }
    const standing = await reader.standing(this.#regions)
    const current = await this.#query(
      `SELECT DISTINCT ON (region) region, epoch::int, commit_number::int AS commit, ordinal, delivered_at
       FROM tailrace.regions WHERE pipeline = $1 ORDER BY region, checkpoint DESC, seq DESC`,
      [pipeline],
    )
    for (const { region, epoch, commit, ordinal, delivered_at: deliveredAt } of current) {
      assert.ok(deliveredAt !== null, `${String(region)} is current and not marked`)
      const { stamp } = standing.get(region as string)!
      assert.deepEqual(
        { ...stamp, incarnation: 0 },
        { incarnation: 0, epoch, commit, ordinal },
        `the stamp that ${String(region)} shows`,
      )
    }
  }

  /** Where each one counts, none of those that stayed was passed over: each block's is another. */
  async #compareEvery(): Promise<void> {
    const told = new Set(this.#told.get('head')!.map(({ id }) => id))
    const all = await this.#query(
      `SELECT id, body FROM ${auditTable} WHERE region = 'head' AND body LIKE '%"final-%'`,
    )
    const missing = all.filter(({ id }) => !told.has(id as string))
    assert.deepEqual(missing, [], 'what was committed and never shown')
    assert.equal(new Set(all.map(({ body }) => body)).size, this.#task.chain.blocks)
  }

  get #regions(): readonly string[] {
    return [...shownBy([], { number: 0, hash: '' }).keys()]
  }

  async #query(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    return (await this.#pool.query<Record<string, unknown>>(sql, values)).rows
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }
}
