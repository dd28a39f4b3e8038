/** The indexer itself: everything that a user of tailrace writes, beside the tables. */
import { setTimeout } from 'node:timers/promises'
import { zeroAddress } from 'viem'
import {
  createIndexer,
  keyed,
  type Block,
  type Db,
  type Indexer,
  type RegionPublisher,
  type Store,
} from 'tailrace'
import { evmSource } from 'tailrace/evm'
import { erc20Abi, type Chain } from './chain.ts'
import { bringForward, deskOf, publishDesks } from './desks.ts'
import { account, allowance, approvalEvent, desk, transferEvent } from './schema.ts'

export const pipelineName = 'erc20-demo'

const tables = {
  account,
  desk,
  allowance: keyed(allowance, 'owner', 'spender'),
  transferEvent,
  approvalEvent,
}

/**
 * @param handled called with every block that handlers have been through, and its checkpoint
 * @param paceMs every block takes so much longer, for whoever watches
 */
export function erc20Indexer(
  chain: Chain,
  store: Store,
  regions: RegionPublisher,
  handled: (block: Block, checkpoint: bigint) => void,
  paceMs = 0,
): Indexer {
  return createIndexer({
    name: pipelineName,
    source: evmSource({
      rpcUrl: chain.url,
      chainId: chain.chainId,
      contracts: { token: { abi: erc20Abi, address: chain.token } },
      fromBlock: chain.fromBlock,
      toBlock: chain.toBlock,
      maxBlockRange: chain.blocksPerRequest,
      pollingIntervalMs: chain.pollingIntervalMs,
    }),
    tables,
    handlers: {
      async 'token.Transfer'({ id, args: { from, to, value } }, { db, block }) {
        // a mint comes from the zero address, a burn goes to it: nobody's balance
        if (from !== zeroAddress) await move(db, from, -value)
        if (to !== zeroAddress) await move(db, to, value)
        db.transferEvent.insert({ id, ...at(block), from, to, amount: value })
      },
      'token.Approval'({ id, args: { owner, spender, value } }, { db, block }) {
        db.allowance.set({ owner, spender, amount: value })
        db.approvalEvent.insert({ id, ...at(block), owner, spender, amount: value })
      },
    },
    async handleBlock(block, context) {
      const transfers = block.items.flatMap((item) => (item.type === 'token.Transfer' ? [item.args] : []))
      await bringForward(transfers, context)
      await publishDesks(block, chain.head, context)
      if (context.preloading) return
      if (paceMs > 0) await setTimeout(paceMs)
      handled(block, context.checkpoint)
    },
    store,
    regions,
    // Far smaller than one would choose for speed: many batches and many commits, so that there is something to see.
    limits: { batchItems: 400, groupLatencyMs: 120 },
  })
}

/** Reads through whatever is staged, so that it never waits for the commit of an earlier batch. */
async function move(db: Db<typeof tables>, address: string, amount: bigint): Promise<void> {
  const found = await db.account.get(address)
  db.account.set({ address, desk: deskOf(address), balance: (found?.balance ?? 0n) + amount })
}

function at(block: { readonly number: number; readonly timestamp?: number | undefined }) {
  return { block: block.number, timestamp: block.timestamp ?? 0 }
}
