/** I8, I10: killed in the middle of a rollback, the next run ends with the tables of the blocks that survive. */
import { expect, test } from 'vitest'
import { createIndexer } from '../../src/index.ts'
import { expectSurvivors } from '../support/forks.ts'
import { createWorld, handlers, tables, watch, type World } from '../support/indexers.ts'
import { startChild } from '../support/indexers-child.ts'
import { chainOf, rollbackPoints, type Task } from './child.ts'

const taskOf = (world: World): Task => ({
  connectionString: world.connectionString,
  name: 'fork',
  blocks: 24,
  itemsPerBlock: 8,
  seed: 7,
  batchItems: 8,
  fork: { above: 9, blocks: 6 },
})

/** The run after it, in this process. */
function survivor(world: World, task: Task) {
  const { chain, fork } = chainOf(task)
  fork()
  chain.end()
  const indexer = createIndexer({
    name: task.name,
    source: chain.source,
    tables,
    handlers,
    store: world.plainStore(),
    ownership: { timeoutMs: 20_000 },
  })
  return { chain, indexer, events: watch(indexer) }
}

test.each(rollbackPoints)(
  'I8, I10: SIGKILL at %s: nothing is taken back twice, nothing is left',
  async (at) => {
    await using world = await createWorld()
    const task = taskOf(world)
    await using child = startChild()
    await child.begin({ ...task, die: { at, nth: 1 } })
    expect(await child.exited).toBe('SIGKILL')
    const { chain, indexer, events } = survivor(world, task)
    expect(await indexer.run()).toMatchObject({ status: 'finished' })
    // it had landed, or is done now; when it was answered, there is no choice
    const targets = events.of('rollback.committed').map(({ target }) => target)
    if (at === 'restoring') expect([[], [9n]]).toContainEqual(targets)
    else expect(targets).toEqual([])
    await expectSurvivors(world, { chain }, events)
  },
)

test.each(['before the next run', 'while the next run waits for it'])(
  'I8, I9, H38: SIGKILL while the rollback is on the wire, and Postgres gets on with it %s',
  async (when) => {
    await using world = await createWorld()
    const task = taskOf(world)
    await using child = startChild()
    await child.begin({ ...task, fork: { ...task.fork!, whenTold: true } })
    await child.until('forkable')
    const lock = world.lock('transfer')
    await lock.taken
    child.fork()
    await world.blocked(1)
    await child.kill()
    const { chain, indexer, events } = survivor(world, task)
    if (when === 'before the next run') await lock.release()
    const running = indexer.run()
    if (when !== 'before the next run') {
      await events.until('ownership', ({ state }) => state === 'waiting')
      await lock.release()
    }
    expect(await running).toMatchObject({ status: 'finished' })
    await expectSurvivors(world, { chain }, events)
  },
)
