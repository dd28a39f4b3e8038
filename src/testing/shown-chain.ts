/**
 * The chain that a case shows to its runs: branches first, which are orphaned one after the other, and in the end the
 * blocks that the test has given. It outlives the runs; what a run was told before it died is verified at its next opening.
 */
import { positionOf, type Block, type Position, type Source, type SourceMessage } from '../source/port.ts'
import type { PlannedFork } from './branch.ts'
import type { Plan, PortKind } from './plan.ts'

/** The source's name, in messages. */
export const sourceId = 'blocks'

export class ShownChain {
  readonly historyDepth: number
  readonly #chains: readonly (readonly Block[])[]
  readonly #forks: readonly PlannedFork[]
  readonly #plan: Pick<Plan, 'width' | 'tellsHead'>
  #shown = 0
  /** How often it was asked for more than the branch has. */
  #asked = 0

  constructor(given: readonly Block[], plan: Plan) {
    this.#plan = plan
    this.#forks = plan.forks
    this.#chains = [...plan.forks.map((fork) => chainOf(given, fork)), given]
    this.historyDepth = plan.spareDepth + depthOf(this.#chains)
  }

  /** A run has ended, and none has begun. */
  pause(): void {
    if (this.#forks[this.#shown]?.inPause === true) this.#turn()
  }

  /** @param port what each message is held up at */
  source(port: (kind: PortKind) => Promise<void> | undefined): Source {
    return {
      id: sourceId,
      historyDepth: this.historyDepth,
      open: ({ from, recent, signal }) =>
        this.#read(recent.length === 0 && from !== undefined ? [from] : recent.toReversed(), signal, port),
    }
  }

  /** @param given what the reader knows, oldest first */
  async *#read(
    given: Position[],
    signal: AbortSignal,
    port: (kind: PortKind) => Promise<void> | undefined,
  ): AsyncGenerator<SourceMessage> {
    const { width, tellsHead } = this.#plan
    let isToldCaughtUp = false
    while (!signal.aborted) {
      const seen = this.#next(given)
      const kind = seen === 'nothing' ? 'head' : 'source'
      await port(kind)
      if (signal.aborted) return
      // it may have turned meanwhile
      const next = this.#next(given)
      if (next === 'end') {
        yield { type: 'end' }
        return
      }
      if (next === 'fork') {
        const validTo = given.findLast((position) => this.#indexOf(position) !== -1) ?? null
        yield { type: 'fork', validTo }
        return
      }
      if (next !== 'nothing') {
        const blocks = next.slice(0, width)
        given.push(...blocks.map(positionOf))
        const head = this.#chain.at(-1)!.number
        yield { type: 'blocks', blocks, ...(tellsHead ? { head } : {}) }
        continue
      }
      if (++this.#asked > this.#forks[this.#shown]!.after) this.#turn()
      if (!isToldCaughtUp) yield { type: 'caughtUp' }
      isToldCaughtUp = true
    }
  }

  #next(given: readonly Position[]): 'fork' | 'end' | 'nothing' | readonly Block[] {
    const last = given.at(-1)
    const at = last === undefined ? -1 : this.#indexOf(last)
    if (last !== undefined && at === -1) return 'fork'
    const fresh = this.#chain.slice(at + 1)
    if (fresh.length > 0) return fresh
    return this.#shown === this.#chains.length - 1 ? 'end' : 'nothing'
  }

  get #chain(): readonly Block[] {
    return this.#chains[this.#shown]!
  }

  #turn(): void {
    this.#shown++
    this.#asked = 0
  }

  #indexOf({ number, hash }: Position): number {
    return this.#chain.findIndex((block) => block.number === number && positionOf(block).hash === hash)
  }
}

/** The blocks that are valid while a branch is shown. */
export function chainOf(given: readonly Block[], { keep, branch }: PlannedFork): readonly Block[] {
  return [...given.slice(0, keep), ...branch]
}

/** The least `historyDepth` that is no lie: from the highest block ever told down to the lowest that is taken back. */
function depthOf(chains: readonly (readonly Block[])[]): number {
  let depth = 0
  let head = 0
  for (const [at, chain] of chains.entries()) {
    head = Math.max(head, chain.at(-1)?.number ?? 0)
    const next = chains[at + 1]
    const orphan = next && chain.find((block) => !next.includes(block))
    if (orphan !== undefined) depth = Math.max(depth, head - orphan.number + 1)
  }
  return depth
}
