/**
 * Compares what readers of the regions see with rows, and not with those that the snapshots were made of: each desk is added
 * up anew, from the transfers.
 */
import { lte } from 'drizzle-orm'
import type { NodePgDatabase } from 'drizzle-orm/node-postgres'
import { zeroAddress } from 'viem'
import { readRegions, type RegionPublisher } from 'tailrace'
import { contentOf, deskOf, desks, regionOf, topAccounts, type DeskView } from './desks.ts'
import { transferEvent } from './schema.ts'
import type { Check } from './verify.ts'

/** @param complete last block of a run that came to its end; otherwise the regions' own newest one counts */
export async function checkDesks(
  db: NodePgDatabase,
  regions: RegionPublisher,
  complete: number | undefined,
): Promise<Check> {
  const shown = await readRegions(
    regions,
    desks.map((id) => regionOf(id)),
  )
  const views = Object.values(shown).map(({ body }) => body as DeskView)
  const block = complete ?? Math.max(0, ...views.map((view) => view.block))
  const should = await deskViews(db, block)
  const differences = desks.flatMap((id) => {
    const region = regionOf(id)
    const view = shown[region]
    if (view === undefined) return complete === undefined ? [] : [`${region} shows nothing`]
    const [rows, seen] = [should(id), contentOf(view.body)].map((content) => JSON.stringify(content))
    return seen === rows ? [] : [`${region} should show ${rows}, and shows ${seen}`]
  })
  const what = views.length === 0 ? 'regions yet' : `regions, as the transfer rows have it at block ${block}`
  return { what, checked: views.length, differences }
}

/** Of each desk what its region has to show, amounts as JSON has them. */
async function deskViews(db: NodePgDatabase, block: number): Promise<(desk: number) => unknown> {
  const rows = await db.select().from(transferEvent).where(lte(transferEvent.block, block))
  const balances = new Map<string, bigint>()
  const sent = new Map<number, number>()
  const received = new Map<number, number>()
  const move = (address: string, amount: bigint, counter: Map<number, number>) => {
    if (address === zeroAddress) return
    balances.set(address, (balances.get(address) ?? 0n) + amount)
    counter.set(deskOf(address), (counter.get(deskOf(address)) ?? 0) + 1)
  }
  for (const { from, to, amount } of rows) {
    move(from, -amount, sent)
    move(to, amount, received)
  }
  return (desk) => {
    const accounts = [...balances].filter(([address]) => deskOf(address) === desk)
    accounts.sort(([a, x], [b, y]) => (x === y ? (a < b ? -1 : 1) : x > y ? -1 : 1))
    return {
      held: String(accounts.reduce((sum, [, balance]) => sum + balance, 0n)),
      sent: sent.get(desk) ?? 0,
      received: received.get(desk) ?? 0,
      top: accounts
        .slice(0, topAccounts)
        .map(([address, balance]) => ({ address, balance: String(balance) })),
    }
  }
}
