/**
 * All schedules of the smallest configurations, on the real indexer over a store in memory: every order in which blocks
 * arrive, handlers go on, groups are sent, land and are heard of, and in which a stop, an abort, a lost answer or a
 * handler's error falls between them. Each ends in the tables of the sequential reference (after a second run where the
 * first was cut short).
 */
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createIndexer, memorySource, type Context, type Indexer, type Outcome } from '../../src/index.ts'
import { Gate, gatedSource, gatedStore, memoryStore, referenceRun } from '../../src/testing/index.ts'
import { nextPicks, runSchedule, type Choice, type Schedule, type World } from '../support/explorer.ts'

const account = pgTable('account', { id: text().primaryKey(), balance: integer().notNull() })
const tables = { account }

interface Item {
  readonly id: string
  readonly amount: number
}

interface Configuration {
  readonly name: string
  readonly blocks: number
  readonly groupLatencyMs: number
  readonly stagedBytes: number
  /** One disturbance that may fall anywhere, at most once. */
  readonly disturbance?: {
    readonly label: string
    when?(world: RunningWorld): boolean
    fire(world: RunningWorld): void
  }
}

/** Every block reads what the one before wrote, and what an earlier one wrote. */
function blocksOf(count: number) {
  return Array.from({ length: count }, (_, index) => ({
    number: index + 1,
    items: [{ id: index % 2 === 0 ? 'a' : 'b', amount: index + 1 }],
  }))
}

class RunningWorld implements World {
  readonly memory = memoryStore()
  readonly handler = new Gate('handler')
  readonly reads: (readonly [string, unknown])[] = []
  readonly indexer: Indexer
  readonly #gated = gatedStore(this.memory)
  readonly #source
  readonly #configuration: Configuration
  #disturbed = false
  #activity = 0
  outcome: Outcome | undefined
  handlerFails = false

  constructor(configuration: Configuration) {
    this.#configuration = configuration
    this.#source = gatedSource(memorySource<Item>({ id: 'm', blocks: blocksOf(configuration.blocks) }))
    for (const gate of this.#gates()) gate.hold()
    this.indexer = createIndexer({
      name: 'explored',
      source: this.#source.source,
      tables,
      preload: false,
      handle: (item, context) => this.#handle(item, context),
      store: this.#gated.store,
      limits: {
        batchItems: 1,
        groupLatencyMs: configuration.groupLatencyMs,
        stagedBytes: configuration.stagedBytes,
        failDeadlineMs: 1_000,
      },
    })
    this.indexer.on('state', () => this.#activity++)
  }

  async run(picks: readonly number[]): Promise<Schedule> {
    const running = this.indexer.run().then((outcome) => {
      this.outcome = outcome
    })
    const schedule = await runSchedule(this, picks)
    await running
    return schedule
  }

  isDone(): boolean {
    return this.outcome !== undefined
  }

  activity(): number {
    return this.#gates().reduce((sum, gate) => sum + gate.passed + gate.waiting, this.#activity)
  }

  choices(): Choice[] {
    const choices: Choice[] = this.#gates()
      .filter((gate) => gate.waiting > 0)
      .map((gate) => ({ label: gate.name, fire: () => gate.releaseOne() }))
    // the one timer that a schedule may race: handing over gives up waiting for frames
    if (this.indexer.status().lanes?.compute === 'handingOver') {
      choices.push({ label: 'timer', fire: () => vi.advanceTimersByTime(20) })
    }
    const { disturbance } = this.#configuration
    if (disturbance !== undefined && !this.#disturbed && (disturbance.when?.(this) ?? true)) {
      choices.push({
        label: disturbance.label,
        fire: () => {
          this.#disturbed = true
          disturbance.fire(this)
        },
      })
    }
    return choices
  }

  get storeGates() {
    return this.#gated.gates
  }

  #gates(): readonly Gate[] {
    const { load, write, written } = this.#gated.gates
    return [this.#source.gates.message, this.handler, load, write, written]
  }

  async #handle(item: Item, { db, signal }: Context<typeof tables>): Promise<void> {
    await handle(
      item,
      db,
      (label, value) => this.reads.push([label, value]),
      async () => {
        await this.handler.enter(signal)
        signal.throwIfAborted()
        if (this.handlerFails) throw new Error('a fault in the handler')
      },
    )
  }
}

async function handle(
  item: Item,
  db: Context<typeof tables>['db'],
  read: (label: string, value: unknown) => void,
  pause: () => Promise<void>,
): Promise<void> {
  const own = await db.account.get(item.id)
  read(`${item.amount} get`, own)
  await pause()
  db.account.set({ id: item.id, balance: (own?.balance ?? 0) + item.amount })
  read(
    `${item.amount} find`,
    await db.account.find({ where: { balance: { gte: 1 } }, orderBy: { balance: 'desc' } }),
  )
}

async function reference(blocks: number) {
  const reads: (readonly [string, unknown])[] = []
  const rows = await referenceRun({
    blocks: blocksOf(blocks),
    tables,
    handle: (item: Item, { db }: Context<typeof tables>) =>
      handle(
        item,
        db,
        (label, value) => reads.push([label, value]),
        () => Promise.resolve(),
      ),
  })
  return { reads, rows: rows.get('account')! }
}

/** After a run that was cut short: open every gate and finish over the same store. */
async function finish(world: RunningWorld, blocks: number): Promise<void> {
  const outcome = await createIndexer({
    name: 'explored',
    source: memorySource<Item>({ id: 'm', blocks: blocksOf(blocks) }),
    tables,
    handle: (item: Item, { db }) =>
      handle(
        item,
        db,
        () => undefined,
        () => Promise.resolve(),
      ),
    store: world.memory,
  }).run()
  expect(outcome.status).toBe('finished')
}

const wide = 1_000_000
const configurations: readonly Configuration[] = [
  { name: 'two batches', blocks: 2, groupLatencyMs: 0, stagedBytes: wide },
  { name: 'three batches, groups of several', blocks: 3, groupLatencyMs: 1_000, stagedBytes: wide },
  { name: 'two batches, a budget of one', blocks: 2, groupLatencyMs: 0, stagedBytes: 1 },
  {
    name: 'two batches and a stop anywhere',
    blocks: 2,
    groupLatencyMs: 0,
    stagedBytes: wide,
    disturbance: { label: 'STOP', fire: (world) => void world.indexer.stop() },
  },
  {
    name: 'two batches and an abort anywhere',
    blocks: 2,
    groupLatencyMs: 0,
    stagedBytes: wide,
    disturbance: { label: 'ABORT', fire: (world) => void world.indexer.abort('explored') },
  },
  {
    name: 'two batches and a handler that fails',
    blocks: 2,
    groupLatencyMs: 0,
    stagedBytes: wide,
    disturbance: {
      label: 'HANDLER FAILS',
      when: (world) => world.handler.waiting > 0,
      fire: (world) => {
        world.handlerFails = true
        world.handler.releaseOne()
      },
    },
  },
  {
    name: 'two batches and a lost answer',
    blocks: 2,
    groupLatencyMs: 0,
    stagedBytes: wide,
    disturbance: {
      label: 'ANSWER LOST',
      when: (world) => world.storeGates.written.waiting > 0,
      fire: (world) => world.storeGates.written.fail(new Error('the answer was lost')),
    },
  },
]

describe('exhaustive schedules', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test.each(configurations)('I1 I2 I4 I6 I7 I8 I10: $name', { timeout: 120_000 }, async (configuration) => {
    const expected = await reference(configuration.blocks)
    let picks: readonly number[] | undefined = []
    let count = 0
    while (picks !== undefined) {
      const world = new RunningWorld(configuration)
      const schedule = await world.run(picks)
      const trace = schedule.trace.join(' → ')
      count++
      const outcome = world.outcome!
      if (outcome.status === 'finished') {
        expect(world.reads, trace).toEqual(expected.reads)
      } else {
        expect(configuration.disturbance, trace).toBeDefined()
        expect(outcome.committed, trace).toBe(BigInt(world.memory.committed))
        await finish(world, configuration.blocks)
      }
      expect(world.memory.rows('account'), trace).toEqual(expected.rows)
      picks = nextPicks(schedule)
    }
    console.log(`${configuration.name}: ${count} schedules`)
  })
})
