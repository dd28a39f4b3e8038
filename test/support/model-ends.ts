/** How a commit and a rollback may end in the indexer's walk. Every batch is ten checkpoints and one byte. */
import type { IndexerFacts } from '../../machines/facts.ts'
import type { CommitOutcome } from '../../machines/outcome.ts'

export const batchWidth = 10

const landedNothing = {
  landed: 0,
  stagedBatches: 0,
  stagedBytes: -1,
  groupLimit: -1,
  snapshots: 0,
  error: null,
  inDoubt: null,
  owner: null,
} as const

/**
 * How a committer may end, given what it was told. test/machines/committer-walk.test.ts shows that the real one has no
 * other ends than these.
 */
export function committerEnds(
  told: readonly string[],
  batches: number,
  facts: { readonly committed: number; readonly uncommitted: number },
): CommitOutcome[] {
  const landing = (landed: number): Omit<CommitOutcome, 'status'> => ({
    ...landedNothing,
    landed,
    committed: facts.committed + landed * batchWidth,
    stagedBytes: landed === 0 ? -1 : facts.uncommitted - landed,
    groupLimit: landed === 0 ? -1 : 2,
  })
  // a prefix lands only when the group was split
  const prefixes = batches > 1 ? [0, batches - 1] : [0]
  const inDoubt = batches > 0 ? { from: facts.committed, upTo: facts.committed + batches * batchWidth } : null
  return [
    { ...landing(batches), status: 'committed' },
    ...prefixes.flatMap((landed): CommitOutcome[] => [
      { ...landing(landed), status: 'superseded', owner: { epoch: 2, host: 'other', pid: 2 } },
      { ...landing(landed), status: 'failed', error: 'commit failed' },
      { ...landing(landed), status: 'failed', error: 'commit failed', inDoubt },
      ...(told.includes('recall') ? [{ ...landing(landed), status: 'recalled' as const }] : []),
      ...(told.includes('halt') ? [{ ...landing(landed), status: 'failed' as const }] : []),
      ...(told.includes('cut') ? [{ ...landing(landed), status: 'failed' as const, inDoubt }] : []),
    ]),
  ]
}

/** How a rollback may end: like a commit of one batch; it says what is still staged. */
export function restorerEnds(told: readonly string[], facts: IndexerFacts): CommitOutcome[] {
  const target = facts.fork ?? facts.processed
  const committed = Math.min(facts.committed, target)
  const staged = Math.max(0, Math.min(facts.processed, target) - committed) / batchWidth
  const { committed: before } = facts
  return committerEnds(told, 1, { committed: before, uncommitted: staged })
    .filter((end) => end.status !== 'recalled')
    .map((end) =>
      end.status === 'committed'
        ? { ...end, committed, stagedBatches: staged, stagedBytes: staged }
        : { ...end, committed: before },
    )
}

/** An end that the committer was not asked for: it costs one of the failures of the run. */
export function isBad(end: CommitOutcome, told: readonly string[]): boolean {
  if (end.status === 'superseded') return true
  return end.status === 'failed' && !(told.includes('halt') || told.includes('cut'))
}

export function isPlain(end: CommitOutcome): boolean {
  return end.landed === 0 && end.inDoubt === null
}
