/**
 * What is sent, and what never is: past a deadline, under another owner, after a failure, beside a fork. In memory; what
 * Postgres makes of it: test/indexer.
 */
import { afterEach, expect, test, vi } from 'vitest'
import { attemptDeadlineMs } from '../../machines/limits.ts'
import { createIndexer, memorySource, type Store } from '../../src/index.ts'
import { gatedStore, memoryStore, simulatedChain } from '../../src/testing/index.ts'
import { slicesOf } from '../support/change-log.ts'
import { numbered, row, setRow, watch } from '../support/indexers.ts'
import { watchedSession } from './ports.ts'

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

test(
  'I1, I10: a flight past its deadline is cut off, and what became of it is known before another is sent',
  { timeout: 5_000 },
  async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const memory = memoryStore()
    const { store, gates } = gatedStore(
      over(memory, (session) => ({
        // whoever waits for the answer hears that the socket is gone
        destroyWriter: () => {
          session.destroyWriter()
          if (gates.written.waiting > 0) gates.written.fail(new Error('the socket was destroyed'))
        },
      })),
    )
    const asked: string[] = []
    let flying = 0
    const watched = over(store, (session) => ({
      async write(group, flushed) {
        flying++
        asked.push(flying > 1 ? 'sent beside another' : 'sent')
        const ended = await session.write(group, flushed)
        flying--
        return ended
      },
      resolve() {
        asked.push('resolved')
        return session.resolve()
      },
    }))
    gates.written.hold()
    const source = memorySource({ id: 'm', blocks: numbered(1) })
    const running = createIndexer({
      name: 'late',
      source,
      tables: { row },
      handle: setRow,
      store: watched,
    }).run()
    await gates.written.arrived()
    await vi.advanceTimersByTimeAsync(attemptDeadlineMs + 1)
    expect(asked).toEqual(['sent', 'resolved'])
    gates.written.release()
    expect(await running).toMatchObject({ status: 'finished', committed: 1n })
    expect(memory.commits).toBe(1)
  },
)

test('I9: a run that another has succeeded lands nothing, sends and handles nothing more, and says so', async () => {
  const tables = { row }
  const memory = memoryStore()
  const { store, gates } = gatedStore(memory)
  const handled: number[] = []
  const first = createIndexer({
    name: 'p',
    source: memorySource({ id: 'm', blocks: numbered(9) }),
    tables,
    preload: false,
    handle: (item: number, context) => {
      handled.push(item)
      setRow(item, context)
    },
    store,
    // compute stands still while a flight is on its way
    limits: { batchItems: 1, groupLatencyMs: 0, stagedBytes: 1 },
  })
  const events = watch(first)
  gates.write.hold()
  const running = first.run()
  await gates.write.arrived()
  const second = createIndexer({
    name: 'p',
    source: memorySource({ id: 'm', blocks: numbered(2) }),
    tables,
    handle: (item: number, { db }) => db.row.set({ id: item, value: -item }),
    store: memory,
  })
  expect(await second.run()).toMatchObject({ status: 'finished', committed: 2n })
  const { commits } = memory
  gates.write.releaseOne()
  const outcome = await Promise.race([running, gates.write.arrived()])
  expect(outcome, 'another flight was sent').toMatchObject({ status: 'superseded', committed: 0n })
  expect(memory.commits).toBe(commits)
  expect(memory.rows('row')).toEqual([
    { id: 1, value: -1 },
    { id: 2, value: -2 },
  ])
  expect(handled).toEqual([1])
  expect(events.of('batch.committed')).toEqual([])
})

test('H41: a commit that Postgres asks to have again is sent as it was, and nothing is handled again', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0)
  const memory = memoryStore()
  const sent: unknown[] = []
  const handled: number[] = []
  const store = over(memory, (session) => ({
    write(group, flushed) {
      sent.push(slicesOf(group))
      if (sent.length > 2) return session.write(group, flushed)
      flushed()
      return Promise.resolve({ end: 'deferred', error: new Error('could not serialize access') })
    },
  }))
  const indexer = createIndexer({
    name: 'p',
    source: memorySource({ id: 'm', blocks: numbered(1) }),
    tables: { row },
    preload: false,
    handle(item: number, context) {
      handled.push(item)
      setRow(item, context)
    },
    store,
  })
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 1n })
  expect(handled).toEqual([1])
  expect(sent).toEqual([sent[0], sent[0], sent[0]])
  expect(memory.rows('row')).toEqual([{ id: 1, value: 1 }])
})

test('H35: what failed once poisons neither the writer, nor the run, nor the next run of the same indexer', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0)
  const memory = memoryStore()
  const { store, gates } = gatedStore(memory)
  const lost = new Error('lost')
  let isBroken = true
  const indexer = createIndexer({
    name: 'p',
    source: memorySource({ id: 'm', blocks: numbered(6) }),
    tables: { row },
    preload: false,
    async handle(item: number, context) {
      // a value of the run that fails must not be seen by the next
      if (item === 5 && isBroken) {
        context.db.row.set({ id: item, value: -1 })
        await indexer.durable(3n)
        throw new Error('broken')
      }
      expect(await context.db.row.get(item)).toBeUndefined()
      setRow(item, context)
    },
    store,
    limits: { batchItems: 1, groupLatencyMs: 0 },
  })
  for (const gate of [gates.write, gates.written, gates.resolve]) gate.fail(lost)
  expect(await indexer.run()).toMatchObject({ status: 'failed', error: { code: 'HANDLER_FAILED' } })
  isBroken = false
  expect(await indexer.run()).toMatchObject({ status: 'finished', committed: 6n })
  expect(memory.rows('row')).toEqual(numbered(6).map(({ number }) => ({ id: number, value: number })))
})

test('H32: a rollback that had to wait goes before whatever was read after it', async () => {
  const { store, gates } = gatedStore(memoryStore())
  const sent: string[] = []
  const watched = over(store, (session) => ({
    write(group, flushed) {
      sent.push(group.cursors.map(({ hash }) => hash).join())
      return session.write(group, flushed)
    },
    restore(target) {
      sent.push(`back to ${target}`)
      return session.restore(target)
    },
  }))
  const blocks = (...hashes: readonly string[]) =>
    hashes.map((hash) => ({ number: Number(hash.slice(1)), hash, items: [hash] }))
  const chain = simulatedChain<string>({ id: 'chain', historyDepth: 9 })
  chain.append(blocks('a1', 'a2', 'a3'))
  const indexer = createIndexer({
    name: 'p',
    source: chain.source,
    tables: { row },
    handle: (hash: string, { db }) => db.row.set({ id: 1, value: hash.startsWith('a') ? 1 : 2 }),
    store: watched,
    limits: { batchItems: 1, groupLatencyMs: 0 },
  })
  const events = watch(indexer)
  gates.written.hold()
  const running = indexer.run()
  await gates.written.arrived()
  await events.until('batch.processed', ({ checkpoint }) => checkpoint === 3n)
  // the first commit is on the wire, two batches are staged: the rollback waits for the one, and drops the others
  chain.fork({ above: 0, blocks: blocks('b1', 'b2') })
  chain.end()
  await events.until('state', ({ lanes }) => lanes?.control === 'draining.rollback')
  gates.written.release()
  expect(await running).toMatchObject({ status: 'finished' })
  expect(sent).toEqual(['a1', 'back to 0', 'b1', 'b2'])
})

type Session = Awaited<ReturnType<Store['open']>>

/** The same store; of its sessions some calls are others. */
function over(store: Store, calls: (session: Session) => Partial<Session>): Store {
  return {
    casing: store.casing,
    async open(request) {
      const session = await store.open(request)
      return Object.assign(watchedSession(session, {}), calls(session))
    },
  }
}
