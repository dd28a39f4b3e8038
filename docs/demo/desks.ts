/**
 * The regions: eight desks, each with the accounts of a range of addresses. What a desk shows is made of rows: its turnover
 * from a row of its own, which every block brings forward; its largest balances from those of the accounts.
 */
import { zeroAddress } from 'viem'
import type { Block, Context } from 'tailrace'
import type { account, desk } from './schema.ts'

export const desks = [0, 1, 2, 3, 4, 5, 6, 7] as const
export const topAccounts = 5
/** So often while the head is far; at the head, with every block. */
const everyBlocks = 25

/** By the first hex digit of the address, two to a desk. */
export const deskOf = (address: string): number => Number.parseInt(address.charAt(2), 16) >> 1

/** `desk-ef` has the addresses that begin with 0xe and 0xf. */
export const regionOf = (id: number): string => `desk-${(2 * id).toString(16)}${(2 * id + 1).toString(16)}`

/** What a region's snapshot says. */
export interface DeskView {
  /** At which it was made. No part of the content: a desk without a transfer has nothing new to say. */
  readonly block: number
  /** All its balances together. */
  readonly held: bigint
  readonly sent: number
  readonly received: number
  readonly top: readonly { readonly address: string; readonly balance: bigint }[]
}

/** What is compared to tell a new snapshot from a repeated one. */
export function contentOf(body: unknown): unknown {
  const { block: _, ...content } = body as DeskView
  return content
}

type DeskContext = Context<{ account: typeof account; desk: typeof desk }>

interface Transfer {
  readonly from: string
  readonly to: string
  readonly value: bigint
}

/** The desks' rows, brought forward by the transfers of a block: once a block, not once a transfer. */
export async function bringForward(transfers: readonly Transfer[], { db }: DeskContext): Promise<void> {
  const touched = new Map<number, { held: bigint; sent: number; received: number }>()
  const add = (address: string, held: bigint, sent: number, received: number) => {
    if (address === zeroAddress) return
    const id = deskOf(address)
    const sum = touched.get(id) ?? { held: 0n, sent: 0, received: 0 }
    touched.set(id, { held: sum.held + held, sent: sum.sent + sent, received: sum.received + received })
  }
  for (const { from, to, value } of transfers) {
    add(from, -value, 1, 0)
    add(to, value, 0, 1)
  }
  await Promise.all(
    [...touched].map(async ([id, { held, sent, received }]) => {
      const row = await db.desk.get(id)
      db.desk.set({
        id,
        held: (row?.held ?? 0n) + held,
        sent: (row?.sent ?? 0) + sent,
        received: (row?.received ?? 0) + received,
      })
    }),
  )
}

/** @param head the last block that was there at the beginning */
export async function publishDesks(
  { number }: Block,
  head: number,
  { db, region }: DeskContext,
): Promise<void> {
  if (number % everyBlocks !== 0 && number < head) return
  await Promise.all(
    desks.map(async (id) => {
      const [row, richest] = await Promise.all([
        db.desk.get(id),
        db.account.find({ where: { desk: id }, orderBy: { balance: 'desc' }, limit: topAccounts }),
      ])
      region(regionOf(id)).publish({
        block: number,
        held: row?.held ?? 0n,
        sent: row?.sent ?? 0,
        received: row?.received ?? 0,
        top: richest.map(({ address, balance }) => ({ address, balance })),
      } satisfies DeskView)
    }),
  )
}
