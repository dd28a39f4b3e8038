/** From the chart's plain output to the outcome a user gets. */
import type { IndexerOutcome } from '../machines/outcome.ts'
import { FatalError, type TailraceError, asTailraceError, messageOf } from './errors.ts'
import type { IndexerSnapshot } from './observe/doings.ts'
import type { Outcome } from './outcome.ts'

/** XState's own error status means a fault of ours: it is reported as one, and nothing is left running. */
export function bug({ context }: Pick<IndexerSnapshot, 'context'>, cause: unknown): IndexerOutcome {
  const { committed, processed } = context
  const error = new FatalError(
    'INTERNAL',
    `A fault inside tailrace: ${messageOf(cause)}. Please report it.`,
    { cause },
  )
  return { status: 'failed', committed, processed, error, suppressed: [], inDoubt: null, owner: null }
}

export function outcomeOf(output: IndexerOutcome, regions: Outcome['regions']): Outcome {
  const { status, inDoubt, owner } = output
  const ended = {
    committed: BigInt(output.committed),
    processed: BigInt(output.processed),
    regions,
    ...(inDoubt === null ? {} : { inDoubt: { from: BigInt(inDoubt.from), upTo: BigInt(inDoubt.upTo) } }),
  }
  switch (status) {
    case 'finished':
    case 'stopped':
      return { status, ...ended }
    case 'superseded':
      return {
        status,
        ...ended,
        owner: owner === null ? undefined : { ...owner, epoch: BigInt(owner.epoch) },
      }
    case 'failed':
      return { status, ...ended, error: errorOf(output.error), suppressed: output.suppressed.map(errorOf) }
    default:
      throw new Error(`unreachable: ${String(status satisfies never)}`)
  }
}

/** An error that came when the chart had ended: no outcome hides it. */
export function withLate(outcome: Outcome, error: TailraceError | undefined): Outcome {
  if (error === undefined || outcome.status === 'superseded') return outcome
  if (outcome.status === 'failed') return { ...outcome, suppressed: [...outcome.suppressed, error] }
  return { ...outcome, status: 'failed', error, suppressed: [] }
}

/** The chart knows deadlines as facts; everything else it was told is an error already. */
export function errorOf(error: unknown): TailraceError {
  if (typeof error === 'object' && error !== null && 'drain' in error) {
    return new FatalError(
      'DRAIN_DEADLINE',
      `The drain (${String(error.drain)}) took longer than limits.drainDeadlineMs. What was not committed is handled again by the next run. A handler that does not heed context.signal, or a database that does not answer, are the usual causes.`,
      { phase: 'exit' },
    )
  }
  return asTailraceError(error, 'INTERNAL', messageOf(error))
}
