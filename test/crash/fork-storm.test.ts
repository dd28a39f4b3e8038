/**
 * I8: a chain that grows and forks at random beside a source that does not, under lost answers, killed backends, stops
 * and aborts, on a real server; in the end the tables are those of the blocks that survived.
 */
import { expect, test } from 'vitest'
import { gatedStore, simulatedChain } from '../../src/testing/index.ts'
import { expectBookkeeping, expectGrowingIds, numbers, summing, sums, sumsOf } from '../support/forks.ts'
import { dice } from '../support/dice.ts'
import { createWorld } from '../support/indexers.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const replay = `replay with SEED=${seed}`

const historyDepth = 6

test('I8, I9, I10, I12, H24, H30: forks in a storm of faults, stops and aborts', async () => {
  console.log(`crash/fork-storm: SEED=${seed}`)
  await using world = await createWorld()
  const random = dice(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  const chain = simulatedChain<number>({ id: 'chain', historyDepth })
  const other = simulatedChain<number>({ id: 'other', historyDepth: 0 })
  let branches = 0
  let highest = 0
  const grow = (from: number) => {
    const blocks = numbers(1 + below(3), from, 10_000 * branches)
    chain.append(blocks)
    highest = Math.max(highest, blocks.at(-1)!.number)
  }
  grow(1)
  let steps = 0
  let rollbacks = 0
  /** What the world does while a run goes on; deterministic but for when. */
  const step = () => {
    if (++steps > 120) {
      chain.end()
      other.end()
      return
    }
    const head = chain.blocks.at(-1)?.number ?? 0
    const what = below(10)
    if (what < 4) grow(head + 1)
    else if (what < 7) other.append(numbers(1 + below(2), (other.blocks.at(-1)?.number ?? 0) + 1, 5_000_000))
    else {
      branches++
      // never deeper than said, of the highest block there ever was
      const lowest = Math.max(0, highest - historyDepth)
      const above = lowest + below(Math.max(1, head - lowest))
      chain.fork({ above, blocks: [] })
      grow(above + 1)
    }
  }
  for (let run = 0; ; run++) {
    const { store, gates } = gatedStore(world.plainStore())
    const { indexer, events } = summing(world, [chain.source, other.source], {
      store,
      limits: {
        batchItems: 1 + below(4),
        groupLatencyMs: [0, 5, 1_000][below(3)]!,
        failDeadlineMs: [0, 5, 1_000][below(3)]!,
        stagedBytes: below(3) === 0 ? 2_000 : 64 * 1024 * 1024,
      },
    })
    let moments = 0
    indexer.on('state', () => {
      if (++moments % 3 !== 0) return
      const die = below(120)
      if (die < 40) step()
      else if (die < 46) gates.write.fail(new Error('lost before'))
      else if (die < 52) gates.written.fail(new Error('lost after'))
      else if (die < 58) gates.restore.fail(new Error('lost before'))
      else if (die < 64) gates.restored.fail(new Error('lost after'))
      else if (die < 67) gates.resolve.fail(new Error('no answer'))
      else if (die < 69) {
        void world
          .query(
            'SELECT pg_terminate_backend(backend_pid) FROM tailrace.pipelines WHERE backend_pid IS NOT NULL',
          )
          .catch(() => undefined)
      } else if (die < 71) void indexer.stop()
      else if (die < 73) void indexer.abort()
    })
    // at its head nothing happens by itself
    indexer.on('caughtUp', step)
    indexer.on('batch.committed', step)
    const outcome = await indexer.run()
    rollbacks += events.of('rollback.committed').length
    expectGrowingIds(events)
    const { committed, counter } = await world.pipeline('fork')
    expect(counter, replay).toBeGreaterThanOrEqual(committed)
    if (outcome.status === 'failed') {
      expect(outcome.error.code, `${replay}: ${outcome.error.message}`).toBe('ABORTED')
    }
    if (outcome.inDoubt === undefined) expect(outcome.committed, replay).toBe(BigInt(committed))
    else expect([outcome.inDoubt.from, outcome.inDoubt.upTo], replay).toContain(BigInt(committed))
    if (outcome.status === 'finished') break
  }
  console.log(`crash/fork-storm: ${steps} steps, ${branches} forks, ${rollbacks} rollbacks`)
  expect(rollbacks, replay).toBeGreaterThan(0)
  expect(await sums(world), replay).toEqual(sumsOf(chain.blocks, other.blocks))
  // as many positions as the highest block of all times left it, not the last one
  await expectBookkeeping(world, [{ source: { id: 'chain' }, blocks: chain.blocks }, other])
}, 180_000)
