/**
 * Chains that live beside a run: at random moments they grow, say what is final, and fork, never deeper than they said
 * they would (unless a case asks for exactly that). What was orphaned may come again in another block, as transactions do.
 */
import fc from 'fast-check'
import type { Block, Source, SourceMessage } from '../../src/index.ts'
import { simulatedChain, type SimulatedChain } from '../../src/testing/index.ts'
import { narrowProgramOps, programOps, type ProgramItem } from './programs.ts'

export interface GivenBlock {
  /** Heights left out before it. */
  readonly gap: number
  /** Since the block before. */
  readonly seconds: number
  readonly items: readonly ProgramItem['ops'][]
  /** In a fork: holds the items of an orphaned block instead of its own. */
  readonly again: boolean
}

export interface GivenStep {
  /** Turns of the scheduler since the step before. */
  readonly after: number
  /** So many blocks are orphaned at most; 0: it only grows. */
  readonly orphans: number
  /** So many blocks more, which the chain had said it would not take back. */
  readonly excess: number
  readonly blocks: readonly GivenBlock[]
  /** All but so many of its blocks are final after it; null: nothing is said. */
  readonly unfinal: number | null
}

export interface GivenChain {
  /** 0: never forks. */
  readonly historyDepth: number
  readonly tellsHead: boolean
  /** Blocks in a message. */
  readonly width: number
  /** There before the first run. */
  readonly first: readonly GivenBlock[]
  readonly steps: readonly GivenStep[]
  /** Turns of the scheduler from the last step to its end. */
  readonly endsAfter: number
}

const block: fc.Arbitrary<GivenBlock> = fc.record({
  gap: fc.constantFrom(0, 0, 0, 1),
  seconds: fc.nat({ max: 2 }),
  items: fc.array(fc.oneof(narrowProgramOps, narrowProgramOps, programOps), { maxLength: 2 }),
  again: fc.boolean(),
})

const turns = fc.constantFrom(0, 3, 10, 25, 50, 100)

function stepOf(orphans: fc.Arbitrary<number>, after = turns): fc.Arbitrary<GivenStep> {
  return fc.record({
    after,
    orphans,
    excess: fc.constant(0),
    blocks: fc.array(block, { maxLength: 4 }),
    unfinal: fc.option(fc.nat({ max: 4 }), { nil: null, freq: 2 }),
  })
}

function chainOf(
  historyDepth: fc.Arbitrary<number>,
  steps: fc.Arbitrary<GivenStep>,
  first = fc.array(block, { maxLength: 8 }),
): fc.Arbitrary<GivenChain> {
  return fc.record({
    historyDepth,
    tellsHead: fc.boolean(),
    width: fc.constantFrom(1, 2, 100),
    first,
    steps: fc.array(steps, { minLength: 1, maxLength: 5 }),
    endsAfter: turns,
  })
}

const forking = chainOf(
  fc.constantFrom(2, 4, 6, 1_000, 1_000, 1_000),
  stepOf(fc.constantFrom(0, 1, 1, 2, 2, 3, 5, 100)),
)
const steady = chainOf(fc.constant(0), stepOf(fc.constant(0)))

/** One to three; at least one of them forks. */
export const chains: fc.Arbitrary<readonly GivenChain[]> = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(forking) },
  { weight: 3, arbitrary: fc.tuple(forking, forking) },
  { weight: 2, arbitrary: fc.tuple(forking, steady) },
  { weight: 1, arbitrary: fc.tuple(steady, forking, forking) },
)

/** At first they take back little, and late: most of what they could take back is committed by then. */
const lateForking = chainOf(
  fc.constant(1_000),
  stepOf(fc.constantFrom(0, 1, 1, 2), fc.constantFrom(50, 100)).map((step) => ({ ...step, unfinal: null })),
  fc.array(block, { minLength: 3, maxLength: 8 }),
)
export const lateForkingChains: fc.Arbitrary<readonly GivenChain[]> = fc.oneof(
  fc.tuple(lateForking),
  fc.tuple(lateForking, fc.oneof(lateForking, steady)),
)

/** Some fork of them goes deeper than it may. */
export const faithlessChains: fc.Arbitrary<readonly GivenChain[]> = fc
  .tuple(
    chainOf(fc.constantFrom(2, 3), stepOf(fc.constantFrom(0, 2, 3))),
    fc.array(fc.oneof(forking, steady), { maxLength: 1 }),
    fc.integer({ min: 1, max: 4 }),
  )
  .map(([chain, others, excess]) => [
    {
      ...chain,
      // what it says of finality by name it keeps
      steps: chain.steps.map((step) => ({
        ...step,
        excess: step.orphans === 0 ? 0 : excess,
        unfinal: null,
      })),
    },
    ...others,
  ])

export interface KnownBlock {
  readonly source: string
  readonly block: Block<ProgramItem>
  /** Hash of the block before it. */
  readonly parent: string | undefined
}

/** Every block there ever was, of any branch, by its hash. */
export type KnownBlocks = Map<string, KnownBlock>

/** Whoever says when a chain goes on; fast-check's scheduler is one. */
export interface Turns {
  schedule(turn: Promise<unknown>, label: string): Promise<unknown>
}

export class LivingChain {
  readonly id: string
  readonly #given: GivenChain
  readonly #known: KnownBlocks
  readonly #chain: SimulatedChain<ProgramItem>
  #made = 0
  #highest = 0
  #final = 0
  #ended = false
  /** It has taken back what it had said to be final. */
  faithless = false

  constructor(id: string, given: GivenChain, known: KnownBlocks) {
    this.id = id
    this.#given = given
    this.#known = known
    this.#chain = simulatedChain({ id, historyDepth: given.historyDepth })
    this.#chain.append(this.#blocksOf(given.first, [], undefined))
  }

  get blocks(): readonly Block<ProgramItem>[] {
    return this.#chain.blocks
  }

  isValid(hash: string): boolean {
    return this.blocks.some((candidate) => candidate.hash === hash)
  }

  /** @param port held up before each message */
  source(port: (label: string) => Promise<void>): Source<ProgramItem> {
    const { historyDepth, width, tellsHead } = this.#given
    const open = this.#chain.source.open.bind(this.#chain.source)
    return {
      id: this.id,
      historyDepth,
      async *open(request): AsyncGenerator<SourceMessage<ProgramItem>> {
        for await (const message of open(request)) {
          if (message.type !== 'blocks') {
            await port(message.type)
            if (request.signal.aborted) return
            yield message
            continue
          }
          const { blocks, head, finalized } = message
          for (let at = 0; at === 0 || at < blocks.length; at += width) {
            await port('blocks')
            if (request.signal.aborted) return
            const some = blocks.slice(at, at + width)
            yield { type: 'blocks', blocks: some, ...(tellsHead ? { head } : {}), finalized }
          }
        }
      },
    }
  }

  /** Takes its steps, one after the other, whether somebody looks or not. */
  async live(schedule: Turns): Promise<void> {
    const wait = async (count: number) => {
      for (let turn = 0; turn < count; turn++)
        await schedule.schedule(Promise.resolve(), `life of ${this.id}`)
    }
    for (const step of this.#given.steps) {
      await wait(step.after)
      this.fork(step)
      if (step.unfinal !== null) this.#finalize(step.unfinal)
    }
    await wait(this.#given.endsAfter)
    this.#ended = true
    this.#chain.end()
  }

  /** Grows when nothing may be taken back. @returns what it orphaned: hashes */
  fork({ orphans, excess, blocks }: Pick<GivenStep, 'orphans' | 'excess' | 'blocks'>): readonly string[] {
    if (this.#ended) return []
    const valid = this.blocks
    const lowest = Math.max(this.#highest - this.#given.historyDepth, this.#final, 0)
    const free = valid.filter(({ number }) => number > lowest).length
    const within = this.#given.historyDepth === 0 ? 0 : Math.min(orphans, free)
    const count = Math.min(valid.length, within + excess)
    if (count > free) this.faithless = true
    const kept = valid.slice(0, valid.length - count)
    const orphaned = valid.slice(kept.length)
    const made = this.#blocksOf(blocks, orphaned, kept.at(-1))
    if (count === 0) this.#chain.append(made)
    else this.#chain.fork({ above: kept.at(-1)?.number ?? -1, blocks: made })
    return orphaned.map(({ hash }) => hash!)
  }

  #finalize(unfinal: number): void {
    const newest = this.blocks.at(-1 - unfinal)
    if (newest === undefined || newest.number <= this.#final) return
    this.#final = newest.number
    this.#chain.finalize(newest.number)
  }

  #blocksOf(
    given: readonly GivenBlock[],
    orphaned: readonly Block<ProgramItem>[],
    last: Block<ProgramItem> | undefined,
  ): Block<ProgramItem>[] {
    let parent = last
    return given.map(({ gap, seconds, items, again }, index) => {
      const serial = ++this.#made
      const hash = `${this.id}${serial}`
      const made: Block<ProgramItem> = {
        number: (parent?.number ?? 0) + 1 + gap,
        hash,
        timestamp: (parent?.timestamp ?? 0) + seconds,
        items:
          (again ? orphaned[index]?.items : undefined) ??
          items.map((ops, item) => ({ id: `${hash}.${item}`, ops })),
      }
      this.#known.set(hash, { source: this.id, block: made, parent: parent?.hash })
      this.#highest = Math.max(this.#highest, made.number)
      parent = made
      return made
    })
  }
}
