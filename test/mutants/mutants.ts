/**
 * Deliberate one-line faults in staging and commit order. Each passes the happy path and must die in the tests named
 * beside it. `find` must stand in its file exactly once, so that a mutant that no longer applies is noticed.
 */

export interface Mutant {
  readonly id: string
  /** What it breaks, and the ids of the invariants and hazards concerned. */
  readonly breaks: string
  readonly file: string
  readonly find: string
  readonly replace: string
}

export const mutants: readonly Mutant[] = [
  {
    id: 'group-takes-later-value',
    breaks: 'H5 H73: a group sends what a later batch wrote',
    file: 'src/staging/group.ts',
    find: 'while (newest !== undefined && newest.batch.order > lastOrder) newest = newest.older',
    replace: '',
  },
  {
    id: 'find-ignores-shadows',
    breaks: 'H11: a row that a staged change moved out of the filter is still answered by the database',
    file: 'src/staging/find.ts',
    find: 'const shadowed = entry?.newest !== undefined && entry.heldSince <= called',
    replace: 'const shadowed = false',
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
    id: 'discard-keeps-value',
    breaks: 'I8: what an aborted batch had written stays visible',
    file: 'src/staging/staging.ts',
    find: 'else entry.row = newest.row',
    replace: '',
  },
  {
    id: 'release-while-loading',
    breaks: 'H12 H16: changes are released while a load of before is in flight',
    file: 'src/staging/staging.ts',
    find: 'if (this.#loads > 0) return',
    replace: '',
  },
  {
    id: 'settle-leaves-updates',
    breaks: 'I4: an update that nobody awaited is lost when its row has to be loaded',
    file: 'src/staging/scope.ts',
    find: 'while (pending.some((ofTable) => ofTable.size > 0)) {',
    replace: 'while (false) {',
  },
  {
    id: 'changes-overtake-updates',
    breaks: 'I4: a set after an update that still loads is overwritten by it',
    file: 'src/staging/access.ts',
    find: 'if (this.#scope.pendingOn(this.#log, id) === undefined) return change()',
    replace: 'if (id !== undefined) return change()',
  },
  {
    id: 'exit-without-drain',
    breaks: 'I6 H1: the success exit does not wait for what is staged',
    file: 'machines/facts.ts',
    find: 'return facts.stagedBatches === 0 && facts.undelivered === 0 && !facts.marksDirty',
    replace: 'return true',
  },
  {
    id: 'landed-prefix-forgotten',
    breaks: 'I2: batches that landed are staged again',
    file: 'machines/facts.ts',
    find: 'stagedBatches: facts.stagedBatches + facts.flightBatches - outcome.landed,',
    replace: 'stagedBatches: facts.stagedBatches + facts.flightBatches,',
  },
  {
    id: 'resolve-believes-the-loss',
    breaks: 'I10 H37: a commit whose answer was lost is sent again though it landed',
    file: 'src/testing/memory-store.ts',
    find: "if (commitNumber === this.#commitNumber) return Promise.resolve({ end: 'notLanded' })",
    replace: "if (commitNumber >= this.#commitNumber) return Promise.resolve({ end: 'notLanded' })",
  },
  {
    id: 'compute-after-failure',
    breaks: 'I7: lanes go on after the first error',
    file: 'machines/facts.ts',
    find: 'return isEnding(facts) || facts.fork !== null || facts.exit !== null',
    replace: 'return facts.fork !== null || facts.exit !== null',
  },
]
