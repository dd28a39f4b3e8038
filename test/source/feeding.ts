/** Feeds for tests: what they say is kept, and can be waited for. Nothing here waits on a clock. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { SourceEvent } from '../../machines/events.ts'
import type { Block, Source } from '../../src/index.ts'
import {
  Feed,
  type FeedFork,
  type FeedOptions,
  type FeedStart,
  type PulledBatch,
} from '../../src/source/feed.ts'
import { deferred } from '../support/indexers.ts'

export const wide = { readAheadBytes: 1e9, batchItems: 1e9, batchBytes: 1e9 }
export const fresh: FeedStart = { counter: 0, restorableFrom: 0, positions: new Map() }

export type Given = Partial<FeedOptions['limits']> & Partial<Pick<FeedOptions, 'ordering'>>

export function feedOf(
  sources: Source | readonly Source[],
  { ordering = 'arrival', ...limits }: Given = {},
  start: FeedStart = fresh,
) {
  const said: SourceEvent[] = []
  const forks: FeedFork[] = []
  const caughtUp: string[] = []
  let heard = deferred()
  const tell = () => {
    heard.resolve()
    heard = deferred()
  }
  const feed = new Feed(
    {
      sources: Array.isArray(sources) ? (sources as readonly Source[]) : [sources as Source],
      ordering,
      limits: { ...wide, ...limits },
    },
    start,
    {
      say: (event) => {
        said.push(event)
        tell()
      },
      caughtUp: (source) => {
        caughtUp.push(source)
        tell()
      },
      forked: (fork) => forks.push(fork),
    },
  )
  const until = async <T extends SourceEvent['type']>(
    type: T,
    count = 1,
  ): Promise<Extract<SourceEvent, { type: T }>> => {
    for (;;) {
      const found = said.filter((event) => event.type === type)
      if (found.length >= count) return found[count - 1] as Extract<SourceEvent, { type: T }>
      await heard.promise
    }
  }
  const untilCaughtUp = async (...all: readonly string[]) => {
    while (!all.every((source) => caughtUp.includes(source))) await heard.promise
  }
  return { feed, said, forks, caughtUp, until, untilCaughtUp }
}

export const blocks = (count: number, items = 1, from = 1): Block<string>[] =>
  Array.from({ length: count }, (_, at) => ({
    number: from + at,
    items: Array.from({ length: items }, (_unused, index) => `${from + at}.${index}`),
  }))

export const numbers = (batch: PulledBatch | undefined) => batch?.blocks.map(({ block }) => block.number)
export const checkpoints = (batch: PulledBatch | undefined) => batch?.blocks.map(({ ref }) => ref.checkpoint)
/** `source:number`, in the order of checkpoints. */
export const names = (batches: readonly (PulledBatch | undefined)[]) =>
  batches.flatMap((batch) => batch?.blocks.map(({ ref }) => `${ref.source}:${ref.number}`) ?? [])

/** Every source says what it has to say, and waits. */
export const spoken = (): Promise<void> => nextTurn()

/** Pulls until the end. */
export async function all(feed: Feed): Promise<PulledBatch[]> {
  const batches: PulledBatch[] = []
  for (let batch = await feed.pull(); batch !== undefined; batch = await feed.pull()) batches.push(batch)
  return batches
}

/** Closes, forgets what is above `target`, and opens again. */
export async function rollBack(feed: Feed, target: number): Promise<void> {
  await feed.close()
  feed.rewind(target)
  feed.open()
}
