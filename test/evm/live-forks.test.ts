/**
 * A real chain that reorganises under an indexer that follows its head, into a real Postgres: with a commit held on the
 * wire, and deeper than what is kept. At the end every row is what the chain itself says.
 */
import { describe, expect, test } from 'vitest'
import type { Address } from 'viem'
import type { Indexer } from '../../src/index.ts'
import { startAnvil, type Anvil } from '../support/anvil.ts'
import { deployErc20 } from '../support/erc20.ts'
import { createWorld, watch, type Watch, type World } from '../support/indexers.ts'
import { indexedRows, liveIndexer, rowsOfTheChain } from '../support/live-token.ts'
import { LiveTraffic, type Header } from '../support/live-traffic.ts'

const traffic = { transfers: 60, approvals: 20, blocks: 20, accounts: 8, seed: 3 }

/** An indexer that has committed everything up to the head of a chain of its own. */
class Following implements AsyncDisposable {
  readonly anvil: Anvil
  readonly world: World
  readonly chain: LiveTraffic
  readonly indexer: Indexer
  readonly events: Watch
  readonly running: ReturnType<Indexer['run']>
  readonly #token: Address
  readonly #checkpoints = new Map<string, bigint>()

  private constructor(anvil: Anvil, world: World, token: Address, chain: LiveTraffic, historyDepth: number) {
    this.anvil = anvil
    this.world = world
    this.chain = chain
    this.#token = token
    this.indexer = liveIndexer({
      rpcUrl: anvil.url,
      chainId: anvil.chainId,
      token,
      store: world.store,
      historyDepth,
      handled: (hash, checkpoint) => this.#checkpoints.set(hash, checkpoint),
    })
    const events = watch(this.indexer)
    this.running = this.indexer.run()
    // a run that has failed is told as such, not as an event that never came
    const ended = this.running.then((outcome) => {
      const error = outcome.status === 'failed' ? outcome.error : undefined
      throw new Error(`the run is over: ${outcome.status}`, { cause: error })
    })
    ended.catch(() => undefined)
    this.events = { ...events, until: (name, accept) => Promise.race([events.until(name, accept), ended]) }
  }

  static async start(historyDepth = 16): Promise<Following> {
    const [anvil, world] = await Promise.all([startAnvil(), createWorld()])
    const token = await deployErc20(anvil)
    await token.populate(traffic)
    const chain = new LiveTraffic(anvil, token, { ...traffic, eventsPerBlock: 12 })
    const following = new Following(anvil, world, token.address, chain, historyDepth)
    await following.committed(await chain.head())
    return following
  }

  /** The checkpoint of a block that is staged now. */
  async processed({ hash }: Header): Promise<bigint> {
    await this.events.until('batch.processed', ({ checkpoint }) => checkpoint === this.#checkpoints.get(hash))
    return this.#checkpoints.get(hash)!
  }

  async committed(header: Header): Promise<bigint> {
    const checkpoint = await this.processed(header)
    await this.indexer.durable(checkpoint)
    return checkpoint
  }

  /** New blocks, each in a batch of its own. @returns their checkpoints */
  async grow(blocks: number, how: 'processed' | 'committed'): Promise<bigint[]> {
    const checkpoints: bigint[] = []
    for (let block = 0; block < blocks; block++) checkpoints.push(await this[how](await this.chain.grow()))
    return checkpoints
  }

  rows = () => indexedRows(this.world.query)
  rowsOfTheChain = () => rowsOfTheChain(this.anvil, this.#token)

  async [Symbol.asyncDispose](): Promise<void> {
    for (const gate of Object.values(this.world.gates)) gate.release()
    await this.indexer.stop()
    await this.anvil.stop()
    await this.world[Symbol.asyncDispose]()
  }
}

const reorgs = (['write', 'written'] as const).flatMap((gate) =>
  [1, 3, 8].map((depth) => ({ depth, gate, where: gate === 'write' ? 'not sent yet' : 'not answered yet' })),
)

describe('a reorg at the head, with a commit on the wire', () => {
  test.each(reorgs)(
    'I5, H21, H26, H29, H31: of depth $depth, the commit $where: what is staged is never sent, what landed is put back',
    async ({ depth, gate }) => {
      await using following = await Following.start()
      const { chain, events, indexer, world } = following
      const before = await following.chain.head()
      const landed = await following.grow(Math.floor(depth / 3), 'committed')
      world.gates[gate].hold()
      const [onTheWire, ...staged] = await following.grow(depth - landed.length, 'processed')
      await world.gates[gate].arrived()
      const dropped = staged.map((checkpoint) =>
        indexer.durable(checkpoint).catch(({ code }) => code as string),
      )

      const head = await chain.reorg(depth)
      const fork = await events.until('fork')
      expect(fork).toMatchObject({ depth, validTo: before.number })
      await events.until('state', ({ lanes }) => lanes?.control === 'draining.rollback')
      expect(events.of('rollback.started')).toEqual([])
      world.gates[gate].release()

      const rollback = await events.until('rollback.committed')
      expect(rollback).toMatchObject({ target: fork.target, depth, droppedBatches: staged.length })
      expect(rollback.restoredRows).toBeGreaterThan(0)
      expect(await Promise.all(dropped)).toEqual(staged.map(() => 'CHECKPOINT_DROPPED'))
      const committed = await following.committed(head)
      // the commit on the wire landed, nothing of those behind it was ever sent, and no number was given twice
      const announced = events.of('batch.committed').map(({ checkpoint }) => checkpoint)
      expect(announced).toContain(onTheWire)
      expect(announced.filter((checkpoint) => staged.includes(checkpoint))).toEqual([])
      expect(committed).toBeGreaterThan(staged.at(-1) ?? onTheWire!)

      // and the chain goes on
      await following.grow(2, 'committed')
      expect(await indexer.stop()).toMatchObject({ status: 'stopped' })
      expect(events.of('rollback.committed')).toHaveLength(1)
      expect(await following.rows()).toEqual(await following.rowsOfTheChain())
    },
  )

  test.each(['landed', 'lost'] as const)(
    'I5, I10, H31: a group on the wire straddles the fork, and %s: what lies below it stays or is sent again',
    async (fate) => {
      await using following = await Following.start()
      const { chain, events, world } = following
      world.gates.write.hold()
      await following.grow(1, 'processed')
      await world.gates.write.arrived()
      const behind = await following.grow(5, 'processed')
      world.gates.write.releaseOne()
      // a group is at most twice the one before: of its two blocks one stays
      await world.gates.write.arrived()
      const head = await chain.reorg(4)
      await events.until('fork')
      await events.until('state', ({ lanes }) => lanes?.control === 'draining.rollback')
      if (fate === 'lost') world.gates.write.fail(new Error('cut'))
      world.gates.write.release()
      const rollback = await events.until('rollback.committed')
      expect(rollback).toMatchObject({ target: behind[0], depth: 4, droppedBatches: fate === 'lost' ? 4 : 3 })
      if (fate === 'lost') expect(rollback.restoredRows).toBe(0)
      else expect(rollback.restoredRows).toBeGreaterThan(0)
      await following.committed(head)
      const announced = events.of('batch.committed').map(({ checkpoint }) => checkpoint)
      expect(announced.includes(behind[1]!)).toBe(fate === 'landed')
      expect(announced.some((checkpoint) => checkpoint > behind[1]! && checkpoint <= behind[4]!)).toBe(false)
      expect(await following.rows()).toEqual(await following.rowsOfTheChain())
    },
  )
})

test('H24, H26: reorgs of depth 1, 3 and 8 one after the other, none of them waited for', async () => {
  await using following = await Following.start()
  const { chain, events, world } = following
  let head = await chain.head()
  for (const depth of [1, 3, 8, 3, 1]) {
    for (let block = 0; block < depth; block++) await chain.grow()
    head = await chain.reorg(depth)
    await chain.grow()
  }
  head = await chain.grow()
  await following.committed(head)
  expect(await following.rows()).toEqual(await following.rowsOfTheChain())
  expect(await following.indexer.stop()).toMatchObject({ status: 'stopped' })
  expect(events.of('rollback.committed').length).toBe(events.of('rollback.started').length)
  const { committed, counter } = await world.pipeline('live')
  expect(committed).toBe(counter)
})

describe('a reorg deeper than what is kept', () => {
  /** All that a rollback would touch. */
  const everything = async ({ world, rows }: Following) => [
    await rows(),
    await world.query('SELECT * FROM tailrace.cursors'),
    await world.query('SELECT * FROM tailrace.checkpoints ORDER BY checkpoint'),
    await world.query('SELECT committed, commit_number, restorable_from FROM tailrace.pipelines'),
    await world.query('SELECT * FROM tailrace_history."public.account" ORDER BY 1, 2, 3'),
  ]

  test.each([
    { seen: 'while it runs', depth: 8 },
    { seen: 'while it is down', depth: 8 },
  ])('H33: seen $seen: a clear, final error, and nothing is changed', async ({ seen, depth }) => {
    await using following = await Following.start(4)
    const { chain, events, indexer, running, world } = following
    await following.grow(depth, 'committed')
    if (seen === 'while it is down') await indexer.stop()
    const before = await everything(following)
    await chain.reorg(depth)
    await chain.grow()
    const outcome = await (seen === 'while it is down' ? indexer.run() : running)
    expect(outcome).toMatchObject({
      status: 'failed',
      error: { code: 'FORK_BEYOND_HISTORY', phase: 'rollback' },
    })
    if (outcome.status === 'failed') {
      expect(outcome.error.message).toMatch(
        /orphaned checkpoints \d+–\d+ of pipeline 'live', which are committed.*Nothing was changed. To recover/,
      )
    }
    expect(events.of('rollback.committed')).toEqual([])
    expect(await everything(following)).toEqual(before)
    // asked again, it says the same again
    expect(await indexer.run()).toMatchObject({ status: 'failed', error: { code: 'FORK_BEYOND_HISTORY' } })
    expect(await everything(following)).toEqual(before)
    expect((await world.pipeline('live')).token).toBeNull()
  })
})
