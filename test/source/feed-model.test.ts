/**
 * The feed against a naive model: one to three chains that grow, fork and become final, while blocks are handed out,
 * given up, committed, and the process is restarted. The model keeps a plain list of what is handed out.
 */
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Block, OpenSource, Source, SourceMessage } from '../../src/index.ts'
import { isSafe } from '../../src/block.ts'
import type { Ordering } from '../../src/source/merge.ts'
import type { PulledBatch } from '../../src/source/feed.ts'
import { simulatedChain, type SimulatedChain } from '../../src/testing/index.ts'
import { feedOf } from './feeding.ts'

type Step =
  | { readonly do: 'grow' | 'finalize'; readonly chain: number; readonly by: number; readonly late: number }
  | {
      readonly do: 'fork'
      readonly chain: number
      readonly depth: number
      readonly by: number
      readonly late: number
    }
  | { readonly do: 'pull' | 'restart' }
  | { readonly do: 'commit' | 'giveUp'; readonly share: number }

const chain = fc.nat(2)
const by = fc.nat(5)
/** Seconds between two blocks. */
const late = fc.nat(3)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('grow' as const), chain, by, late }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('fork' as const),
      chain,
      depth: fc.nat(5),
      by,
      late,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('finalize' as const), chain, by, late }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('pull' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('commit' as const), share: fc.nat(99) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('giveUp' as const), share: fc.nat(99) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
)

const given = (ordering: Ordering) =>
  fc.record({
    ordering: fc.constant(ordering),
    depths: fc.array(fc.constantFrom(0, 1, 2, 5), { minLength: 1, maxLength: 3 }),
    batchItems: fc.integer({ min: 1, max: 4 }),
    tellsHead: fc.boolean(),
    steps: fc.array(step, { maxLength: 50, size: 'max' }),
  })
type Given = typeof given extends (ordering: Ordering) => fc.Arbitrary<infer T> ? T : never

interface Live {
  readonly source: string
  readonly number: number
  readonly hash: string
  readonly checkpoint: number
  readonly safe: number | undefined
  /** The last of its batch: a commit may end here. */
  readonly ends: boolean
}

/** What a feed of one process was told, by source. */
type Heard = Map<string, { head: number; finalized: number }>

class World {
  readonly #given: Given
  readonly #chains: { readonly chain: SimulatedChain<string>; readonly depth: number; highest: number }[]
  #live: Live[] = []
  #committed = 0
  #counter = 0
  /** Where the database has the safe checkpoint. */
  #durable = 0
  /** What it began with in this process. */
  #floor = 0
  #heard: Heard = new Map()
  #at: ReturnType<typeof feedOf>
  #forksSeen = 0

  constructor(given: Given) {
    this.#given = given
    this.#chains = given.depths.map((depth, at) => ({
      chain: simulatedChain<string>({ id: 'cab'[at]!, historyDepth: depth }),
      depth,
      highest: 0,
    }))
    this.#chains.forEach((_, at) => this.#grow(at, 4, at))
    this.#at = this.#begin()
  }

  async run(): Promise<void> {
    for (const step of this.#given.steps) {
      await this.#do(step)
      await this.#settle()
    }
    for (const { chain } of this.#chains) chain.end()
    await this.#settle()
    while (await this.#pull()) await this.#settle()
    await this.#at.feed.close()
    this.#judgeTheEnd()
  }

  async #do(step: Step): Promise<void> {
    switch (step.do) {
      case 'grow':
        return this.#grow(step.chain, step.by, step.late)
      case 'fork':
        return this.#fork(step.chain, step.depth, step.by, step.late)
      case 'finalize': {
        const { chain, depth, highest } = this.#chains[step.chain % this.#chains.length]!
        if (depth > 0) chain.finalize(Math.max(1, Math.min(highest - step.by, chain.blocks.at(-1)!.number)))
        return
      }
      case 'pull':
        return void (await this.#pull())
      case 'commit': {
        const ends = this.#live.filter(({ checkpoint, ends }) => ends && checkpoint > this.#committed)
        const end = ends[Math.floor((ends.length * step.share) / 100)]
        if (end === undefined) return
        this.#committed = end.checkpoint
        this.#durable = Math.max(this.#durable, end.safe ?? end.checkpoint)
        return this.#at.feed.landed(end.checkpoint)
      }
      case 'giveUp': {
        const ends = this.#live.filter(({ checkpoint, ends }) => ends && checkpoint >= this.#committed)
        await this.#goBackTo(
          ends[Math.floor((ends.length * step.share) / 100)]?.checkpoint ?? this.#committed,
        )
        return
      }
      case 'restart':
        await this.#at.feed.close()
        this.#live = this.#live.filter(({ checkpoint }) => checkpoint <= this.#committed)
        this.#at = this.#begin()
        return
      default:
        step satisfies never
    }
  }

  // ── the chains ────────────────────────────────────────────────────────────────────────────────────────────

  #made(after: Block<string> | undefined, count: number, late: number): Block<string>[] {
    return Array.from({ length: count }, (_, at) => ({
      number: (after?.number ?? 0) + 1 + at,
      timestamp: (after?.timestamp ?? 0) + (at + 1) * late,
      items: ['item'],
    }))
  }

  #grow(which: number, count: number, late: number): void {
    const grown = this.#chains[which % this.#chains.length]!
    grown.chain.append(this.#made(grown.chain.blocks.at(-1), count, late))
    grown.highest = Math.max(grown.highest, grown.chain.blocks.at(-1)!.number)
  }

  /** Never of what is final, nor of the first block. */
  #fork(which: number, depth: number, count: number, late: number): void {
    const forking = this.#chains[which % this.#chains.length]!
    const { chain } = forking
    const above = Math.max(1, forking.highest - Math.min(depth, forking.depth))
    const kept = chain.blocks.findLast(({ number }) => number <= above)!
    if (forking.depth === 0 || kept === chain.blocks.at(-1)) return
    try {
      chain.fork({ above: kept.number, blocks: this.#made(kept, count, late) })
    } catch (error) {
      expect(String(error)).toMatch(/which is final/)
    }
    forking.highest = Math.max(forking.highest, chain.blocks.at(-1)!.number)
  }

  // ── the process ───────────────────────────────────────────────────────────────────────────────────────────

  #begin(): ReturnType<typeof feedOf> {
    const { ordering, batchItems } = this.#given
    this.#heard = new Map()
    this.#forksSeen = 0
    this.#floor = this.#durable
    const positions = new Map(this.#chains.map(({ chain: { source } }) => [source.id, this.#kept(source.id)]))
    const at = feedOf(
      this.#chains.map(({ chain }) => this.#heeded(chain.source)),
      { ordering, batchItems },
      { counter: this.#counter, restorableFrom: this.#durable, positions },
    )
    at.feed.open()
    return at
  }

  /** Newest first: the newest that is durable and safe, and everything above. */
  #kept(source: string): Live[] {
    const own = this.#live.filter((block) => block.source === source)
    const anchor = own.findLastIndex(({ checkpoint }) => checkpoint <= this.#durable)
    return own.slice(Math.max(0, anchor)).toReversed()
  }

  #heeded(source: Source<string>): Source<string> {
    const heard = { head: -1, finalized: -1 }
    this.#heard.set(source.id, heard)
    const { tellsHead } = this.#given
    return {
      ...source,
      open: async function* (this: World, request: OpenSource): AsyncGenerator<SourceMessage<string>> {
        expect(request.recent.map(({ hash }) => hash)).toEqual(this.#kept(source.id).map(({ hash }) => hash))
        for await (const message of source.open(request)) {
          if (message.type !== 'blocks') {
            yield message
            continue
          }
          const { head = -1, finalized = -1, blocks } = message
          heard.head = Math.max(heard.head, tellsHead ? head : -1, blocks.at(-1)?.number ?? -1)
          heard.finalized = Math.max(heard.finalized, finalized)
          yield { ...message, head: tellsHead ? message.head : undefined }
        }
      }.bind(this),
    }
  }

  async #pull(): Promise<boolean> {
    const pulling = this.#at.feed.pull()
    const batch = await Promise.race([pulling, turn(null)])
    if (batch === null) this.#at.feed.cancelPull()
    if (batch === null || batch === undefined) return false
    this.#judge(batch)
    return true
  }

  /** Lets the sources speak; a fork takes everything back to its target. */
  async #settle(): Promise<void> {
    await turn()
    while (this.#at.forks.length > this.#forksSeen) {
      const forks = this.#at.forks.slice(this.#forksSeen)
      this.#forksSeen = this.#at.forks.length
      for (const { source, validTo, depth, target } of forks) {
        const own = this.#live.filter((block) => block.source === source)
        const orphans = own.filter(({ number }) => number > (validTo ?? -1))
        expect(depth).toBe(orphans.length)
        const first = orphans[0]?.checkpoint ?? Infinity
        const below = this.#live.findLast(({ checkpoint }) => checkpoint < first)?.checkpoint ?? 0
        if (this.#sorted) expect(target).toBeLessThanOrEqual(below)
        else expect(target).toBe(below)
      }
      const target = Math.min(...forks.map((fork) => fork.target))
      // history reaches as far as it is needed, and no safe block is ever taken back
      expect(target).toBeGreaterThanOrEqual(this.#durable)
      expect(target).toBeGreaterThanOrEqual(this.#live.at(-1)?.safe ?? 0)
      expect(this.#at.feed.depthOf(target)).toBe(
        this.#live.filter(({ checkpoint }) => checkpoint > target).length,
      )
      await this.#goBackTo(target)
      await turn()
    }
  }

  async #goBackTo(target: number): Promise<void> {
    this.#committed = Math.min(this.#committed, target)
    this.#live = this.#live.filter(({ checkpoint }) => checkpoint <= target)
    const { feed } = this.#at
    await feed.close()
    feed.rewind(target)
    feed.open()
  }

  // ── the verdict ───────────────────────────────────────────────────────────────────────────────────────────

  get #sorted(): boolean {
    return this.#given.ordering === 'timestamp' && this.#chains.length > 1
  }

  #isFinal({ source, number }: { readonly source: string; readonly number: number }): boolean {
    const { depth } = this.#chains.find(({ chain }) => chain.source.id === source)!
    const { head, finalized } = this.#heard.get(source)!
    return depth === 0 || number <= Math.max(head - depth, finalized)
  }

  /** Where the safe checkpoint is, by its definition. */
  #safe(): number {
    let safe = this.#floor
    for (const block of this.#live) {
      if (block.checkpoint <= this.#floor) continue
      if (!this.#isFinal(block)) return safe
      safe = block.checkpoint
    }
    return safe
  }

  #judge({ blocks }: PulledBatch): void {
    const forks = this.#given.depths.some((depth) => depth > 0)
    for (const [at, { ref }] of blocks.entries()) {
      expect(ref.checkpoint).toBe(++this.#counter)
      const safe = this.#safe()
      const { source, number, hash, checkpoint } = ref
      this.#live.push({ source, number, hash, checkpoint, safe: ref.safe, ends: at === blocks.length - 1 })
      if (!forks) expect(ref.safe).toBeUndefined()
      else if (this.#sorted) expect(ref.safe).toBeLessThanOrEqual(this.#safe())
      else expect(ref.safe).toBe(this.#safe() === checkpoint ? checkpoint : safe)
    }
    expect(new Set(blocks.map(({ ref }) => isSafe(ref))).size).toBe(1)
    const told = this.#live.map(({ safe }) => safe ?? 0)
    expect(told).toEqual(told.toSorted((a, b) => a - b))
  }

  #judgeTheEnd(): void {
    for (const { chain } of this.#chains) {
      const own = this.#live.filter(({ source }) => source === chain.source.id)
      expect(own.map(({ hash }) => hash)).toEqual(chain.blocks.map(({ hash }) => hash))
    }
    if (!this.#sorted) return
    const sorted = this.#chains
      .flatMap(({ chain }) => chain.blocks.map((block) => ({ source: chain.source.id, ...block })))
      .toSorted(
        (a, b) =>
          a.timestamp! - b.timestamp! ||
          (a.source < b.source ? -1 : a.source > b.source ? 1 : a.number - b.number),
      )
    expect(this.#live.map(({ hash }) => hash)).toEqual(sorted.map(({ hash }) => hash))
  }
}

test('I15, H70, H25: blocks, safe checkpoints and fork targets are those of a naive model', async () => {
  await fc.assert(
    fc.asyncProperty(given('arrival'), (given) => new World(given).run()),
    { numRuns: 120 },
  )
})

/** After a restart nobody knows yet that block 3 of `a`, which is given out later, can still be another. */
const placeOfTheNext: Given = {
  ordering: 'timestamp',
  depths: [2, 2],
  batchItems: 4,
  tellsHead: false,
  steps: [
    { do: 'grow', chain: 0, by: 2, late: 1 },
    { do: 'pull' },
    { do: 'pull' },
    { do: 'commit', share: 0 },
    { do: 'commit', share: 0 },
    { do: 'restart' },
    { do: 'grow', chain: 0, by: 2, late: 0 },
    { do: 'pull' },
    { do: 'fork', chain: 1, depth: 2, by: 1, late: 0 },
  ],
}

test('I8: sorted by time, every history of forks and restarts ends in the one order of the blocks that are valid', async () => {
  await fc.assert(
    fc.asyncProperty(given('timestamp'), (given) => new World(given).run()),
    { numRuns: 120, examples: [[placeOfTheNext]] },
  )
})
