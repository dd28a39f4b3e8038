/** Who may commit, and ids that are never used again. */
import type { Mutant } from './mutant.ts'

export const ownershipMutants: readonly Mutant[] = [
  {
    id: 'superseded-is-not-landed',
    invariant: 'I9',
    breaks: 'a run that lost its row sends its group again instead of ending',
    file: 'src/commit/wire-actor.ts',
    find: "return say({ type: 'resolve.superseded', owner: ended.owner })",
    replace: "return say({ type: 'resolve.notLanded', retryInMs: 0 })",
    tests: ['test/interleaving/flights.test.ts'],
  },
  {
    id: 'superseded-goes-on',
    invariant: 'I9',
    breaks: 'a run that lost its row goes on handling and sending',
    file: 'machines/facts.ts',
    find: 'return facts.failed || facts.superseded',
    replace: 'return facts.failed',
    tests: ['test/interleaving/flights.test.ts'],
  },
  {
    id: 'fence-without-number',
    invariant: 'I9',
    breaks: 'H38: the fence compares the epoch alone',
    file: 'src/commit/bookkeeping.ts',
    find: ' AND p.commit_number = expected_number',
    replace: '',
    tests: ['test/postgres/bookkeeping.test.ts'],
  },
  {
    id: 'fence-without-epoch',
    invariant: 'I9',
    breaks: 'H38: the fence compares the commit number alone',
    file: 'src/commit/bookkeeping.ts',
    find: ' AND p.epoch = expected_epoch',
    replace: '',
    tests: ['test/postgres/bookkeeping.test.ts'],
  },
  // ── checkpoint ids ──
  {
    id: 'counter-not-stored',
    invariant: 'I12',
    breaks: 'H40: a commit does not raise the stored counter',
    file: 'src/commit/bookkeeping.ts',
    find: 'counter = greatest(p.counter, new_counter),',
    replace: '',
    tests: ['test/postgres/bookkeeping.test.ts'],
  },
  {
    id: 'ids-go-on-above-what-is-final',
    invariant: 'I12',
    breaks: 'H40: after a restart ids begin above what cannot be taken back, not above what was ever given',
    file: 'src/source/feed.ts',
    find: 'this.#counter = start.counter',
    replace: 'this.#counter = restorableFrom',
    forks: true,
  },
  {
    id: 'rewind-gives-ids-back',
    invariant: 'I12',
    breaks: 'H30: a rollback sets the counter back to its target',
    file: 'src/source/feed.ts',
    find: 'this.#safePoint.rewind(target)',
    replace: 'this.#safePoint.rewind((this.#counter = target))',
    forks: true,
  },
]
