/**
 * One reading of the chain, from a position to the end, the head or a fork. In short: what was read before is
 * verified; old blocks come in large ranges; near the head every block comes, empty ones too (H28); then the
 * head is polled.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { RetryableError } from '../../errors.ts'
import type { Block, SourceMessage } from '../port.ts'
import type { Chain, Head } from './chain.ts'
import type { Decoder } from './decode.ts'
import { isFault, unsteady } from './fault.ts'
import { survey, type KnownPositions } from './fork.ts'
import { inOrder } from './in-order.ts'
import type { ResolvedOptions } from './options.ts'
import type { Part, RangeReader } from './range.ts'
import type { EvmEventOf } from './types.ts'

type AnyEvent = EvmEventOf<string, string, unknown>

export interface Reading {
  readonly options: ResolvedOptions
  readonly chain: Chain
  readonly ranges: RangeReader
  readonly decoder: Decoder
  readonly known: KnownPositions
  readonly signal: AbortSignal
}

/** Contradictions in a row, without progress, after which the endpoint is given up. */
const UNSTEADY_LIMIT = 10

export async function* readChain(reading: Reading): AsyncGenerator<SourceMessage<AnyEvent>, void, undefined> {
  const { chain, known, options, signal } = reading
  const { toBlock } = options
  await chain.identify()
  let head = await chain.head()
  let verified = known.newest === undefined
  let caughtUp = false
  let toldBehind = false
  let contradictions = 0
  const nextPoll = async (): Promise<void> => {
    await pause(options.pollingIntervalMs, undefined, { signal })
    head = await chain.head()
  }
  for (;;) {
    signal.throwIfAborted()
    try {
      if (!verified) {
        const found = await survey(chain, known.all)
        if (found.type === 'fork') {
          yield found
          return
        }
        if (found.type === 'behind') {
          if (!toldBehind) {
            options.log('warn', 'the node does not have yet what was read before; waiting for it', {
              head: head.number,
              read: known.newest?.number,
            })
          }
          toldBehind = true
          await nextPoll()
          continue
        }
        verified = true
      }
      const next = known.newest === undefined ? options.fromBlock : known.newest.number + 1
      if (next > toBlock) {
        yield { type: 'end' }
        return
      }
      if (next > head.number) {
        if (!caughtUp) yield { type: 'caughtUp' }
        caughtUp = true
        await nextPoll()
        verified = !contradicts(head, known)
        continue
      }
      const settled = Math.min(head.number - options.historyDepth, toBlock)
      const dense = next > settled
      for await (const message of readRange(reading, head, {
        from: next,
        to: dense ? Math.min(head.number, toBlock) : settled,
        dense,
      })) {
        yield message
        contradictions = 0
      }
      // A long range has moved the head away; after a short one near the head the poll asks anyway.
      if (!dense) head = await chain.head()
    } catch (thrown) {
      if (!isFault(thrown, 'unsteady')) throw thrown
      if (++contradictions >= UNSTEADY_LIMIT) throw unsteadyEndpoint(options, contradictions, thrown)
      options.log('warn', 'the chain moves, or the node lags; reading again', {
        reason: thrown.message,
        contradictions,
      })
      verified = false
      await nextPoll()
    }
  }
}

/** Whether the new head rules out what was emitted last, without a block on top of it that would tell. */
function contradicts(head: Head, known: KnownPositions): boolean {
  const { newest } = known
  if (newest === undefined || head.number > newest.number) return false
  return head.number < newest.number || head.hash !== newest.hash
}

/**
 * Emits the blocks of a range. @throws {Fault} `unsteady` when a part does not follow what was emitted before
 * it
 */
async function* readRange(
  { options, ranges, decoder, known, signal }: Reading,
  head: Head,
  { from, to, dense }: { from: number; to: number; dense: boolean },
): AsyncGenerator<SourceMessage<AnyEvent>, void, undefined> {
  const parts = inOrder({
    from,
    to,
    signal,
    concurrency: options.concurrency,
    span: () => ranges.span(dense),
    read: async (first, last, partSignal) => {
      const part = await ranges.read(first, last, dense, partSignal)
      return { from: part.from, to: part.to, part, blocks: await blocksOf(part, decoder) }
    },
  })
  for await (const { part, blocks } of parts) {
    const before = known.newest
    if (before !== undefined && before.number === part.from - 1 && before.hash !== part.parentHash) {
      throw unsteady(
        `block ${part.from} follows ${part.parentHash}, not ${before.hash}, which was read before`,
      )
    }
    for (const block of blocks) known.add({ number: block.number, hash: block.hash })
    yield {
      type: 'blocks',
      blocks,
      head: head.number,
      ...(head.finalized === undefined ? {} : { finalized: head.finalized }),
    }
  }
}

async function blocksOf(
  part: Part,
  decoder: Decoder,
): Promise<(Block<AnyEvent> & { readonly hash: string })[]> {
  const blocks: (Block<AnyEvent> & { readonly hash: string })[] = []
  for (const { header, logs } of part.blocks) {
    blocks.push({
      number: header.number,
      hash: header.hash,
      parentHash: header.parentHash,
      timestamp: header.timestamp,
      items: await decoder.decode(logs),
    })
  }
  return blocks
}

/** The error for contradictions that do not end. */
export function unsteadyEndpoint(options: ResolvedOptions, times: number, cause: Error): RetryableError {
  return new RetryableError(
    'CHAIN_UNSTEADY',
    `Source '${options.id}' could not get consistent answers (${times} ${times === 1 ? 'time' : 'times in a row'}): ${cause.message}. ` +
      'The endpoint probably spreads requests over nodes that are not in step, or its chain moves faster than it is read: ' +
      'use one node or another endpoint, or raise `historyDepth`.',
    { cause, phase: 'source' },
  )
}
