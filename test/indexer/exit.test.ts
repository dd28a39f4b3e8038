/** Every way in which a run ends: drained, stopped, aborted, failed; and what its outcome says. */
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { createIndexer, exitCode, memorySource, TailraceError } from '../../src/index.ts'
import type { Block, IndexerOptions, Outcome, Source } from '../../src/index.ts'
import { gatedSource } from '../../src/testing/index.ts'
import { createWorld, deferred, numbered, row, setRow, watch, type World } from '../support/indexers.ts'

type Options = IndexerOptions<Source<number>, { row: typeof row }>

function small(world: World, options: Partial<Options> & { blocks?: Block<number>[] } = {}) {
  const { blocks = numbered(5), ...more } = options
  return createIndexer({
    name: 'small',
    source: memorySource({ id: 'm', blocks }),
    tables: { row },
    handle: setRow,
    store: world.store,
    ...more,
    limits: { batchItems: 1, ...more.limits },
  })
}

/** A source that gives one block at a time, when told to, and never ends by itself. */
function dripping() {
  let give: (block: Block<number>) => void = () => undefined
  let next = deferred<Block<number>>()
  give = (block) => {
    const told = next
    next = deferred<Block<number>>()
    told.resolve(block)
  }
  const source: Source<number> = {
    id: 'm',
    async *open({ signal }) {
      const aborted = once(signal, 'abort').then(() => undefined)
      for (;;) {
        const block = await Promise.race([next.promise, aborted])
        if (block === undefined) return
        yield { type: 'blocks', blocks: [block] }
      }
    },
  }
  return { source, give }
}

async function ids(world: World): Promise<number[]> {
  return (await world.query('SELECT id FROM "row" ORDER BY id')).map(({ id }) => id as number)
}

const failedOf = (outcome: Outcome) => {
  if (outcome.status !== 'failed') throw new Error(`expected a failed run, got ${outcome.status}`)
  return outcome
}

test('I6, H1, A10: finished only when everything is in Postgres, however late the commits are', async () => {
  await using world = await createWorld()
  world.gates.write.hold()
  world.gates.written.hold()
  const indexer = small(world)
  let hasEnded = false
  const running = indexer.run().finally(() => {
    hasEnded = true
  })
  const events = watch(indexer)
  await events.until('state', ({ lanes }) => lanes?.control === 'draining.exit' && lanes.compute === 'parked')
  while (!hasEnded && (await world.gates.write.arrived(), world.gates.write.waiting > 0)) {
    expect(hasEnded).toBe(false)
    world.gates.write.releaseOne()
    await world.gates.written.arrived()
    expect(hasEnded).toBe(false)
    const last = (await ids(world)).length === 5
    world.gates.written.releaseOne()
    if (last) break
  }
  expect(await running).toMatchObject({ status: 'finished', committed: 5n, processed: 5n })
  expect(await ids(world)).toEqual([1, 2, 3, 4, 5])
  expect(exitCode(await running)).toBe(0)
})

test('H2: while the exit drains, no further batch starts', async () => {
  await using world = await createWorld()
  const { source, give } = dripping()
  const handled: number[] = []
  const indexer = small(world, {
    source,
    handle: (item, context) => {
      handled.push(item)
      setRow(item, context)
    },
    preload: false,
  })
  const events = watch(indexer)
  world.gates.write.hold()
  const running = indexer.run()
  const opened = events.until('state', ({ lanes }) => lanes?.compute === 'pulling')
  await opened
  give({ number: 1, items: [1] })
  await world.gates.write.arrived()
  void indexer.stop()
  give({ number: 2, items: [2] })
  await events.until('state', ({ lanes }) => lanes?.source === 'closed')
  give({ number: 3, items: [3] })
  world.gates.write.release()
  expect(await running).toMatchObject({ status: 'stopped', committed: 1n })
  expect(handled).toEqual([1])
})

test('H8: a bounded range far below any threshold is flushed', async () => {
  await using world = await createWorld()
  const indexer = small(world, { blocks: numbered(1), limits: { batchItems: 1_000_000 } })
  expect(await indexer.run()).toEqual({ status: 'finished', committed: 1n, processed: 1n, regions: {} })
  expect(await ids(world)).toEqual([1])
})

test('a source without blocks finishes, and leaves the frontier alone', async () => {
  await using world = await createWorld()
  const indexer = small(world, { blocks: [] })
  expect(await indexer.run()).toEqual({ status: 'finished', committed: 0n, processed: 0n, regions: {} })
})

test('A9, A10: stop() drains: the running batch ends, everything staged is committed; twice is once', async () => {
  await using world = await createWorld()
  const inside = deferred()
  const goOn = deferred()
  const indexer = small(world, {
    blocks: numbered(50),
    preload: false,
    async handle(item, context) {
      if (item === 4) {
        inside.resolve()
        await goOn.promise
      }
      setRow(item, context)
    },
  })
  world.gates.write.hold()
  const running = indexer.run()
  await inside.promise
  const stopped = indexer.stop()
  expect(indexer.stop()).toBe(stopped)
  goOn.resolve()
  world.gates.write.release()
  const outcome = await running
  expect(outcome).toEqual({ status: 'stopped', committed: 4n, processed: 4n, regions: {} })
  expect(await stopped).toEqual(outcome)
  expect(await ids(world)).toEqual([1, 2, 3, 4])
  // after the end it tells the outcome again
  expect(await indexer.stop()).toEqual(outcome)
  expect(await indexer.abort()).toEqual(outcome)
  // and the next run goes on
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 50n })
  expect(await ids(world)).toHaveLength(50)
})

test('H43: aborting the signal drains, and the listener is gone afterwards', async () => {
  await using world = await createWorld()
  const { source, give } = dripping()
  const indexer = small(world, { source })
  const events = watch(indexer)
  const controller = new AbortController()
  world.gates.written.hold()
  const running = indexer.run({ signal: controller.signal })
  await events.until('state', ({ lanes }) => lanes?.compute === 'pulling')
  give({ number: 1, items: [1] })
  await world.gates.written.arrived()
  controller.abort()
  await events.until('state', ({ lanes }) => lanes?.control === 'draining.exit')
  world.gates.written.release()
  expect(await running).toMatchObject({ status: 'stopped', committed: 1n })
})

test('stop while opening: nothing is taken, nothing is written', async () => {
  await using world = await createWorld()
  world.gates.open.hold()
  const indexer = small(world)
  const running = indexer.run()
  await world.gates.open.arrived()
  expect(indexer.status().state).toBe('opening')
  expect(await indexer.stop()).toEqual({ status: 'stopped', committed: 0n, processed: 0n, regions: {} })
  expect(await running).toMatchObject({ status: 'stopped' })
  expect(await world.query(`SELECT to_regclass('tailrace.pipelines') AS made`)).toEqual([{ made: null }])
})

test('a signal that is aborted before the run stops it in opening', async () => {
  await using world = await createWorld()
  const indexer = small(world)
  expect(await indexer.run({ signal: AbortSignal.abort() })).toMatchObject({
    status: 'stopped',
    committed: 0n,
  })
})

test('abort while opening: failed, ABORTED', async () => {
  await using world = await createWorld()
  world.gates.open.hold()
  const indexer = small(world)
  const running = indexer.run()
  await world.gates.open.arrived()
  void indexer.abort(new Error('changed my mind'))
  const outcome = failedOf(await running)
  expect(outcome.error).toMatchObject({
    code: 'ABORTED',
    message: expect.stringContaining('changed my mind') as string,
  })
  expect(exitCode(outcome)).toBe(1)
})

test('stop during a held commit waits for its answer', async () => {
  await using world = await createWorld()
  world.gates.written.hold()
  const indexer = small(world, { blocks: numbered(1) })
  const running = indexer.run()
  await world.gates.written.arrived()
  void indexer.stop()
  world.gates.written.release()
  // everything had been read before: the run is finished, not stopped short
  expect(await running).toMatchObject({ committed: 1n, processed: 1n })
  expect(exitCode(await running)).toBe(0)
})

test('I7, A11: abort() with the answer outstanding at the deadline: in doubt, and the next run finds out', async () => {
  await using world = await createWorld()
  world.gates.written.hold()
  const indexer = small(world, { limits: { failDeadlineMs: 20 } })
  const events = watch(indexer)
  const running = indexer.run()
  await world.gates.written.arrived()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 5n)
  const outcome = failedOf(await indexer.abort())
  expect(await running).toEqual(outcome)
  expect(outcome).toMatchObject({ committed: 0n, processed: 5n, inDoubt: { from: 0n, upTo: 1n } })
  expect(outcome.error.code).toBe('ABORTED')
  world.gates.written.release()
  expect(await ids(world)).toEqual([1])
  // the answer that came too late is not announced
  expect(events.of('batch.committed')).toEqual([])
  // the row is free: the next run resumes at once, after what had landed
  expect(await world.pipeline('small')).toMatchObject({ token: null, committed: 1 })
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 5n })
  expect(await ids(world)).toEqual([1, 2, 3, 4, 5])
})

test('I7: an answer that comes before the deadline leaves nothing in doubt', async () => {
  await using world = await createWorld()
  world.gates.written.hold()
  const indexer = small(world, { limits: { failDeadlineMs: 20_000 } })
  const events = watch(indexer)
  const running = indexer.run()
  await world.gates.written.arrived()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 5n)
  void indexer.abort('enough')
  await events.until('state', ({ lanes }) => lanes?.control === 'failing')
  world.gates.written.release()
  const outcome = failedOf(await running)
  expect(outcome).toMatchObject({ committed: 1n, processed: 5n })
  expect(outcome).not.toHaveProperty('inDoubt')
  expect(events.of('batch.committed').map(({ checkpoint }) => checkpoint)).toEqual([1n])
  expect(await ids(world)).toEqual([1])
})

test('I7: failDeadlineMs 0 cuts at once', async () => {
  await using world = await createWorld()
  world.gates.written.hold()
  const indexer = small(world, { limits: { failDeadlineMs: 0 } })
  const running = indexer.run()
  await world.gates.written.arrived()
  void indexer.abort()
  expect(await running).toMatchObject({ status: 'failed', inDoubt: { from: 0n, upTo: 1n } })
  world.gates.written.release()
})

test('I7: abort with a write that was held back: it never reaches the database', async () => {
  await using world = await createWorld()
  world.gates.write.hold()
  const indexer = small(world, { limits: { failDeadlineMs: 20 } })
  const running = indexer.run()
  await world.gates.write.arrived()
  void indexer.abort()
  expect(await running).toMatchObject({ status: 'failed', committed: 0n })
  world.gates.write.release()
  expect(await ids(world)).toEqual([])
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 5n })
})

test('abort with nothing on the wire is not in doubt', async () => {
  await using world = await createWorld()
  const { source } = dripping()
  const indexer = small(world, { source })
  const events = watch(indexer)
  const running = indexer.run()
  await events.until('state', ({ lanes }) => lanes?.compute === 'pulling')
  void indexer.abort()
  const outcome = failedOf(await running)
  expect(outcome).toMatchObject({ committed: 0n, processed: 0n, suppressed: [] })
  expect(outcome).not.toHaveProperty('inDoubt')
})

test('H42: a deaf handler meets drainDeadlineMs: DRAIN_DEADLINE, and the next start is fine', async () => {
  await using world = await createWorld()
  const inside = deferred()
  const indexer = small(world, {
    blocks: numbered(3),
    preload: false,
    async handle(item, context) {
      if (item === 2) {
        inside.resolve()
        await new Promise(() => undefined)
      }
      setRow(item, context)
    },
    limits: { drainDeadlineMs: 30, failDeadlineMs: 30 },
  })
  const running = indexer.run()
  await inside.promise
  void indexer.stop()
  const outcome = failedOf(await running)
  expect(outcome).toMatchObject({ committed: 1n, processed: 1n, suppressed: [] })
  expect(outcome.error).toMatchObject({
    code: 'DRAIN_DEADLINE',
    message: expect.stringContaining('drainDeadlineMs') as string,
  })
  // with time enough: a drain of 30 ms is too short for a commit on a busy machine
  const next = small(world, { blocks: numbered(3) })
  expect(await next.run()).toMatchObject({ status: 'finished', committed: 3n })
})

test('a handler that heeds its signal is let go when the run fails', async () => {
  await using world = await createWorld()
  const inside = deferred()
  const heard = deferred<unknown>()
  const indexer = small(world, {
    preload: false,
    async handle(item, { signal }) {
      inside.resolve()
      await once(signal, 'abort').then(() => heard.resolve(item))
      signal.throwIfAborted()
    },
    limits: { failDeadlineMs: 60_000 },
  })
  const running = indexer.run()
  await inside.promise
  void indexer.abort()
  expect(await heard.promise).toBe(1)
  expect(failedOf(await running)).toMatchObject({ error: { code: 'ABORTED' }, suppressed: [] })
})

test('I16: an iterator that does not return cannot keep the run', async () => {
  await using world = await createWorld()
  const deaf: Source<number> = {
    id: 'm',
    async *open() {
      yield { type: 'blocks', blocks: numbered(2) }
      await new Promise(() => undefined)
    },
  }
  const indexer = small(world, { source: deaf, limits: { drainDeadlineMs: 30, failDeadlineMs: 30 } })
  const events = watch(indexer)
  const running = indexer.run()
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 2n)
  void indexer.stop()
  const outcome = failedOf(await running)
  expect(outcome).toMatchObject({ committed: 2n, error: { code: 'DRAIN_DEADLINE' } })
})

test('I7, H36: the first error wins, later ones are attached', async () => {
  await using world = await createWorld()
  world.gates.written.hold()
  const indexer = small(world, {
    handle(item, context) {
      if (item === 3) throw new Error('the first')
      setRow(item, context)
    },
    limits: { failDeadlineMs: 20_000 },
  })
  const events = watch(indexer)
  const running = indexer.run()
  await world.gates.written.arrived()
  await events.until('state', ({ lanes }) => lanes?.control === 'failing')
  void indexer.abort('the second')
  world.gates.written.release()
  const outcome = failedOf(await running)
  expect(outcome.error).toMatchObject({ code: 'HANDLER_FAILED', block: { source: 'm', number: 3 }, item: 0 })
  expect(outcome.error.message).toContain('the first')
  expect(outcome.suppressed.map(({ code }) => code)).toEqual(['ABORTED'])
  expect(outcome.suppressed.every((error) => error instanceof TailraceError)).toBe(true)
  // the commit that was on the wire has settled, and nothing else was sent
  expect(outcome).toMatchObject({ committed: 1n, processed: 2n })
  expect(await ids(world)).toEqual([1])
})

test('H36: a commit that cannot be resolved within the deadline names the first cause', async () => {
  await using world = await createWorld()
  world.gates.write.fail(new Error('cable cut'))
  world.gates.resolve.hold()
  const indexer = small(world, { blocks: numbered(1), limits: { commitDeadlineMs: 30 } })
  const running = indexer.run()
  await world.gates.resolve.arrived()
  world.gates.resolve.fail(new Error('still no network'))
  // asked again until the deadline: each time refused
  const pump = async () => {
    for (;;) {
      await world.gates.resolve.arrived()
      world.gates.resolve.fail(new Error('still no network'))
    }
  }
  void pump()
  const outcome = failedOf(await running)
  expect(outcome.error.message).toContain('cable cut')
  expect(outcome.inDoubt).toEqual({ from: 0n, upTo: 1n })
  world.gates.resolve.release()
})

test('committed() of a source: called after durability, its failure ends the run, also the last one', async () => {
  await using world = await createWorld()
  const acknowledged: number[] = []
  const source = memorySource({ id: 'm', blocks: numbered(5) })
  const indexer = small(world, {
    source: {
      ...source,
      async committed({ number }) {
        expect(await ids(world)).toContain(number)
        acknowledged.push(number)
      },
    },
  })
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 5n })
  expect(acknowledged.at(-1)).toBe(5)

  const failing = small(world, {
    name: 'small2',
    source: {
      ...source,
      committed({ number }) {
        if (number === 5) throw new Error('no such slot')
      },
    },
  })
  const outcome = failedOf(await failing.run())
  expect(outcome).toMatchObject({ committed: 5n, error: { code: 'ACKNOWLEDGE_FAILED' } })
  expect(outcome.error.message).toContain("Source 'm' failed in committed(): no such slot")
})

test('a deaf committed() meets drainDeadlineMs', async () => {
  await using world = await createWorld()
  const source = memorySource({ id: 'm', blocks: numbered(2) })
  const indexer = small(world, {
    source: { ...source, committed: () => new Promise<void>(() => undefined) },
    limits: { drainDeadlineMs: 30 },
  })
  expect(failedOf(await indexer.run())).toMatchObject({ committed: 2n, error: { code: 'DRAIN_DEADLINE' } })
})

test('stop, abort, durable before any run are misuse; run while running, too', async () => {
  await using world = await createWorld()
  const indexer = small(world)
  await expect(indexer.stop()).rejects.toMatchObject({ code: 'NOT_RUNNING' })
  await expect(indexer.abort()).rejects.toMatchObject({ code: 'NOT_RUNNING' })
  await expect(indexer.durable(1n)).rejects.toMatchObject({ code: 'NOT_RUNNING' })
  expect(indexer.status()).toMatchObject({ state: 'idle', processed: 0n, committed: 0n })
  world.gates.write.hold()
  const running = indexer.run()
  await expect(indexer.run()).rejects.toMatchObject({
    code: 'ALREADY_RUNNING',
    message: expect.stringContaining('await its run()') as string,
  })
  world.gates.write.release()
  expect(await running).toMatchObject({ status: 'finished' })
})

test('H3: durable() settles with the commit, not with the handlers; after the end it knows', async () => {
  await using world = await createWorld()
  world.gates.written.hold()
  const indexer = small(world, { blocks: numbered(2) })
  const events = watch(indexer)
  const running = indexer.run()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 2n)
  let isDurable = false
  const durable = indexer.durable(1n).then(() => {
    isDurable = true
  })
  const never = indexer.durable(7n)
  never.catch(() => undefined)
  await world.gates.written.arrived()
  expect(isDurable).toBe(false)
  expect(events.of('batch.committed')).toEqual([])
  world.gates.written.release()
  await durable
  expect(await running).toMatchObject({ status: 'finished' })
  await expect(never).rejects.toMatchObject({ code: 'NOT_COMMITTED' })
  await indexer.durable(2n)
  await expect(indexer.durable(3n)).rejects.toMatchObject({ code: 'NOT_COMMITTED' })
})

test('the source fails while blocks are staged: the commit settles, the rest is left to the next run', async () => {
  await using world = await createWorld()
  const { source, gates } = gatedSource(
    memorySource({ id: 'm', blocks: (from) => iterate(numbered(4), from?.number) }),
  )
  const indexer = small(world, { source })
  const events = watch(indexer)
  gates.message.hold()
  const running = indexer.run()
  await gates.message.arrived()
  gates.message.releaseOne()
  await events.until('batch.committed')
  await gates.message.arrived()
  gates.message.fail(new Error('stream reset'))
  const outcome = failedOf(await running)
  expect(outcome).toMatchObject({ committed: 1n, error: { code: 'SOURCE_FAILED', phase: 'source' } })
  expect(outcome.error.message).toContain('stream reset')
  gates.message.release()
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 4n })
})

async function* iterate(blocks: readonly Block<number>[], above = 0): AsyncGenerator<Block<number>> {
  for (const block of blocks) if (block.number > above) yield await Promise.resolve(block)
}
