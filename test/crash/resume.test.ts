/** I8: stopped, aborted or killed at any instant, the next run ends with the tables of one sequential run. */
import { expect, test } from 'vitest'
import { createIndexer, memorySource } from '../../src/index.ts'
import { dice } from '../support/dice.ts'
import { blocksOf, createWorld, expected, handlers, tables, type World } from '../support/indexers.ts'
import { startChild } from '../support/indexers-child.ts'
import { points } from './child.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const rounds = Number(process.env['ROUNDS'] ?? 7)
const replay = `replay with SEED=${seed}`

/** Runs until it finishes, ended somewhere in every one of the first `rounds` runs by `end`. */
async function interrupted(world: World, random: () => number, how: 'stop' | 'abort'): Promise<void> {
  const blocks = blocksOf(160, 10, { seed })
  const below = (limit: number) => Math.floor(random() * limit)
  let ended = 0
  for (let round = 0; ; round++) {
    const limits = {
      batchItems: 10 * (1 + below(4)),
      groupLatencyMs: below(3) * 15,
      failDeadlineMs: [0, 5, 1_000][below(3)]!,
      stagedBytes: below(2) === 0 ? 20_000 : 64 * 1024 * 1024,
    }
    const indexer = createIndexer({
      name: 'resumed',
      source: memorySource({ id: 'm', blocks }),
      tables,
      handlers,
      store: world.plainStore(),
      limits,
    })
    let left = 1 + below(6)
    const event = below(2) === 0 ? ('batch.processed' as const) : ('batch.committed' as const)
    if (round < rounds) {
      indexer.on(event, () => {
        if (--left === 0) void indexer[how]()
      })
    }
    const outcome = await indexer.run()
    const { committed, counter, token } = await world.pipeline('resumed')
    expect(token, replay).toBeNull()
    expect(counter, replay).toBe(committed)
    if (outcome.status === 'failed') {
      expect(outcome.error.code, `${replay}: ${outcome.error.message}`).toBe('ABORTED')
      // exactly what is known, or what it says it does not know
      if (outcome.inDoubt === undefined) expect(BigInt(committed), replay).toBe(outcome.committed)
      else expect([outcome.committed, outcome.inDoubt.upTo], replay).toContain(BigInt(committed))
      ended++
    } else if (outcome.status === 'stopped') {
      expect(outcome.committed, replay).toBe(outcome.processed)
      expect(BigInt(committed), replay).toBe(outcome.committed)
      ended++
    } else {
      expect(outcome, replay).toMatchObject({ status: 'finished', committed: 160n })
      if (round >= rounds || committed === 160) break
    }
  }
  expect(ended, replay).toBeGreaterThan(0)
  expect(await world.rows(), replay).toEqual(await expected(blocks))
}

test.each(['stop', 'abort'] as const)(
  'I8, H42: %s() at random points, and on to the end',
  async (how) => {
    console.log(`crash/resume ${how}: SEED=${seed}`)
    await using world = await createWorld()
    await interrupted(world, dice(seed), how)
  },
  120_000,
)

test('I8, I10, H38: SIGKILL at random points of handlers and commits, and on to the end', async () => {
  console.log(`crash/resume SIGKILL: SEED=${seed}`)
  await using world = await createWorld()
  const random = dice(seed + 1)
  const below = (limit: number) => Math.floor(random() * limit)
  const task = {
    connectionString: world.connectionString,
    name: 'killed',
    blocks: 300,
    itemsPerBlock: 6,
    seed,
    batchItems: 12,
  }
  // each point once at least; all are started at once, since starting is what takes time
  const deaths = Array.from({ length: rounds }, (_, round) => points[(round + seed) % points.length]!)
  const children = [...deaths, undefined].map((at) => ({ at, child: startChild() }))
  let last = 0
  for (const { at, child } of children) {
    await using process = child
    const nth = at === 'item' ? 1 + below(150) : 1 + below(5)
    await process.begin({ ...task, die: at === undefined ? undefined : { at, nth } })
    if (at === undefined) {
      expect(await process.until('ended'), replay).toMatchObject({ status: 'finished', committed: '300' })
    }
    const signal = await process.exited
    const { committed, counter } = await world.pipeline('killed')
    expect(committed, replay).toBeGreaterThanOrEqual(last)
    expect(counter, replay).toBe(committed)
    if (at !== undefined && committed < 300)
      expect(signal, `${replay}, at the ${nth}th ${at}`).toBe('SIGKILL')
    last = committed
  }
  expect(await world.rows(), replay).toEqual(
    await expected(blocksOf(task.blocks, task.itemsPerBlock, { seed })),
  )
}, 180_000)
