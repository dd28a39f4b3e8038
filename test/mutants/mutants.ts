/**
 * Deliberate one-line faults in staging and commit order. Each passes the happy path and must die in the interleavings.
 * `find` must stand in its file exactly once, so that a mutant that no longer applies is noticed.
 */

export interface Mutant {
  readonly id: string
  /** What it breaks, and the ids of the invariants and hazards concerned. */
  readonly breaks: string
  readonly file: string
  readonly find: string
  readonly replace: string
  /** Only programs with forks can find it. */
  readonly forks?: true
}

export const mutants: readonly Mutant[] = [
  // ── what a commit writes, and when ──
  {
    id: 'group-takes-later-value',
    breaks: 'H5 H73: a group sends what a later batch wrote',
    file: 'src/staging/group.ts',
    find: 'while (newest !== undefined && newest.batch.order > upTo) newest = newest.older',
    replace: '',
  },
  {
    id: 'newest-batch-first',
    breaks: 'I2: of several staged batches the last is committed first',
    file: 'src/staging/staging.ts',
    find: 'this.#batches.push(batch)',
    replace: 'this.#batches.unshift(batch)',
  },
  {
    id: 'cursor-stays-behind',
    breaks: 'I2: a group of several blocks leaves its cursor at the first: the others are handled twice',
    file: 'src/staging/group.ts',
    find: 'for (const block of batch.blocks) cursors.set(block.source, block)',
    replace:
      'for (const block of batch.blocks) if (!cursors.has(block.source)) cursors.set(block.source, block)',
  },
  {
    id: 'staged-version-overwritten',
    breaks: 'H5: a change is written into the version of an earlier batch, which may be frozen',
    file: 'src/staging/staging.ts',
    find: 'newest?.batch === batch && (batch.collapses ||',
    replace: 'newest !== undefined && (batch.collapses ||',
  },
  {
    id: 'lost-is-not-resolved',
    breaks: 'I10: a commit whose answer was lost is sent again without asking what became of it',
    file: 'machines/committer.machine.ts',
    find: "'write.lost': { target: 'resolving', actions: 'recordError' }",
    replace: "'write.lost': { target: 'retrying', actions: 'recordError' }",
  },
  {
    id: 'resolve-believes-the-loss',
    breaks: 'I10 H37: a commit that turns out to have landed is sent again',
    file: 'src/commit/wire-actor.ts',
    find: "return land('resolve.landed', undefined)",
    replace: "return say({ type: 'resolve.notLanded', retryInMs: 0 })",
  },
  {
    id: 'group-grows-on-its-way',
    breaks: 'H73: a group that is sent again holds what was staged since',
    file: 'src/commit/worker.ts',
    find: ': staging.freeze(batches)',
    replace: ': staging.freeze(batches && staging.batches.length)',
  },
  // ── how lanes and barriers are counted ──
  {
    id: 'exit-without-drain',
    breaks: 'I6 H1: the success exit does not wait for what is staged',
    file: 'machines/facts.ts',
    find: 'return facts.stagedBatches === 0 && facts.undelivered === 0 && !facts.marksDirty',
    replace: 'return true',
  },
  {
    id: 'compute-after-failure',
    breaks: 'I7: lanes go on after the first error',
    file: 'machines/facts.ts',
    find: 'return isEnding(facts) || facts.fork !== null || facts.exit !== null',
    replace: 'return facts.fork !== null || facts.exit !== null',
  },
  {
    id: 'landing-frees-no-room',
    breaks: 'H1: what has landed still counts against the budget, and compute waits for ever',
    file: 'machines/facts.ts',
    find: 'outcome.stagedBytes < 0 ? facts.stagedBytes : outcome.stagedBytes',
    replace: 'facts.stagedBytes',
  },
  // ── what may be forgotten, and when ──
  {
    id: 'release-at-landing',
    breaks: 'H12 H14: a commit that lands releases its changes under a find that is on its way',
    file: 'src/staging/staging.ts',
    find: 'this.#landed.push(batch)',
    replace: 'this.#landed.push(batch), this.#release()',
  },
  {
    id: 'evicts-uncommitted',
    breaks: 'I4: under memory pressure staged rows are evicted like cached ones',
    file: 'src/staging/table-log.ts',
    find: 'if (entry.newest !== undefined) continue',
    replace: '',
  },
  {
    id: 'late-load-remembered',
    breaks: 'H16: a load that outlived its batch is remembered by a later one',
    file: 'src/staging/staging.ts',
    find: 'if (this.#loads > 0) this.#generation++',
    replace: '',
  },
  {
    id: 'late-load-shared',
    breaks: 'H16: a load of an earlier batch answers a later one',
    file: 'src/staging/loader.ts',
    find: 'if (shared?.generation === generation) return shared.promise',
    replace: 'if (shared !== undefined) return shared.promise',
  },
  // ── find ──
  {
    id: 'find-ignores-shadows',
    breaks: 'H11: a row that a staged change moved out of the filter is still answered by the database',
    file: 'src/staging/find.ts',
    find: 'const shadowed = entry?.newest !== undefined && entry.heldSince <= called',
    replace: 'const shadowed = false',
  },
  {
    id: 'find-sees-the-future',
    breaks: 'H12: a change made after the call hides the row that the database answers with',
    file: 'src/staging/find.ts',
    find: 'entry?.newest !== undefined && entry.heldSince <= called',
    replace: 'entry?.newest !== undefined',
  },
  {
    id: 'held-since-last-change',
    breaks: 'H12: another change of a staged row makes a find under way take it for unstaged',
    file: 'src/staging/staging.ts',
    find: 'if (newest === undefined) entry.heldSince = ++this.#sequence',
    replace: 'entry.heldSince = ++this.#sequence',
  },
  {
    id: 'find-asks-too-few',
    breaks: 'I4: rows that staged changes displace are not made up for',
    file: 'src/staging/find.ts',
    find: 'wanted === undefined ? undefined : wanted + displacing',
    replace: 'wanted',
  },
  {
    id: 'find-forgets-blind-writes',
    breaks: 'I4: a staged change over a row that was never read does not count as displacing',
    file: 'src/staging/find.ts',
    find: 'if (version.older === undefined) return base === undefined && version.inserted === null',
    replace: 'if (version.older === undefined) return false',
  },
  {
    id: 'find-reuses-a-shorter-answer',
    breaks: 'I4: an answer that was cut off by its limit serves a question for more rows',
    file: 'src/staging/find.ts',
    find: 'if (complete || (limit !== undefined && limit <= known.asked)) return rows',
    replace: 'return rows',
  },
  {
    id: 'find-answers-outlive-their-batch',
    breaks: 'H17: an answer of the database is used again after what it did not hold was released',
    file: 'src/staging/workspace.ts',
    find: 'finder.forget()',
    replace: '',
  },
  {
    id: 'index-misses-changes',
    breaks: 'I4: a staged row is found by the values it had when the index was made',
    file: 'src/staging/held.ts',
    find: 'else index.addValue(entry, entry.row)',
    replace: '',
  },
  // ── the order of one handler's calls ──
  {
    id: 'settle-leaves-updates',
    breaks: 'I4: an update that nobody awaited is lost when its row has to be loaded',
    file: 'src/staging/scope.ts',
    find: 'if (lines.length === 0) break',
    replace: 'if (lines.length >= 0) break',
  },
  {
    id: 'changes-overtake-updates',
    breaks: 'I4: a set after an update that still loads is overwritten by it',
    file: 'src/staging/access.ts',
    find: 'if (!this.#scope.isPending(this.#log, id)) return change()',
    replace: 'if (id !== undefined) return change()',
  },
  {
    id: 'find-overlooks-updates',
    breaks: 'I4: a find does not see the updates before it that still load',
    file: 'src/staging/access.ts',
    find: 'for (const id of this.#scope.pendingOf(log)) {',
    replace: 'for (const id of this.#scope.pendingOf(log).slice(0, 0)) {',
  },
  // ── what keeps history ──
  {
    id: 'nothing-keeps-history',
    breaks: 'I15: what can still be taken back is collapsed like what cannot',
    file: 'src/staging/workspace.ts',
    find: 'blocks.every(isSafe)',
    replace: 'blocks.length > 0',
    forks: true,
  },
  {
    id: 'slice-collapses-checkpoints',
    breaks: 'I15: a batch keeps one value of a row, whichever of its checkpoints a fork goes back to',
    file: 'src/staging/staging.ts',
    find: '(batch.collapses || newest.checkpoint === origin.checkpoint)',
    replace: 'newest.checkpoint > 0',
    forks: true,
  },
  {
    id: 'slice-of-another-checkpoint',
    breaks: 'I15: changes keep history under the last checkpoint of their batch',
    file: 'src/staging/group.ts',
    find: 'table.add(entry, version, version)',
    replace: 'if (version === entry.newest) table.add(entry, version, version)',
    forks: true,
  },
  {
    id: 'history-last-image-wins',
    breaks: 'H23: of several images of a row the newest is put back',
    file: 'src/testing/memory-database.ts',
    find: 'checkpoint <= target || settled.has(row)',
    replace: 'checkpoint <= target',
    forks: true,
  },
  {
    id: 'history-pruned-too-far',
    breaks: 'H22: history of what can still be taken back is pruned',
    file: 'src/testing/memory-database.ts',
    find: 'this.#history.filter(({ checkpoint }) => checkpoint > restorableFrom)',
    replace: 'this.#history.filter(({ checkpoint }) => checkpoint > restorableFrom + 1)',
    forks: true,
  },
  {
    id: 'late-block-keeps-its-late-place',
    breaks:
      'I8: ordered by time, a block in the place of one that nobody had been given comes after later ones',
    file: 'src/source/feed.ts',
    find: 'if (this.#sorted) this.#makeRoom()',
    replace: '',
    forks: true,
  },
  {
    id: 'safe-point-of-one-source',
    breaks: 'H70: what one source cannot take back any more is taken for safe, though another can',
    file: 'src/source/safe-point.ts',
    find: 'safe = Math.min(safe, open.first?.below ?? Infinity)',
    replace: "safe = Math.min(safe, (source === 'a' ? open.first?.below : undefined) ?? Infinity)",
    forks: true,
  },
  // ── how far a rollback goes ──
  {
    id: 'restore-keeps-one-too-many',
    breaks: 'I8: a rollback leaves the first orphaned checkpoint',
    file: 'src/commit/restore-worker.ts',
    find: 'session.restore(target)',
    replace: 'session.restore(target + 1)',
    forks: true,
  },
  {
    id: 'restore-of-staged-only',
    breaks: 'H21: what is committed above the fork stays',
    file: 'src/commit/restore-worker.ts',
    find: 'return target < committed ? session',
    replace: 'return target < 0 ? session',
    forks: true,
  },
  {
    id: 'stored-cursor-stays',
    breaks: 'H25 H69: tables go back, the stored cursors do not: what lies between is lost after a restart',
    file: 'src/testing/memory-database.ts',
    find: 'const kept = stored.filter(({ checkpoint }) => checkpoint <= target)',
    replace: 'const kept = stored',
    forks: true,
  },
  {
    id: 'sources-not-rewound',
    breaks: 'H25: the sources of a run go on where they were before the rollback',
    file: 'src/commit/restore-worker.ts',
    find: 'feed.rewind(keptUpTo)',
    replace: '',
    forks: true,
  },
  {
    id: 'counter-goes-back',
    breaks: 'I12 H30: checkpoint ids are used again after a rollback and a restart',
    file: 'src/testing/memory-database.ts',
    find: 'this.committed = target',
    replace: 'this.committed = this.counter = target',
    forks: true,
  },
  {
    id: 'stored-positions-pruned-too-far',
    breaks: 'H22: the newest safe position of a source is not kept',
    file: 'src/testing/memory-database.ts',
    find: 'stored.slice(0, anchor + 1)',
    replace: 'stored.slice(0, Math.max(1, anchor))',
    forks: true,
  },
  // ── what a fork does to what is staged ──
  {
    id: 'straddling-batch-dropped',
    breaks: 'H31: a batch that straddles the fork goes whole',
    file: 'src/staging/staging.ts',
    find: 'if (kept.length === 0) {',
    replace: 'if (kept.length >= 0) {',
    forks: true,
  },
  {
    id: 'cut-forgets-nothing',
    breaks: 'I4: rows that were read or committed above the fork are still known after it',
    file: 'src/staging/staging.ts',
    find: 'for (const log of this.tables.values()) log.emptyCache()',
    replace: '',
    forks: true,
  },
  {
    id: 'commit-beside-a-fork',
    breaks: 'I5 H29: a commit starts although a fork is pending',
    file: 'machines/facts.ts',
    find: 'if (isEnding(facts) || facts.fork !== null) return false',
    replace: 'if (isEnding(facts)) return false',
    forks: true,
  },
  {
    id: 'recalled-group-sent-again',
    breaks: 'I5 H31: a group whose connection was lost is sent again as it was, though a fork cuts it',
    file: 'machines/committer.machine.ts',
    find: 'recalled: ({ context }) => context.recalled,',
    replace: 'recalled: () => false,',
    forks: true,
  },
  {
    id: 'ended-survives-a-rollback',
    breaks: 'H71: a source that had ended is not waited for after a rollback that opens it again',
    file: 'src/source/pump.ts',
    find: 'this.#ended = false',
    replace: '',
    forks: true,
  },
]
