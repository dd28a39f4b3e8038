/**
 * A real chain reorganises while the process that indexes it is down: stopped, or killed with commits held back. The
 * next run sees it by the positions that are stored, and ends with what the chain itself says.
 */
import { expect, test } from 'vitest'
import { startAnvil } from '../support/anvil.ts'
import { deployErc20 } from '../support/erc20.ts'
import { createWorld, watch } from '../support/indexers.ts'
import { startLiveProcess } from '../support/live-process.ts'
import { indexedRows, liveIndexer, rowsOfTheChain } from '../support/live-token.ts'
import { LiveTraffic } from '../support/live-traffic.ts'

const traffic = { transfers: 60, approvals: 20, blocks: 20, accounts: 8, seed: 5 }

/** Five blocks are handled before the process goes down, and four of them are replaced; two of five are committed … */
const ways = [
  // … then all
  { way: 'stopped', gate: undefined, depth: 4 },
  // … and no more
  { way: 'killed before a commit', gate: 'write', depth: 1 },
  // … and a third, which nobody heard of
  { way: 'killed after a commit', gate: 'written', depth: 2 },
] as const

test.each(ways)(
  'I8, H26, H69: $way, and four blocks replaced while it was down: the stored positions show it',
  async ({ gate, depth }) => {
    await using down = startLiveProcess()
    await using anvil = await startAnvil()
    await using world = await createWorld()
    const token = await deployErc20(anvil)
    await token.populate(traffic)
    const chain = new LiveTraffic(anvil, token, { ...traffic, eventsPerBlock: 12 })
    const place = { rpcUrl: anvil.url, chainId: anvil.chainId, token: token.address, historyDepth: 16 }

    await down.begin({ ...place, connectionString: world.connectionString })
    await down.until('durable', await chain.head())
    const before = await chain.head()
    for (let block = 0; block < 2; block++) await down.until('durable', await chain.grow())
    if (gate !== undefined) await down.hold(gate)
    for (let block = 0; block < 3; block++) await down.until('processed', await chain.grow())
    if (gate === undefined) expect(await down.stop()).toBe('stopped')
    else {
      await down.arrived()
      await down.kill()
    }
    const orphaned = await indexedRows(world.query)

    await chain.reorg(4)
    const head = await chain.grow()
    const handled = new Map<bigint, string>()
    const indexer = liveIndexer({
      ...place,
      store: world.plainStore(),
      handled: (hash, checkpoint) => handled.set(checkpoint, hash),
    })
    const events = watch(indexer)
    const running = indexer.run()
    const { checkpoint } = await events.until(
      'batch.processed',
      (batch) => handled.get(batch.checkpoint) === head.hash,
    )
    await indexer.durable(checkpoint)
    expect(await indexer.stop()).toMatchObject({ status: 'stopped' })
    expect(await running).toMatchObject({ status: 'stopped' })

    expect(events.of('fork')).toMatchObject([{ validTo: before.number + 1, depth }])
    const [rollback, ...others] = events.of('rollback.committed')
    expect(others).toEqual([])
    expect(rollback).toMatchObject({ depth, droppedBatches: 0 })
    expect(rollback!.restoredRows).toBeGreaterThan(0)
    // nothing was handled before the fork was seen
    const order = events.seen.map(({ name }) => name).filter((name) => name !== 'state')
    expect(order.indexOf('rollback.committed')).toBeLessThan(order.indexOf('batch.processed'))

    const rows = await indexedRows(world.query)
    expect(rows).toEqual(await rowsOfTheChain(anvil, token.address))
    const blocks = new Set(rows.transfers.map((row) => row.split(' ')[0]))
    const blocksBefore = new Set(orphaned.transfers.map((row) => row.split(' ')[0]))
    expect([...blocksBefore].filter((hash) => !blocks.has(hash))).toHaveLength(depth)
  },
)
