/** I8, I10: connections lost before, during and after commits, backends killed, runs ended; again and again. */
import { expect, test } from 'vitest'
import { createIndexer, memorySource } from '../../src/index.ts'
import { dice } from '../support/dice.ts'
import { blocksOf, createWorld, expected, handlers, tables } from '../support/indexers.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const replay = `replay with SEED=${seed}`

test('I2, I8, I10, I12, H35, H62: whatever is lost, the tables are those of one sequential run', async () => {
  console.log(`crash/storm: SEED=${seed}`)
  const random = dice(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  await using world = await createWorld()
  const blocks = blocksOf(120, 10, { seed })
  let frontier = 0n
  let retries = 0
  for (let round = 0; round < 40; round++) {
    const indexer = createIndexer({
      name: 'storm',
      source: memorySource({ id: 'm', blocks }),
      tables,
      handlers,
      store: world.store,
      limits: {
        batchItems: 10 * (1 + below(4)),
        groupLatencyMs: below(2) * 30,
        failDeadlineMs: [0, 20, 1_000][below(3)]!,
        stagedBytes: [10_000, 64 * 1024 * 1024][below(2)]!,
      },
    })
    const landed: bigint[] = []
    indexer.on('batch.committed', ({ checkpoint }) => landed.push(checkpoint))
    indexer.on('commit.retrying', () => retries++)
    let kills = 0
    indexer.on('batch.processed', () => {
      const die = below(100)
      const { write, written, resolve } = world.gates
      if (die < 12) write.fail(new Error('cut before it was sent'))
      else if (die < 24) written.fail(new Error('cut after the answer'))
      else if (die < 30) resolve.fail(new Error('cut while it was asked'))
      else if (die < 36 && kills++ < 2) {
        void world
          .query(
            'SELECT pg_terminate_backend(backend_pid) FROM tailrace.pipelines WHERE backend_pid IS NOT NULL',
          )
          .catch(() => undefined)
      } else if (die < 40) void indexer.stop()
      else if (die < 44) void indexer.abort()
    })
    const outcome = await indexer.run()
    const { committed, counter } = await world.pipeline('storm')
    expect(counter, replay).toBe(committed)
    // announced once each, in order, above what was there before
    expect([frontier, ...landed], replay).toEqual(
      [...new Set([frontier, ...landed])].toSorted((a, b) => Number(a - b)),
    )
    frontier = BigInt(committed)
    if (outcome.status === 'finished') break
    if (outcome.status === 'failed')
      expect(outcome.error.code, `${replay}: ${outcome.error.message}`).toBe('ABORTED')
    if (outcome.inDoubt === undefined) expect(outcome.committed, replay).toBe(BigInt(committed))
    else expect([outcome.inDoubt.from, outcome.inDoubt.upTo], replay).toContain(BigInt(committed))
  }
  expect(retries, replay).toBeGreaterThan(0)
  expect(frontier, replay).toBe(120n)
  expect(await world.rows(), replay).toEqual(await expected(blocks))
}, 180_000)
