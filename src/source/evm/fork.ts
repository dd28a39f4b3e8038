/**
 * Is what was read still on the node's chain, and if not, up to where? A block's hash commits to all its
 * ancestors, so one matching hash vouches for every position below it, and the newest valid one is found by
 * bisection over the known heights.
 */
import type { Position } from '../port.ts'
import type { Chain } from './chain.ts'
import { unsteady } from './fault.ts'

/** Positions emitted in this session that are kept at least. */
const KEPT = 1_024

/**
 * Positions that were stored before, and those emitted since, oldest first. Bounded; never a copy of the
 * chain.
 */
export class KnownPositions {
  readonly #stored: readonly Position[]
  #emitted: Position[] = []
  readonly #keep: number

  /** `from` is where reading goes on; `recent` is what was stored, in any order. */
  constructor(from: Position | undefined, recent: readonly Position[], historyDepth: number) {
    const byNumber = new Map<number, Position>()
    if (from !== undefined) {
      for (const position of recent)
        if (position.number < from.number) byNumber.set(position.number, position)
      byNumber.set(from.number, from)
    }
    this.#stored = [...byNumber.values()].sort((a, b) => a.number - b.number)
    this.#keep = Math.max(KEPT, 2 * historyDepth)
  }

  /** Where reading goes on. */
  get newest(): Position | undefined {
    return this.#emitted.at(-1) ?? this.#stored.at(-1)
  }

  get all(): readonly Position[] {
    return [...this.#stored, ...this.#emitted]
  }

  add(position: Position): void {
    this.#emitted.push(position)
    if (this.#emitted.length > 2 * this.#keep) this.#emitted = this.#emitted.slice(-this.#keep)
  }
}

/**
 * `behind`: the node does not have the newest position yet, and nothing that it has contradicts the others.
 */
export type Survey =
  | { readonly type: 'intact' }
  | { readonly type: 'behind' }
  | { readonly type: 'fork'; readonly validTo: Position | null }

/**
 * Compares known positions with the chain as the node has it now. Every header is read anew (H26).
 *
 * @throws {Fault} `unsteady` when the chain moves during the search
 */
export async function survey(chain: Chain, known: readonly Position[]): Promise<Survey> {
  const newest = known.at(-1)
  if (newest === undefined) return { type: 'intact' }
  const { head, headers } = await chain.headers([newest.number])
  if (headers[0]?.hash === newest.hash) return { type: 'intact' }
  const reachable = known.filter((position) => position.number <= head)
  const top = reachable.at(-1)
  if (top === undefined) return { type: 'behind' }
  if (top.number < newest.number && (await isValid(chain, top))) return { type: 'behind' }
  return { type: 'fork', validTo: await newestValid(chain, reachable) }
}

/** `positions` ends with one that is known to be orphaned. */
async function newestValid(chain: Chain, positions: readonly Position[]): Promise<Position | null> {
  let valid = -1
  let orphaned = positions.length - 1
  while (orphaned - valid > 1) {
    const middle = (valid + orphaned) >> 1
    if (await isValid(chain, positions[middle] as Position)) valid = middle
    else orphaned = middle
  }
  // The answers came one after another: both sides of the cut are asked once more, together.
  const [below, above] = [positions[valid], positions[orphaned] as Position]
  const { headers } = await chain.headers([...(below === undefined ? [] : [below.number]), above.number])
  if (headers.at(-1)?.hash === above.hash || (below !== undefined && headers[0]?.hash !== below.hash)) {
    throw unsteady('the chain moved while the fork was searched')
  }
  return below ?? null
}

async function isValid(chain: Chain, position: Position): Promise<boolean> {
  const { headers } = await chain.headers([position.number])
  return headers[0]?.hash === position.hash
}
