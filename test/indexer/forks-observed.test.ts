/** What handlers, sources and hosts see of a rollback: loads that come late, `durable()`, `committed()`, `status()`. */
import { expect, test } from 'vitest'
import { memorySource } from '../../src/index.ts'
import type { Source } from '../../src/index.ts'
import { Gate, simulatedChain } from '../../src/testing/index.ts'
import {
  committedOf,
  drains,
  expectBookkeeping,
  expectSurvivors,
  forking,
  numbers,
  perBlock,
  branch,
  rollbacks,
  summing,
  sums,
  sumsOf,
} from '../support/forks.ts'
import { createWorld, deferred, type World } from '../support/indexers.ts'
import type { Store } from '../../src/commit/store.ts'

// ── loads ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Postgres has answered, and the answer is held: what it says is as of then. */
function lateLoads(store: Store): { readonly store: Store; readonly answered: Gate } {
  const answered = new Gate('answered')
  return {
    answered,
    store: {
      ...store,
      async open(request) {
        const session = await store.open(request)
        const { reader } = session
        return new Proxy(session, {
          get(target, name) {
            if (name === 'reader') {
              return {
                async byKeys(...asked: Parameters<typeof reader.byKeys>) {
                  const rows = await reader.byKeys(...asked)
                  await answered.enter()
                  return rows
                },
                async find(...asked: Parameters<typeof reader.find>) {
                  const rows = await reader.find(...asked)
                  await answered.enter()
                  return rows
                },
              }
            }
            const value: unknown = Reflect.get(target, name, target)
            return typeof value === 'function' ? (value.bind(target) as unknown) : value
          },
        })
      },
    },
  }
}

/** Blocks 1–4 make the row of sums; `peek` reads it when the table of rows is in the database only. */
async function committedRun(world: World, store: Store, peek: SumPeek) {
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 20 })
  chain.append(numbers(4))
  // the rows are known to this run no more: the next one has to ask for them
  const first = summing(world, [chain.source], { store: world.plainStore() })
  const running = first.indexer.run()
  await first.events.until('batch.committed', ({ checkpoint }) => checkpoint === 4n)
  await first.indexer.stop()
  await running
  return { chain, ...summing(world, [chain.source], { store, preload: false, handle: peek }) }
}

type SumPeek = NonNullable<NonNullable<Parameters<typeof summing>[2]>['handle']>

test.each(['before the rollback has landed', 'after it'])(
  'H16: a load that was under way at the fork comes back %s: what it brings is not remembered',
  async (when) => {
    await using world = await createWorld()
    const { store, answered } = lateLoads(world.store)
    const seen: unknown[] = []
    const { chain, indexer, events } = await committedRun(world, store, async (item, { db }) => {
      if (item === 5) {
        // not awaited: it outlives its handler, and its batch
        void db.row.get(0).catch(() => undefined)
        return
      }
      const sum = await db.row.get(0)
      seen.push(sum?.value)
      db.row.set({ id: 0, value: (sum?.value ?? 0) + item })
      db.row.insert({ id: item, value: item })
    })
    answered.hold()
    const running = indexer.run()
    await events.until('caughtUp')
    chain.append(numbers(1, 5))
    await answered.arrived()
    world.gates.restore.hold()
    chain.fork({ above: 2, blocks: numbers(1, 3, 100) })
    await drains(events)
    if (when === 'after it') {
      world.gates.restore.release()
      await events.until('rollback.committed')
      // the handler of the other branch asks for the same row, behind the late answer or beside it
      await answered.arrived(2)
      answered.release()
    } else {
      answered.release()
      await world.gates.restore.arrived()
      world.gates.restore.release()
    }
    chain.end()
    expect(await running).toMatchObject({ status: 'finished' })
    expect(rollbacks(events)).toMatchObject([{ target: 2n }])
    // 1 + 2, not 1 + 2 + 3 + 4
    expect(seen).toEqual([3])
    expect(await sums(world)).toEqual(sumsOf(chain.blocks))
    await expectBookkeeping(world, [chain])
  },
)

test('I4, H16: what a handler of the other branch reads is what was restored, also of rows that had been read before', async () => {
  await using world = await createWorld()
  const seen: (readonly [number, number | undefined, number])[] = []
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 20 })
  chain.append(numbers(6))
  const { indexer, events } = summing(world, [chain.source], {
    preload: false,
    async handle(item, { db }) {
      const sum = await db.row.get(0)
      const known = await db.row.find({ where: { id: { gt: 0 } } })
      seen.push([item, sum?.value, known.length])
      db.row.set({ id: 0, value: (sum?.value ?? 0) + item })
      db.row.insert({ id: item, value: item })
    },
  })
  const { running } = await committedOf({ chain, indexer, events })
  chain.fork({ above: 3, blocks: numbers(2, 4, 100) })
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(seen.slice(6)).toEqual([
    [104, 6, 3],
    [105, 110, 4],
  ])
  expect(await sums(world)).toEqual(sumsOf(chain.blocks))
})

// ── durable ─────────────────────────────────────────────────────────────────────────────────────────────────

test('durable() rejects for what a fork took back, staged or committed, asked before, during or after it', async () => {
  await using world = await createWorld()
  const { chain, indexer, events } = forking(world)
  const { running } = await committedOf({ chain, indexer, events })
  // it was
  await indexer.durable(6n)
  const never = indexer.durable(20n)
  never.catch(() => undefined)
  world.gates.restored.hold()
  chain.fork({ above: 4, blocks: branch(3, 5, 'b', 2) })
  await world.gates.restored.arrived()
  world.gates.write.hold()
  world.gates.restored.release()
  await world.gates.write.arrived()
  const dropped = { code: 'CHECKPOINT_DROPPED' }
  // a number that nobody had yet is none that a fork can drop
  await expect(indexer.durable(5n)).rejects.toMatchObject(dropped)
  await expect(indexer.durable(8n)).rejects.toMatchObject(dropped)
  await indexer.durable(4n)
  const durable = indexer.durable(11n)
  world.gates.write.release()
  await durable
  // though the frontier is above them now
  await expect(indexer.durable(6n)).rejects.toMatchObject(dropped)
  await indexer.durable(4n)
  chain.fork({ above: 2, blocks: branch(6, 3, 'c', 3) })
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 17n)
  for (const checkpoint of [3n, 4n, 6n, 9n, 11n]) {
    await expect(indexer.durable(checkpoint)).rejects.toMatchObject(dropped)
  }
  for (const checkpoint of [1n, 2n, 12n, 17n]) await indexer.durable(checkpoint)
  chain.end()
  expect(await running).toMatchObject({ status: 'finished', committed: 17n })
  await expect(never).rejects.toMatchObject({
    code: 'NOT_COMMITTED',
  })
  // the outcome is known, and so is this
  await expect(indexer.durable(6n)).rejects.toMatchObject(dropped)
  await indexer.durable(17n)
  await expectSurvivors(world, { chain }, events)
})

test('durable() of a batch that a fork aborted, and whose blocks come again, rejects', async () => {
  await using world = await createWorld()
  const inside = deferred<bigint>()
  const goOn = deferred()
  let aborted = 0
  const { chain, indexer, events } = forking(world, {
    preload: false,
    limits: { batchItems: 3 * perBlock, groupLatencyMs: 0 },
    async handleBlock({ number }, { checkpoint, signal }) {
      if (number !== 4 || aborted > 0) return
      inside.resolve(checkpoint)
      await goOn.promise
      aborted++
      signal.throwIfAborted()
    },
  })
  const running = indexer.run()
  // block 4 survives the fork; its batch, 4–6, does not
  const checkpoint = await inside.promise
  const waiting = indexer.durable(checkpoint)
  waiting.catch(() => undefined)
  await events.until('batch.committed', (event) => event.checkpoint === 3n)
  chain.fork({ above: 5, blocks: branch(2, 6, 'b', 2) })
  await drains(events)
  goOn.resolve()
  await events.until('rollback.committed')
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  await expect(waiting).rejects.toMatchObject({ code: 'CHECKPOINT_DROPPED' })
  await expectSurvivors(world, { chain }, events)
})

// ── committed ───────────────────────────────────────────────────────────────────────────────────────────────

/** What a source was told, in order; heights. */
function acknowledging<Item>(source: Source<Item>): {
  readonly source: Source<Item>
  readonly told: number[]
} {
  const told: number[] = []
  return { told, source: { ...source, committed: ({ number }) => void told.push(number) } }
}

test('committed() after a rollback names blocks of the branch that is valid now', async () => {
  await using world = await createWorld()
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 20 })
  chain.append(numbers(8))
  const hashes: string[] = []
  const source: Source<number> = {
    ...chain.source,
    committed: ({ number, hash }) => void hashes.push(`${number} ${hash}`),
  }
  const { indexer, events } = summing(world, [source])
  const { running } = await committedOf({ chain, indexer, events })
  expect(hashes.at(-1)).toBe('8 chain-0-8')
  const before = hashes.length
  chain.fork({ above: 4, blocks: numbers(2, 5, 100) })
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  for (const told of hashes.slice(before)) expect(told).toMatch(/chain-1-/)
  expect(hashes.at(-1)).toBe('6 chain-1-6')
})

test('H25: a source that never forks is not told that it may forget what the fork of another has it read again', async () => {
  await using world = await createWorld()
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 3 })
  const more = deferred()
  const queue = acknowledging(
    memorySource<number>({
      id: 'queue',
      async *blocks(from) {
        // a queue gives what was not acknowledged, and that only
        for (let number = (from?.number ?? 0) + 1; number <= 4; number++) {
          expect(number).toBeGreaterThan(queue.told.at(-1) ?? 0)
          if (number === 3) await more.promise
          yield { number, items: [1_000 + number] }
        }
      },
    }),
  )
  const { indexer, events } = summing(world, [chain.source, queue.source], { limits: { groupLatencyMs: 0 } })
  const running = indexer.run()
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 2n)
  for (const block of numbers(2)) {
    chain.append([block])
    const checkpoint = BigInt(2 + block.number)
    await events.until('batch.committed', (event) => event.checkpoint === checkpoint)
  }
  more.resolve()
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 6n)
  chain.fork({ above: 1, blocks: numbers(1, 2, 100) })
  await events.until('rollback.committed')
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 9n)
  // everything is final in the end, and then it is told
  for (const block of numbers(6, 3)) {
    chain.append([block])
    const checkpoint = BigInt(7 + block.number)
    await events.until('batch.committed', (event) => event.checkpoint === checkpoint)
  }
  chain.end()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(queue.told.at(-1)).toBe(4)
  expect(queue.told).toEqual([...new Set(queue.told)].toSorted((a, b) => a - b))
  expect(await sums(world)).toEqual(sumsOf(chain.blocks, numbers(4, 1, 1_000)))
})
