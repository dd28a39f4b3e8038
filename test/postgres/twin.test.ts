/**
 * The simulated Postgres (test/simulation/store.ts) and the real one under the same random programs: owners that come and
 * go, commits, rollbacks, refusals, region snapshots and delivery marks. The same answers, the same rows, the same places
 * to resume from: what the simulation finds true over the one is true over the other.
 *
 * SEED=… replays a run that failed (the failure names it), RUNS=… shakes it harder.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { marksAlone } from '../../src/commit/worker.ts'
import type { StoreSession, WriteEnd, RestoreEnd } from '../../src/commit/store.ts'
import type { TailraceError } from '../../src/errors.ts'
import type { RegionMark } from '../../src/staging/batch.ts'
import { parseFind } from '../../src/staging/find.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { createWorld, type World } from '../support/indexers.ts'
import { findOptionsOver, narrowProgramOps, programTables } from '../support/programs.ts'
import { comparable, realSide, simulatedSide, type Side } from '../support/twin-sides.ts'
import { Stager, type GivenBatch } from '../support/twin-stager.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const numRuns = Number(process.env['RUNS'] ?? 8)

const regions = ['north', 'south']

const batch: fc.Arbitrary<GivenBatch> = fc.record({
  blocks: fc.array(
    fc.record({ source: fc.constantFrom('a', 'b'), ops: fc.oneof(narrowProgramOps, fc.constant([])) }),
    { minLength: 1, maxLength: 3 },
  ),
  // null: nothing of it can be taken back; else so many checkpoints below it still can
  lag: fc.option(fc.nat({ max: 6 }), { nil: null, freq: 3 }),
  publishes: fc.array(fc.tuple(fc.constantFrom(...regions), fc.nat({ max: 2 })), { maxLength: 3 }),
})

type Step =
  | { readonly do: 'commit'; readonly batches: readonly GivenBatch[]; readonly marks: boolean }
  | { readonly do: 'commit of a duplicate' | 'marks alone' | 'resolve' | 'reopen' | 'take over' }
  | { readonly do: 'roll back'; readonly depth: number }
  | { readonly do: 'former owner'; readonly batch: GivenBatch }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('commit' as const),
      batches: fc.array(batch, { minLength: 1, maxLength: 3 }),
      marks: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('roll back' as const), depth: fc.integer({ min: 1, max: 8 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'commit of a duplicate' as const,
        'marks alone' as const,
        'resolve' as const,
        'reopen' as const,
        'take over' as const,
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('former owner' as const), batch }) },
)

const program = fc.record({
  deliver: fc.constantFrom('newest' as const, 'every' as const),
  forks: fc.boolean(),
  steps: fc.array(step, { minLength: 1, maxLength: 9 }),
  asked: fc.array(findOptionsOver({ amount: fc.integer({ min: -3, max: 3 }) }), {
    minLength: 1,
    maxLength: 2,
  }),
})
type Program = typeof program extends fc.Arbitrary<infer P> ? P : never

const models = Object.entries(programTables).map(([name, table]) => tableModelOf(name, table))

type Ended = WriteEnd | RestoreEnd

/** Both stores, step by step: the simulated one first. */
class Twins {
  readonly #sides: readonly Side[]
  readonly #stager: Stager
  readonly #given: Program
  #sessions: readonly StoreSession[] = []
  /** Of owners that lost the pipeline. */
  readonly #former: (readonly StoreSession[])[] = []
  #committed = 0

  constructor(given: Program, world: World) {
    this.#given = given
    const asked = { models, deliver: given.deliver, forks: given.forks }
    this.#sides = [simulatedSide(asked), realSide(world, asked)]
    this.#stager = new Stager(models, given.deliver, given.forks)
  }

  async play(): Promise<void> {
    try {
      await this.#open()
      for (const one of this.#given.steps) {
        await this.#step(one)
        await this.#compare(one.do)
      }
      await this.#reopen()
      await this.#compare('the end')
    } finally {
      for (const sessions of [this.#sessions, ...this.#former]) {
        await this.#both((session) => session.close(), sessions)
      }
    }
  }

  async #step(one: Step): Promise<void> {
    switch (one.do) {
      case 'commit':
        return this.#commit(one.batches, one.marks ? await this.#marks() : [])
      case 'commit of a duplicate':
        return this.#commitDuplicate()
      case 'marks alone':
        return this.#commit([], await this.#marks())
      case 'roll back':
        return this.#rollBack(one.depth)
      case 'resolve':
        return void (await this.#same('resolve', (session) => session.resolve()))
      case 'reopen':
        return this.#reopen()
      case 'take over':
        for (const side of this.#sides) await side.takeAway()
        this.#former.push(this.#sessions)
        return this.#open()
      case 'former owner':
        return this.#speakAsFormer(one.batch)
      default:
        throw new Error(`unreachable: ${String(one satisfies never)}`)
    }
  }

  // ── steps ─────────────────────────────────────────────────────────────────────────────────────────────────

  async #open(): Promise<void> {
    this.#sessions = await Promise.all(this.#sides.map((side) => side.open()))
    const resumes = this.#sessions.map(({ resume: { positions, ...rest } }) => ({
      ...rest,
      // of each server its own
      incarnation: undefined,
      positions: Object.fromEntries(positions),
    }))
    expect(resumes[0], 'where to resume').toEqual(resumes[1])
    const { committed, counter } = this.#sessions[0]!.resume
    this.#committed = committed
    this.#stager.counter = counter
  }

  async #reopen(): Promise<void> {
    await this.#both((session) => session.close())
    await this.#open()
  }

  async #groupOf(batches: readonly GivenBatch[], marks: readonly RegionMark[]) {
    if (batches.length === 0) return { ...marksAlone(this.#committed), marks }
    const { reader } = this.#sessions[0]!
    return this.#sides[0]!.during(this.#stager.group(reader, batches, marks))
  }

  async #commit(batches: readonly GivenBatch[], marks: readonly RegionMark[]): Promise<void> {
    const group = await this.#groupOf(batches, marks)
    const end = await this.#same('write', (session) => session.write(group, () => undefined))
    expect(end).toMatchObject({ end: 'landed' })
    this.#committed = group.upTo
  }

  /** A row that only the database knows is inserted again: nothing of the group is there. */
  async #commitDuplicate(): Promise<void> {
    const [profile] = await this.#sides[0]!.during(this.#rows(this.#sessions[0]!, 'profile'))
    if (profile === undefined) return
    const before = this.#stager.counter
    const group = this.#stager.inserting('profile', profile)
    const end = await this.#same('write', (session) => session.write(group, () => undefined))
    expect(end).toMatchObject({ end: 'refused', error: { code: 'DUPLICATE_KEY' } })
    this.#stager.counter = before
  }

  async #rollBack(depth: number): Promise<void> {
    const lowest = this.#sessions[0]!.restorableFrom
    const target = Math.max(lowest, this.#committed - depth)
    if (target >= this.#committed) return
    await this.#same('restore', (session) => session.restore(target))
    this.#committed = target
  }

  async #speakAsFormer(batch: GivenBatch): Promise<void> {
    const sessions = this.#former.at(-1)
    if (sessions === undefined) return
    const before = this.#stager.counter
    const group = await this.#groupOf([batch], [])
    this.#stager.counter = before
    await this.#same('a former write', (session) => session.write(group, () => undefined), sessions)
    await this.#same('a former rollback', (session) => session.restore(0), sessions)
    const ends = await this.#both((session) => session.resolve(), sessions)
    expect(ends.map(({ end }) => end)).toEqual(['superseded', 'superseded'])
  }

  /** Of every snapshot that is not delivered. */
  async #marks(): Promise<RegionMark[]> {
    const [session] = this.#sessions
    const rows = await this.#sides[0]!.during(session!.snapshots(regions, this.#given.deliver))
    return rows
      .filter(({ isDelivered }) => !isDelivered)
      .map(({ region, checkpoint, seq, stamp }) => ({ region, checkpoint, seq, commit: stamp.commit }))
  }

  // ── the same on both ──────────────────────────────────────────────────────────────────────────────────────

  #both<T>(ask: (session: StoreSession) => Promise<T>, sessions = this.#sessions): Promise<T[]> {
    return Promise.all(sessions.map((session, at) => this.#sides[at]!.during(ask(session))))
  }

  async #same<T extends Ended | Awaited<ReturnType<StoreSession['resolve']>>>(
    what: string,
    ask: (session: StoreSession) => Promise<T>,
    sessions?: readonly StoreSession[],
  ): Promise<T> {
    const ends = await this.#both(ask, sessions)
    const [ours, theirs] = ends.map((ended) =>
      'error' in ended ? { end: ended.end, code: (ended.error as TailraceError).code } : ended,
    )
    expect(ours, what).toEqual(theirs)
    return ends[0]!
  }

  #rows(session: StoreSession, name: string, options = {}): Promise<readonly Record<string, unknown>[]> {
    const model = models.find((candidate) => candidate.name === name)!
    const { predicate, order, limit } = parseFind(model, options)
    return session.reader.find(model, { predicate, order, limit })
  }

  async #compare(when: string): Promise<void> {
    const states = await this.#both(async (session) => ({
      restorableFrom: session.restorableFrom,
      tables: await Promise.all(models.map(({ name }) => this.#rows(session, name))),
      found: await Promise.all(this.#given.asked.map((options) => this.#rows(session, 'holding', options))),
      regions: (await session.regions()).map(comparable),
      newest: (await session.snapshots(regions, 'newest')).map(comparable),
      every: (await session.snapshots(regions, 'every')).map(comparable),
    }))
    expect(states[0], `after ${when}`).toEqual(states[1])
  }
}

test(
  'I8 I9 I10 I12 I15: the simulated Postgres does what the real one does',
  { timeout: 120_000 },
  async () => {
    console.log(`twin: SEED=${seed}`)
    await using world = await createWorld()
    await fc.assert(
      fc.asyncProperty(program, async (given) => {
        await world.query(`DROP SCHEMA public CASCADE; CREATE SCHEMA public;
        DROP SCHEMA IF EXISTS tailrace CASCADE; DROP SCHEMA IF EXISTS tailrace_history CASCADE`)
        await new Twins(given, world).play()
      }),
      { seed, numRuns, endOnFailure: process.env['SHRINK'] === '0' },
    )
  },
)
