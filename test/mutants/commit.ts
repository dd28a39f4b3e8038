/** What a commit writes, when, and what becomes of one whose answer is lost. */
import type { Mutant } from './mutant.ts'

export const commitMutants: readonly Mutant[] = [
  {
    id: 'newest-batch-first',
    invariant: 'I2',
    breaks: 'of several staged batches the last is committed first',
    file: 'src/staging/staging.ts',
    find: 'this.#batches.push(batch)',
    replace: 'this.#batches.unshift(batch)',
  },
  {
    id: 'cursor-stays-behind',
    invariant: 'I2',
    breaks: 'a group of several blocks leaves its cursor at the first: the others are handled twice',
    file: 'src/staging/group.ts',
    find: 'for (const block of batch.blocks) cursors.set(block.source, block)',
    replace:
      'for (const block of batch.blocks) if (!cursors.has(block.source)) cursors.set(block.source, block)',
  },
  {
    id: 'group-takes-later-value',
    invariant: 'I2',
    breaks: 'H5 H73: a group sends what a later batch wrote',
    file: 'src/staging/group.ts',
    find: 'while (newest !== undefined && newest.batch.order > upTo) newest = newest.older',
    replace: '',
  },
  {
    id: 'staged-version-overwritten',
    invariant: 'I2',
    breaks: 'H5: a change is written into the version of an earlier batch, which may be frozen',
    file: 'src/staging/staging.ts',
    find: 'newest?.batch === batch && (batch.collapses ||',
    replace: 'newest !== undefined && (batch.collapses ||',
  },
  {
    id: 'group-grows-on-its-way',
    invariant: 'I2',
    breaks: 'H73: a group that is sent again holds what was staged since',
    file: 'src/commit/worker.ts',
    find: ': staging.freeze(batches)',
    replace: ': staging.freeze(batches && staging.batches.length)',
  },
  {
    id: 'lost-is-not-resolved',
    invariant: 'I10',
    breaks: 'a commit whose answer was lost is sent again without asking what became of it',
    file: 'machines/committer.machine.ts',
    find: "'write.lost': { target: 'resolving', actions: 'recordError' }",
    replace: "'write.lost': { target: 'retrying', actions: 'recordError' }",
  },
  {
    id: 'resolve-believes-the-loss',
    invariant: 'I10',
    breaks: 'H37: a commit that turns out to have landed is sent again',
    file: 'src/commit/wire-actor.ts',
    find: "return land('resolve.landed', undefined)",
    replace: "return say({ type: 'resolve.notLanded', retryInMs: 0 })",
  },
  // ── one flight at a time ──
  {
    id: 'batch-restarts-the-commit',
    invariant: 'I1',
    breaks: 'a batch that ends starts the commit anew, beside the one that is on the wire',
    file: 'machines/indexer.machine.ts',
    find: "entry: 'recordGroup',",
    replace: "entry: 'recordGroup', on: { 'batch.handled': { target: 'committing', reenter: true } },",
    tests: ['test/interleaving/exhaustive.test.ts'],
  },
  {
    id: 'flight-past-its-deadline-is-sent-beside-itself',
    invariant: 'I1',
    breaks: 'an attempt that takes too long is sent again, and its socket stays open',
    file: 'machines/committer.machine.ts',
    find: `after: { attemptDeadline: { actions: 'destroySocket' } },
    },
    resolving: {`,
    replace: `after: { attemptDeadline: 'retrying' },
    },
    resolving: {`,
    tests: ['test/interleaving/flights.test.ts'],
  },
  // ── doubt ──
  {
    id: 'unanswered-question-is-a-no',
    invariant: 'I10',
    breaks: 'a question about the row that found no answer counts as not landed',
    file: 'machines/committer.machine.ts',
    find: "'resolve.lost': { target: 'pausing', actions: 'recordError' }",
    replace: "'resolve.lost': { target: '#committer.retrying', actions: 'recordError' }",
    tests: ['test/machines/committer-walk.test.ts'],
  },
  {
    id: 'row-is-taken-from-anybody',
    invariant: 'I10',
    breaks: 'H72: after a lost connection the row is taken again without the own token',
    file: 'src/commit/plans.ts',
    find: `UPDATE tailrace.pipelines SET epoch = epoch + 1, \${ownBackend('$3::int')}
  WHERE name = $1 AND token = $2`,
    replace: `UPDATE tailrace.pipelines SET epoch = epoch + 1, \${ownBackend('$3::int')}
  WHERE name = $1 AND $2::uuid IS NOT NULL`,
    tests: ['test/indexer/ownership.test.ts'],
  },
]
