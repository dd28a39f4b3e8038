/** The abstraction of the indexer's walk: states with the same key are one. */
import type { IndexerFacts } from '../../machines/facts.ts'
import { isEnding } from '../../machines/facts.ts'
import { batchWidth } from './model-ends.ts'
import type { IndexerState } from './model-indexer.ts'

export function indexerKey(state: IndexerState): string {
  const { chart, world, timers } = state
  const facts = state.chart.context as IndexerFacts
  if (state.status !== 'active') return String(chart.value)
  const clock = timers.map((id) => id.split('.').at(-1))
  if (!isEnding(facts)) return JSON.stringify([chart.value, relative(facts), Object.values(world), clock])
  // once the run is ending, only where the lanes are and who still owes a last word can matter
  const { sources, computer, committer, restorer, publisher, failuresLeft } = world
  const regions = [publisher, Math.max(0, facts.undelivered), committer?.early]
  const owes = [sources, computer, committer?.told, restorer?.told, regions, failuresLeft]
  return JSON.stringify([chart.value, 'ending', facts.superseded, facts.running !== null, owes, clock])
}

/** Checkpoints count from the committed frontier. A fork matters as far as it reaches into what is not committed. */
function relative(facts: IndexerFacts): unknown[] {
  const from = facts.committed
  const ahead = (facts.running?.upTo ?? facts.processed + batchWidth) - from
  return [
    facts.processed - from,
    facts.running === null ? null : facts.running.upTo - from,
    facts.stagedBatches,
    facts.flightBatches,
    facts.stagedBytes,
    facts.groupLimit,
    facts.sourcesEnded,
    facts.exit,
    facts.fork === null ? null : Math.max(0, Math.min(facts.fork - from, ahead)),
    facts.undelivered,
    facts.marksDirty,
  ]
}
